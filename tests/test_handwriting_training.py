"""Training recognizers: batches, augmentation, the task in the one loop, model files that read, made-up digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from spatial_lstm.handwriting import Codec, HandwritingRecognizer, LineReader
from spatial_lstm.handwriting.data import Lines, Parts
from spatial_lstm.handwriting.decoding import Weighting
from spatial_lstm.handwriting.decoding.weighting import TRIED
from spatial_lstm.handwriting.reader import learn_language
from spatial_lstm.handwriting.training import (
    Augmentation,
    HandwritingTask,
    LineBatches,
    adamw,
    digit_lines,
    with_language,
)
from spatial_lstm.handwriting.training.batches import Examples
from spatial_lstm.handwriting.training.pictures import draw_augmented, draw_readings
from spatial_lstm.training import BEST, Checkpoint, Group, Options, Trainer, files
from tests import commands
from tests.cases import assert_close

pytest.importorskip("sklearn")
pytest.importorskip("rapidfuzz")

HEIGHT = 32
DIGITS = digit_lines(train=12, validation=3, test=2)
CODEC = Codec("0123456789")


def tiny(codec: Codec = CODEC, seed: int = 0) -> HandwritingRecognizer:
    torch.manual_seed(seed)
    return HandwritingRecognizer(codec.classes, architecture="graves-2009", height=HEIGHT)


def task(parts: Parts = DIGITS, augmentation: Augmentation | None = None) -> HandwritingTask:
    return HandwritingTask(tiny(), CODEC, parts, augmentation)


def batches(seed: int = 0, augmentation: Augmentation | None = None, batch: int = 4) -> LineBatches:
    return LineBatches(Examples(DIGITS.train, CODEC, HEIGHT), batch, seed=(seed,), augmentation=augmentation)


def test_an_epoch_has_every_line_once_and_the_next_another_order() -> None:
    found = batches(batch=5)
    assert found.per_epoch == 3
    epochs = [[part.tolist() for part in found.order(epoch)] for epoch in (0, 1)]
    assert [sorted(line for part in epoch for line in part) for epoch in epochs] == [list(range(12))] * 2
    assert epochs[0] != epochs[1]


def test_lines_of_a_batch_have_similar_widths() -> None:
    examples = Examples(digit_lines(train=64, validation=0, test=0).train, CODEC, HEIGHT)
    spreads = [np.ptp(examples.widths[part]) for part in LineBatches(examples, 8, seed=(0,)).order(0)]
    assert np.mean(spreads) < np.ptp(examples.widths) / 3


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    seen = batches(augmentation=Augmentation())
    for step in range(5):
        seen[step]
    again = batches(augmentation=Augmentation())
    for step in (4, 1):
        for name in ("images", "widths", "targets", "target_lengths"):
            assert torch.equal(getattr(seen[step], name), getattr(again[step], name))
    assert not torch.equal(batches(seed=1)[0].widths, batches(seed=0)[0].widths)


def test_a_batch_holds_lines_and_their_texts() -> None:
    found = batches()
    batch, lines = found[0], found.order(0)[0].tolist()
    for place, line in enumerate(lines):
        image = found.examples.image(line)
        assert batch.widths[place] == image.shape[2]
        assert torch.equal(batch.images[place, :, :, : image.shape[2]], image)
        assert not batch.images[place, :, :, image.shape[2] :].any()
        target = batch.targets[place, : batch.target_lengths[place]].tolist()
        assert CODEC.decode(target) == DIGITS.train[line].text


def test_shares_of_processes_make_the_loss_of_the_whole_batch() -> None:
    own, batch = task(), batches(batch=5)[0]
    parts = [Group(rank, 2).share(batch) for rank in range(2)]
    assert sorted(len(part) for part, _ in parts) == [len(batch) // 2, len(batch) - len(batch) // 2]
    shared = torch.stack([weight * own.loss(part) for part, weight in parts]).mean()
    assert_close([shared], [own.loss(batch)])
    assert own.loss(batch[:0]) == 0


def test_no_augmentation_changes_nothing() -> None:
    image = batches().examples.image(0)
    still = Augmentation.recorded({})(image, np.random.default_rng(0))
    assert_close([still], [image])


def test_augmentation_slants_to_the_right_going_up() -> None:
    class Most:
        def uniform(self, low: float, high: float, count: int | tuple[int, ...]) -> np.ndarray:
            return np.full(count, high)

    bar = torch.zeros(1, 9, 21)
    bar[:, :, 10] = 1
    slanted = Augmentation.recorded({"slant": 1.0})(bar, Most())  # type: ignore[arg-type]
    assert slanted.shape == (1, 9, 30)
    columns = slanted[0].argmax(1)
    assert (columns[:-1] - columns[1:]).tolist() == [1] * 8


def test_augmentation_with_a_broader_pen_and_a_finer_one() -> None:
    image = torch.zeros(1, 8, 20)
    image[:, :, 8:11] = 1
    drawn = [Augmentation.recorded({"stroke": 0.5})(image, np.random.default_rng(seed)) for seed in range(20)]
    ink = torch.stack([one.sum() for one in drawn])
    assert ink.min() < image.sum() < ink.max()
    for one in drawn:
        assert one.shape == image.shape
        assert 0 <= one.min() <= one.max() <= 1
        assert torch.equal(one[:, :, 9], image[:, :, 9]), "the middle of a stroke of three pixels stays"


def test_augmentation_warps_no_further_than_told() -> None:
    places = torch.linspace(0, 1, 101).expand(1, 48, 101)
    moved = Augmentation.recorded({"warp": 2.0})(places, np.random.default_rng(0))
    inside = (moved - places)[:, 4:-4, 4:-4] * 100
    assert 1.0 < inside.abs().max() <= 2.5, "bicubic interpolation may go a little beyond its points"
    assert (inside[..., 1:] - inside[..., :-1]).abs().max() < 0.6, "it is smooth"


@pytest.mark.parametrize(("name", "value"), [("slant", -0.1), ("width", 1.0), ("height", 2.0), ("shift", float("nan"))])
def test_augmentation_refuses(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"expected {name} from 0 to below"):
        Augmentation(**{name: value})


def test_a_model_file_reads_as_the_model_did(tmp_path: Path) -> None:
    reader = LineReader(tiny(), CODEC, {"steps": 7})
    reader.save(tmp_path / "model.pt")
    again = LineReader.load(tmp_path / "model.pt")
    assert (again.codec, again.model.config(), again.record) == (CODEC, reader.model.config(), {"steps": 7})
    assert again.read(DIGITS.train) == reader.read(DIGITS.train)
    assert torch.load(tmp_path / "model.pt", weights_only=True)["model"]["codec"]["characters"] == "0123456789"


def test_lines_are_read_together_as_alone() -> None:
    reader = LineReader(tiny(), CODEC)
    torch.nn.init.normal_(reader.model.output.weight)
    together = reader.read(DIGITS.train, batch=5)
    alone = [reader.read([line.image()])[0] for line in DIGITS.train]
    assert [read.text for read in together] == [read.text for read in alone] == reader.texts(DIGITS.train)
    assert any(read.text for read in together)
    assert [read.confidence for read in together] == pytest.approx([read.confidence for read in alone])
    assert ["".join(character for character, _ in read.characters) for read in together] == [r.text for r in together]


def test_reading_leaves_the_network_training() -> None:
    reader = LineReader(tiny(), CODEC)
    seen = []
    reader.model.register_forward_hook(lambda module, *_: seen.append(module.training))
    reader.texts(DIGITS.test)
    assert (seen, reader.model.training) == ([False], True)


def test_reading_leaves_frozen_layers_frozen() -> None:
    reader = LineReader(tiny(), CODEC)
    reader.model.features.eval()
    before = {name: module.training for name, module in reader.model.named_modules()}
    assert len(set(before.values())) == 2
    for read in (reader.read, reader.texts, reader.log_probs):
        read(DIGITS.test)  # type: ignore[operator]
        assert {name: module.training for name, module in reader.model.named_modules()} == before


def test_a_reader_refuses() -> None:
    reader = LineReader(tiny(), CODEC)
    for batch, error in ((0, ValueError), (-1, ValueError), (1.5, TypeError)):
        for read in (reader.read, reader.texts, reader.log_probs):
            with pytest.raises(error, match="expected batch to be"):
                read(DIGITS.test, batch=batch)  # type: ignore[operator]
    for line, found in (("x.png", "str"), (np.zeros((3, 4)), "float64"), (None, "NoneType")):
        with pytest.raises(TypeError, match=f"expected an array of uint8, got {found}"):
            reader.read([line])  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"expected gray values \(height, width\), got shape \(0, 5\)"):
        reader.read([np.zeros((0, 5), np.uint8)])


def test_a_model_on_the_cpu_reads_and_trains_whatever_the_default_device() -> None:
    reader = LineReader(tiny(), CODEC)
    expected = reader.read(DIGITS.train)
    batch = batches(augmentation=Augmentation())[0]
    with torch.device("meta"):
        assert reader.read(DIGITS.train) == expected
        again = batches(augmentation=Augmentation())[0]
    assert torch.equal(again.images, batch.images)
    assert torch.equal(again.targets, batch.targets)


def test_a_model_file_knows_the_language_of_its_texts(tmp_path: Path) -> None:
    codec = Codec("אב12", right_to_left=True)
    language = learn_language(["אב12"] * 3, codec)
    assert language.log_prob("12בא") > language.log_prob("אב12")  # as it stands on paper
    weighting = Weighting(0.75, 1.0)
    LineReader(tiny(codec), codec, language=language, weighting=weighting).save(tmp_path / "model.pt")
    again = LineReader.load(tmp_path / "model.pt")
    assert again.language is not None
    assert again.language.to_dict() == language.to_dict()
    search = again.beam_search(4, language=True)
    assert (search.width, search.language is not None, again.beam_search(4).language) == (4, True, None)
    assert (search.weight, search.bonus) == weighting
    with pytest.raises(ValueError, match="expected a model with a character model of its texts, got one without"):
        LineReader(tiny(), CODEC).beam_search(language=True)


def test_the_language_is_weighted_as_reads_validation_lines_best() -> None:
    own = task()
    reader = with_language(own)
    assert reader.language is not None
    assert reader.language.to_dict() == learn_language(DIGITS.train.texts(), CODEC).to_dict()
    found = []
    for weighting in TRIED:
        reader.weighting = weighting
        found.append(own.errors("validation", reader.beam_search(language=True)).total.cer)
    assert with_language(own).weighting == TRIED[found.index(min(found))]


def test_other_files_are_no_models(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected a model file or a run's folder, got .* there is no best.pt"):
        LineReader.load(tmp_path)
    commands.model_file(tmp_path / "ride", "ride")
    with pytest.raises(ValueError, match="expected a model that reads handwriting, got .*, which holds another"):
        LineReader.load(tmp_path / "ride")
    LineReader(tiny(), CODEC).save(tmp_path / "model.pt")
    content = files.read(tmp_path / "model.pt")
    del content["model"]["state"]["output.bias"]
    files.save(tmp_path / "model.pt", content)
    with pytest.raises(ValueError, match="expected the weights of a model that reads handwriting"):
        LineReader.load(tmp_path / "model.pt")
    with pytest.raises(ValueError, match="expected a codec of 11 classes, got 4"):
        LineReader(tiny(), Codec("abc"))


def run(own: HandwritingTask, folder: Path, *, stop: int | None = None) -> Trainer[HandwritingTask]:
    """Train for six steps, or up to one of them with a checkpoint after each."""
    options = Options(validate_every=3, clip=1.0, checkpoint_seconds=0)
    trainer = Trainer(own, adamw(steps=6, batch=4), folder=folder, options=options, progress=False)
    if stop is not None:
        step = trainer._step

        def interrupted(*args: object) -> None:
            if trainer.state.total == stop:
                raise KeyboardInterrupt
            step(*args)  # type: ignore[arg-type]

        trainer._step = interrupted  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            trainer.run()
    else:
        trainer.run()
    return trainer


def test_a_run_is_resumed_to_the_same_bits(tmp_path: Path) -> None:
    whole = run(task(augmentation=Augmentation()), tmp_path / "whole")
    run(task(augmentation=Augmentation()), tmp_path / "killed", stop=4)
    checkpoint = Checkpoint.read(tmp_path / "killed")
    assert checkpoint.state.total == 4
    again = HandwritingTask.restore(checkpoint, DIGITS)
    assert again.augmentation == Augmentation()
    resumed = Trainer.resume(tmp_path / "killed", checkpoint, again, progress=False)
    assert resumed.run() == whole.state.best
    for name, tensor in whole.task.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], tensor), name
    # The best model of the run is a file that reads.
    reader = LineReader.load(tmp_path / "killed")
    assert reader.texts(DIGITS.test) == whole.task.reader.texts(DIGITS.test)
    assert reader.record["steps"] == files.read(tmp_path / "whole" / BEST)["steps"]


def test_a_run_is_not_resumed_on_other_lines(tmp_path: Path) -> None:
    run(task(), tmp_path, stop=1)
    checkpoint = Checkpoint.read(tmp_path)
    fewer = Parts(DIGITS.train[:-1], DIGITS.validation, DIGITS.test)
    with pytest.raises(ValueError, match="expected the lines that the run was begun with, got others for train"):
        HandwritingTask.restore(checkpoint, fewer)


def test_the_score_is_minus_the_character_error_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    own = task()
    texts = DIGITS.validation.texts()
    monkeypatch.setattr(own.reader, "texts", lambda lines, decoder: [texts[0][1:], *texts[1:]])
    rate = 1 / sum(map(len, texts))
    assert own.evaluate() == -rate
    assert own.details() == {"cer": rate, "wer": pytest.approx(1 / 3)}
    assert own.words(-0.125) == "CER 12.50 %"


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("train", Parts(Lines(), DIGITS.validation, DIGITS.test)),
        ("validation", Parts(DIGITS.train, Lines(), DIGITS.test)),
    ],
)
def test_lines_are_needed(name: str, parts: Parts) -> None:
    with pytest.raises(ValueError, match=f"expected lines with texts for {name}, got none"):
        task(parts)


def test_two_lines_are_learnt() -> None:
    """What is read is nothing at first, and then most of it."""
    torch.manual_seed(0)
    few = Lines(sorted(DIGITS.train, key=lambda line: len(str(line.text)))[:2])
    own = HandwritingTask(HandwritingRecognizer(CODEC.classes, height=HEIGHT), CODEC, Parts(few, few, Lines()))
    assert own.evaluate() < -0.9
    trainer = Trainer(own, adamw(steps=60, batch=2, rate=4e-3), options=Options(clip=1.0), progress=False)
    assert trainer.run() > -0.8


def test_pictures_of_lines(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    draw_readings(tmp_path / "read.png", DIGITS.test, ["$1", ""], "what was read")
    draw_augmented(tmp_path / "changed.png", DIGITS.test, Augmentation(), height=HEIGHT)
    read, changed = (commands.read(tmp_path / name) for name in ("read.png", "changed.png"))
    assert read.shape[1] == changed.shape[1]
    assert read.shape[0] < changed.shape[0]
