"""Triton kernels compiled to machine code for GPUs that are not there; for the tests, and for :mod:`benchmarks.instructions`."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from spatial_lstm.engine.cells import get_cell
from spatial_lstm.engine.kernels.triton.choice import Tile, holds_weights
from spatial_lstm.equality import VARIANTS

BYTES = {"fp32": 4, "fp16": 2, "bf16": 2}


class Compiled(NamedTuple):
    """What a kernel takes of a multiprocessor, and its machine code."""

    shared: int
    registers: int
    stack: int
    code: str


def compile_for(
    architecture: int, kernel: str, dtype: str, tile: Tile, variant: str, folded: bool = False, **constants: Any
) -> Compiled:
    """Compile one of the launched kernels as torch's allocations and the launcher would have it, with gates ``folded`` or not."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from spatial_lstm.engine.kernels.triton.device import launched

    options = VARIANTS[variant]
    blocks = get_cell(options["cell"]).blocks(constants["N"])
    tiling = {"BM": tile.rows, "BH": tile.features, "BK": tile.inner}
    if kernel.endswith("images") and "HELD" not in constants:
        constants["HELD"] = holds_weights(tile, constants["PRECISION"], constants["N"], blocks, BYTES[dtype])
    constants = {"CELL": options["cell"], "B": blocks, **tiling, **constants}
    absent = {"back", "back_ch"} if constants.get("PRODUCT", True) else set()
    absent |= {name for name, option in (("weight_ch", "extended"), ("peephole", "peephole")) if option not in options}
    absent |= set() if folded else {"folded"}
    function = getattr(launched, kernel)
    signature, fixed, aligned = {}, {}, {}
    for place, name in enumerate(function.arg_names):
        if name in constants or name in absent:
            signature[name], fixed[(place,)] = "constexpr", constants.get(name)
        elif name in launched.RUNTIME:
            signature[name] = "i32"
        else:
            wide = {"pred": "*i64", "succ": "*i64", "bounds": "*i64", "folded": "*bf16"}
            wide |= {"gates": "*bf16"} if folded else {}
            signature[name] = wide.get(name, "*fp32" if name in ("c", "dc", "total", "dc0") else f"*{dtype}")
            aligned[(place,)] = [["tt.divisibility", 16]]
    done: Any = triton.compile(
        ASTSource(function, signature, fixed, aligned),
        target=GPUTarget("cuda", architecture, 32),
        options=tile.options,
    )
    return inspect(Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump", done)


def inspect(tool: Path, done: Any) -> Compiled:
    """What cuobjdump, which comes with Triton, says of a compiled kernel."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(done.asm["cubin"])
        file.flush()
        usage, code = (
            subprocess.run([tool, option, file.name], capture_output=True, text=True, check=True).stdout
            for option in ("--dump-resource-usage", "-sass")
        )
    found = re.search(r"REG:(\d+) STACK:(\d+)", usage)
    assert found is not None, usage
    return Compiled(done.metadata.shared, int(found[1]), int(found[2]), code)
