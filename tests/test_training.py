"""The training loop, whatever is trained: schedules, evaluation, early stopping, checkpoints, several processes, bars."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed

from spatial_lstm.training import (
    BEST,
    LAST,
    METRICS,
    Bar,
    Checkpoint,
    DivergedError,
    Group,
    Loss,
    Options,
    Stage,
    Trainer,
    files,
    group_from_environment,
    holds_run,
    local_device,
    read_metrics,
)
from tests.cases import assert_close
from tests.toy import Draws, Line

STAGES = [
    Stage(optimizer="adam", rate=0.1, final_rate=0.01, batch=8, steps=5),
    Stage(optimizer="sgd", rate=0.1, final_rate=0.01, batch=8, epochs=2),
]


def make(folder: Path | None = None, stages: list[Stage] = STAGES, **options: Any) -> Trainer[Line]:
    return Trainer(Line(), stages, folder=folder, options=Options(validate_every=2, **options), notes={"data": "x"})


def test_any_task_is_trained(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    before = trainer.task.evaluate()
    best = trainer.run()
    assert best > before
    assert best == trainer.task.evaluate()
    assert trainer.task.calls == ["begin", "before", "before", "polish"]
    lines = read_metrics(tmp_path / METRICS)
    assert [(line["step"], line["phase"]) for line in lines] == [
        (2, "steps"),
        (4, "steps"),
        (5, "steps"),
        (7, "steps"),
        (9, "steps"),
        (11, "steps"),
        (11, "polish"),
    ]
    assert best == max(line["validation"] for line in lines)
    assert all(line["train"] is None for line in lines)  # this loss is on no scale that scores have
    assert [line["loss"] is None for line in lines] == [False] * 6 + [True]
    kept = files.read(tmp_path / BEST)
    assert (kept["score"], kept["notes"]) == (best, {"data": "x"})


def test_a_resumed_run_continues_bitwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = make(tmp_path / "whole")
    whole.run()
    broken = make(tmp_path / "broken", checkpoint_seconds=0)
    step = Trainer._step

    def interrupted(trainer: Trainer[Line], *args: Any) -> None:
        if trainer.state.total == 7:
            raise KeyboardInterrupt
        step(trainer, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            broken.run()
    checkpoint = Checkpoint.read(tmp_path / "broken")
    assert (checkpoint.state.stage, checkpoint.state.step, checkpoint.task) == (1, 2, {"color": "red"})
    task = Line()
    task.load(checkpoint.model)
    resumed = Trainer.resume(tmp_path / "broken", checkpoint, task)
    assert resumed.notes == {"data": "x"}
    assert resumed.run() == whole.state.best
    assert_close(list(task.model.parameters()), list(whole.task.model.parameters()))
    assert "begin" not in task.calls


def test_a_folder_with_a_run_is_refused(tmp_path: Path) -> None:
    """Nothing in it is touched, unless it may be; then nothing of the old run is left."""
    make(tmp_path).run()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=r"expected a folder without a run, got .*: resume it, or pass overwrite=True"):
        make(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    trainer = Trainer(Line(), STAGES, folder=tmp_path, overwrite=True)
    assert (tmp_path / LAST).read_bytes() == before[LAST]
    trainer.prepare()
    assert not (tmp_path / BEST).exists()
    assert read_metrics(tmp_path / METRICS) == []
    assert Checkpoint.read(tmp_path).state.total == 0


def test_a_folder_holds_a_run_from_its_first_checkpoint_on(tmp_path: Path) -> None:
    assert not holds_run(tmp_path / "nowhere")
    (tmp_path / METRICS).touch()
    assert not holds_run(tmp_path)
    make(tmp_path).prepare()
    assert holds_run(tmp_path)
    (tmp_path / LAST).rename(tmp_path / BEST)
    assert holds_run(tmp_path)


def test_a_run_of_another_task_is_refused(tmp_path: Path) -> None:
    make(tmp_path).prepare()
    checkpoint = Checkpoint.read(tmp_path)
    checkpoint.stages[0]["patch"] = 8
    with pytest.raises(ValueError, match="expected a run of Line, got another"):
        Trainer.resume(tmp_path, checkpoint, Line())


def test_a_stage_stops_when_patience_runs_out() -> None:
    stages = [Stage(optimizer="sgd", rate=1.2, final_rate=1.2, batch=8, steps=50), STAGES[0]]
    trainer = make(stages=stages, patience=2)
    best = trainer.run()
    assert trainer.state.total < 40
    assert best == trainer.task.evaluate()


def test_divergence_is_an_error() -> None:
    stages = [Stage(optimizer="sgd", rate=1e30, final_rate=1e30, batch=8, steps=6)]
    with pytest.raises(DivergedError, match="lower the learning rate"):
        make(stages=stages).run()


def test_without_a_stage_the_preparation_is_all_there_is(tmp_path: Path) -> None:
    trainer = make(tmp_path, stages=[])
    assert trainer.run() == trainer.task.evaluate()
    assert (trainer.task.calls, files.read(tmp_path / BEST)["score"]) == (["begin"], trainer.state.best)
    (line,) = read_metrics(tmp_path / METRICS)
    assert (line["step"], line["phase"], line["loss"]) == (0, "preparation", None)
    resumed = Trainer.resume(tmp_path, Checkpoint.read(tmp_path), Line())
    assert resumed.run() == trainer.state.best


def test_stages() -> None:
    falling = Stage(optimizer="adam", rate=1e-2, final_rate=1e-4, batch=1)
    assert [pytest.approx(falling.rate_at(step, step / 8)) for step in (0, 4, 8)] == [1e-2, 5.05e-3, 1e-4]
    rising = Stage(optimizer="adam", rate=1.0, final_rate=1.0, batch=1, steps=9, warmup=3)
    assert [rising.rate_at(step, step / 8) for step in (0, 1, 2, 3, 8)] == [0.25, 0.5, 0.75, 1, 1]
    timed = Stage(optimizer="adam", rate=1.0, final_rate=1.0, batch=1, minutes=9, warmup=3)
    assert [timed.rate_at(step, gone) for step, gone in ((0, 0), (1, 0.01), (1, 0.1), (2, 0.2))] == [0.25, 0.5, 1, 1]
    flat = Stage(optimizer="adamw", rate=1.0, final_rate=0.2, batch=1, flat=0.5)
    assert [flat.rate_at(step, step / 4) for step in range(5)] == pytest.approx([1, 1, 1, 0.6, 0.2])
    assert (falling.count(7), rising.count(7)) == (7, 9)
    assert Stage(optimizer="sgd", rate=1, final_rate=1, batch=1, epochs=2.5).count(4) == 10
    assert Stage(**rising.to_dict()) == rising


@pytest.mark.parametrize(
    "wrong",
    [
        {"optimizer": "lion"},
        {"batch": 0},
        {"rate": 0.0},
        {"rate": float("nan")},
        {"final_rate": float("inf")},
        {"steps": 0},
        {"epochs": 0.0},
        {"minutes": 0.0},
        {"warmup": -1},
    ],
)
def test_stages_refuse(wrong: dict[str, Any]) -> None:
    ((name, _),) = wrong.items()
    with pytest.raises(ValueError, match=f"expected .*{name}"):
        Stage(**{"optimizer": "sgd", "batch": 1, "rate": 1.0, "final_rate": 1.0, **wrong})


@pytest.mark.parametrize("wrong", [{"validate_every": 0}, {"seed": -1}, {"patience": -1}, {"clip": float("nan")}])
def test_options_refuse(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"expected {next(iter(wrong))} of at least"):
        Options(**wrong)


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / LAST
    files.save(path, {"a": 1})
    with pytest.raises(AttributeError, match="pickle"):
        files.save(path, {"a": lambda: None})
    assert files.read(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ValueError, match="expected a checkpoint of format 4 or older"):
        Checkpoint.read(tmp_path)
    files.save(path, {"format": 4, "state": {}})
    with pytest.raises(ValueError, match="expected a checkpoint of a training run"):
        Checkpoint.read(tmp_path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="cannot be read"):
        files.read(path)
    path.write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match="cannot be read: it is damaged, or of another kind$") as refused:
        files.read(path)
    assert "weights_only" not in "".join(traceback.format_exception(refused.value))
    with pytest.raises(ValueError, match="got none"):
        files.read(tmp_path / "other.pt")


def test_metrics_are_valid_json_or_nothing(tmp_path: Path) -> None:
    metrics = files.Metrics(tmp_path / METRICS)
    metrics.add(step=1, validation=0.5)
    with pytest.raises(ValueError, match="JSON"):
        metrics.add(step=2, validation=float("-inf"))
    assert read_metrics(metrics.path) == [{"step": 1, "validation": 0.5}]


@pytest.mark.parametrize("size", [5, 1])
def test_shares_of_a_batch_have_the_whole_batchs_gradient(size: int) -> None:
    task = Line()
    batch = Draws(size, [0])[0]
    Loss(task)(batch).backward()
    whole = [p.grad.clone() for p in task.model.parameters()]
    task.model.zero_grad()
    for rank in range(2):
        part, weight = Group(rank, 2).share(batch)
        (Loss(task)(part, weight) / 2).backward()
    assert_close([p.grad for p in task.model.parameters()], whole)


PROCESS = """
import sys, time
import torch
from spatial_lstm.image_models import RIDE, data
from spatial_lstm.image_models.training import ImageTask, adam
from spatial_lstm.training import Options, Stage, Trainer, group_from_environment
from tests.toy import Line
torch.manual_seed(0)
with group_from_environment(torch.device("cpu")) as group:
    line, stages = Line(), [Stage(optimizer="sgd", rate=0.1, final_rate=0.1, batch=5, steps=4)]
    splits = data.generated(train=2, held_out=1, side=32)
    ride = ImageTask(RIDE(hidden_size=3, components=2, scales=2, features=2), splits)
    best = [Trainer(line, stages, group=group, options=Options(validate_every=2)).run()]
    best += [Trainer(ride, adam(2, patch=8, batch=5, finetune=2), group=group).run()]
    time.sleep(0.5 * group.rank)
    done = time.time()
