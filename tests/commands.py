"""Commands as tests call them, and the files that they take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from spatial_lstm.cli import main
from spatial_lstm.image_models import RIDE, ColorRIDE, ImageModel, MCGSMImage, MultiscaleRIDE, PixelRNN
from spatial_lstm.image_models.training.rebuild import describe
from spatial_lstm.training import BEST, files

SMALL: dict[str, Any] = {"hidden_size": 3, "components": 2, "scales": 2, "features": 2}
MODELS = {
    "ride": lambda: RIDE(cell="stable", **SMALL),
    "mcgsm": lambda: MCGSMImage(components=2, scales=2, features=2),
    "color": lambda: ColorRIDE(cell="stable", **SMALL),
    "multiscale": lambda: MultiscaleRIDE(cell="stable", **SMALL),
    "binary": lambda: PixelRNN(hidden_size=2, kernel_size=3),
    "256": lambda: PixelRNN(levels=256, hidden_size=2, kernel_size=3),
}


def command(*arguments: str | Path) -> int:
    return main([str(argument) for argument in arguments])


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """What a command says, having ended with 2, in one line or after its usage."""
    capsys.readouterr()
    try:
        status = command(*arguments)
    except SystemExit as error:
        status = int(str(error.code))
    said = capsys.readouterr().err
    assert status == 2, said
    return said.strip().splitlines()[-1]


def model_file(folder: Path, name: str, **record: Any) -> ImageModel:
    """A model, and its file in a run's folder."""
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    model.prepare(torch.rand(4, model.channels, 16, 16) if model.levels is None else torch.zeros(1))
    folder.mkdir(exist_ok=True)
    files.save(folder / BEST, {"model": describe(model), **record})
    return model


def pixels(height: int, width: int, channels: int = 1, seed: int = 0) -> NDArray[np.uint8]:
    """``(H, W)``, or ``(H, W, C)``."""
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def picture(path: Path, values: NDArray[np.uint8]) -> Path:
    """Write a PNG file."""
    image = pytest.importorskip("PIL.Image")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.fromarray(values).save(path)
    return path


def read(path: Path) -> NDArray[np.uint8]:
    """A PNG file's pixels."""
    image = pytest.importorskip("PIL.Image")
    with image.open(path) as found:
        return np.asarray(found).copy()
