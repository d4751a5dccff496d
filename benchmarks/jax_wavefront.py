"""The wavefront in JAX: a scan over skewed diagonals, jitted together with its gradient."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from benchmarks.fields import Field
from benchmarks.harness import Contestant
from benchmarks.wavefronts import by_direction, stacked_weights

Array = Any


def jitted(field: Field, *, training: bool) -> Contestant:
    """The scan, on as many threads as torch takes."""
    _hold_to(torch.get_num_threads())
    program = _program(field, training)
    given = [jnp.asarray(tensor.numpy()) for tensor in (field.grad, field.x, *stacked_weights(field))]

    def run() -> list[Tensor]:
        output, *rest = (from_dlpack(array) for array in jax.block_until_ready(program(*given)))
        if not training:
            return [field.crop(output)]
        return [field.crop(output), field.crop(rest[0]), *by_direction(rest[1:])]

    return Contestant("JAX", run, field.expected[training], compiles=True, lingers=True)


def on_its_device(field: Field, dtype: str, precision: str | None, *, training: bool) -> Callable[[], Array]:
    """What runs where JAX finds best, is waited for, and returns the output; ``precision`` is that of float32 products."""
    program = _program(field, training)
    given = [jnp.asarray(tensor.numpy()).astype(dtype) for tensor in (field.grad, field.x, *stacked_weights(field))]

    def run() -> Array:
        with jax.default_matmul_precision(precision):
            return jax.block_until_ready(program(*given))[0]

    return run


def _program(field: Field, training: bool) -> Callable[..., tuple[Array, ...]]:
    """The output and, in training, the gradients of the input and the weights, of the output's gradient, the input and the weights."""
    forward = partial(_wavefront, directions=field.make_layer("composite").directions)

    def step(grad: Array, *inputs: Array) -> tuple[Array, ...]:
        output, pullback = jax.vjp(forward, *inputs)
        return (output, *pullback(grad))

    program: Callable[..., tuple[Array, ...]] = jax.jit(step if training else lambda _, *inputs: (forward(*inputs),))
    return program


def _hold_to(count: int) -> None:
    """Let XLA, which has a thread for every core whatever it is told, run on so many cores alone; on Linux."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))[:count]
        for thread in _threads_of_xla():
            os.sched_setaffinity(thread, cores)


@cache
def _threads_of_xla() -> frozenset[int]:
    """Those that the first computation starts."""
    before = _threads()
    jax.block_until_ready(jax.jit(jnp.add)(1.0, 1.0))
    return _threads() - before


def _threads() -> frozenset[int]:
    return frozenset(int(name) for name in os.listdir("/proc/self/task"))


def _wavefront(x: Array, ih: Array, hh: Array, bias: Array, *, directions: tuple[str, ...]) -> Array:
    """``(N, H, W, C)`` to ``(N, H, W, D h)``; a scan for each direction, which takes less time than one for all."""
    turned = [_one_direction(_flipped(x, name), ih[k], hh[k], bias[k]) for k, name in enumerate(directions)]
    return jnp.concatenate([_flipped(h, name) for h, name in zip(turned, directions, strict=True)], axis=3)


def _one_direction(x: Array, ih: Array, hh: Array, bias: Array) -> Array:
    """``(N, H, W, C)`` to ``(N, H, W, h)``."""
    batch, height, width, _ = x.shape
    diagonals = height + width - 1
    begun = jnp.arange(diagonals)[:, None] >= jnp.arange(height)  # rows begin one after the other
    zeros = jnp.zeros((batch, height, hh.shape[1] // 2), x.dtype)
    z = _skewed(x @ ih.T + bias)
    _, h = jax.lax.scan(partial(_step, hh.T), (zeros, zeros), (z, begun[..., None]))
    return _straight(h, width)


def _step(
    weight: Array, carry: tuple[Array, Array], diagonal: tuple[Array, Array]
) -> tuple[tuple[Array, Array], Array]:
    """One diagonal ``(N, H, 5h)``; the states are ``(N, H, h)``."""
    (h, c), (z, begun) = carry, diagonal
    above, c_above = (jnp.pad(state[:, :-1], ((0, 0), (1, 0), (0, 0))) for state in (h, c))
    z = z + jnp.concatenate([above, h], axis=2) @ weight
    i, f_above, f_left, g, o = jnp.split(z, 5, axis=2)
    sigmoid = jax.nn.sigmoid
    c = sigmoid(i) * jnp.tanh(g) + sigmoid(f_above) * c_above + sigmoid(f_left) * c
    c = jnp.where(begun, c, 0)
    h = jnp.tanh(sigmoid(o) * c)
    return (h, c), h


def _flipped(x: Array, direction: str) -> Array:
    """Images ``(N, H, W, ..)`` as the direction reads them."""
    return jnp.flip(x, [axis + 1 for axis, letter in enumerate(direction) if letter == "r"])


def _skewed(z: Array) -> Array:
    """``(N, H, W, F)`` to ``(S, N, H, F)``: every row is followed by H zeros, and then cut S long."""
    batch, height, width, features = z.shape
    diagonals = height + width - 1
    z = jnp.pad(z, ((0, 0), (0, 0), (0, height), (0, 0))).reshape(batch, -1, features)
    return z[:, : height * diagonals].reshape(batch, height, diagonals, features).transpose(2, 0, 1, 3)


def _straight(h: Array, width: int) -> Array:
    """``(S, N, H, h)`` to ``(N, H, W, h)``."""
    diagonals, batch, height, features = h.shape
    h = h.transpose(1, 2, 0, 3).reshape(batch, height * diagonals, features)
    h = jnp.pad(h, ((0, 0), (0, height), (0, 0)))
    return h.reshape(batch, height, diagonals + 1, features)[:, :, :width]
