"""What a tile of each Triton kernel costs on an H100 by its machine code: ``python -m benchmarks.instructions``. Needs no GPU.

Every kernel that the library would choose at some hidden size is compiled for sm_90 by the assembler that comes with Triton, and the
instructions of one tile are counted: warps times instructions, of which products, barriers, and bytes between registers and global and
shared memory. From these follow the cycles that a tile takes at least: four instructions a cycle are issued, 128 bytes a cycle pass the
first-level cache and shared memory together, and products have their rate. Latencies, which only a GPU shows, come on top; a barrier and
what waits for it are some 30 cycles and more.

Beside them stands what the tile has to do in any case: its products, and the bytes that it has to read and write once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.ahead_of_time import BYTES, compile_for
from benchmarks.harness import Row, markdown_table, number, read_results, watched, write_results
from benchmarks.sass import Instruction, parse, repeats
from spatial_lstm.engine.kernels.triton.choice import (
    BACKWARD,
    FORWARD,
    LIMITS,
    PRECISIONS,
    Tile,
    holds_weights,
    images_tile,
)

RESULTS = Path(__file__).parent / "results" / "instructions.json"
ARCHITECTURE, CELL, AXES, BLOCKS = 90, "spatial", 2, 5
HIDDEN = (16, 32, 64, 128, 256)
# Kind of products in the table of choices, type of the states.
TYPES = {"exact": "fp32", "split": "fp32", "tf32": "fp32", "half": "bf16"}
# Products that are taken for one.
TIMES = {"exact": 1, "split": 3, "tf32": 1, "half": 1}
# Of one multiprocessor of an H100, for a cycle: multiply-adds by how they are taken, instructions, bytes of cache and shared memory.
RATES = {"exact": 128, "split": 512, "tf32": 512, "half": 1024}
ISSUED, MOVED = 4, 128
GHZ = 1.755


def measure(kernel: str, kind: str, hidden: int, tile: Tile, held: bool) -> Row:
    """Compile and count; ``held`` says whether a persistent kernel keeps its weights."""
    precision, dtype = PRECISIONS[kind], TYPES[kind]
    forward, step = kernel.startswith("forward"), kernel.endswith("step")
    constants: dict[str, Any] = {"N": AXES, "H": hidden, "PRECISION": precision}
    constants |= {"SAVE": True} if forward else {"FACES": False}
    constants |= {"PRODUCT": True} if step else {"GROUP": 1, "HELD": held}
    done = compile_for(ARCHITECTURE, kernel, dtype, tile, CELL, **constants)
    needed = TIMES[kind] * tile.rows * tile.features * AXES * BLOCKS * -(-hidden // tile.inner) * tile.inner
    counted = _count(parse(done.code), needed / tile.warps, tile.warps)
    return {
        "kernel": kernel,
        "products": kind,
        "hidden": hidden,
        "tile": tile._asdict(),
        "held": held,
        "registers": done.registers,
        "shared": done.shared,
        "stack": done.stack,
        "counted": counted,
        "needed_products": TIMES[kind] * tile.rows * min(tile.features, hidden) * AXES * BLOCKS * hidden,
        "needed_bytes": tile.rows * min(tile.features, hidden) * _bytes(forward, hidden, tile.features, BYTES[dtype]),
    }


def _count(code: list[Instruction], products: float, warps: int) -> dict[str, float]:
    """Of all warps of a tile."""
    found = dict.fromkeys(("instructions", "products", "barriers", "global_bytes", "shared_bytes"), 0.0)
    for one, times in zip(code, repeats(code, products), strict=True):
        found["instructions"] += times * warps
        found["products"] += times * warps * one.products
        found["barriers"] += times * (one.kind == "BAR")
        place = "global_bytes" if "G" in one.kind[:3] else "shared_bytes"
        found[place] += times * warps * one.bytes
    return found


def _bytes(forward: bool, hidden: int, features: int, size: int) -> float:
    """What a site's feature has to read and write once: states, gates, gradients, and predecessors' numbers; weights not at all."""
    shares = -(-hidden // features)  # tiles that read the same row of factors
    places = 8 * AXES * (1 if forward else 2) / min(features, hidden)
    if forward:
        return BLOCKS * 2 * size + AXES * (size * shares + 4) + size + 4 + places
    # gates and dz, c before, c, h, dh, the whole gradient of c
    own = BLOCKS * size * 2 + AXES * 4 + 4 + size + size + 4
    return own + AXES * (BLOCKS * size * shares + 4 + size) + places


def cycles(row: Row) -> dict[str, float]:
    """The least cycles of a tile by each limit, and of what it has to do in any case."""
    found, rate = row["counted"], RATES[row["products"]]
    return {
        "issue": found["instructions"] / ISSUED,
        "memory": (found["global_bytes"] + found["shared_bytes"]) / MOVED,
        "products": found["products"] / rate,
        "needed": max(row["needed_products"] / rate, row["needed_bytes"] / MOVED),
    }


def jobs() -> list[tuple[str, str, int, Tile, bool]]:
    """What the library would choose, and the persistent kernels with weights that are read anew for every tile."""
    found: list[tuple[str, str, int, Tile, bool]] = []
    for kind, dtype in TYPES.items():
        for hidden in (h for h in HIDDEN if h <= LIMITS[kind].step):
            if hidden <= LIMITS[kind].images:
                tile = images_tile(hidden, kind)
                held = holds_weights(tile, PRECISIONS[kind], AXES, BLOCKS, BYTES[dtype])
                for kernel in ("forward_images", "backward_images"):
                    found += [(kernel, kind, hidden, tile, keeps) for keeps in ((True, False) if held else (False,))]
            found.append(("forward_step", kind, hidden, FORWARD[kind].within(hidden), False))
            found.append(("backward_step", kind, hidden, BACKWARD[kind].within(hidden), False))
    return found


def section() -> str:
    """Markdown: a row a kernel."""
    lines = []
    for row in read_results(RESULTS)["rows"]:
        found, tile, least = row["counted"], row["tile"], cycles(row)
        name = row["kernel"].replace("_images", ", persistent").replace("_step", ", a launch a step")
        lines.append(
            [
                name + (", weights held" if row["held"] else ""),
                row["products"],
                str(row["hidden"]),
                f"{tile['rows']} x {tile['features']}",
                str(row["registers"]),
                number(row["shared"] / 1024),
                *(f"{found[name]:.0f}" for name in ("instructions", "barriers")),
                *(number(found[name] / 1024) for name in ("global_bytes", "shared_bytes")),
                *(f"{least[name]:.0f}" for name in ("issue", "memory", "products", "needed")),
                number(max(least.values()) / GHZ / 1e3),
            ]
        )
    head = ["kernel", "products", "h", "tile", "registers", "shared KiB", "instructions", "barriers", "global KiB"]
    head += ["through shared KiB", "cycles: issue", "memory", "products", "needed", "us at least"]
    return markdown_table(head, lines, left=2)


def run() -> None:
    """Count, keep, print."""
    rows = [measure(*job) for job in watched(jobs(), "kernels")]
    write_results(RESULTS, "instructions", rows, quick=False)
    print(section())


if __name__ == "__main__":
    run()
