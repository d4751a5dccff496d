"""Where compiled libraries are kept, on machines of any kind, and those that are not what they should be."""

from __future__ import annotations

import ctypes
import errno
import os
import pwd
import stat
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from spatial_lstm.cli import main
from spatial_lstm.engine.kernels.cpp import compiler, folders, library, store, structures
from spatial_lstm.engine.kernels.cpp.compiler import BuildError
from spatial_lstm.engine.kernels.cpp.recipe import SOURCE, short_digest
from tests.compilers import Machine, damage, fails


def private(machine: Machine) -> Path:
    """The user's own temporary folder."""
    folder = machine.root / "tmp" / f"spatial_lstm-{os.getuid()}"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    return folder


def load_with_a_warning(machine: Machine, match: str) -> None:
    """The library is compiled into the temporary folder, with one warning, and found there without one."""
    with pytest.warns(UserWarning, match=match) as said:
        assert isinstance(library.load(), ctypes.CDLL)
    assert len(said) == 1
    assert [path.parent for path in machine.libraries] == [private(machine)]
    machine.restart()
    assert not library.build().notes


def nobody(uid: int) -> None:
    raise KeyError(uid)


@pytest.mark.parametrize("named", ["", "~/libraries"])
def test_no_home_and_an_unknown_user(named: str, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    found = machine.compiler()
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.setenv("SPATIAL_LSTM_CACHE", named)
    load_with_a_warning(machine, "kept in .*SPATIAL_LSTM_CACHE names another place.: there is no home folder")
    assert len(found.kernels) == 1


def test_a_folder_in_the_home(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.compiler()
    monkeypatch.setenv("HOME", str(machine.root))
    for named, where in {"~/x": "x", "": ".cache/spatial_lstm"}.items():
        monkeypatch.setenv("SPATIAL_LSTM_CACHE", named)
        machine.restart()
        assert library.build().library._name.startswith(f"{machine.root}/{where}/")
    monkeypatch.setenv("XDG_CACHE_HOME", str(machine.root / "xdg"))
    machine.restart()
    assert library.build().library._name.startswith(f"{machine.root}/xdg/spatial_lstm/")


def test_a_folder_that_cannot_be_written_to(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.compiler()
    machine.cache.write_text("a file")
    load_with_a_warning(machine, f"{machine.cache} cannot be written to: ")
    assert main(["build", "--force"]) == 0
    assert "cannot be written to" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "ST_NOEXEC"), reason="the system does not say it")
def test_a_folder_without_programs(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.compiler()
    flags = {machine.cache: os.ST_NOEXEC}
    monkeypatch.setattr(os, "statvfs", lambda folder: SimpleNamespace(f_flag=flags.get(folder, 0)))
    load_with_a_warning(machine, "noexec")


def test_no_folder_at_all(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.compiler()
    machine.cache.write_text("a file")
    monkeypatch.setattr(folders.tempfile, "tempdir", str(machine.cache))
    assert main(["build"]) == 1
    assert "build: no folder to keep it in (set SPATIAL_LSTM_CACHE): " in capsys.readouterr().err
    with pytest.warns(UserWarning, match="the plain one runs instead.*no folder to keep it in"):
        assert isinstance(library.load(), BuildError)


def refuse(path: object, code: int = errno.ENOSPC) -> None:
    raise OSError(code, os.strerror(code), str(path))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system does not say which file is written")
@pytest.mark.parametrize("when", ["before", "compiling", "afterwards"])
def test_a_folder_that_is_full(when: str, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which some file systems say late, and a compiler in its own way: that is no failure of a compiler's."""
    full, right = machine.root / "full", os.fsync
    fills = f'case "$*" in *{machine.cache}/*kernel.so) touch {full}'
    trouble = {"compiling": f"{fills}; exit 1;; esac", "afterwards": f"{fills};; esac"}
    found = machine.compiler(trouble=trouble.get(when, ""))
    if when == "before":
        full.touch()

    def fsync(handle: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{handle}"))
        if full.exists() and path.is_relative_to(machine.cache):
            refuse(path)
        right(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    load_with_a_warning(machine, f"kept in .*: {machine.cache} cannot be written to: No space left on device")
    assert len(found.kernels) == (1 if when == "before" else 2)
    assert list(machine.root.rglob("*.failed")) == []


def test_a_folder_that_takes_no_folders(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """For want of inodes."""
    machine.compiler()
    right = tempfile.TemporaryDirectory

    def make(*, dir: Path, **options: object) -> object:
        return refuse(dir, errno.EDQUOT) if dir == machine.cache else right(dir=dir, **options)

    monkeypatch.setattr(tempfile, "TemporaryDirectory", make)
    load_with_a_warning(machine, f"{machine.cache} cannot be written to: Disk quota exceeded")


def test_a_damaged_library_that_cannot_be_replaced(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user's, in a folder of many."""
    machine.compiler()
    path = Path(library.build().library._name)
    damage(path, "cut")
    right = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: refuse(b, errno.EPERM) if Path(b).exists() else right(a, b))
    machine.restart()
    with pytest.warns(UserWarning, match=f"kept in .*: {machine.cache} cannot be written to: Operation not permitted"):
        assert isinstance(library.load(), ctypes.CDLL)
    machine.restart()
    assert not library.build().notes
    assert {found.parent for found in machine.libraries} == {machine.cache, private(machine)}


def test_a_failure_of_another_user_is_not_heeded(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Theirs may have been for want of what this one has."""
    found = machine.compiler(trouble=fails("kernel.cpp"))
    for user in (1, 2):
        monkeypatch.setattr(os, "getuid", lambda user=user: user)
        for _ in range(2):
            machine.restart()
            assert isinstance(library.load(), BuildError)
            assert len(found.kernels) == user


@pytest.mark.parametrize("named", [".", "./", "libraries"])
def test_a_folder_named_from_where_we_are(named: str, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    found = machine.compiler()
    machine.cache.mkdir()
    monkeypatch.chdir(machine.cache)
    monkeypatch.setenv("SPATIAL_LSTM_CACHE", named)
    for _ in range(2):
        assert isinstance(library.load(), ctypes.CDLL)
        assert [path.parent for path in machine.libraries] == [machine.cache / named]
        machine.restart()
    assert len(found.kernels) == 1


def test_where_we_are_is_gone(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.compiler()
    machine.cache.mkdir()
    monkeypatch.chdir(machine.cache)
    monkeypatch.setenv("SPATIAL_LSTM_CACHE", ".")
    machine.cache.rmdir()
    load_with_a_warning(machine, r"kept in .*: \. cannot be written to: No such file or directory")


def test_what_killed_processes_have_left_is_removed(machine: Machine) -> None:
    """Once no compiler can be at work there any more; nothing of anybody else's is."""
    machine.compiler()
    ages = {"spatial_lstm-build-old": 3700, "spatial_lstm-build-new": 3500, "build-another": 3700}
    for name, age in ages.items():
        folder = machine.cache / name
        folder.mkdir(parents=True)
        (folder / "kernel.so").touch()
        os.utime(folder, (time.time() - age,) * 2)
    library.build()
    assert {path.name for path in machine.cache.iterdir() if path.is_dir()} == ages.keys() - {"spatial_lstm-build-old"}


def test_a_library_is_found_where_nothing_can_be_written(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an image of a container that was made by another user."""
    machine.compiler()
    library.build()
    machine.restart()
    monkeypatch.setattr(folders, "writable", lambda: pytest.fail("asked for a folder to write to"))
    assert isinstance(library.load(), ctypes.CDLL)


def test_no_library_is_loaded_from_a_folder_that_others_can_write_to(machine: Machine) -> None:
    own = folders.temporary_folder()
    assert own == private(machine)
    machine.restart()
    assert folders.temporary_folder() == own
    assert own in folders.readable()
    own.chmod(0o777)
    machine.restart()
    other = folders.temporary_folder()
    assert stat.S_IMODE(other.stat().st_mode) == 0o700
    assert own not in folders.readable()
    own.rmdir()
    own.symlink_to(other)
    machine.restart()
    assert folders.temporary_folder() not in (own, other)
    assert own not in folders.readable()


@pytest.mark.parametrize("how", ["empty", "cut", "flipped", "other-system"])
def test_a_library_that_does_not_load_is_compiled_again(how: str, machine: Machine) -> None:
    found = machine.compiler()
    path = Path(library.build().library._name)
    if how == "other-system":  # whole, but nothing that can be loaded here
        path.unlink()
        path.with_name(f"{path.stem.rpartition('-')[0]}-{short_digest(b'strange')}.so").write_bytes(b"strange")
    else:
        damage(path, how)
    for _ in range(2):
        machine.restart()
        assert isinstance(library.load(), ctypes.CDLL)
        assert len(found.kernels) == 2


def test_a_library_that_never_loads_is_compiled_once(machine: Machine) -> None:
    strange = machine.root / "strange"
    strange.write_text("no library")
    found = machine.compiler()
    machine.compiler(trouble=f'case "$*" in *kernel.cpp*) for output; do :; done; cp {strange} "$output"; exit;; esac')
    for _ in range(2):
        with pytest.warns(UserWarning, match="the plain one runs instead.*does not load"):
            assert isinstance(library.load(), BuildError)
        assert len(found.kernels) == 1
        machine.restart()


@pytest.mark.parametrize("other", [*structures.STRUCTURES, None])
def test_a_library_of_other_structures_is_refused(
    other: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that says another size of any structure, or none at all."""
    sizes = {name: structure.size + 8 * (name == other) for name, structure in structures.STRUCTURES.items()}
    lines = [f"EXPORTED long long size_of_{name}() {{ return {size}; }}" for name, size in sizes.items()]
    if not compiler.compilers():
        pytest.skip("no compiler")
    source, output = tmp_path / "kernel.cpp", tmp_path / "kernel.so"
    source.write_text("\n".join([f'#include "{SOURCE}/exported.hpp"', *(lines if other else lines[1:])]) + "\n")
    compiler.run_compiler(compiler.compilers()[0], [], [source], output, time.monotonic() + 600)
    path = store.keep(tmp_path, [], output)
    with pytest.raises(BuildError, match="passes other structures") as found:
        store.load(path)
    name = other or "layer"
    size = sizes[name] - 8 * bool(other)
    assert f"{name} has {size} bytes here and {size + 8 if other else None} there" in str(found.value)
