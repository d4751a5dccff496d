"""The commands on handwriting: a run from lines to texts, what they write, what they leave out and refuse."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import torch

from spatial_lstm.cli.htr_options import NETWORK
from spatial_lstm.handwriting import Codec, HandwritingRecognizer, LineReader
from spatial_lstm.handwriting import training as handwriting_training
from spatial_lstm.handwriting.data import Parts, read_lines, save_lines
from spatial_lstm.handwriting.training import digit_lines
from spatial_lstm.training import BEST, LAST, METRICS, Checkpoint, read_metrics
from tests.commands import command, picture, pixels, refused
from tests.handwriting import FORMATS, Row, scribbled, write

pytest.importorskip("sklearn")
pytest.importorskip("rapidfuzz")
pytest.importorskip("defusedxml")

SMALL = ["--architecture", "graves-2009", "--height", "32", "--steps", "4", "--batch", "4", "--validate-every", "2"]
QUIET = ["--threads", "1"]


def few(files: str | None = None, *, seed: int = 0) -> Parts:
    return digit_lines(files, train=6, validation=2, test=3, seed=seed)


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """A folder with folders of lines for each part."""
    parts = few()
    save_lines(parts.train + parts.validation + parts.test, tmp_path / "lines")
    return tmp_path / "lines"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model file that reads something."""
    torch.manual_seed(0)
    network = HandwritingRecognizer(11, architecture="graves-2009", height=32)
    torch.nn.init.normal_(network.output.weight)
    path = tmp_path / "model.pt"
    LineReader(network, Codec("0123456789")).save(path)
    return path


def train(*options: str | Path) -> int:
    return command("train-htr", *QUIET, *options)


