"""The card of a published model: what it says, and that its commands can be pasted."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from spatial_lstm.training import BEST
from tests.commands import model_file
from tests.published import RATES, RECORD, RESULT, metadata, reader

pytest.importorskip("safetensors")
pytest.importorskip("huggingface_hub")

from spatial_lstm import hub


def test_commands_on_the_card_can_be_pasted_whatever_the_name(tmp_path: Path) -> None:
    model_file(tmp_path / "run", "ride")
    folder = hub.save_pretrained(tmp_path / "run", tmp_path / "my model: 'é' #1")
    (said,) = [line for line in (folder / "README.md").read_text().splitlines() if "spatial_lstm sample" in line]
    assert shlex.split(said)[4] == folder.name
    assert metadata(folder)["library_name"] == "spatial-lstm"


def test_the_card_says_what_the_record_says(tmp_path: Path) -> None:
    model_file(tmp_path / "run", "ride", **RECORD, result=RESULT)
    folder = hub.save_pretrained(tmp_path / "run", tmp_path / "stones", license="cc-by-4.0", datasets=["owner/stones"])
    text, data = (folder / "README.md").read_text(), metadata(folder)
    assert (data["library_name"], data["license"], data["datasets"]) == ("spatial-lstm", "cc-by-4.0", ["owner/stones"])
    assert data["pipeline_tag"] == "unconditional-image-generation"
    assert data["metrics"] == ["bits_per_pixel", "log_likelihood"]
    assert {"spatial-lstm", "ride"} <= set(data["tags"])
    first = data["model-index"][0]["results"][0]
    assert first["dataset"] == {"name": "photographs", "type": "owner/stones", "split": "test"}
    assert first["metrics"] == [{"type": "bits_per_pixel", "value": 1.25, "name": "bits per pixel"}]
    assert "A RIDE of 309 parameters" in text
    assert "| train | 10 | 4,000 |" in text
    assert "3 pictures lost their color" in text
    assert (
        "| test | bits per pixel | 1.2500 | +- 0.0625 (standard error over images) | 2 images in 8 tiles of 9x9, 420"
        in text
    )
    assert (
        "| validation | bits per pixel | 1.5000 | not known | 4 tiles of 9x9, by which the weights were chosen |"
        in text
    )
    assert "The weights are those after 1,234 steps." in text
    assert text.rstrip().endswith("## License\n\ncc-by-4.0")


def test_the_card_of_a_model_of_black_and_white(tmp_path: Path) -> None:
    nats = {"nats_per_image": 80.5, "nats_per_image_standard_error": None}
    model_file(tmp_path / "run", "binary", result={"test": {**RESULT["test"], **nats, "standard_error": None}})
    text = (hub.save_pretrained(tmp_path / "run", tmp_path / "out") / "README.md").read_text()
    assert "| test | nats per image | 80.5000 | not known | 2 images | mean negative log-likelihood; lower is" in text


def test_the_card_of_a_reader(tmp_path: Path) -> None:
    told = {"train": {"lines": 1200, "sha256": "abc"}}
    reader(tmp_path / "run" / BEST, result={"test": RATES}, notes={"data": ["letters"]}, task={"data": told})
    folder = hub.save_pretrained(tmp_path / "run", tmp_path / "out", name="owner/letters-htr")
    text, data = (folder / "README.md").read_text(), metadata(folder)
    assert data["pipeline_tag"] == "image-to-text"
    assert data["metrics"] == ["cer", "wer"]
    assert "license" not in data
    assert "datasets" not in data
    assert "None was stated" in text
    assert "| test | character error rate, % | 5.0000 | 2.50 .. 7.50 (95 %, bootstrap over pages) | 3 lines, 40" in text
    assert "| train | 1,200 | `abc` |" in text
    assert "load_pretrained('owner/letters-htr')" in text
    assert "hf download owner/letters-htr --local-dir letters-htr\npython -m spatial_lstm read letters-htr" in text
