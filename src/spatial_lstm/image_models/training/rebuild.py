"""Models as plain values that a checkpoint can hold, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spatial_lstm.image_models import RIDE, ColorRIDE, ImageModel, LinearGaussian, MCGSMImage, MultiscaleRIDE, PixelRNN
from spatial_lstm.training import files

KINDS: dict[str, type[ImageModel]] = {
    kind.__name__: kind for kind in (RIDE, ColorRIDE, MultiscaleRIDE, MCGSMImage, LinearGaussian, PixelRNN)
}


def describe(model: ImageModel) -> dict[str, Any]:
    """The model's kind, the arguments to build it with and a copy of its tensors on the CPU.

    Raises:
        ValueError: If the model is of no kind known here.
    """
    kind = type(model).__name__
    if kind not in KINDS:
        raise ValueError(f"expected a model of one of {', '.join(KINDS)}, got {kind}")
    state = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
    return {"kind": kind, "config": model.config(), "state": state}


def rebuild(description: dict[str, Any]) -> ImageModel:
    """The model that :func:`describe` described.

    Raises:
        ValueError: If it is no image model.
    """
    kind = description.get("kind")
    if kind not in KINDS:
        raise ValueError(f"expected a model of one of {', '.join(KINDS)}, got {kind}")
    model = KINDS[kind](**description["config"])
    model.to(next(iter(description["state"].values())).dtype).load_state_dict(description["state"])
    return model


def load_model(path: Path) -> ImageModel:
    """The model of a ``best.pt`` or ``last.pt``, on the CPU.

    Raises:
        ValueError: If there is no checkpoint, it cannot be read, or it is of no image model.
    """
    content = files.read(path)
    if not isinstance(content.get("model"), dict):
        raise ValueError(f"expected a checkpoint of an image model, got {path}, which holds {sorted(content)}")
    return rebuild(content["model"])


def grow(model: ImageModel, layers: int | None) -> ImageModel:
    """The model with layers added up to a number of them, those it has being kept; itself if it has enough.

    Raises:
        ValueError: If the model cannot grow.
    """
    if layers is None:
        return model
    if not isinstance(model, RIDE):
        raise ValueError(f"expected a RIDE to add layers to, got {type(model).__name__}")
    while model.lstm.num_layers < layers:
        model = model.add_layer()
    return model
