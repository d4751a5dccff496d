"""Training by the clock: stages of so many minutes, on a clock that the tests wind; and how steps are timed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from spatial_lstm.training import (
    METRICS,
    Checkpoint,
    Group,
    Options,
    Stage,
    Trainer,
    read_metrics,
    set_threads,
    step_seconds,
)
from tests.toy import Draws, Line, Points


class Watch:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class SlowLine(Line):
    """A step takes so many seconds, as do an evaluation, the preparation and what follows a stage."""

    def __init__(self, watch: Watch, step: float = 6.0, evaluation: float = 0.0, beginning: float = 0.0) -> None:
        super().__init__()
        self.watch, self.step, self.evaluation, self.beginning = watch, step, evaluation, beginning

    def batches(self, stage: Stage, seed: Sequence[int]) -> Draws:
        watch, seconds = self.watch, self.step

        class Slow(Draws):
            def __getitem__(self, step: int) -> Points:
                watch.now += seconds
                return super().__getitem__(step)

        return Slow(stage.batch, seed)

    def evaluate(self) -> float:
        self.watch.now += self.evaluation
        return super().evaluate()

    def begin(self) -> None:
        self.watch.now += self.beginning


def stage(minutes: float | None, **options: Any) -> Stage:
    return Stage(**{"optimizer": "adam", "rate": 0.1, "final_rate": 0.0001, "batch": 8, "minutes": minutes, **options})


def train(task: SlowLine, stages: Sequence[Stage], folder: Path | None = None, **options: Any) -> Trainer[SlowLine]:
    settings = Options(**{"validate_every": 1, "checkpoint_seconds": 1e9, **options})
    trainer = Trainer(task, stages, folder=folder, options=settings, clock=task.watch)
    trainer.run()
    return trainer


def rates(folder: Path) -> list[float]:
    return [line["rate"] for line in read_metrics(folder / METRICS)]


def test_a_stage_ends_when_its_time_is_over(tmp_path: Path) -> None:
    trainer = train(SlowLine(Watch()), [stage(1, rate=1e-2, final_rate=0.5e-2)], tmp_path)
    assert (trainer.state.total, trainer.state.seconds) == (10, 60)
    assert rates(tmp_path) == pytest.approx([1e-2 - 0.05e-2 * step for step in range(10)])


def test_the_warm_up_takes_a_tenth_of_the_time_at_most(tmp_path: Path) -> None:
    train(SlowLine(Watch(), step=1.5), [stage(1, rate=1.0, final_rate=1.0, warmup=300)], tmp_path)
    assert rates(tmp_path)[:6] == pytest.approx([1 / 301, 0.25, 0.5, 0.75, 1, 1])


def test_evaluation_and_preparation_take_of_the_time() -> None:
    trainer = train(SlowLine(Watch(), evaluation=6, beginning=12), [stage(1)])
    assert (trainer.state.total, trainer.state.seconds) == (4, 60)


def test_time_is_kept_for_the_last_evaluation() -> None:
    """As long as the one before took."""
    trainer = train(SlowLine(Watch(), evaluation=12), [stage(1)], validate_every=5)
    assert (trainer.state.total, trainer.state.seconds) == (6, 60)


def test_a_run_without_an_evaluation_by_half_time_has_one_then() -> None:
    """Else it could not tell how long the last one takes."""
    trainer = train(SlowLine(Watch(), evaluation=6), [stage(1)], validate_every=1000)
    assert (trainer.state.total, trainer.state.seconds) == (8, 60)


def test_stages_share_the_time_out() -> None:
    """One that takes too long takes it from those after it, each in its proportion."""
    watch = Watch()
    steps: list[int] = []

    class Lines(SlowLine):
        def before(self, stage: Stage) -> bool:
            steps.append(0)
            return False

        def loss(self, batch: Points) -> torch.Tensor:
            steps[-1] += len(batch) == 8
            return super().loss(batch)

        def after(self, stage: Stage) -> dict[str, Any]:
            return {"polish": lambda: setattr(watch, "now", watch.now + 30)} if len(steps) == 1 else {}

    trainer = train(Lines(watch), [stage(1), stage(0.5), stage(1)])
    # The first takes 60 of 150 seconds and 30 more; a third of what is left are 20, which the fourth step is the first to reach.
    assert (steps, trainer.state.seconds) == ([10, 4, 6], 150)


def test_a_stage_without_time_has_one_step() -> None:
    trainer = train(SlowLine(Watch(), beginning=100), [stage(1), stage(0.5)])
    assert trainer.state.total == 2
    assert trainer.state.best > float("-inf")


@pytest.mark.parametrize("at", [4, 9])
def test_a_resumed_run_goes_on_with_what_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """A day passes between; steps since the last checkpoint, here of the best weights, are lost, their time is not taken."""
    watch = Watch()
    step = Trainer._step

    def interrupted(trainer: Trainer[Line], *args: Any) -> None:
        if trainer.state.total == at:
            raise KeyboardInterrupt
        step(trainer, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(SlowLine(watch), [stage(1, rate=1e-2, final_rate=0.5e-2)], tmp_path, validate_every=4)
    watch.now += 24 * 3600
    checkpoint = Checkpoint.read(tmp_path)
    assert checkpoint.state.total == at // 4 * 4
    task = SlowLine(watch)
    task.load(checkpoint.model)
    resumed = Trainer.resume(tmp_path, checkpoint, task, clock=watch)
    resumed.run()
    assert (resumed.state.total, resumed.state.seconds) == (10, 60)
    assert rates(tmp_path) == pytest.approx([1e-2 - 0.05e-2 * step for step in (3, 7, 9)])


def test_the_first_processs_clock_counts_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the second of two processes, whose own clock stands."""
    asked: list[float] = []

    def agree(group: Group, value: float) -> float:
        asked.append(value)
        return 20.0 * (len(asked) - 1)

    monkeypatch.setattr(Group, "agree", agree)
    monkeypatch.setattr(Group, "mean", lambda group, value: value)
    monkeypatch.setattr(Group, "wrap", lambda group, loss: loss)
    monkeypatch.setattr(Group, "copy_from_first", lambda group, module: None)
    task = SlowLine(Watch(), step=0)
    trainer = Trainer(task, [stage(1)], group=Group(1, 2), options=Options(validate_every=1000), clock=task.watch)
    trainer.run()
    # Asked when the stage begins and before its steps, after each of three, and for the score.
    assert (trainer.state.total, asked) == (2, [0.0] * 5)


