"""Training image models: schedules, patches, L-BFGS, added layers, runs that continue bitwise, runs of version 0.1."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from spatial_lstm.image_models import RIDE, Ensemble, MCGSMImage, PixelRNN, data
from spatial_lstm.image_models.training import (
    ImageOptions,
    ImageStage,
    ImageTask,
    adam,
    layer_by_layer,
    load_model,
    staged_sgd,
)
from spatial_lstm.image_models.training.batches import PatchBatches
from spatial_lstm.training import BEST, LAST, METRICS, Checkpoint, DivergedError, Options, Trainer, files, read_metrics

SMALL = {"components": 2, "scales": 2, "features": 2}
SGD = {"optimizer": "sgd", "patch": 8, "rate": 0.01, "final_rate": 0.001, "batch": 4}
STAGES = [*adam(4, patch=8, batch=4, finetune=2), ImageStage(**{**SGD, "patch": 10}, steps=3, finetune=2)]
FEW = ImageOptions(validation_tiles=2)


@pytest.fixture
def splits() -> data.Splits:
    return data.generated(train=2, held_out=1, side=32)


def ride(seed: int = 0, **options: Any) -> RIDE:
    torch.manual_seed(seed)
    return RIDE(hidden_size=3, **SMALL, **options)


def make(
    splits: data.Splits, folder: Path | None = None, stages: list[ImageStage] = STAGES, **options: Any
) -> Trainer[ImageTask]:
    settings = Options(**{"validate_every": 2, "checkpoint_seconds": 0, **options})
    return Trainer(ImageTask(ride(), splits, FEW), stages, folder=folder, options=settings, notes={"data": "x"})


def resume(folder: Path, splits: data.Splits) -> Trainer[ImageTask]:
    checkpoint = Checkpoint.read(folder)
    return Trainer.resume(folder, checkpoint, ImageTask.restore(checkpoint, splits))


def interrupt_at(trainer: Trainer[ImageTask], monkeypatch: pytest.MonkeyPatch, total: int) -> None:
    """Let a trainer be interrupted in the middle of its step number ``total``."""
    step = trainer._step

    def interrupted(*args: Any) -> None:
        if trainer.state.total == total:
            raise KeyboardInterrupt
        step(*args)

    monkeypatch.setattr(trainer, "_step", interrupted)


def without_time(path: Path) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key != "seconds"} for line in read_metrics(path)]


def break_off(splits: data.Splits, folder: Path, monkeypatch: pytest.MonkeyPatch, total: int) -> None:
    broken = make(splits, folder)
    interrupt_at(broken, monkeypatch, total)
    with pytest.raises(KeyboardInterrupt):
        broken.run()


@pytest.mark.parametrize("total", [0, 1, 3, 4, 6])
def test_a_resumed_run_continues_bitwise(
    tmp_path: Path, splits: data.Splits, monkeypatch: pytest.MonkeyPatch, total: int
) -> None:
    whole = make(splits, tmp_path / "whole")
    whole.run()
    break_off(splits, tmp_path / "broken", monkeypatch, total)
    torch.manual_seed(123)
    resumed = resume(tmp_path / "broken", splits)
    assert resumed.state.total == total
    assert resumed.run() == whole.state.best
    for name, tensor in whole.task.model.state_dict().items():
        assert torch.equal(resumed.task.model.state_dict()[name], tensor), name
    last = [Checkpoint.read(tmp_path / folder) for folder in ("whole", "broken")]
    assert all(torch.equal(last[0].model["state"][k], last[1].model["state"][k]) for k in last[0].model["state"])
    assert torch.equal(last[0].random["torch"], last[1].random["torch"])
    assert without_time(tmp_path / "whole" / METRICS) == without_time(tmp_path / "broken" / METRICS)


def as_third_format(folder: Path) -> None:
    """Rewrite a checkpoint as it was before it told when its weights were best."""
    content = files.read(folder / LAST)
    del content["state"]["best_total"]
    files.save(folder / LAST, {**content, "format": 3})


def as_second_format(folder: Path) -> None:
    """Rewrite a checkpoint as it was before stages could go by the clock."""
    as_third_format(folder)
    content = files.read(folder / LAST)
    del content["state"]["began"]
    for stage in content["stages"]:
        del stage["minutes"]
    files.save(folder / LAST, {**content, "format": 2})


def as_first_format(folder: Path) -> None:
    """Rewrite a checkpoint as version 0.1 wrote it."""
    as_second_format(folder)
    content = files.read(folder / LAST)
    del content["format"]
    state = content.pop("state")
    content["position"] = {("nats" if name == "loss" else name): value for name, value in state.items()}
    content["options"] |= {name: value for name, value in content.pop("task").items() if name != "data"}
    content["optimiser"] = content.pop("optimizer")
    content["stages"] = [{"optimiser": stage.pop("optimizer"), **stage} for stage in content["stages"]]
    files.save(folder / LAST, content)


@pytest.mark.parametrize("rewrite", [as_first_format, as_second_format, as_third_format])
def test_a_run_of_an_older_version_continues(
    tmp_path: Path, splits: data.Splits, monkeypatch: pytest.MonkeyPatch, rewrite: Callable[[Path], None]
) -> None:
    whole = make(splits)
    whole.run()
    break_off(splits, tmp_path, monkeypatch, 6)
    rewrite(tmp_path)
    resumed = resume(tmp_path, splits)
    assert (resumed.state.total, resumed.stages, resumed.task.options) == (6, STAGES, FEW)
    assert resumed.run() == whole.state.best


def test_other_data_are_refused(tmp_path: Path, splits: data.Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    break_off(splits, tmp_path, monkeypatch, 2)
    for other in (
        data.generated(train=2, held_out=1, side=32, seed=1),
        data.generated(train=3, held_out=1, side=32),
        data.generated(train=2, held_out=1, side=40),
    ):
        with pytest.raises(ValueError, match="expected the data that the run was begun with"):
            resume(tmp_path, other)
    nearly = data.Splits("moved", *([image + 1e-4 for image in splits.part(part)] for part in data.PARTS))
    assert resume(tmp_path, nearly).state.total == 2


def test_the_best_weights_are_kept(tmp_path: Path, splits: data.Splits) -> None:
    trainer = make(splits, tmp_path)
    best = trainer.run()
    lines = read_metrics(tmp_path / METRICS)
    assert best == max(line["validation"] for line in lines)
    assert [line["phase"] for line in lines] == ["steps", "steps", "finetune", "steps", "steps", "finetune"]
    assert lines[0]["train"] == pytest.approx(-lines[0]["loss"] * 1.4426950408889634)
    assert best == trainer.task.evaluate()
    loaded = load_model(str(tmp_path / BEST))
    assert loaded.bits_per_pixel(trainer.task.held_out) == best


def test_checkpoints_of_other_models_are_refused(tmp_path: Path, splits: data.Splits) -> None:
    files.save(tmp_path / BEST, {"model": {"kind": "line"}})
    with pytest.raises(ValueError, match="expected a model of one of RIDE, .*, got line"):
        load_model(tmp_path / BEST)
    files.save(tmp_path / BEST, {"weights": 1})
    with pytest.raises(ValueError, match="expected a checkpoint of an image model"):
        load_model(tmp_path / BEST)
    unknown = ImageTask(type("OtherRIDE", (RIDE,), {})(hidden_size=3, **SMALL), splits)
    with pytest.raises(ValueError, match="expected a model of one of RIDE, .*, got OtherRIDE"):
        unknown.describe()


def test_training_raises_the_likelihood(splits: data.Splits) -> None:
    task = ImageTask(ride(), splits)
    task.begin()
    before = task.bits(task.tiles("test"))
    Trainer(task, adam(100, patch=12, batch=8), options=Options(validate_every=25, clip=1)).run()
    assert task.bits(task.tiles("test")) > before + 0.03


def test_scores_that_are_not_finite_end_a_run(splits: data.Splits) -> None:
    """As divergence, so that the best weights so far are kept."""
    task = ImageTask(ride(), splits, FEW)
    task.model.get_parameter("mcgsm.eta").data.fill_(math.nan)
    with pytest.raises(DivergedError, match="training diverged by step 1"):
        Trainer(task, adam(1, patch=8, batch=4)).run()
    with pytest.raises(ValueError, match="expected finite log-likelihoods, got 1 of 1 images"):
        task.bits(task.held_out)


def test_layers_are_added_to_trained_ones(tmp_path: Path, splits: data.Splits) -> None:
    stages = layer_by_layer(adam(2, patch=8, batch=4), 2)
    trainer = make(splits, tmp_path, stages, validate_every=1)
    trainer.run()
    assert trainer.task.model.config()["num_layers"] == 2
    assert load_model(tmp_path / LAST).config()["num_layers"] == 2
    with pytest.raises(ValueError, match="expected a RIDE to add layers to, got MCGSMImage"):
        Trainer(ImageTask(MCGSMImage(**SMALL), splits), stages).run()


@pytest.mark.parametrize(
    "make_model", [lambda: MCGSMImage(**SMALL), lambda: ride(extended=True), lambda: ride(num_layers=2)]
)
def test_other_models_are_trained_too(splits: data.Splits, make_model: Callable[[], Any]) -> None:
    Trainer(ImageTask(make_model(), splits), adam(2, patch=8, batch=4), options=Options(autocast=True)).run()


def test_schedules() -> None:
    stages = staged_sgd()
    assert [stage.patch for stage in stages] == list(range(8, 23, 2))
    assert [stage.rate for stage in stages] == [1, 0.5, 0.1, 0.05, 0.01, 0.005, 0.001, 0.0005]
    assert {(stage.batch, stage.finetune, stage.epochs) for stage in stages} == {(50, 500, 1)}
    assert [adam(steps)[0].warmup for steps in (9, 20, 9000)] == [0, 2, 300]
    timed = adam(minutes=6)[0]
    assert (timed.steps, timed.minutes, timed.warmup) == (None, 6, 300)
    assert {stage.minutes for stage in staged_sgd(minutes=4)} == {0.5}
    assert [stage.minutes for stage in layer_by_layer([timed], 3)] == [2, 2, 2]
    with pytest.raises(ValueError, match="expected steps or minutes, got neither"):
        adam()
    grown = layer_by_layer(stages[:2], 3)
    assert [stage.layers for stage in grown] == [1, None, 2, None, 3, None]
    assert ImageStage(**grown[0].to_dict()) == grown[0]
    for wrong in ({"patch": 0}, {"finetune": -1}, {"layers": 0}, {"steps": 0}):
        with pytest.raises(ValueError, match=f"expected {next(iter(wrong))} of at least"):
            ImageStage(**{**SGD, **wrong})
    for name in asdict(ImageOptions()):
        with pytest.raises(ValueError, match=f"expected {name} of at least 1, got 0"):
            ImageOptions(**{name: 0})


def test_images_smaller_than_a_patch_or_tile_are_left_out_with_a_word() -> None:
    images = [torch.rand(1, *extents) for extents in ((16, 20), (7, 30), (18, 16))]
    with pytest.warns(UserWarning, match="1 of 3 images left out, which are smaller than 8x8"):
        batches = PatchBatches(images, 8, 4, seed=(0,))
    assert [tuple(image.shape) for image in batches.images] == [(1, 16, 20), (1, 18, 16)]
    with pytest.warns(UserWarning, match="1 of 3 images left out, which are smaller than 16x16"):
        assert ImageTask(ride(), data.Splits("mixed", images, images, images)).held_out.shape == (2, 1, 16, 16)


def test_pictures_that_a_model_cannot_score_are_left_out_or_refused_before_training() -> None:
    """Those of every part that is scored, even where most are such."""
    small, large = torch.rand(1, 2, 30), torch.rand(1, 16, 20)
    mixed = [small, large, small, small]
    with pytest.warns(UserWarning, match="3 of 4 images left out, which are smaller than 16x16"):
        task = ImageTask(ride(), data.Splits("mixed", [large], mixed, mixed))
    assert [len(task.score_part(part).images) for part in ("validation", "test")] == [1, 1]
    for validation, test, part in (([small], [large], "validation"), ([large], [small], "test")):
        with pytest.raises(ValueError, match=f"images for {part} of at least .* for a RIDE, got 1, smaller"):
            ImageTask(ride(), data.Splits("mixed", [large], validation, test))
    with pytest.raises(ValueError, match=r"expected a tile side of at least \d+ for a RIDE, got 2"):
        ImageTask(ride(), data.Splits("mixed", [large], [large], [large]), ImageOptions(tile=2))


def test_patches_begin_at_even_rows_and_columns_whatever_the_epoch() -> None:
    images = [torch.stack(torch.meshgrid(torch.arange(21.0), torch.arange(23.0), indexing="ij"))]
    batches = PatchBatches(images, 8, 4, seed=(0,), mirror=False)
    assert batches.per_epoch == 1
    corners = torch.cat([batches[step][:, :, 0, 0] for step in range(12)])
    assert torch.equal(corners % 2, torch.zeros_like(corners))
    assert all(len(set(axis)) > 3 for axis in corners.T.tolist())  # two patches an offset


def test_an_epoch_shows_every_patch_and_its_mirror_image_once() -> None:
    images = [torch.arange(16 * 24).float().view(1, 16, 24)]
    batches = PatchBatches(images, 8, 4, seed=(0, 1))
    assert batches.per_epoch == 3
    seen = torch.cat([batches[step] for step in range(3)])
    expected = data.with_flips(data.tiles(images, 8))
    assert sorted(map(str, seen.tolist())) == sorted(map(str, expected.tolist()))
    later = batches[4]
    assert torch.equal(PatchBatches(images, 8, 4, seed=(0, 1))[4], later)
    assert not torch.equal(batches[1], later)
    with pytest.raises(ValueError, match="at least 17x17"):
        PatchBatches(images, 17, 4, seed=(0,))


def test_an_epoch_of_all_symmetries_shows_every_patch_in_all_views_that_an_ensemble_reads() -> None:
    images = [torch.arange(12 * 8).float().view(1, 12, 8)]
    batches = PatchBatches(images, 4, 4, seed=(0,), symmetries=True)
    assert batches.per_epoch == 12
    seen = torch.cat([batches[step] for step in range(12)])
    views = Ensemble(PixelRNN(hidden_size=2)).views(data.tiles(images, 4))
    assert sorted(map(str, seen.tolist())) == sorted(map(str, torch.cat(views).tolist()))
