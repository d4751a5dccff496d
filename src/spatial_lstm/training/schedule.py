"""How far a run is along its stages, which are counted in steps or go by the clock."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from spatial_lstm.training.options import TrainingState
from spatial_lstm.training.stage import Stage


class Schedule(ABC):
    """Stages one after the other.

    Args:
        stages: Of which all or none go by the clock.

    Attributes:
        timed: Whether they go by the clock.
        unit: Of :attr:`total` and :meth:`done`, for a progress bar.
        total: How long all stages are.
    """

    timed: ClassVar[bool]
    unit: ClassVar[str]
    total: float

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.stages = list(stages)

    @abstractmethod
    def done(self, state: TrainingState, seconds: float) -> float:
        """How much of the total is behind a run that has taken so many seconds."""

    @abstractmethod
    def over(self, state: TrainingState, seconds: float) -> bool:
        """Whether the stage that the run is in has had its last step; each has at least one."""

    @abstractmethod
    def gone(self, state: TrainingState, seconds: float) -> float:
        """The fraction of the stage that is behind the run, 0 at its first step."""

    def rate(self, state: TrainingState, seconds: float) -> float:
        """Learning rate of the next step."""
        return self.stages[state.stage].rate_at(state.step, self.gone(state, seconds))


class StepSchedule(Schedule):
    """Stages of so many steps each.

    Args:
        stages: The stages.
        per_epoch: For each, the steps of an epoch.
    """

    timed = False
    unit = "step"

    def __init__(self, stages: Sequence[Stage], per_epoch: Sequence[int]) -> None:
        super().__init__(stages)
        self.steps = [stage.count(count) for stage, count in zip(stages, per_epoch, strict=True)]
        self.total = sum(self.steps)

    def done(self, state: TrainingState, seconds: float) -> float:
        """Steps up to where the run stands, those that early stopping left out among them."""
        return sum(self.steps[: state.stage]) + state.step

    def over(self, state: TrainingState, seconds: float) -> bool:
        return state.step >= self.steps[state.stage]

    def gone(self, state: TrainingState, seconds: float) -> float:
        return state.step / max(1, self.steps[state.stage] - 1)


class TimedSchedule(Schedule):
    """Stages that share a time out: one that begins late, as after preparations, is shorter in proportion, and so are those after it."""

    timed = True
    unit = "min"

    def __init__(self, stages: Sequence[Stage]) -> None:
        super().__init__(stages)
        self.minutes = [stage.minutes or 0.0 for stage in stages]
        self.total = sum(self.minutes)

    def done(self, state: TrainingState, seconds: float) -> float:
        return min(self.total, seconds / 60)

    def over(self, state: TrainingState, seconds: float) -> bool:
        return state.step > 0 and self.gone(state, seconds) >= 1

    def gone(self, state: TrainingState, seconds: float) -> float:
        share = self.minutes[state.stage] / sum(self.minutes[state.stage :])
        length = (60 * self.total - state.began) * share
        return (seconds - state.began) / length if length > 0 else 1.0


def make_schedule(stages: Sequence[Stage], per_epoch: Sequence[int]) -> Schedule:
    """The schedule of stages whose epochs have so many steps.

    Raises:
        ValueError: If some go by the clock and some do not.
    """
    timed = [stage.minutes is not None for stage in stages]
    if any(timed) and not all(timed):
        raise ValueError(f"expected minutes for all stages or for none, got them for {sum(timed)} of {len(timed)}")
    return TimedSchedule(stages) if any(timed) else StepSchedule(stages, per_epoch)
