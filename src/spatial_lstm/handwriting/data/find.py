"""The pictures, transcripts and layouts that a folder, a list or a name stands for."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from spatial_lstm.handwriting.data.parts import NAMES
from spatial_lstm.handwriting.data.report import Refusal, Report

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".jp2", ".webp", ".bmp", ".gif")
LAYOUT, TRANSCRIPT = ".xml", ".gt.txt"
# A folder may have this list of the parts of its layouts: {"page_files": {"train": ["a.xml", ..], "val": [..], "test": [..]}}.
SPLIT = "split.json"


@dataclass
class Files:
    """What was found, in order.

    Attributes:
        base: The folder from which files are named.
        layouts: XML files.
        pictures: Pictures, of lines or of pages.
        transcripts: The texts of lines.
        parts: Of files whose folder or list names one.
        named: Of the folders that were asked for, and those in them, the ones that name a part.
    """

    base: Path
    layouts: list[Path] = field(default_factory=list)
    pictures: list[Path] = field(default_factory=list)
    transcripts: list[Path] = field(default_factory=list)
    parts: dict[Path, str] = field(default_factory=dict)
    named: set[Path] = field(default_factory=set)

    def name(self, path: Path) -> str:
        """A file's name from the base."""
        return Path(os.path.relpath(path, self.base)).as_posix()

    def add(self, path: Path) -> bool:
        """Sort a file in; False if it is of no kind that is read."""
        name = path.name.lower()
        if name.endswith(TRANSCRIPT):
            self.transcripts.append(path)
        elif name.endswith(LAYOUT):
            self.layouts.append(path)
        elif name.endswith(PICTURES):
            self.pictures.append(path)
        else:
            return False
        return True


def find(paths: Sequence[Path], report: Report) -> Files:
    """Look through folders and the folders in them, lists, and single files.

    A list is a file of text with a path on each line, from where the list is, to a picture or an XML file. The first folder within a
    folder names a part if it is called train, val, test or alike; so does a folder's ``split.json`` for its XML files, and so do the
    folders of ``paths`` where some are called train and others differently: two called train are data of two kinds. Files and folders whose
    names begin with a dot are passed over.

    Args:
        paths: To read.
        report: Where paths that lead nowhere and files named twice are noted.

    Raises:
        FileNotFoundError: If one of ``paths`` is not there.
        ValueError: If there is none, or one is of no kind that is read.
    """
    if not paths:
        raise ValueError("expected a folder, a list, a picture or an XML file, got nothing")
    paths = [Path(os.path.abspath(path)) for path in paths]
    files = Files(Path(os.path.commonpath([path if path.is_dir() else path.parent for path in paths])))
    called = {path: NAMES[path.name.lower()] for path in paths if path.is_dir() and path.name.lower() in NAMES}
    told = called if {"train"} < set(called.values()) else {}
    seen: set[Path] = set()
    for path in paths:
        for file in _files_of(path, files, report):
            if path in told:
                files.parts.setdefault(file, told[path])
            if file in seen:
                report.refuse(files.name(file), "", Refusal("named twice"))
            elif os.path.isdir(file):
                report.refuse(files.name(file), "", Refusal("a folder in a list", f"named in {path.name}"))
            elif not os.path.isfile(file):  # which takes names that no file can have
                report.refuse(files.name(file), "", Refusal("no such file", f"named in {path.name}"))
            elif not files.add(file):
                report.refuse(files.name(file), "", Refusal("neither a picture nor XML", f"named in {path.name}"))
            seen.add(file)
    return files


def _files_of(path: Path, files: Files, report: Report) -> Iterator[Path]:
    """The files that a path stands for, their parts noted."""
    if path.is_dir():
        yield from _files_in(path, files, report)
    elif not path.exists():
        raise FileNotFoundError(f"expected a folder, a list, a picture or an XML file, got {path}, which is not there")
    elif path.name.lower().endswith((LAYOUT, TRANSCRIPT, *PICTURES)):
        yield path
    else:
        yield from _listed(path)


def _files_in(folder: Path, files: Files, report: Report) -> Iterator[Path]:
    listed = _listed_parts(folder)
    missing = dict.fromkeys(listed)
    files.named |= {here for here in (folder, *folder.iterdir()) if here.name.lower() in NAMES}
    for here, folders, names in os.walk(folder):
        for name in [name for name in folders if Path(here, name).is_symlink()]:
            report.refuse(files.name(Path(here, name)), "", Refusal("link to a folder", "not followed"))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        first = next(iter(Path(here).relative_to(folder).parts), "")
        for name in sorted(names):
            path = Path(here, name)
            if name.startswith(".") or not name.lower().endswith((LAYOUT, TRANSCRIPT, *PICTURES)):
                continue
            known = (plain_name(path.relative_to(folder).as_posix()), plain_name(name))
            own = next((key for key in known if key in listed and name.lower().endswith(LAYOUT)), None)
            if own is not None:
                missing.pop(own, None)
            if part := NAMES.get(first.lower()) or (None if own is None else listed[own]):
                files.parts[path] = part
            yield path
    for name in missing:
        report.refuse(files.name(folder / SPLIT), name, Refusal("no such XML file", f"its part is {listed[name]}"))


def _listed(path: Path) -> Iterator[Path]:
    try:
        names = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"expected a folder, a picture, an XML file or a list of such, got {path}: {error}") from error
    if not any(name.strip() for name in names):
        raise ValueError(f"expected a list of pictures or XML files, got {path}, which is empty")
    for name in names:
        if name.strip():
            yield Path(os.path.abspath(path.parent / name.strip()))


def _listed_parts(folder: Path) -> dict[str, str]:
    """The parts of layouts by their names, :func:`plain_name`, of a folder that has a list of them."""
    path = folder / SPLIT
    if not path.is_file():
        return {}
    wanted = '{"page_files": {"train": ["a.xml"], "val": [], "test": []}}'
    found: dict[str, str] = {}
    try:
        told = json.loads(path.read_text(encoding="utf-8-sig"))["page_files"]
        for part, names in told.items():
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise TypeError(f"{names!r} for {part}")
            for name in names:
                if found.setdefault(plain_name(name), NAMES[part]) != NAMES[part]:
                    raise ValueError(f"{name!r} in two parts")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"expected {path} to be like {wanted}, got {type(error).__name__}: {error}") from error
    return found


def plain_name(name: str) -> str:
    """What names have in common that systems take for the same one."""
    return unicodedata.normalize("NFC", name).casefold()
