"""Training runs killed at random moments: all that was saved loads, and the resumed run ends with the bits of an uninterrupted one.

python .ci/kills.py [--kills 50] [--seed 0] [--only ride]    # needs the package with its extra test
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import spatial_lstm
from spatial_lstm.cli import main
from spatial_lstm.handwriting import LineReader
from spatial_lstm.handwriting.data import save_lines
from spatial_lstm.handwriting.training import digit_lines
from spatial_lstm.image_models.training import load_model
from spatial_lstm.training import BEST, LAST, METRICS, Checkpoint, files, read_metrics

RIDE = ["train-ride", "--hidden", "3", "--components", "2", "--scales", "2", "--features", "2", "--patch", "12"]
PIXELRNN = ["train-pixelrnn", "--hidden", "2", "--kernel", "3", "--patch", "12"]
HTR = ["train-htr", "--architecture", "graves-2009", "--height", "32"]
STEPS = ["--steps", "16", "--batch", "4", "--validate-every", "3"]
ALWAYS = ["--no-pictures", "--threads", "1"]
# Command, and seconds between checkpoints: as many as there can be, and few enough for steps to be done again.
RUNS = {
    "ride": ([*RIDE, *STEPS, "--finetune", "3"], 0),
    "ride-layers": ([*RIDE, *STEPS, "--layers", "2", "--greedy", "--finetune", "2"], 0.05),
    "ride-by-the-clock": ([*RIDE, "--minutes", "0.02", "--batch", "4", "--validate-every", "3"], 0.2),
    "pixelrnn": ([*PIXELRNN, *STEPS], 0.05),
    "htr": ([*HTR, *STEPS], 0),
    "htr-seldom": ([*HTR, *STEPS], 0.2),
}
# What differs from run to run by itself.
TIMES = {"seconds", "began"}


def make_data(folder: Path) -> dict[str, Path]:
    """Pictures and lines, by the commands that take them."""
    draw = np.random.default_rng(0)
    (folder / "pictures").mkdir()
    for place in range(8):
        values = draw.integers(0, 256, (9, 9), dtype=np.uint8)
        Image.fromarray(values).resize((32, 32), Image.Resampling.BICUBIC).save(folder / "pictures" / f"{place}.png")
    parts = digit_lines(train=6, validation=2, test=3, seed=0)
    save_lines(parts.train + parts.validation + parts.test, folder / "lines")
    pictures, lines = folder / "pictures", folder / "lines"
    return {"train-ride": pictures, "train-pixelrnn": pictures, "train-htr": lines}


def start(command: list[str], log: Path) -> int:
    """Run a command in a process of its own, which need not import torch again; return its number."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    status = 99
    try:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        status = main(command)
        sys.stdout.flush()
    finally:
        os._exit(status)


def status_within(child: int, seconds: float) -> int:
    """Wait for a process and kill it when the time is over; return its exit status, minus the signal's number where it had none."""
    until = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            break
        if time.monotonic() >= until:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            break
        time.sleep(0.001)
    return os.waitstatus_to_exitcode(status)


