"""Connectionist temporal classification: the loss, and how many columns a text takes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from spatial_lstm import SizedModule
from spatial_lstm.handwriting.codec import BLANK


def columns_needed(targets: Tensor, target_lengths: Tensor) -> Tensor:
    """The least columns in which CTC can write a text: one for each character, and one between two that are the same; at least 1.

    Args:
        targets: Classes of the characters, ``(N, L)``, integers.
        target_lengths: Characters of each text, ``(N,)``.

    Returns:
        ``(N,)``.
    """
    own = torch.arange(targets.shape[1], device=targets.device) < target_lengths[:, None]
    repeated = (targets[:, 1:] == targets[:, :-1]) & own[:, 1:]
    return (target_lengths + repeated.sum(1)).clamp(min=1)


def ctc_loss(log_probs: Tensor, lengths: Tensor, targets: Tensor, target_lengths: Tensor) -> Tensor:
    """The mean over lines of nats per character, after Graves, Fernandez, Gomez & Schmidhuber, 2006; 0 for no lines.

    An empty text counts as one character. Of 16 bits the sum is made in float32, and is float32.

    Args:
        log_probs: ``(N, T, classes)``.
        lengths: Columns of each line, ``(N,)``.
        targets: ``(N, L)``.
        target_lengths: ``(N,)``.
    """
    # Which torch does not compute in 16 bits.
    columns = log_probs.to(torch.promote_types(log_probs.dtype, torch.float32)).transpose(0, 1)
    if not len(log_probs):
        return columns.sum()
    nats = functional.ctc_loss(columns, targets, lengths, target_lengths, blank=BLANK, reduction="none")
    return (nats / target_lengths.clamp(min=1).to(nats.device)).mean()


def check_targets(targets: object, target_lengths: object, lines: int, classes: int) -> tuple[Tensor, Tensor]:
    """Return both as int64 on the CPU, having refused what is no text of these classes for every line.

    Raises:
        TypeError: If one is no tensor of integers.
        ValueError: If shapes or values do not fit.
    """
    targets, target_lengths = whole("targets", targets), whole("target_lengths", target_lengths)
    if targets.ndim != 2 or len(targets) != lines or target_lengths.shape != (lines,):
        found = tuple(targets.shape), tuple(target_lengths.shape)
        raise ValueError(f"expected targets ({lines}, L) and target_lengths ({lines},), got {found[0]} and {found[1]}")
    for name, values in (("targets", targets), ("target_lengths", target_lengths)):
        SizedModule.known(values, name)
    if bool(((target_lengths < 0) | (target_lengths > targets.shape[1])).any()):
        raise ValueError(f"expected target_lengths from 0 to {targets.shape[1]}, got {target_lengths.tolist()}")
    own = torch.arange(targets.shape[1], device=targets.device) < target_lengths[:, None]
    wrong = own & ((targets < 1) | (targets >= classes))
    if bool(wrong.any()):
        raise ValueError(f"expected targets from 1 to {classes - 1}, 0 being the blank, got {int(targets[wrong][0])}")
    return targets, target_lengths


def whole(name: str, value: object) -> Tensor:
    """Return a copy of integers as int64 on the CPU.

    Raises:
        TypeError: If it is no tensor of integers.
    """
    inexact = isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())
    if not isinstance(value, Tensor) or inexact or value.dtype == torch.bool:
        found = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"expected {name} to be a Tensor of integers, got {found}")
    return value.to("cpu", torch.int64, copy=True)
