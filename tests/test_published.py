"""Trained models as folders of the Hub's kind: written, opened again to the bit, described, refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spatial_lstm.handwriting import LineReader
from spatial_lstm.image_models.training import TrainedModel, open_model
from spatial_lstm.training import BEST, files
from tests.commands import MODELS, command, model_file, picture, pixels, refused
from tests.published import RATES, RECORD, metadata, reader

pytest.importorskip("safetensors")
hub_client = pytest.importorskip("huggingface_hub")

from spatial_lstm import hub  # noqa: E402
from spatial_lstm.hub.record import publishable  # noqa: E402

FILES = {"README.md", "config.json", "model.safetensors", "record.json"}


def assert_same(found: torch.nn.Module, expected: torch.nn.Module) -> None:
    """To the bit, and in the same order."""
    one, other = found.state_dict(), expected.state_dict()
    assert list(one) == list(other)
    for name, tensor in other.items():
        assert one[name].dtype == tensor.dtype
        assert torch.equal(one[name], tensor), name


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16], ids=str)
def test_an_image_model_comes_back_to_the_bit(tmp_path: Path, name: str, dtype: torch.dtype) -> None:
    model = model_file(tmp_path / "run", name, **RECORD)
    content = files.read(tmp_path / "run" / BEST)
    content["model"]["state"] = {key: tensor.to(dtype) for key, tensor in content["model"]["state"].items()}
    files.save(tmp_path / "run" / BEST, content)
    folder = hub.save_pretrained(tmp_path / "run", tmp_path / "out")
    assert {path.name for path in folder.iterdir()} == FILES
    found = hub.load_pretrained(folder)
    assert isinstance(found, TrainedModel)
    expected = open_model(tmp_path / "run")
    assert type(found.model) is type(model)
    assert not found.model.training
    assert_same(found.model, expected.model)
    assert found.model.config() == expected.model.config()
    notes = {**RECORD["notes"], "data": "photographs"}
    assert found.record == {**expected.record, "notes": notes}


def test_a_reader_comes_back_with_codec_and_language(tmp_path: Path) -> None:
    made = reader(tmp_path / "run" / BEST, score=-0.25, result={"test": RATES, "validation": {}})
    found = hub.load_pretrained(hub.save_pretrained(tmp_path / "run" / BEST, tmp_path / "out"))
    assert isinstance(found, LineReader)
    assert_same(found.model, made.model)
    assert found.codec == made.codec
    assert found.language is not None
    assert made.language is not None
    assert list(found.language.counts.items()) == list(made.language.counts.items())
    assert np.array_equal(found.language.log_probs("בב"), made.language.log_probs("בב"))
    lines = [pixels(32, width, seed=width) for width in (60, 90)]
    search = found.beam_search(language=True)
    assert found.read(lines, decoder=search) == made.read(lines, decoder=made.beam_search(language=True))
    assert LineReader.load(tmp_path / "out" / "config.json").record["score"] == -0.25


def test_texts_of_lines_and_places_on_the_machine_stay_at_home(tmp_path: Path) -> None:
    reader(tmp_path / "run" / BEST, result={"test": RATES}, notes={"data": ["/home/somebody/letters"], "load": None})
    folder = hub.save_pretrained(tmp_path / "run", tmp_path / "out")
    published = "".join((folder / name).read_text() for name in FILES - {"model.safetensors"})
    assert "letters" in published
    for private in ("somebody", "what was read", "letter-7"):
        assert private not in published


@pytest.mark.parametrize(
    ("told", "left"),
    [
        pytest.param("../../somebody/letters", "letters", id="upward"),
        pytest.param("~somebody/letters", "letters", id="home"),
        pytest.param("/home/some body/letters", "letters", id="space"),
        pytest.param("3 of (/home/somebody/a.png), ../somebody/b.png", "3 of (a.png), b.png", id="sentence"),
        pytest.param("data/lines in nats/pixel, https://host/a", "data/lines in nats/pixel, https://host/a", id="none"),
    ],
)
def test_places_are_shortened_to_names(told: str, left: str) -> None:
    assert publishable({"notes": {"data": [told]}}) == {"notes": {"data": [left]}}


def test_a_run_that_is_not_finished_has_no_figures(tmp_path: Path) -> None:
    model_file(tmp_path / "run", "mcgsm")
    folder = hub.save_pretrained(tmp_path / "run", tmp_path / "out")
    assert "The record has none: the run was not finished." in (folder / "README.md").read_text()
    assert not {"metrics", "model-index"} & metadata(folder).keys()


def test_a_record_that_lacks_something_is_refused(tmp_path: Path) -> None:
    model_file(tmp_path / "run", "ride", result={"test": {"bits_per_pixel": 1.0}})
    with pytest.raises(ValueError, match="expected the record of a run, got .*run, which lacks something: 'tile'"):
        hub.save_pretrained(tmp_path / "run", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_is_lost_unasked(tmp_path: Path) -> None:
    model_file(tmp_path / "run", "ride")
    folder = hub.save_pretrained(tmp_path / "run", tmp_path / "out")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ValueError, match=r"expected a new folder, got .*out, which holds a model: it is kept unless"):
        hub.save_pretrained(tmp_path / "run", folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    with pytest.raises(ValueError, match=r"expected a new folder, got .*run, which holds best.pt"):
        hub.save_pretrained(tmp_path / "run", tmp_path / "run", overwrite=True)
    with pytest.raises(ValueError, match=r"expected a folder to write to, got the file"):
        hub.save_pretrained(tmp_path / "run", tmp_path / "run" / BEST, overwrite=True)
    reader(tmp_path / "other" / BEST)
    hub.save_pretrained(tmp_path / "other", folder, overwrite=True)
    assert isinstance(hub.load_pretrained(folder), LineReader)
    hub.save_pretrained(folder, folder, license="mit", overwrite=True)
    assert metadata(folder)["license"] == "mit"
    assert isinstance(hub.load_pretrained(folder), LineReader)


def test_a_model_that_is_cut_off_while_it_is_replaced_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model_file(tmp_path / "run", "ride")
    folder = hub.save_pretrained(tmp_path / "run", tmp_path / "out")
    monkeypatch.setattr("safetensors.torch.save", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        hub.save_pretrained(tmp_path / "run", folder, overwrite=True)
    with pytest.raises(ValueError, match=r"no config.json of a published model"):
        hub.load_pretrained(folder)


@pytest.mark.parametrize("license", ["MIT", "my own", ""])
def test_a_license_is_a_name_of_the_hub(tmp_path: Path, license: str) -> None:
    model_file(tmp_path / "run", "ride")
    with pytest.raises(ValueError, match="expected a license as the Hub calls it"):
        hub.save_pretrained(tmp_path / "run", tmp_path / "out", license=license)
    assert not (tmp_path / "out").exists()


def test_a_repository_is_fetched_by_the_hubs_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model_file(tmp_path / "run", "ride")
    folder = hub.save_pretrained(tmp_path / "run", tmp_path / "out")
    asked: list[tuple[str, str | None]] = []

    def fetch(name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((name, revision))
        assert set(allow_patterns) == FILES - {"README.md"}
        return str(folder)

    monkeypatch.setattr(hub_client, "snapshot_download", fetch)
    found = hub.load_pretrained("owner/name", revision="v1")
    assert isinstance(found, TrainedModel)
    assert asked == [("owner/name", "v1")]
    with pytest.raises(ValueError, match="expected a revision of a repository alone"):
        hub.load_pretrained(folder, revision="v1")
    monkeypatch.setattr(hub_client, "snapshot_download", lambda *_, **__: 1 / 0)
    with pytest.raises(OSError, match="of that name the Hub gave nothing: division by zero"):
        hub.load_pretrained("owner/name")


def test_the_command_writes_and_others_take_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model_file(tmp_path / "run", "ride", steps=7)
    folder = tmp_path / "stones"
    assert command("publish", tmp_path / "run", folder) == 0
    assert "it states no license: --license says one" in capsys.readouterr().out
    image, mask = picture(tmp_path / "a.png", pixels(20, 24)), np.zeros((20, 24), np.uint8)
    mask[9:11, 9:12] = 255
    quiet = ["--threads", "1"]
    told = []
    for model in (tmp_path / "run", folder):
        out = tmp_path / f"of-{model.name}"
        assert command("score", model, "--data", image, "--json", out / "score.json", *quiet) == 0
        assert command("sample", model, "--out", out / "sheet.png", "--count", "2", "--height", "12", *quiet) == 0
        hole = picture(tmp_path / "mask.png", mask)
        assert command("inpaint", model, image, hole, "--out", out / "filled.png", "--sweeps", "1", *quiet) == 0
        score = json.loads((out / "score.json").read_text())
        told.append((score["per_image"], (out / "sheet.png").read_bytes(), (out / "filled.png").read_bytes()))
    assert told[0] == told[1]


def test_the_commands_on_handwriting_take_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rapidfuzz")
    reader(tmp_path / "run" / BEST)
    assert command("publish", tmp_path / "run", tmp_path / "htr", "--license", "mit") == 0
    picture(tmp_path / "lines" / "a.png", pixels(32, 90))
    (tmp_path / "lines" / "a.gt.txt").write_text("אב", encoding="utf-8")
    told = []
    for model in ("run", "htr"):
        capsys.readouterr()
        assert command("read", tmp_path / model, tmp_path / "lines" / "a.png", "--language", "--threads", "1") == 0
        assert command("test-htr", tmp_path / model, "--data", tmp_path / "lines", "--threads", "1") == 0
        told.append(capsys.readouterr().out)
    assert told[0] == told[1] != ""


def test_the_command_refuses_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model_file(tmp_path / "run", "ride")
    folder = tmp_path / "out"
    assert "expected --license with --push" in refused(capsys, "publish", tmp_path / "run", folder, "--push", "a/b")
    assert "expected --private with --push" in refused(capsys, "publish", tmp_path / "run", folder, "--private")
    assert "which holds best.pt" in refused(capsys, "publish", tmp_path / "run", tmp_path / "run")
    assert "expected a license" in refused(capsys, "publish", tmp_path / "run", folder, "--license", "Mine")
    assert not folder.exists()
    hub.save_pretrained(tmp_path / "run", folder)
    (folder / "model.safetensors").unlink()
    said = refused(capsys, "sample", folder, "--out", tmp_path / "sheet.png")
    assert "expected the weights of a published model, got no" in said


@pytest.mark.parametrize("package", ["safetensors", "huggingface_hub"])
def test_a_missing_extra_is_named(
    tmp_path: Path, package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model_file(tmp_path / "run", "ride")
    folder = hub.save_pretrained(tmp_path / "run", tmp_path / "out")
    monkeypatch.setitem(sys.modules, package, None)
    wanted = f"needs {package}, which is not installed: pip install 'spatial-lstm[hub]'"
    assert refused(capsys, "publish", tmp_path / "run", tmp_path / "new") == f"publish {wanted}"
    if package == "safetensors":
        assert refused(capsys, "sample", folder, "--out", tmp_path / "sheet.png") == f"sample {wanted}"


class Api:
    """Stands for the Hub's client."""

    calls: list[tuple[Any, ...]] = []  # noqa: RUF012

    def create_repo(self, repository: str, *, private: bool, exist_ok: bool) -> None:
        if repository == "not/mine":
            raise RuntimeError("403 Forbidden\nmore")
        self.calls.append((repository, private, exist_ok))

    def upload_folder(self, *, repo_id: str, folder_path: str, allow_patterns: list[str]) -> str:
        self.calls.append((repo_id, folder_path, set(allow_patterns)))
        return f"https://hub/{repo_id}"


def test_pushing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(hub_client, "HfApi", Api)
    monkeypatch.setattr(Api, "calls", [])
    model_file(tmp_path / "run", "ride")
    folder = tmp_path / "out"
    assert command("publish", tmp_path / "run", folder, "--license", "mit", "--push", "owner/name", "--private") == 0
    assert Api.calls == [("owner/name", True, True), ("owner/name", str(folder), FILES)]
    assert "uploaded: https://hub/owner/name" in capsys.readouterr().out
    with pytest.raises(OSError, match="not/mine could not be written to the Hub: 403 Forbidden$"):
        hub.push(folder, "not/mine")
    for other in (tmp_path, tmp_path / "run"):
        with pytest.raises(
            ValueError, match=r"expected a folder that save_pretrained wrote, got .* without config.json"
        ):
            hub.push(other, "owner/name")
