"""What ``.ci/bare`` runs: a training step of the layer on a machine without anything, in the kernel that the wheel brought."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import warnings
from pathlib import Path

import torch

warnings.simplefilter("error")

import spatial_lstm  # noqa: E402


def expect(found: object, expected: object, what: str) -> None:
    """End with a message where something is not as it should be."""
    if found != expected:
        raise SystemExit(f"expected {what} {expected}, got {found}")


def step(backend: str) -> list[torch.Tensor]:
    """An output and all gradients."""
    torch.manual_seed(0)
    layer = spatial_lstm.SpatialLSTM(3, 16, directions="all", backend=backend)
    output = layer(torch.randn(4, 3, 20, 30))[0]
    return [output.detach(), *torch.autograd.grad(output.square().mean(), list(layer.parameters()))]


def known(user: int) -> bool:
    """Whether somebody has this number."""
    try:
        pwd.getpwuid(user)
    except KeyError:
        return False
    return True


expect([name for name in ("c++", "g++", "clang++", "cc") if shutil.which(name)], [], "compilers")
expect("HOME" in os.environ, False, "a home")
torch.set_num_threads(2)
expect(spatial_lstm.backends()["cpp"], "available", "the C++ kernel to be")
for name, a, b in zip(("output", "dW", "dW", "db"), step("cpp"), step("plain"), strict=False):
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5, msg=f"{name}: the kernels differ")
maps = Path("/proc/self/maps").read_text()
runtimes = {os.path.realpath(path) for path in re.findall(r"/\S*/lib(?:gomp|iomp5|omp)\b\S*", maps)}
expect(len(runtimes), 1, f"OpenMP runtimes {sorted(runtimes)}")
(library,) = {Path(path).name for path in re.findall(r"/\S*/prebuilt/\S+", maps)}
who = f"user {os.getuid()}, whom {'somebody' if known(os.getuid()) else 'nobody'} knows"
print(f"torch {torch.__version__}, {library}, one OpenMP runtime, {who}: a training step equals the plain kernel's")
