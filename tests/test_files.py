"""Files are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from spatial_lstm.files import write_atomically


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
