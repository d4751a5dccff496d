"""A machine whose compilers are scripts: they note how they are called, and copy a library that was compiled before."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from spatial_lstm.engine.kernels.cpp import compiler, folders, library, recipe, store
from spatial_lstm.engine.kernels.cpp.recipe import source_digest

SCRIPT = """#!/bin/sh
PATH={path}
case "$*" in *--version) echo "the compiler {version}"; exit;; esac
echo "$*" >> {calls}
{trouble}
for output; do :; done
cp {library} "$output"
"""


def fails(where: str = "") -> str:
    """The trouble of a compiler that fails where its arguments have some text."""
    return f'case "$*" in *"{where}"*) echo "{where or "this"} is too much" >&2; exit 1;; esac'


def dies(call: int) -> str:
    """The trouble of a compiler that is killed at one of its calls, counted from 1."""
    return f'if [ $(wc -l < "$0.calls") = {call} ]; then kill -9 $$; fi'


def damage(path: Path, how: str) -> None:
    """Leave of a library nothing, the half, or all with one bit that is another."""
    content = path.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    path.unlink()  # this process may have mapped it
    path.write_bytes({"empty": b"", "cut": content[:middle], "flipped": flipped}[how])


@dataclass(frozen=True)
class FakeCompiler:
    """A script and how it was called."""

    path: Path

    @property
    def calls(self) -> list[str]:
        """The arguments of each call but those that ask for the version."""
        notes = Path(f"{self.path}.calls")
        return notes.read_text(errors="surrogateescape").splitlines() if notes.exists() else []

    @property
    def kernels(self) -> list[str]:
        """Those that make the kernel's library, once its parts are compiled."""
        return [call for call in self.calls if "kernel.cpp" in call]

    @property
    def parts(self) -> list[str]:
        """Those that compile one of these."""
        return [call for call in self.calls if any(f"{part.name} " in call for part in recipe.PARTS)]


@dataclass(frozen=True)
class Machine:
    """One without any compiler, folder or library at first.

    Attributes:
        root: What lies on it.
        cache: Where libraries are kept.
        compiled: The library that its compilers copy.
        path: Where programs are.
    """

    root: Path
    cache: Path
    compiled: Path
    path: str

    @classmethod
    def make(cls, root: Path, compiled: Path, patch: pytest.MonkeyPatch) -> Machine:
        machine = cls(root, root / "cache", compiled, os.environ["PATH"])
        for folder in ("bin", "tmp"):
            (root / folder).mkdir()
        for name in ("CXX", "SPATIAL_LSTM_CXXFLAGS", "SPATIAL_LSTM_CPP", "XDG_CACHE_HOME"):
            patch.delenv(name, raising=False)
        patch.setenv("PATH", str(root / "bin"))
        patch.setenv("SPATIAL_LSTM_CACHE", str(machine.cache))
        patch.setattr(folders.tempfile, "tempdir", str(root / "tmp"))
        patch.setattr(library, "_outcome", None)
        patch.setattr(recipe, "PREBUILT", root / "prebuilt")
        machine.restart()
        return machine

    def compiler(
        self, name: str = "c++", trouble: str = "", version: str = "", copies: Path | None = None
    ) -> FakeCompiler:
        """Put a compiler where programs are, or where ``name`` says."""
        path = self.root / "bin" / name
        words = {"path": self.path, "calls": f"{path}.calls", "library": str(copies or self.compiled)}
        quoted = {key: shlex.quote(word) for key, word in words.items()}
        script = SCRIPT.format(version=version or f"{path.name} 1.0", trouble=trouble, **quoted)
        path.write_text(script, errors="surrogateescape")
        path.chmod(0o755)
        return FakeCompiler(path)

    @property
    def libraries(self) -> list[Path]:
        return sorted(self.root.rglob("*.so"))

    def forget_source(self, patch: pytest.MonkeyPatch, where: Path | None = None) -> None:
        """Install the package without the kernel's source, or with it elsewhere."""
        source = where or self.root / "source"
        patch.setattr(recipe, "SOURCE", source)
        patch.setattr(compiler, "SOURCE", source)
        patch.setattr(library, "KERNEL", source / "kernel.cpp")
        patch.setattr(library, "PARTS", ())
        self.restart()

    def restart(self) -> None:
        """Forget what a process knows."""
        library._outcome = None
        for cached in (library._announce, compiler._version, folders.temporary_folder, store._source, source_digest):
            cached.cache_clear()
