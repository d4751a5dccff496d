"""Trained models on the command line: which one, where it computes, and which images suit it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spatial_lstm.cli.numbers import threads
from spatial_lstm.cli.options import DEVICES, path
from spatial_lstm.cli.scores import listed

if TYPE_CHECKING:
    from spatial_lstm.image_models import ImageModel
    from spatial_lstm.image_models.data import Part
    from spatial_lstm.image_models.training import TrainedModel


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model, and where it computes."""
    parser.add_argument(
        "model", type=path, metavar="MODEL", help="a run's folder, the best.pt in it, or a published model's folder"
    )
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="(default: %(default)s)")
    parser.add_argument(
        "--threads",
        type=threads,
        default="auto",
        metavar="N",
        help="of the CPU; auto tries one and all (default: auto)",
    )


def open_trained(args: argparse.Namespace) -> TrainedModel:
    """Open the model on its device, and say what it is.

    Raises:
        ValueError: If there is none, or no such device.
    """
    from spatial_lstm.image_models.training import open_model
    from spatial_lstm.training import local_device

    device = local_device(args.device)
    found = open_model(args.model)
    parameters = sum(p.numel() for p in found.model.parameters())
    steps = f", {found.record['steps']:,} steps" if "steps" in found.record else ""
    kind = "color" if found.model.channels == 3 else "gray" if found.model.levels != 2 else "black and white"
    print(f"{found.record['kind']} for {kind} images, {parameters:,} parameters{steps}")
    return found._replace(model=found.model.to(device))


def choose_threads(args: argparse.Namespace, work: Callable[[], object]) -> int:
    """Set the number of threads that is wanted, or with ``auto`` that with which work is done faster; return it."""
    import torch

    from spatial_lstm.training import set_threads

    if args.threads != "auto":
        return set_threads(args.threads, work)
    return torch.get_num_threads() if args.device != "cpu" else set_threads(None, work)


def reading(trained: TrainedModel, given: Mapping[str, Any]) -> dict[str, Any]:
    """How images are read for a model: as it was trained on, but for what is given.

    Returns:
        ``seed``, ``color``, ``gray`` and ``binarize``, as :func:`spatial_lstm.image_models.data.load_part` takes them.

    Raises:
        ValueError: If images of a density are to be binarized, or the model's channels are neither one nor three.
    """
    model, notes = trained.model, trained.record.get("notes", {})
    if model.channels not in (1, 3):
        raise ValueError(f"expected a model of gray or color images, got one of {model.channels} channels")
    ways = {name: notes.get(name, default) for name, default in (("seed", 0), ("gray", "luma"), ("binarize", None))}
    ways |= {name: value for name, value in given.items() if value is not None}
    if model.levels == 2:
        ways["binarize"] = ways["binarize"] or "threshold"
    elif ways["binarize"] is not None:
        raise ValueError(
            f"expected --binarize for a model of black and white images alone, got a {trained.record['kind']}"
        )
    return {**ways, "color": model.channels == 3}


def suited(model: ImageModel, part: Part, tile: int | None) -> Part:
    """The images that a model can score, with notes on those that it can't, and on those that lose a row or a column.

    Args:
        model: Whose likelihoods are wanted.
        part: The images.
        tile: Side of the tiles; None for whole images.

    Raises:
        ValueError: If there is none, or no tile of that side has a pixel that is scored.
    """
    if tile is not None:
        check_side(model, tile, "tile")
    scale = getattr(model, "scale", 1)
    least = max(tile or 0, 2 * model.border + scale)
    kept = [place for place, image in enumerate(part.images) if min(image.shape[1:]) >= least]
    notes = list(part.notes)
    if len(kept) < len(part.images):
        small = [part.names[place] for place in sorted(set(range(len(part.images))) - set(kept))]
        if not kept:
            raise ValueError(f"expected images of at least {least}x{least}, got {listed(small)}, smaller")
        notes.append(
            f"{len(small)} of {len(part.images)} images left out, smaller than {least}x{least}: {listed(small)}"
        )
    images = [part.images[place] for place in kept]
    cut = [image[:, : image.shape[1] // scale * scale, : image.shape[2] // scale * scale] for image in images]
    shorter = sum(a.shape != b.shape for a, b in zip(images, cut, strict=True))
    if shorter:
        notes.append(f"{shorter} of {len(images)} images lose their last row or column: sides have to be even")
    return replace(part, images=cut, names=[part.names[place] for place in kept], notes=notes)


def trained_on(trained: TrainedModel, data: str, names: list[str]) -> list[str]:
    """A note, if images are known to be among those that the model was trained on."""
    sources = trained.record.get("task", {}).get("record", {}).get("train", {}).get("sources", [])
    home = trained.record.get("notes", {}).get("data", "")
    seen = {_place(home, name) for source in sources for name in (source, source.partition("[")[0])}
    count = sum(_place(data, name) in seen for name in names)
    return [f"{count} of {len(names)} images were trained on, as a whole or in part"] if count else []


def _place(data: str, name: str) -> str:
    """Where an image is: its file in full, or its name in a data set."""
    path = Path(data)
    folder = path.parent if path.is_file() else path
    return str(folder.resolve() / name) if path.exists() else f"{data}: {name}"


def check_side(model: ImageModel, side: int, what: str) -> None:
    """Refuse squares in which a model scores no pixel.

    Raises:
        ValueError: If the side is too small, or does not suit the model's scales.
    """
    scale = getattr(model, "scale", 1)
    least = 2 * model.border + scale
    if side < least or side % scale:
        divisible = f", divisible by {scale}," if scale > 1 else ""
        name = type(model).__name__
        raise ValueError(f"expected a {what} side of at least {least}{divisible} for a {name}, got {side}")


def refuse_existing(path: Path, overwrite: bool, option: str = "--out") -> None:
    """Refuse to write what is there, and where nothing can be written: before the work, not after it.

    Raises:
        ValueError: If it is there, and may not be lost; or is a folder, or in none that can be written to.
    """
    if path.exists() and not overwrite:
        raise ValueError(f"expected {option} to be new, got {path}, which is there: add --overwrite to lose it")
    if path.is_dir():
        raise ValueError(f"expected {option} to be a file, got the folder {path}")
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise ValueError(f"expected {option} in a folder that can be written to, got {path}")
