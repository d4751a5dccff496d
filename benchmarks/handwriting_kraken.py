"""kraken on the same lines: its commands, run in its own environment, with one thread.

kraken has no budget in minutes, so epochs are given and the CPU time that they took is kept; its rate falls along a cosine to the last of
them, and the best of its models by its own validation counts. Its error rates are its own.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
from pathlib import Path

from benchmarks.harness import Row
from spatial_lstm.handwriting.data import PARTS, Lines, Parts

# Small, of the kinds of layers that its default has: convolutions, pooling, recurrent layers over the columns.
SPEC = "[1,48,0,1 Cr3,9,32 Mp2,2 Cr3,9,64 Mp2,2 Cr3,9,64 Mp2,1 S1(1x0)1,3 Lbx128 Do0.1,2 Lbx128 Do0.1,2]"
BATCH = 8


def kraken(ketos: Path, folder: Path, parts: Parts, *, spec: str, rate: float, epochs: int) -> Row:
    """Train and test; lines have to be pictures with transcripts beside them.

    Args:
        ketos: The command.
        folder: Where lists and models go.
        parts: The lines.
        spec: Its network.
        rate: Its learning rate at its highest.
        epochs: How long.
    """
    lists = {name: listed(folder / f"kraken-{name}.txt", getattr(parts, name)) for name in PARTS}
    models = folder / f"kraken-{rate:g}-{epochs}"
    schedule = ["-B", BATCH, "-r", rate, "--schedule", "cosine", "--cos-max", epochs, "-q", "fixed", "-N", epochs]
    began = _child_seconds()
    told = ["-t", lists["train"], "-e", lists["validation"], "-f", "path", "-u", "NFC"]
    _say(ketos, "train", "-o", models, "-s", spec, *schedule, *told)
    seconds = _child_seconds() - began
    best = max(models.glob("best_*"), key=lambda path: path.stat().st_mtime)
    said = _say(ketos, "test", "-m", best, "-e", lists["test"], "-f", "path", "-u", "NFC")
    return {**rates(said), "lines": len(parts.train), "batch": BATCH, "cpu_minutes": seconds / 60}


def listed(path: Path, lines: Lines) -> Path:
    """Write the pictures' paths, a line each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line.picture.resolve()}\n" for line in lines))
    return path


def rates(said: str) -> Row:
    """The error rates in what its test prints.

    Raises:
        ValueError: If they are not there.
    """
    found = {name: re.search(rf"([\d.]+)%\s+{name} Accuracy", said) for name in ("Character", "Word")}
    if None in found.values():
        raise ValueError(f"expected kraken's character and word accuracy, got {said[-300:]!r}")
    cer, wer = (1 - float(match[1]) / 100 for match in found.values() if match)
    return {"cer": cer, "wer": wer}


def _say(ketos: Path, *arguments: object) -> str:
    """Run one of its commands with one thread; return what it prints."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [str(ketos), "--threads", "1", *map(str, arguments)]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


def _child_seconds() -> float:
    """CPU time of programs that were run and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
