"""Machine code for NVIDIA GPUs as cuobjdump prints it: instructions, loops, and how often a tile runs each."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

WARP = 32
# "/*0a30*/   @!P0 LDG.E.128 R4, desc[UR6][R2.64] ;"
_LINE = re.compile(r"/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)\s*([^;]*);")


class Instruction(NamedTuple):
    """One instruction.

    Attributes:
        address: Where it stands, bytes.
        name: With its modifiers, as ``"LDG.E.128"``.
        operands: What follows.
    """

    address: int
    name: str
    operands: str

    @property
    def kind(self) -> str:
        """Its name without modifiers."""
        return self.name.split(".")[0]

    @property
    def products(self) -> int:
        """Multiply-adds that it does for one warp; those of tensor cores by their shape, 0 for what is no product."""
        if self.kind == "FFMA":
            return WARP
        if self.kind == "HMMA" and (shape := re.search(r"\.(16)(8)(4|8|16)\b", self.name)):
            return math.prod(map(int, shape.groups()))
        if self.kind == "HGMMA" and (shape := re.search(r"\.(\d+)x(\d+)x(\d+)\b", self.name)):
            return math.prod(map(int, shape.groups())) // 4  # four warps work on it
        return 0

    @property
    def bytes(self) -> int:
        """Bytes that it moves for one warp if it is a load or a store, of registers, 0 otherwise."""
        if self.kind in ("LDSM", "STSM"):  # so many matrices of 8x8 in 16 bits
            count = re.search(r"88\.(\d)", self.name)
            return 128 * int(count[1] if count else 1)
        if self.kind not in ("LDG", "STG", "LDS", "STS", "LDGSTS"):
            return 0
        width = re.search(r"\.[US]?(8|16|64|128)(?=\.|$)", self.name)
        return WARP * (int(width[1]) if width else 32) // 8


def parse(code: str) -> list[Instruction]:
    """The instructions of one kernel, in order of address."""
    return [Instruction(int(at, 16), name, operands) for at, name, operands in _LINE.findall(code)]


def loops(code: Sequence[Instruction]) -> Iterator[tuple[int, int]]:
    """First and last address of each loop: where a branch goes back, but for the one to itself at a kernel's end."""
    for one in code:
        target = re.search(r"0x([0-9a-f]+)", one.operands) if one.kind == "BRA" else None
        if target and int(target[1], 16) < one.address:
            yield int(target[1], 16), one.address


def repeats(code: Sequence[Instruction], products: float) -> list[float]:
    """How often each instruction runs where a warp does so many multiply-adds in all.

    Loops without another inside that have a good part of the products are the sums over factors, and run equally often; all others go
    from tile to tile, and are counted once. What stands before these is run once a kernel and not counted.
    """
    spans = sorted(set(loops(code)))
    inner = [s for s in spans if not any(s[0] <= t[0] and t[1] <= s[1] and s != t for t in spans)]
    count = [sum(one.products for one in code if first <= one.address <= last) for first, last in inner]
    summing = [span for span, own in zip(inner, count, strict=True) if 0 < own < 0.9 * products]
    tiles = [span for span in spans if span not in summing]
    once = max(tiles, key=lambda span: span[1] - span[0], default=(0, code[-1].address))

    def within(one: Instruction, places: Sequence[tuple[int, int]]) -> bool:
        return any(first <= one.address <= last for first, last in places)

    body = [one for one in code if within(one, [once])]
    looped = sum(one.products for one in body if within(one, summing))
    straight = sum(one.products for one in body if one.kind != "FFMA" and not within(one, summing))
    trips = max(1.0, (products - straight) / looped) if looped else 1.0
    return [0.0 if one not in body else trips if within(one, summing) else 1.0 for one in code]
