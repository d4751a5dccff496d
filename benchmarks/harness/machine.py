"""What the figures were measured on: enough to compare them, nothing that tells one machine of a kind from another."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path

import torch

import spatial_lstm

Description = dict[str, str | int]


def describe_machine() -> Description:
    """CPU, cores, system, versions, and the commit that was measured."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "system": platform.system(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "spatial_lstm": spatial_lstm.__version__,
        "commit": _commit(),
    }


def machine_name(machine: Description) -> str:
    """A name for a folder, such as ``amd-epyc-2-cores``."""
    return re.sub(r"[^a-z0-9]+", "-", f"{machine['cpu']} {machine['cores']} cores".lower()).strip("-")


def available_memory() -> int:
    """Bytes that can be taken without swapping; 4 GiB where the system does not say."""
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return 4 << 30
    found = re.search(r"MemAvailable:\s+(\d+) kB", text)
    return int(found[1]) * 1024 if found else 4 << 30


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    return cpu_name(text) or platform.processor() or platform.machine()


def cpu_name(text: str) -> str:
    """The CPU's name by what Linux says of it; with its family, where a virtual machine tells no model, as of ``AMD EPYC``.

    Intel's are all of family 6, and their models tell them apart.
    """
    name, family, model = (
        re.search(rf"^{what}\s*: (.+)", text, re.M) for what in ("model name", "cpu family", "model")
    )
    if name is None:
        return ""
    told = name[1].strip()
    if family is None or re.search(r"\d", told):
        return told
    number = family[1].strip()
    return f"{told}, family {number}" + (f", model {model[1].strip()}" if number == "6" and model else "")


def _commit() -> str:
    """The checkout's commit, with ``+`` behind it where the library's source has changed since; ``unknown`` outside a checkout."""
    here = Path(__file__).parent

    def git(*args: str) -> str:
        return subprocess.run(["git", *args], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", ":/src") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
