"""Published folders that are broken, foreign or none: each is refused with what was expected."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.commands import model_file

pytest.importorskip("safetensors")
pytest.importorskip("huggingface_hub")

from spatial_lstm import hub


def changed(folder: Path, **values: Any) -> None:
    """Put other values into ``config.json``."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **values}))


def save_as(file: Path, dtype: torch.dtype) -> None:
    """Write all tensors in another dtype."""
    safetensors = pytest.importorskip("safetensors.torch")
    tensors = safetensors.load(file.read_bytes())
    file.write_bytes(safetensors.save({name: tensor.to(dtype) for name, tensor in tensors.items()}))


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no-weights": (lambda folder: (folder / "model.safetensors").unlink(), "expected the weights of a published model"),
    "half-weights": (
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-9]),
        "expected weights in safetensors, got .* cannot be read",
    ),
    "float8": (
        lambda folder: save_as(folder / "model.safetensors", torch.float8_e5m2),
        "expected weights of 16, 32 or 64 bits, got .* of torch.float8_e5m2",
    ),
    "complex": (
        lambda folder: save_as(folder / "model.safetensors", torch.complex64),
        "expected weights of 16, 32 or 64 bits, got .* of torch.complex64",
    ),
    "pickle": (lambda folder: torch.save({}, folder / "model.safetensors"), "expected weights in safetensors"),
    "no-record": (lambda folder: (folder / "record.json").unlink(), "expected a published model, got no .*record.json"),
    "strange-record": (
        lambda folder: (folder / "record.json").write_text('{"notes": null}'),
        "expected notes of a run to be an object of JSON, got None",
    ),
    "not-json": (lambda folder: (folder / "config.json").write_text("{"), "expected JSON, got .*config.json"),
    "not-text": (lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe\xff"), "expected JSON"),
    "list": (lambda folder: (folder / "config.json").write_text("[]"), "expected an object of JSON"),
    "of-a-mixin": (
        lambda folder: (folder / "config.json").write_text('{"hidden": 4}'),
        r"expected a model of spatial-lstm, got .*config.json with \['hidden'\]; a class with PyTorchModelHubMixin",
    ),
    "transformers": (lambda folder: changed(folder, library_name="transformers"), "got .*config.json of transformers"),
    "newer": (lambda folder: changed(folder, format=2), "expected a published model of format 1, got .* of format 2"),
    "no-kind": (lambda folder: changed(folder, kind=None), "expected kind, config and tensors of a model"),
    "other-kind": (lambda folder: changed(folder, kind="os.system"), "expected a model of one of RIDE"),
    "other-tensors": (lambda folder: changed(folder, tensors=["a"]), "expected the tensors that .* got others: "),
    "other-options": (lambda folder: changed(folder, config={"hidden": 3}), "expected the weights of an image model"),
    "endless": (
        lambda folder: changed(folder, config={"num_layers": 10**13}),
        "expected options of a model of [0-9]+ weights, got num_layers 10000000000000",
    ),
    "other-sizes": (
        lambda folder: changed(folder, config={"hidden_size": 5}),
        "expected the weights of an image model",
    ),
    "of-a-reader": (
        lambda folder: changed(folder, kind="HandwritingRecognizer"),
        "expected the weights of a model that",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_and_foreign_folders_are_refused(tmp_path: Path, name: str) -> None:
    model_file(tmp_path / "run", "ride")
    folder = hub.save_pretrained(tmp_path / "run", tmp_path / "out")
    damage, words = BROKEN[name]
    damage(folder)
    with pytest.raises(ValueError, match=words):
        hub.load_pretrained(folder)


@pytest.mark.parametrize("name", ["nothing", "a/b/c", "owner/na me"])
def test_what_is_no_folder_and_no_repository(name: str) -> None:
    with pytest.raises(ValueError, match="expected a folder or owner/name of a repository, got"):
        hub.load_pretrained(name)
