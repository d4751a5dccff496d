"""What machine code of a GPU costs: read, and counted as often as it runs."""

from __future__ import annotations

import pytest

from benchmarks.sass import Instruction, loops, parse, repeats

CODE = """
        /*0000*/                   LDG.E.128 R4, desc[UR6][R2.64] ;           /* 0x0000000602047981 */
                                                                              /* 0x000fe200000e0d00 */
        /*0010*/                   STS.U16 [R9], R4 ;                         /* 0x0000000409007388 */
        /*0020*/                   HMMA.16816.F32.BF16 R8, R4, R6, R8 ;       /* 0x0000000604087243 */
        /*0030*/                   LDSM.16.MT88.4 R4, [R9] ;                  /* 0x000000000904783b */
        /*0040*/                   HMMA.16816.F32.BF16 R8, R4, R6, R8 ;
        /*0050*/              @!P0 BRA 0x30 ;
        /*0060*/                   BAR.SYNC.DEFER_BLOCKING 0x0 ;
        /*0070*/           @!UP0 UIADD3 UR4, UR4, 0x1, URZ ;
        /*0080*/               @P1 BRA 0x20 ;
        /*0090*/                   EXIT ;
        /*00a0*/                   BRA 0xa0;
"""


def test_instructions_are_read_with_their_predicates_left_out() -> None:
    code = parse(CODE)
    assert [one.kind for one in code] == [
        "LDG",
        "STS",
        "HMMA",
        "LDSM",
        "HMMA",
        "BRA",
        "BAR",
        "UIADD3",
        "BRA",
        "EXIT",
        "BRA",
    ]
    assert [one.bytes for one in code[:4]] == [16 * 32, 2 * 32, 0, 4 * 128]
    assert sorted(loops(code)) == [(0x20, 0x80), (0x30, 0x50)]


def test_sums_run_as_often_as_their_products_say_and_what_is_before_the_tiles_not_at_all() -> None:
    code = parse(CODE)
    found = repeats(code, products=2048 * (1 + 5))
    assert found == [0, 0, 1, 5, 5, 5, 1, 1, 1, 0, 0]


def test_without_loops_everything_runs_once() -> None:
    assert repeats(parse(CODE)[:3], products=2048) == [1, 1, 1]


@pytest.mark.parametrize(
    ("name", "products"),
    [
        ("FFMA", 32),
        ("FFMA.FTZ", 32),
        ("HMMA.16816.F32.BF16", 2048),
        ("HMMA.1688.F32.TF32", 1024),
        ("HGMMA.64x32x16.F32.BF16", 8192),
        ("FADD", 0),
    ],
)
def test_multiply_adds_of_a_warp(name: str, products: int) -> None:
    assert Instruction(0, name, "").products == products
