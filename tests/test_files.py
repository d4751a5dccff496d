"""Files are whole or not there."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from spatial_lstm import SpatialLSTM, stream
from spatial_lstm.files import sole_writer, write_atomically
from spatial_lstm.training import Checkpoint, Trainer
from tests.test_training import STAGES, make
from tests.toy import Line

HOLDS = """
import sys, time
from pathlib import Path
from spatial_lstm.files import sole_writer
with sole_writer(Path(sys.argv[1])):
    print(flush=True)
    time.sleep(60)
"""


def test_writes_into_a_new_folder(tmp_path: Path) -> None:
    write_atomically(tmp_path / "new" / "file", lambda file: file.write(b"content"))
    assert (tmp_path / "new" / "file").read_bytes() == b"content"
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["file"]


@pytest.mark.parametrize("broken", ["write", "replace"])
def test_a_failed_write_leaves_the_old_file(broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "figures"
    write_atomically(path, lambda file: file.write(b"old"))

    def fail(*_: object) -> None:
        raise OSError("full")

    if broken == "replace":
        monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="full"):
        write_atomically(path, fail if broken == "write" else lambda file: file.write(b"new"))
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["figures"]


class Full:
    """A file on a disk that is full."""

    def write(self, content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("write", [lambda file: Full().write(b""), lambda file: torch.save(torch.zeros(3), Full())])
def test_a_full_disk_is_said_to_be_full(write: Callable[[object], object], tmp_path: Path) -> None:
    path = tmp_path / "figures"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match=r"No space left on device: '.*/figures'$"):
        write_atomically(path, write)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["figures"]


def test_what_fails_otherwise_stays_what_it_is(tmp_path: Path) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("another")

    with pytest.raises(RuntimeError, match="another"):
        write_atomically(tmp_path / "figures", fail)


def test_permissions_are_those_of_any_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the process's umask, which all threads share, is not touched."""
    before = os.umask(0o027)
    try:
        with monkeypatch.context() as patch:
            patch.delattr(os, "umask")
            write_atomically(tmp_path / "file", lambda file: file.write(b"content"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_content_and_name_reach_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    sync, replace = os.fsync, os.replace

    def note_sync(handle: int) -> None:
        calls.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        sync(handle)

    def note_replace(*paths: Path) -> None:
        calls.append("replace")
        replace(*paths)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_replace)
    write_atomically(tmp_path / "file", lambda file: file.write(b"content"))
    assert calls == ["file", "replace", "folder"]


def test_a_folder_that_cannot_be_synced_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync = os.fsync

    def refuse(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError("not supported")
        sync(handle)

    monkeypatch.setattr(os, "fsync", refuse)
    write_atomically(tmp_path / "file", lambda file: file.write(b"content"))
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_folder_is_held_until_it_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with sole_writer(folder):
        with pytest.raises(ValueError, match="nobody else is writing to, got .*run"), sole_writer(folder):
            pass
        (folder / "file").touch()
    with sole_writer(folder):
        pass
    assert (folder / "file").exists()
    with sole_writer(tmp_path / "empty"):
        pass
    assert not (tmp_path / "empty").exists()


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(ValueError, match="nobody else"), sole_writer(tmp_path):
            pass
        other.kill()
    with sole_writer(tmp_path):
        pass


def stream_anew(folder: Path) -> None:
    source = np.zeros((1, 4, 4), np.float32)
    stream(SpatialLSTM(1, 2), source, np.zeros((2, 4, 4), np.float32), tile=(2, 2), folder=folder)


def train_on(folder: Path) -> None:
    checkpoint = Checkpoint.read(folder)
    Trainer.resume(folder, checkpoint, Line())


def train_anew(folder: Path) -> None:
    Trainer(Line(), STAGES, folder=folder, overwrite=True).run()


@pytest.mark.parametrize("write", [stream_anew, train_on, train_anew])
def test_two_runs_in_one_folder_are_refused(write: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path).run()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with sole_writer(tmp_path), pytest.raises(ValueError, match="nobody else is writing to"):
        write(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    write(tmp_path)
