"""Launching a kernel at what it costs the driver, without Triton's own look at every argument."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

# By all that Triton compiles a kernel for.
_compiled: dict[tuple[Any, ...], Any] = {}

# Triton compiles for addresses that are multiples of as many bytes, or for any.
_ALIGNED = 16


def on(device: torch.device) -> AbstractContextManager[object]:
    """Make ``device`` the current one, on which Triton launches."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


class Launcher:
    """A kernel, its tensors and its constants, to be launched once or again and again with other grids and integers.

    Triton looks at all arguments of each launch, which takes the CPU several times as long as the launch. What it compiled for one launch
    serves all others with tensors of the same types and the same constants, since it specializes no integer of our kernels.

    Args:
        kernel: One of :mod:`spatial_lstm.engine.kernels.triton.device`.
        tensors: Its first arguments, the first of which is not None.
        constants: Its last arguments, and how it is compiled.
    """

    def __init__(self, kernel: Any, tensors: Sequence[Tensor | None], constants: Mapping[str, Any]) -> None:
        self._kernel, self._tensors, self._constants = kernel, tensors, constants
        self._addresses = [None if tensor is None else tensor.data_ptr() for tensor in tensors]
        self._values = [constants[name] for name in kernel.arg_names if name in constants]
        first = tensors[0]
        assert first is not None
        types = (None if tensor is None else (tensor.dtype, tensor.data_ptr() % _ALIGNED) for tensor in tensors)
        self._key = (id(kernel), first.device, *types, *constants.items())
        self._stream = torch.cuda.current_stream(first.device).cuda_stream if first.is_cuda else None

    def __call__(self, grid: tuple[int, int, int], *integers: int) -> None:
        """Launch it."""
        compiled = _compiled.get(self._key)
        if compiled is None:
            compiled = self._kernel[grid](*self._tensors, *integers, **self._constants)
            if compiled is not None:  # as the interpreter's kernels are
                _compiled[self._key] = compiled
        else:
            compiled[grid](*self._addresses, *integers, *self._values, stream=self._stream)
