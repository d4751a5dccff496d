"""What the C++ kernel is compiled for: the matrix unit and the products of pairs that a CPU has and a process may use."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from spatial_lstm.engine.kernels.cpp import cpu, library
from spatial_lstm.engine.kernels.cpp.recipe import NO_PAIRS, TILES
from tests.compilers import Machine


@pytest.mark.parametrize("listed", [True, False], ids=["a-cpu-with-one", "without"])
@pytest.mark.parametrize("granted", [True, False], ids=["granted", "denied"])
def test_the_matrix_unit_is_used_where_there_is_one_and_it_is_granted(
    granted: bool, listed: bool, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a library that uses it is not found where it is denied."""
    claim_features(machine, monkeypatch, "avx2", *(["amx_bf16", "avx512_bf16", "amx_tile"] if listed else []))
    monkeypatch.setattr(cpu, "grants_tiles", lambda: granted)
    found = machine.compiler()
    library.build()
    (call,) = found.kernels
    assert (TILES in call) == (granted and listed)
    machine.restart()
    monkeypatch.setattr(cpu, "grants_tiles", lambda: not granted)
    assert (library.find() is None) == listed


@pytest.mark.parametrize(
    ("vendor", "features", "used"),
    [
        ("AuthenticAMD", ["avx512_bf16"], True),
        ("AuthenticAMD", ["avx512f"], False),
        ("GenuineIntel", ["avx512_bf16"], False),
        ("GenuineIntel", ["avx512_bf16", "amx_tile", "amx_int8"], False),
        ("GenuineIntel", ["avx512_bf16", "amx_tile", "amx_bf16"], True),
    ],
)
def test_pairs_are_multiplied_where_that_is_faster(
    vendor: str, features: list[str], used: bool, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim_features(machine, monkeypatch, *features, vendor=vendor)
    monkeypatch.setattr(cpu, "grants_tiles", lambda: True)
    found = machine.compiler()
    library.build()
    (call,) = found.kernels
    assert (NO_PAIRS not in call) == used == (cpu.PAIRS in cpu.features())


def claim_features(machine: Machine, patch: pytest.MonkeyPatch, *features: str, vendor: str = "AuthenticAMD") -> None:
    """Let the machine have a CPU with these."""
    info = machine.root / "cpuinfo"
    info.write_text(f"vendor_id\t: {vendor}\nflags\t\t: {' '.join(features)}\n")
    patch.setattr(cpu, "INFO", info)


def test_linux_is_asked_for_the_matrix_unit_of_a_cpu_that_has_one() -> None:
    listed = any(set(line.split()) >= cpu.TILES for line in cpu._lines())
    granted = cpu.grants_tiles()
    assert granted == (cpu.features() >= cpu.TILES)
    assert listed or not granted
    if listed and not granted:
        pytest.skip("denied, as by a filter of system calls")


@pytest.mark.skipif((sys.platform, platform.machine()) != ("linux", "x86_64"), reason="nothing else has such a unit")
def test_linux_denies_the_matrix_unit_where_signals_have_too_small_a_stack() -> None:
    """As some programs set up: its library would end the process."""
    program = """
import ctypes
class Stack(ctypes.Structure):
    _fields_ = [("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]
memory = ctypes.create_string_buffer(4096)
assert ctypes.CDLL(None).sigaltstack(ctypes.byref(Stack(ctypes.addressof(memory), 0, 4096)), None) == 0
from spatial_lstm.engine.kernels.cpp import cpu
assert cpu.TILES.isdisjoint(cpu.features())
"""
    subprocess.run([sys.executable, "-c", program], check=True)
