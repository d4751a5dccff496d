"""Models as plain values that a checkpoint can hold, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from spatial_lstm.image_models import RIDE, ColorRIDE, ImageModel, LinearGaussian, MCGSMImage, MultiscaleRIDE, PixelRNN
from spatial_lstm.training import read_model

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
    for tensor in list(description["state"].values())[:1]:
        model.to(tensor.dtype)
    model.load_state_dict(description["state"])
    return model


class TrainedModel(NamedTuple):
    """What a model file holds.

    Attributes:
        model: On the CPU.
        record: How it came about, as far as the file says: ``"kind"``, ``"config"``, ``"score"`` and its ``"unit"``, ``"steps"``,
            ``"task"`` (with the ``"record"`` of its data), ``"notes"`` (the options), ``"version"`` of the package, ``"result"``.
    """

    model: ImageModel
    record: dict[str, Any]


def open_model(path: Path | str) -> TrainedModel:
    """The model of a file, ``best.pt`` or ``last.pt`` of a run, the best of a run's folder or that of a published one, and its record.

    Raises:
        ValueError: If there is none, it cannot be read, or it is of no image model.
    """
    file, content = read_model(Path(path))
    description = content.pop("model", None)
    if not isinstance(description, dict):
        raise ValueError(f"expected a checkpoint of an image model, got {file}, which holds {sorted(content)}")
    try:
        model = rebuild(description)
    except (KeyError, TypeError, RuntimeError) as error:
        reason = " ".join(" ".join(str(error).splitlines()[:2]).split())  # of a long list, the first
        raise ValueError(f"expected the weights of an image model, got {file}: {reason}") from error
    kept = ("score", "unit", "steps", "task", "notes", "version", "result")
    record = {name: content[name] for name in kept if name in content}
    return TrainedModel(model.eval(), {"kind": description["kind"], "config": description["config"], **record})


def load_model(path: Path | str) -> ImageModel:
    """The model that :func:`open_model` opens."""
    return open_model(path).model


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
