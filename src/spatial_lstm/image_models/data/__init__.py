"""Images to train generative models on: dead leaves made by a recipe, textures and photographs that ship in packages, any folder."""

from spatial_lstm.idx import read_idx
from spatial_lstm.image_models.data.dead_leaves import dead_leaves, noise_bound
from spatial_lstm.image_models.data.decoding import read_picture
from spatial_lstm.image_models.data.levels import LEVELS, binarize, dequantize
from spatial_lstm.image_models.data.named import NAMES, generated, load, load_part
from spatial_lstm.image_models.data.reading import Part
from spatial_lstm.image_models.data.splits import PARTS, Splits
from spatial_lstm.image_models.data.tiles import split_columns, tiles, turned, with_flips

__all__ = [
    "LEVELS",
    "NAMES",
    "PARTS",
    "Part",
    "Splits",
    "binarize",
    "dead_leaves",
    "dequantize",
    "generated",
    "load",
    "load_part",
    "noise_bound",
    "read_idx",
    "read_picture",
    "split_columns",
    "tiles",
    "turned",
    "with_flips",
]
