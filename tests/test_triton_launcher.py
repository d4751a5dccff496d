"""Launching what Triton compiled, with a kernel that only notes how it is launched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from spatial_lstm.engine.kernels.triton import launcher
from spatial_lstm.engine.kernels.triton.launcher import Launcher

GRID = (2, 1, 1)


class Kernel:
    """As one of Triton's, of two tensors, two integers and a constant."""

    arg_names = ("a", "b", "first", "last", "WIDTH")

    def __init__(self) -> None:
        self.looked_at: list[tuple[Any, ...]] = []
        self.launched: list[tuple[Any, ...]] = []

    def __getitem__(self, grid: tuple[int, int, int]) -> Callable[..., Compiled]:
        def look(*arguments: Any, **options: Any) -> Compiled:
            self.looked_at.append((grid, arguments, options))
            return Compiled(self)

        return look


class Compiled:
    """What the kernel was compiled to."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def __getitem__(self, grid: tuple[int, int, int]) -> Callable[..., None]:
        return lambda *arguments, stream: self.kernel.launched.append((grid, arguments, stream))


@pytest.fixture(autouse=True)
def nothing_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "_compiled", {})


def test_looks_at_the_first_launch_alone() -> None:
    kernel, table = Kernel(), torch.zeros(8)
    launch = Launcher(kernel, (table, None), {"WIDTH": 5, "num_warps": 4})
    launch(GRID, 0, 3)
    launch(GRID, 3, 7)
    assert kernel.looked_at == [(GRID, (table, None, 0, 3), {"WIDTH": 5, "num_warps": 4})]
    assert kernel.launched == [(GRID, (table.data_ptr(), None, 3, 7, 5), None)]


def test_remembers_what_was_compiled_for_other_tensors_alike() -> None:
    kernel = Kernel()
    for _ in range(2):
        Launcher(kernel, (torch.zeros(8), None), {"WIDTH": 5})(GRID, 0, 3)
    assert (len(kernel.looked_at), len(kernel.launched)) == (1, 1)


@pytest.mark.parametrize(
    ("tensors", "width"),
    [
        ((torch.zeros(8, dtype=torch.float16), None), 5),
        ((torch.zeros(8), torch.zeros(8)), 5),
        ((torch.zeros(8)[1:], None), 5),
        ((torch.zeros(8), None), 6),
    ],
    ids=["type", "a tensor more", "alignment", "constant"],
)
def test_looks_again_at_anything_else(tensors: tuple[torch.Tensor | None, ...], width: int) -> None:
    kernel = Kernel()
    Launcher(kernel, (torch.zeros(8), None), {"WIDTH": 5})(GRID, 0, 3)
    Launcher(kernel, tensors, {"WIDTH": width})(GRID, 0, 3)
    assert (len(kernel.looked_at), len(kernel.launched)) == (2, 0)