@dataclass
class Run:
    """A command, begun as often as it is killed.

    Attributes:
        name: Of :data:`RUNS`.
        command: With its data, without a folder.
        folder: That it writes into.
        seen: Steps in the newest checkpoint that was seen.
    """

    name: str
    command: list[str]
    folder: Path
    seen: int = field(default=-1, init=False)

    @property
    def log(self) -> Path:
        return self.folder.with_suffix(".log")

    def go_on(self, seconds: float) -> bool:
        """Begin, or resume what is there; whether it came to its end within the time."""
        where = ["--out", str(self.folder), *ALWAYS]
        resumes = (self.folder / LAST).exists()
        command = [self.command[0], "--resume", *where] if resumes else [*self.command, *where]
        status = status_within(start(command, self.log), seconds)
        if status not in (0, -signal.SIGKILL):
            raise SystemExit(
                f"expected {' '.join(command)} to end well, got status {status}:\n{self.log.read_text()[-2000:]}"
            )
        return status == 0

    def check(self) -> None:
        """All that is there loads, and no checkpoint is older than one that was there before."""
        if (self.folder / LAST).exists():
            checkpoint = Checkpoint.read(self.folder)
            expect(
                checkpoint.state.total >= self.seen,
                f"a checkpoint of step {self.seen} or later",
                checkpoint.state.total,
            )
            self.seen = checkpoint.state.total
            expect((self.folder / METRICS).stat().st_size >= checkpoint.metrics, "all lines of metrics", "fewer")
        expect(self.seen < 0 or (self.folder / LAST).exists(), LAST, "none")
        if (self.folder / BEST).exists():
            files.read(self.folder / BEST)
            (LineReader.load if self.name.startswith("htr") else load_model)(self.folder)

    def left(self) -> dict[str, Any]:
        """What a finished run has left, without times."""
        last = Checkpoint.read(self.folder)
        best = files.read(self.folder / BEST)
        state = {name: value for name, value in asdict(last.state).items() if name not in TIMES}
        lines = [
            {name: line[name] for name in line if name not in TIMES} for line in read_metrics(self.folder / METRICS)
        ]
        result = json.loads((self.folder / "result.json").read_text())
        return {
            "state": state,
            "last": last.model,
            "best so far": last.best,
            "best": best["model"],
            "record": {name: best[name] for name in ("score", "steps")},
            "metrics": lines,
            "result": {name: value for name, value in result.items() if name not in TIMES},
            "files": sorted(path.name for path in self.folder.iterdir()),
        }

    def check_whole(self) -> None:
        """The best model is the one that the run ended with, and nothing else is left."""
        found = self.left()
        expect_equal(found["best"], found["best so far"], "best model")
        expect_equal(found["record"]["score"], found["state"]["best"], "best score")
        expect_equal(found["files"], sorted([LAST, BEST, METRICS, "result.json"]), "files")


def expect(right: bool, expected: str, found: object) -> None:
    """End with a message where something is not as it should be."""
    if not right:
        raise SystemExit(f"expected {expected}, got {found}")


def expect_equal(found: Any, expected: Any, what: str) -> None:
    """End with a message where a bit differs."""
    if isinstance(expected, dict):
        expect(found.keys() == expected.keys(), f"{what} to have {sorted(expected)}", sorted(found))
        for name in expected:
            expect_equal(found[name], expected[name], f"{what}: {name}")
    elif isinstance(expected, torch.Tensor):
        expect(torch.equal(found, expected), f"{what} to the bit", "another")
    else:
        expect(found == expected, f"{what} to be {expected}", found)


def killed(whole: Run, kills: int, draw: random.Random, names: Iterator[Path]) -> None:
    """Kill runs of a command so many times, at any moment that an uninterrupted one has; compare each in the end."""
    began = time.monotonic()
    expect(whole.go_on(600), "the uninterrupted run to end", "none")
    seconds = time.monotonic() - began
    whole.check_whole()
    print(f"{whole.name}: {seconds:.1f} s uninterrupted", end="", flush=True)
    expected, done, finished = whole.left(), 0, 0
    while done < kills:
        run, ended = Run(whole.name, whole.command, next(names)), False
        while not ended:
            ended = run.go_on(draw.uniform(0, seconds) if done < kills else 600)
            done += not ended
            run.check()
        run.check_whole()
        if "--minutes" not in run.command:
            expect_equal(run.left(), expected, run.name)
        finished += 1
    print(f"; {done} kills, {finished} runs brought to their end", flush=True)


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=50, help="in all (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: %(default)s)")
    parser.add_argument("--only", choices=RUNS, action="append", help="runs of this kind; may be given again")
    return parser.parse_args()


if __name__ == "__main__":
    args = parse()
    torch.set_num_threads(1)  # a process with threads is not to be forked
    spatial_lstm.backends()
    draw, chosen = random.Random(args.seed), args.only or list(RUNS)
    with tempfile.TemporaryDirectory() as scratch:
        data = make_data(Path(scratch))
        names = (Path(scratch, f"run{number}") for number in itertools.count())
        for place, name in enumerate(chosen):
            options, pause = RUNS[name]
            command = [*options, "--data", str(data[options[0]]), "--checkpoint-seconds", str(pause)]
            kills = args.kills // len(chosen) + (place < args.kills % len(chosen))
            killed(Run(name, command, next(names)), kills, draw, names)
