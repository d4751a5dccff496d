"""A GPU's benchmarks run without one: CPU tensors stand in for its tensors, the clock for its events, a call for a graph's replay."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch.overrides import TorchFunctionMode

DEVICE = SimpleNamespace(name="no GPU", major=0, minor=0, multi_processor_count=1, total_memory=0)


class Event:
    """One of the CPU's clock."""

    def __init__(self, enable_timing: bool = True) -> None:
        self.time = 0.0

    def record(self) -> None:
        """Now."""
        self.time = time.perf_counter()

    def elapsed_time(self, other: Event) -> float:
        """Milliseconds."""
        return (other.time - self.time) * 1e3


class OnTheCpu(TorchFunctionMode):
    """Tensors asked for on a CUDA device come to be on the CPU."""

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        named = {key: _cpu(value) for key, value in (kwargs or {}).items()}
        if func is torch.Tensor.cuda:
            return args[0]
        return func(*(_cpu(arg) for arg in args), **named)


def _cpu(argument: Any) -> Any:
    """The CPU in a CUDA device's place."""
    if isinstance(argument, torch.device) and argument.type == "cuda":
        return torch.device("cpu")
    return "cpu" if isinstance(argument, str) and argument.startswith("cuda") else argument


class Graph:
    """What is captured runs at once; a replay does nothing."""

    def capture_begin(self) -> None:
        """Do nothing."""

    def capture_end(self) -> None:
        """Do nothing."""

    def replay(self) -> None:
        """Do nothing."""


@contextmanager
def cpu_for_gpu(rehearsed: bool) -> Iterator[None]:
    """Inside, if ``rehearsed``, what runs on a GPU runs on the CPU."""
    if not rehearsed:
        yield
        return
    stream = SimpleNamespace(wait_stream=lambda other: None)
    stand_ins: dict[str, Any] = {
        "Event": Event,
        "CUDAGraph": Graph,
        "Stream": lambda: stream,
        "current_stream": lambda: stream,
        "stream": lambda stream: nullcontext(),
        "synchronize": lambda: None,
        "reset_peak_memory_stats": lambda: None,
        "memory_allocated": lambda: 0,
        "max_memory_allocated": lambda: 0,
        "get_device_properties": lambda device: DEVICE,
    }
    with ExitStack() as stack:
        for name, stand_in in stand_ins.items():
            stack.enter_context(patch.object(torch.cuda, name, stand_in))
        stack.enter_context(OnTheCpu())
        yield
