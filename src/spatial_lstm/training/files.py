"""What a run leaves on disk: checkpoints, written whole or not at all, and a metrics file that goes back with them."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spatial_lstm.files import naming, read_saved, write_atomically


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a dictionary of tensors and plain values."""
    write_atomically(path, lambda file: torch.save(content, file))


def read(path: Path) -> dict[str, Any]:
    """What :func:`save` wrote, on the CPU; runs no code that the file might hold.

    Raises:
        ValueError: If there is no such file, or it holds something else.
    """
    try:
        content = read_saved(path)
    except FileNotFoundError as error:
        raise ValueError(f"expected a checkpoint {path}, got none") from error
    except (OSError, ValueError) as error:
        raise ValueError(f"expected a checkpoint, got {path}, which cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"expected a checkpoint, got {path}, which holds a {type(content).__name__}")
    return content


def random_state() -> dict[str, Any]:
    """The state of every global generator."""
    # The global generator, in case a model draws from it.
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002
    return {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Set every global generator to what :func:`random_state` returned."""
    random.setstate(state["python"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.device_count() == len(state["cuda"]):
        torch.cuda.set_rng_state_all(state["cuda"])


class Metrics:
    """A file of JSON lines.

    Args:
        path: Of the file.
        size: Bytes to keep of what is there, so that a resumed run does not repeat lines.
    """

    def __init__(self, path: Path, size: int = 0) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.truncate(path, min(size, self.size))

    @property
    def size(self) -> int:
        """Bytes."""
        return self.path.stat().st_size

    def add(self, **values: Any) -> None:
        """Append a line."""
        with naming(self.path), self.path.open("a") as file:
            file.write(json.dumps(values, allow_nan=False) + "\n")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]
