"""What pyproject.toml cannot say: with SPATIAL_LSTM_PREBUILT=1 a wheel brings the C++ kernel compiled, for x86-64 or aarch64 Linux.

The kernel knows neither Python nor torch, so one wheel serves all of their versions. OpenMP is compiled in, but not linked: its functions
are those of the runtime that torch has loaded. Functions keep their names, by which `.ci/registers.py` finds them. From another machine,
_PYTHON_HOST_PLATFORM=linux-aarch64 says what it is built for, and CXX names a compiler that does.
"""

from __future__ import annotations

import os
import runpy
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

PLACE = "spatial_lstm/engine/kernels/cpp"
RECIPE = runpy.run_path(str(Path(__file__).parent / "src" / PLACE / "recipe.py"))


def builds() -> list[Any]:
    """Those for the system that the wheel is for."""
    return [build for build in RECIPE["BUILDS"] if sysconfig.get_platform() == f"linux-{build.machine}"]


class BuildWithKernel(build_py):
    """Compiles the kernel beside the Python files."""

    def run(self) -> None:
        super().run()
        folder = Path(self.build_lib, PLACE, "prebuilt")
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.so"):
            old.unlink()
        with tempfile.TemporaryDirectory() as scratch:
            for build, objects in compiled(builds(), Path(scratch)).items():
                library = folder / build.name
                run_compiler("-shared", *objects, "-o", library)
                library.rename(folder / build.file(library.read_bytes()))
        (folder / RECIPE["NOTE"]).write_text(RECIPE["source_digest"]())


def compiled(wanted: list[Any], scratch: Path) -> dict[Any, list[Path]]:
    """The object files of each build, those that several have in common compiled once, by as many compilers at once as there are cores."""
    places: dict[tuple[Path, tuple[str, ...]], Path] = {}
    found: dict[Any, list[Path]] = {}
    for build in wanted:
        for source in (RECIPE["KERNEL"], *RECIPE["PARTS"]):
            flags = build.flags + (build.in_16_bits if source.stem == "bfloat16" else ())
            place = places.setdefault((source, flags), scratch / f"{len(places)}.o")
            found.setdefault(build, []).append(place)
    calls = [(*RECIPE["FLAGS"], *flags, "-fopenmp", "-c", source, "-o", to) for (source, flags), to in places.items()]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda call: run_compiler(*call), calls))
    return found


def run_compiler(*arguments: str | Path) -> None:
    """Run the compiler that CXX names, of which arguments may follow."""
    subprocess.run([*shlex.split(os.environ.get("CXX", "g++")), *map(str, arguments)], check=True)


class WheelForAnyPython(bdist_wheel):
    """A wheel of one system, but of no Python in particular."""

    def get_tag(self) -> tuple[str, str, str]:
        *_, system = super().get_tag()
        return "py3", "none", system


class DistributionOfOneSystem(Distribution):
    """One that is not the same on every system."""

    def has_ext_modules(self) -> bool:
        return True


def options() -> dict[str, Any]:
    """What makes a wheel one with the kernel; nothing unless it is asked for."""
    if os.environ.get("SPATIAL_LSTM_PREBUILT") != "1":
        return {}
    if not builds():
        sys.exit(f"expected x86-64 or aarch64 Linux for SPATIAL_LSTM_PREBUILT=1, got {sysconfig.get_platform()}")
    return {
        "cmdclass": {"build_py": BuildWithKernel, "bdist_wheel": WheelForAnyPython},
        "distclass": DistributionOfOneSystem,
    }


setup(**options())