left = time.time()
parameters = [*line.model.parameters(), *ride.model.parameters()]
torch.save([group.world, best, done, left, *parameters], f"{sys.argv[1]}.{group.rank}")
"""


def test_two_processes_train_as_one_and_leave_together(tmp_path: Path) -> None:
    script = tmp_path / "process.py"
    script.write_text(PROCESS)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    root = str(Path(__file__).parents[1])
    for how, out in (([], "alone"), (launch, "both")):
        program = [sys.executable, *how, str(script), str(tmp_path / out)]
        done = subprocess.run(program, capture_output=True, text=True, cwd=root, env=environment(root), timeout=600)
        assert done.returncode == 0, done.stderr
    one, first, second = (torch.load(tmp_path / name) for name in ("alone.0", "both.0", "both.1"))
    assert (one[0], first[0], second[0]) == (1, 2, 2)
    assert first[1] == second[1] == pytest.approx(one[1], rel=1e-4)
    assert all(torch.equal(a, b) for a, b in zip(first[4:], second[4:], strict=True))
    assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-4) for a, b in zip(first[4:], one[4:], strict=True))
    assert first[3] >= second[2], "the first left while the second still worked"


def environment(root: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{root}:{os.environ.get('PYTHONPATH', '')}"}


def test_a_process_computes_and_communicates_on_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of torchrun's second process on a machine of two GPUs: the device is set before the group is joined."""
    calls: list[object] = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: calls.append(device))
    monkeypatch.setattr(distributed, "init_process_group", lambda backend: calls.append(backend))
    monkeypatch.setattr(distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(distributed, "barrier", lambda: calls.append("barrier"))
    monkeypatch.setattr(distributed, "destroy_process_group", lambda: calls.append("left"))
    device = local_device("cuda")
    with group_from_environment(device) as group:
        assert (group.rank, group.world) == (1, 2)
    assert calls == [torch.device("cuda", 1), "nccl", "barrier", "left"]
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ValueError, match="expected a GPU for each process on this machine, got 2 GPUs for process 2"):
        local_device("cuda")
    assert local_device("cpu") == torch.device("cpu")


