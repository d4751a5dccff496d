"""Images to train generative models on: dead leaves made by a recipe, textures and photographs that ship in packages, any folder."""

from spatial_lstm.image_models.data.dead_leaves import dead_leaves, noise_bound
from spatial_lstm.image_models.data.images import LEVELS, PARTS, Splits, dequantize, split_columns, tiles, with_flips
from spatial_lstm.image_models.data.named import NAMES, from_folder, generated, load

__all__ = [
    "LEVELS",
    "NAMES",
    "PARTS",
    "Splits",
    "dead_leaves",
    "dequantize",
    "from_folder",
    "generated",
    "load",
    "noise_bound",
    "split_columns",
    "tiles",
    "with_flips",
]
