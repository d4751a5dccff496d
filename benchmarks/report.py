"""Markdown from the JSON: the whole report of a machine, ``python -m benchmarks.report``, and the documentation's section."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import bfloat16, directions, layer, memory, prebuilt, ragged, recognizer, scaling, sequences, shapes
from benchmarks.harness import read_results, settings_from
from spatial_lstm.files import write_atomically

TITLES: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "layer": ("The layer beside the floor", layer.tables),
    "directions": ("Four directions at once", directions.table),
    "shapes": ("Random shapes beside `nn.LSTM` of equal sites and FLOPs", shapes.tables),
    "sequences": ("One axis, beside `nn.LSTM` with the same weights", sequences.table),
    "bfloat16": ("bfloat16 beside float32", bfloat16.table),
    "ragged": ("A batch of words", ragged.table),
    "recognizer": ("Words and lines in the reader of handwriting", recognizer.table),
    "memory": ("Memory of a training step, bytes per site and hidden unit", memory.table),
    "scaling": ("Scaling", scaling.tables),
    "prebuilt": ("A wheel's libraries beside one compiled for this very CPU", prebuilt.table),
}


def load(folder: Path) -> dict[str, dict[str, Any]]:
    """The kept results of every benchmark that has been run on a machine."""
    return {name: read_results(folder / f"{name}.json") for name in TITLES if (folder / f"{name}.json").exists()}


def machine_line(results: dict[str, Any]) -> str:
    """What the figures were measured on."""
    machine = results["machine"]
    cores = f"{machine['cores']} core{'s' * (machine['cores'] != 1)}"
    return (
        f"{machine['cpu']}, {cores} ({machine['capability']}), {machine['system']}, torch {machine['torch']}, "
        f"commit {machine['commit']}"
    )


def report(folder: Path) -> str:
    """Everything that was measured on a machine, as Markdown."""
    parts = ["# Benchmarks"]
    for name, results in load(folder).items():
        title, table = TITLES[name]
        quick = " A quick run: few rounds, small sizes." if results["quick"] else ""
        parts += [f"## {title}", f"{machine_line(results)}.{quick}", table(results)]
        if (folder / f"{name}.png").exists():
            parts.append(f"![{title}]({name}.png)")
    return "\n\n".join(parts) + "\n"


def section(folder: Path, root: Path, whole: str) -> str:
    """The documentation's figures; ``root`` is where its page lies, ``whole`` the address of the report.

    Raises:
        ValueError: If the layer has not been measured.
    """
    kept = load(folder)
    if "layer" not in kept:
        raise ValueError("expected the layer's results, got none: run the benchmarks first")
    introduction = (
        "Time over the *floor*, that of the matrix products alone, each in the fastest library that there is: one of a step's FLOPs for\n"
        "inference, with the two of the same size that give the gradients for training; and the share of the cores' peak that our kernel\n"
        "reaches. In brackets `nn.LSTM` on as many sites and FLOPs. Medians of interleaved rounds, all checked against the reference\n"
        f"before they are timed. Measured on {machine_line(kept['layer'])};\n"
        f"every backend, the quartiles and more in [the report]({whole})."
    )
    return "\n\n".join([introduction, *_figures(folder, root, kept)])


def another(folder: Path, root: Path, whole: str) -> str:
    """The figures of a further machine, for which what is said of the first holds.

    Raises:
        ValueError: If nothing has been measured.
    """
    kept = load(folder)
    if not kept:
        raise ValueError(f"expected results in {folder}, got none: run the benchmarks first")
    introduction = f"The same on {machine_line(next(iter(kept.values())))}; more in [its report]({whole})."
    return "\n\n".join([introduction, *_figures(folder, root, kept)])


def _figures(folder: Path, root: Path, kept: dict[str, dict[str, Any]]) -> list[str]:
    """The tables that the documentation has room for."""
    parts = []
    if "layer" in kept:
        parts.append(layer.summary(kept["layer"]))
    if "directions" in kept:
        parts += [
            "**Four directions**, with the share of the peak that our kernel reaches:",
            directions.table(kept["directions"]),
        ]
    if "shapes" in kept:
        title = (
            "**Random shapes**, time over that of `nn.LSTM` on as many sites and FLOPs (above 1 we lose), quantiles:"
        )
        parts += [title, shapes.summary(kept["shapes"])]
    if "sequences" in kept:
        title = "**One axis**, time over that of `nn.LSTM` with the same weights (above 1 we lose):"
        parts += [title, sequences.summary(kept["sequences"])]
    if "bfloat16" in kept:
        title = "**bfloat16**: how many times longer float32 takes, and in brackets `nn.LSTM` in bfloat16 on as many sites and FLOPs:"
        parts += [title, bfloat16.summary(kept["bfloat16"])]
    if "ragged" in kept:
        row = kept["ragged"]["rows"][0]
        words = f"**A batch of {row['batch']} words**, {row['sites']:,} sites, {row['padded_sites']:,} with padding:"
        parts += [words, ragged.summary(kept["ragged"])]
    if "memory" in kept:
        parts += ["**Memory of a training step**, bytes per site and hidden unit:", memory.table(kept["memory"])]
    if (folder / "scaling.png").exists():
        place = Path(os.path.relpath(folder, root)).as_posix()
        parts.append(f"![Time and memory against size]({place}/scaling.png)")
    return parts


def write_report(folder: Path) -> Path:
    """Write ``report.md`` beside the figures."""
    path = folder / "report.md"
    write_atomically(path, lambda file: file.write(report(folder).encode()))
    return path


def main() -> None:
    """Write the report."""
    print(write_report(settings_from(None, __doc__).folder.resolve()))


if __name__ == "__main__":
    main()