def test_trains_draws_and_tells(tmp_path: Path, lines: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    (lines / "train" / "0001.gt.txt").write_text(" ")
    out = tmp_path / "run"
    assert train("--data", lines, "--out", out, *SMALL) == 0
    written = {path.name for path in out.iterdir()}
    assert written == {LAST, BEST, METRICS, "result.json", "curve.png", "lines.png"}
    said = capsys.readouterr().out
    assert "--data: 10 lines of 10 files; left out: empty text (1)" in said
    assert "| train/0001.png | - | empty text |" in said
    assert "characters; lines: 5 train, 2 validation, 3 test" in said
    result = json.loads((out / "result.json").read_text())
    test = result["test"]
    assert f"| test | 3 | {100 * test['cer']:.2f} % |" in said
    told = result["language"]
    assert f"| test, with --language | 3 | {100 * told['test']['cer']:.2f} % |" in said
    assert LineReader.load(out).weighting == (told["weight"], told["bonus"])
    assert test["characters"] == sum(map(len, few().test.texts()))
    assert result["data"]["read"]["data"]["reasons"] == {"empty text": 1}
    assert (result["steps"], result["options"]["architecture"], result["threads"]) == (4, "graves-2009", 1)
    last = read_metrics(out / METRICS)[-1]
    assert (last["step"], last["validation"]) == (4, -last["cer"])
    assert LineReader.load(out).record["result"]["test"] == test
    assert command("test-htr", out, "--data", lines, "--language", *QUIET) == 0
    assert "| 3 lines | rate |" in capsys.readouterr().out


def test_without_folders_for_them_pages_are_held_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_lines(read_lines_of_one_part(tmp_path), tmp_path / "all")
    assert train("--data", tmp_path / "all", "--out", tmp_path / "run", "--no-pictures", *SMALL) == 0
    assert "lines: 9 train, 1 validation, 1 test" in capsys.readouterr().out


def test_data_that_a_run_divided_are_tested_as_it_divided_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On what it held out, with the same error rate; what it has trained on is said."""
    save_lines(read_lines_of_one_part(tmp_path), tmp_path / "all")
    assert train("--data", tmp_path / "all", "--out", tmp_path / "run", "--no-pictures", *SMALL) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    out = tmp_path / "test.json"
    options = ("test-htr", tmp_path / "run", "--data", tmp_path / "all", "--json", out, "--overwrite", *QUIET)
    assert command(*options) == 0
    assert "1 of 11 lines, those of part test" in capsys.readouterr().out
    found = json.loads(out.read_text())
    assert (found["lines"], found["cer"]) == (1, result["test"]["cer"])
    assert command(*options, "--part", "all") == 0
    assert json.loads(out.read_text())["notes"] == ["9 of 11 lines were trained on", "1 of 11 lines chose the weights"]


def read_lines_of_one_part(tmp_path: Path):  # type: ignore[no-untyped-def]
    parts = few()
    save_lines(parts.train + parts.validation + parts.test, tmp_path / "parts")
    for place, path in enumerate(sorted((tmp_path / "parts").rglob("*.png"))):
        for old in (path, path.with_suffix(".gt.txt")):
            new = tmp_path / "flat" / f"{place}{''.join(old.suffixes)}"
            new.parent.mkdir(exist_ok=True)
            old.rename(new)
    return read_lines(tmp_path / "flat")[0]


def test_parts_of_their_own(tmp_path: Path, lines: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--validation", lines / "validation", "--test", lines / "test", "--out", tmp_path / "run", *SMALL]
    assert train("--data", lines / "train", "--no-pictures", *options) == 0
    assert "lines: 6 train, 2 validation, 3 test" in capsys.readouterr().out
    for folder, said in (("validation", "2 of 2 lines chose the weights"), ("test", "| 3 lines |")):
        assert command("test-htr", tmp_path / "run", "--data", lines / folder, *QUIET) == 0
        assert said in capsys.readouterr().out
    said = refused(
        capsys, "train-htr", "--data", lines / "train", "--overwrite", *options[:2], "--test", lines / "train"
    )
    assert "expected other lines for test than those trained on, got" in said


def rows(prefix: str, places: range, *, moved: int = 0) -> list[Row]:
    """Lines of a page, some pixels from where they might be."""
    return [
        Row(f"{prefix}{k}", "1 2", f"40,{y} 360,{y}", f"40,{y - 20} 360,{y - 20} 360,{y + 8} 40,{y + 8}")
        for k in places
        for y in [40 + 30 * k + moved]
    ]


@pytest.mark.parametrize("moved", [0, 4])
def test_a_line_is_the_same_whatever_the_xml_of_its_page_calls_it(
    moved: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other lines of that page, whose polygons have some pixels in common with those trained on, are others."""
    pages, out = tmp_path / "pages", tmp_path / "run"
    write(pages / "alto", FORMATS["alto"](rows("a", range(4))), None)
    again = write(pages / "page", FORMATS["page"](rows("b", range(2, 4), moved=moved)), None)
    others = write(pages / "others", FORMATS["page"](rows("c", range(4, 8))), None)
    scribbled().save(pages / "page.png")
    train_on = ["train-htr", "--data", pages / "alto", "--validation", others, "--out", out, "--no-pictures", *SMALL]
    assert "for test than those trained on, got b2 in both" in refused(capsys, *train_on, "--test", again)
    assert command(*train_on, "--test", others, *QUIET) == 0
    capsys.readouterr()
    assert command("test-htr", out, "--data", again, *QUIET) == 0
    assert "2 of 2 lines were trained on" in capsys.readouterr().out
    assert command("test-htr", out, "--data", others, *QUIET) == 0
    assert "trained on" not in capsys.readouterr().out


def test_a_picture_that_is_a_line_has_the_lines_of_its_xml(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    xml = write(tmp_path, FORMATS["page"](rows("a", range(4))), scribbled())
    (tmp_path / "page.gt.txt").write_text("1 2")
    options = ["--data", xml, "--validation", tmp_path / "page.png", "--out", tmp_path / "run"]
    assert "for validation than those trained on, got page.png" in refused(capsys, "train-htr", *options)


def test_a_run_is_neither_lost_nor_resumed_on_other_lines(
    tmp_path: Path, lines: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", tmp_path / "run", "--no-pictures", *QUIET]
    assert command("train-htr", "--data", lines, *out, *SMALL) == 0
    assert "expected a folder without a run" in refused(capsys, "train-htr", "--data", lines, *out, *SMALL)
    told = json.loads((tmp_path / "run" / "result.json").read_text())["data"]
    assert "characters that training never sees" in told["notes"][0]
    assert command("train-htr", "--resume", *out) == 0
    assert json.loads((tmp_path / "run" / "result.json").read_text())["data"] == told
    assert "--rate 0.003, got 0.1" in refused(capsys, "train-htr", "--resume", *out, "--rate", "0.1")
    moved = lines.rename(tmp_path / "moved")
    assert command("train-htr", "--resume", "--data", moved, *out) == 0
    (moved / "test" / "0009.gt.txt").write_text("other")
    said = refused(capsys, "train-htr", "--resume", "--data", moved, *out)
    assert "expected the lines that the run was begun with, got others for test" in said
    assert Checkpoint.read(tmp_path / "run").state.total == 4


def test_goes_on_from_a_model_with_new_characters(
    tmp_path: Path, lines: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (lines / "train" / "0001.gt.txt").write_text("1é2")
    options = ["--data", lines, "--out", tmp_path / "run", "--no-pictures", "--steps", "1", "--rate", "1e-9"]
    assert train("--load", model, *options) == 0
    old, new = LineReader.load(model), LineReader.load(tmp_path / "run")
    assert new.codec.characters == (*old.codec.characters, "é")
    told, network = Checkpoint.read(tmp_path / "run").notes, old.model.config()
    assert {name: told[name] for name in NETWORK} == {name: network[name] for name in NETWORK}
    few_lines = few().test
    assert new.texts(few_lines) == old.texts(few_lines)
    said = refused(capsys, "train-htr", "--load", model, *options, "--overwrite", "--height", "48")
    assert "expected options of --load, which brings its own network, got --height" in said


def test_augmentation_can_be_looked_at(tmp_path: Path, lines: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    options = ["--data", lines, "--show-augmented", tmp_path / "seen.png", "--out", tmp_path / "run"]
    assert train(*options) == 0
    assert not (tmp_path / "run").exists()
    before = (tmp_path / "seen.png").read_bytes()
    assert "expected --show-augmented to be new" in refused(capsys, "train-htr", *options)
    other = refused(capsys, "train-htr", "--data", lines, "--show-augmented", tmp_path / "seen.jpg")
    assert "expected --show-augmented to be a .png file, got" in other
    assert train(*options, "--overwrite", "--augment-slant", "0.9") == 0
    assert (tmp_path / "seen.png").read_bytes() != before
    assert "got --no-augment" in refused(capsys, "train-htr", *options, "--overwrite", "--no-augment")


def test_digits_need_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(handwriting_training, "digit_lines", few)
    assert train("--data", "digits", "--out", tmp_path, "--no-pictures", "--seed", "3", *SMALL) == 0
    notes = Checkpoint.read(tmp_path).notes
    assert (notes["data"], notes["augment_warp"]) == (["digits"], 2.0)
    assert command("test-htr", tmp_path, "--data", "digits", *QUIET) == 0
    assert "3 of 11 lines, those of part test" in capsys.readouterr().out


def test_tests_a_model(tmp_path: Path, lines: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "errors.json"
    assert command("test-htr", model, "--data", lines, "--json", out, *QUIET) == 0
    said = capsys.readouterr().out
    found = json.loads(out.read_text())
    assert (found["lines"], found["characters"]) == (3, sum(map(len, few().test.texts())))
    low, high = found["cer_interval"]
    assert low <= found["cer"] <= high
    assert f"| characters (CER) | {100 * found['cer']:.2f} % |" in said
    assert f"| words (WER) | {100 * found['wer']:.2f} % |" in said
    assert f"| {found['confusions'][0]['count']} |" in said
    assert [entry["hypothesis"] for entry in found["worst"]] == [
        read_with(model, lines / "test" / Path(entry["line"]).name) for entry in found["worst"]
    ]
    assert "expected --json to be new" in refused(capsys, "test-htr", model, "--data", lines, "--json", out)
    assert command("test-htr", model, "--data", lines, "--part", "all", *QUIET) == 0
    assert "| 11 lines |" in capsys.readouterr().out


def read_with(model: Path, path: Path) -> str:
    (line,), _ = read_lines(path)
    (text,) = LineReader.load(model).texts([line])
    return text


def test_reads_one_line_of_text_for_each_picture(
    tmp_path: Path, lines: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (lines / "test").glob("*.gt.txt"):
        path.unlink()
    wanted = LineReader.load(model).texts(few().test)
    assert command("read", model, lines / "test", *QUIET) == 0
    assert capsys.readouterr().out.splitlines() == wanted
    first, *_ = sorted((lines / "test").glob("*.png"))
    out = tmp_path / "read.json"
    assert command("read", model, first, "--names", "--confidence", "--json", out, "--beam", "4", *QUIET) == 0
    name, confidence, text = capsys.readouterr().out.rstrip("\n").split("\t")
    (told,) = json.loads(out.read_text())
    assert (name, text) == (str(first), told["text"])
    assert float(confidence) == pytest.approx(told["confidence"], abs=1e-3)
    assert "".join(character for character, _ in told["characters"]) == text


def test_what_cannot_be_read_is_told(
    tmp_path: Path, lines: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (lines / "test" / "0010.png").write_bytes(b"no picture")
    picture(lines / "test" / "page.png", pixels(500, 400))
    assert command("read", model, lines / "test", *QUIET) == 1
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 3
    assert "read: left out 0010.png: broken image" in said.err
    assert "page.png, 400x500 pixels, is read as a single line; is it a page?" in said.err


@pytest.mark.parametrize("format", FORMATS)
def test_a_page_is_written_back(format: str, tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [Row("a", None), Row("b", "old", baseline="40,200 360,200", polygon="40,170 360,170 360,210 40,210")]
    source, target = write(tmp_path / "page", FORMATS[format](rows), scribbled()), tmp_path / "read.xml"
    assert command("read", model, source, "--write-back", target, *QUIET) == 0
    said = capsys.readouterr().out.splitlines()
    again, _ = read_lines(write(tmp_path / "again", target.read_text(encoding="utf-8"), scribbled()))
    assert again.texts() == said
    assert "expected --write-back to be new" in refused(capsys, "read", model, source, "--write-back", target)
    other = refused(capsys, "read", model, tmp_path / "page" / "page.png", "--write-back", tmp_path / "new.xml")
    assert "expected one ALTO or PAGE XML file to write back into, got" in other


def test_what_cannot_be_written_back_is_refused_before_reading(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "page", "", scribbled())
    xml = FORMATS["alto"]([Row()])
    for encoded in (xml.encode("utf-16"), xml.replace("UTF-8", "UTF-16LE").encode("utf-16-le")):
        source.write_bytes(encoded)
        wanted = ("read", model, source, "--write-back", tmp_path / "read.xml")
        assert "expected XML in UTF-8 or another encoding that contains ASCII" in refused(capsys, *wanted)
    source.write_text(xml, encoding="utf-8")
    where = refused(capsys, "read", model, source, "--json", source / "read.json")
    assert "expected --json in a folder that can be written to" in where
    folder = refused(capsys, "read", model, source, "--json", tmp_path / "page", "--overwrite")
    assert "expected --json to be a file, got the folder" in folder


def test_what_was_read_is_printed_in_any_encoding(
    tmp_path: Path, lines: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And names of files that are no characters are written."""
    strange = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9.png"))
    shutil.copy(sorted((lines / "test").glob("*.png"))[0], strange)
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding="ascii", write_through=True))
    assert command("read", model, strange, "--names", "--json", tmp_path / "read.json", *QUIET) == 0
    (told,) = json.loads((tmp_path / "read.json").read_text(encoding="utf-8"))
    assert told["file"] == str(strange)
    assert printed.getvalue().startswith(str(strange).encode("ascii", "backslashreplace"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train-htr"], "expected --data, a folder of lines or pages with their texts, got none"),
        (["train-htr", "--data", "nowhere"], "expected a folder, a list, a picture or an XML file"),
        (["train-htr", "--data", "empty"], "expected lines with texts in --data, got none"),
        (["train-htr", "--data", "digits", "empty"], "expected digits alone as --data"),
        (["train-htr", "--data", "digits", "--test", "empty"], "expected options of --data digits, got --test"),
        (["train-htr", "--data", "empty", "--minutes", "1", "--steps", "2"], "expected --minutes alone"),
        (["train-htr", "--data", "empty", "--no-augment", "--augment-shift", "1"], "expected options of --no-augment"),
        (["train-htr", "--data", "empty", "--augment-width", "1"], "expected width from 0 to below 1.0, got 1.0"),
        (["train-htr", "--data", "empty", "--load", "nowhere"], "nowhere, got none"),
        (["train-htr", "--resume"], "expected a checkpoint"),
        (["test-htr", "nowhere", "--data", "empty"], "expected a checkpoint nowhere, got none"),
        (["test-htr", "model.pt", "--data", "empty"], "expected lines of part all with texts, got none in empty"),
        (["read", "empty", "lines"], "expected a model file or a run's folder, got empty"),
        (["read", "model.pt", "nowhere"], "which is not there"),
        (["read", "model.pt", "empty"], "expected pictures of lines, or ALTO or PAGE XML, got none in empty"),
        (["read", "model.pt", "lines", "--device", "cuda"], "expected a GPU"),
        (["read", "model.pt", "lines", "--language"], "expected a model with a character model of its texts"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("lines", "model")
def test_refuses_in_one_line(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert said in refused(capsys, *arguments)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "rapidfuzz", None)
    said = refused(capsys, "train-htr", "--data", "digits")
    assert said == "train-htr needs rapidfuzz, which is not installed: pip install 'spatial-lstm[handwriting]'"