def test_bars_are_for_terminals(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def show(shown: bool = True) -> str:
        with Bar(3, label="work", shown=shown) as bar:
            time.sleep(0.11)
            bar.move_to(2)
            bar.say("so far")
            bar.move_to(3, 4)
        return capsys.readouterr().err

    assert show() == ""
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert show(shown=False) == ""
    found = show()
    assert "work" in found
    assert "3/4" in found
    with Bar(2.5, unit="min") as bar:
        time.sleep(0.11)
        bar.move_to(1.26)
        bar.say("so far")
    assert "1.3/2.5 min, so far" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "tqdm", None)
    for use in (show, make):
        with pytest.raises(ModuleNotFoundError, match="expected tqdm to show progress: pip install") as caught:
            use()
        assert caught.value.name == "tqdm"


def test_training_needs_no_extra() -> None:
    """A plain install brings neither tqdm nor matplotlib."""
    program = """
import sys
for name in ("tqdm", "matplotlib", "PIL", "sklearn", "skimage"):
    sys.modules[name] = None
import spatial_lstm.training, spatial_lstm.image_models.training, spatial_lstm.image_models.data
from tests.test_training import make
make().run()
"""
    root = str(Path(__file__).parents[1])
    subprocess.run([sys.executable, "-c", program], check=True, cwd=root, env=environment(root))