def test_stages_are_all_by_the_clock_or_none() -> None:
    with pytest.raises(ValueError, match="expected minutes for all stages or for none, got them for 1 of 2"):
        train(SlowLine(Watch()), [stage(1), stage(None)])
    with pytest.raises(ValueError, match="expected steps or minutes, got 5 steps and 1 minutes"):
        stage(1, steps=5)


def test_steps_are_timed_and_the_task_is_left_as_it_was() -> None:
    task = SlowLine(Watch(), step=3.0)
    before, random = task.describe()["state"], torch.get_rng_state()
    assert step_seconds(task, stage(1), steps=2, clock=task.watch) == 3
    assert all(torch.equal(tensor, before[name]) for name, tensor in task.model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in task.model.parameters())


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Of a machine that has four."""
    found = {"threads": 4}
    monkeypatch.setattr(torch, "get_num_threads", lambda: found["threads"])
    monkeypatch.setattr(torch, "set_num_threads", lambda count: found.update(threads=count))
    return found


@pytest.mark.parametrize(("one", "all_", "fastest"), [(2.0, 1.0, 4), (1.0, 3.0, 1), (1.0, 1.0, 1)])
def test_the_faster_number_of_threads_is_taken(threads: dict[str, int], one: float, all_: float, fastest: int) -> None:
    watch = Watch()

    def work() -> None:
        watch.now += {1: one, 4: all_}[threads["threads"]]

    assert set_threads(None, work, clock=watch) == fastest
    assert threads["threads"] == fastest


def test_a_given_number_of_threads_is_taken(threads: dict[str, int]) -> None:
    def work() -> None:
        raise AssertionError

    assert set_threads(3, work) == 3
    threads["threads"] = 1
    assert set_threads(None, work) == 1
