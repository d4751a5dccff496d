"""A model file as a folder of the kind that the Hugging Face Hub shows: weights in safetensors, everything else in JSON.

``model.safetensors`` has the tensors, ``config.json`` what the model is built with, ``record.json`` how it came about and whatever else
the model file held. Nothing in them is code, and nothing of them is run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spatial_lstm.files import write_atomically

WEIGHTS, CONFIG, RECORD = "model.safetensors", "config.json", "record.json"
LIBRARY = "spatial-lstm"
# Of the folder.
FORMAT = 1


def write(folder: Path, content: Mapping[str, Any]) -> None:
    """Write what :func:`spatial_lstm.training.files.read` read into a folder, in the place of what was written so before.

    ``config.json`` comes last: until it is there, the folder is no model. Needs safetensors.

    Args:
        folder: Made if it is not there.
        content: ``"model"``, with its tensors by name in ``"state"``; and plain values.

    Raises:
        ValueError: If a value is not finite.
        TypeError: If a value is not plain.
    """
    from safetensors.torch import save

    (folder / CONFIG).unlink(missing_ok=True)
    model = dict(content["model"])
    # A file of safetensors has neither views nor tensors that share memory.
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.pop("state").items()}
    weights = save(state, metadata={"format": "pt"})
    write_atomically(folder / WEIGHTS, lambda file: file.write(weights))
    _write_json(folder / RECORD, {name: value for name, value in content.items() if name != "model"})
    # safetensors puts tensors into an order of its own; they come back in the model's.
    config = {"library_name": LIBRARY, "format": FORMAT, **model, "tensors": list(state)}
    _write_json(folder / CONFIG, config)


def read(folder: Path) -> dict[str, Any]:
    """What :func:`write` wrote. Needs safetensors.

    Raises:
        ValueError: If something is missing, cannot be read, does not fit together, or is another program's.
    """
    model = _config(folder / CONFIG)
    names = model.pop("tensors")
    state = _tensors(folder / WEIGHTS)
    if len(names) != len(state) or set(names) != state.keys():
        strange = sorted(set(names) ^ state.keys())[:3]
        raise ValueError(f"expected the tensors that {folder / CONFIG} lists in {WEIGHTS}, got others: {strange}")
    _check_sizes(folder / CONFIG, model["config"], sum(tensor.numel() for tensor in state.values()))
    return {**_record(folder / RECORD), "model": {**model, "state": {name: state[name] for name in names}}}


def _config(path: Path) -> dict[str, Any]:
    """How the model is built, with the names of its tensors."""
    config = _read_json(path)
    found = config.pop("library_name", None)
    if found != LIBRARY:
        whose = f"of {found}" if isinstance(found, str) else f"with {sorted(config)[:5]}"
        how = "a class with PyTorchModelHubMixin opens its own by from_pretrained"
        raise ValueError(f"expected a model of {LIBRARY}, got {path} {whose}; {how}")
    form = config.pop("format", None)
    if form != FORMAT:
        raise ValueError(f"expected a published model of format {FORMAT}, got {path} of format {form}")
    match config:
        case {"kind": str(), "config": dict(), "tensors": [*names]} if all(isinstance(name, str) for name in names):
            return config
    raise ValueError(f"expected kind, config and tensors of a model, got {path} with {sorted(config)}")


def _record(path: Path) -> dict[str, Any]:
    """How the model came about."""
    record = _read_json(path)
    for name in ("task", "notes", "result"):
        if not isinstance(record.get(name, {}), dict):
            raise ValueError(f"expected {name} of a run to be an object of JSON, got {record[name]!r} in {path}")
    return record


def _check_sizes(path: Path, config: Mapping[str, Any], weights: int) -> None:
    """Refuse numbers that would make far more of a model than there are weights for, before anything is made of them.

    Raises:
        ValueError: If there is one.
    """
    for name, value in config.items():
        if isinstance(value, (int, float)) and not abs(value) <= max(weights, 1):
            raise ValueError(f"expected options of a model of {weights} weights, got {name} {value} in {path}")


def _tensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    if not path.is_file():
        raise ValueError(f"expected the weights of a published model, got no {path}")
    try:
        found = dict(load(path.read_bytes()))  # load_file maps the file, which then can't be replaced everywhere
    except (SafetensorError, OSError) as error:
        raise ValueError(f"expected weights in safetensors, got {path}, which cannot be read: {error}") from error
    for name, tensor in found.items():
        if tensor.is_complex() or (tensor.is_floating_point() and tensor.dtype.itemsize < 2):
            raise ValueError(f"expected weights of 16, 32 or 64 bits, got {name} of {tensor.dtype} in {path}")
    return found


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(path, lambda file: file.write(text.encode(errors="backslashreplace")))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"expected a published model, got no {path}") from error
    except (ValueError, OSError, RecursionError) as error:
        raise ValueError(f"expected JSON, got {path}, which cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"expected an object of JSON, got {path}, which holds a {type(content).__name__}")
    return content
