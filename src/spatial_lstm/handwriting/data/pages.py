"""Lines of pages that have ALTO or PAGE XML."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TypeVar

from spatial_lstm.handwriting.data.band import with_bands
from spatial_lstm.handwriting.data.cache import Pictures
from spatial_lstm.handwriting.data.find import PICTURES, Files
from spatial_lstm.handwriting.data.layout import FORMATS, Layout, TextLine, read_layout
from spatial_lstm.handwriting.data.line import Line
from spatial_lstm.handwriting.data.line_pictures import checked_text
from spatial_lstm.handwriting.data.names import Folders, alike, by_name
from spatial_lstm.handwriting.data.outline import Outline, check_on_page
from spatial_lstm.handwriting.data.pictures import picture_sizes
from spatial_lstm.handwriting.data.report import Refusal, Report

Told = TypeVar("Told")
# How far, in pixels, a picture's size may be from that in its XML; and, in another unit than pixels, its proportions, as a fraction.
PIXELS, PROPORTION = 2, 0.02


class Pages:
    """The pages among the files found.

    Args:
        files: What was found.
        texts: Whether a line has to have a text.
        pictures: The cache that the lines share.
        report: Where what is left out is noted.

    Attributes:
        pictures: The pages' pictures.
    """

    def __init__(self, files: Files, texts: bool, pictures: Pictures, report: Report) -> None:
        self._files = files
        self._texts = texts
        self._cache = pictures
        self._report = report
        self._read: dict[Path, Path] = {}
        self._by_name = by_name(files.pictures)
        self._folders = Folders()
        self.pictures: set[Path] = set()

    def lines(self) -> Iterator[Line]:
        """The lines of all pages; afterwards ``pictures`` is complete."""
        for path in self._files.layouts:
            name = self._files.name(path)
            try:
                layout = read_layout(path)
            except Refusal as refusal:
                self._report.refuse(name, "", refusal)
                continue
            try:
                yield from self._page(path, layout)
            except Refusal as refusal:
                for id in [line.id for line in layout.lines] or [""]:
                    self._report.refuse(name, id, refusal)

    def _page(self, path: Path, layout: Layout) -> Iterator[Line]:
        """The lines of one page; raises what stands against all of them before the first."""
        picture = self._picture(path, layout.image)
        self.pictures.add(picture)
        if picture in self._read:
            raise Refusal("page read already", f"from {self._files.name(self._read[picture])}")
        if not layout.lines:
            raise Refusal("no lines", f"{FORMATS[layout.format].name} without a TextLine")
        size, scale = _size_and_scale(picture, layout)
        self._read[picture] = path
        page, part = self._files.name(picture), self._files.parts.get(path)
        for line, outline in self._outlined(path, layout.lines, size, scale):
            try:
                text = checked_text(_value(line.text))
            except Refusal as refusal:
                if self._texts:
                    self._report.refuse(self._files.name(path), line.id, refusal)
                    continue
                text = None
            yield Line(line.id, text, page, path, picture, self._cache, outline, size, part)

    def _outlined(
        self, path: Path, lines: list[TextLine], size: tuple[int, int], scale: tuple[float, float]
    ) -> list[tuple[TextLine, Outline]]:
        """The lines that lie on the page, each with its band."""
        found = []
        for line in lines:
            try:
                outline = _value(line.outline).scaled(*scale)
                check_on_page(outline, *size)
            except Refusal as refusal:
                self._report.refuse(self._files.name(path), line.id, refusal)
            else:
                found.append((line, outline))
        bands = with_bands([outline for _, outline in found], *size)
        return [(line, band) for (line, _), band in zip(found, bands, strict=True)]

    def _picture(self, path: Path, name: str) -> Path:
        """A page's picture: beside the XML, in the folder above, or the only one of its name in all folders that are read."""
        names = [_inside(name, path.parent, self._files.base)] if name else [path.stem + end for end in PICTURES]
        above = () if names[0].startswith("..") else (path.parent.parent,)
        for folder in (path.parent, *above):
            for wanted in names:
                if found := self._folders.file(Path(os.path.normpath(folder / wanted))):
                    return found
        elsewhere = [other for wanted in names for other in alike(self._by_name, wanted)]
        if len(elsewhere) == 1:
            return elsewhere[0]
        told = f"{name} is not beside the XML or above it" if name else "the XML names none, and none has its name"
        raise Refusal("no image", told if not elsewhere else f"{len(elsewhere)} are named {name or path.stem}")


def _value(told: Told | Refusal) -> Told:
    if isinstance(told, Refusal):
        raise told
    return told


def _inside(name: str, folder: Path, base: Path) -> str:
    """A picture's name as the XML in a folder tells it, if it leads to no other folder than that, those in it and those that are read.

    Raises:
        Refusal: If it is absolute, an address, or leads out of ``base``, the folder of all that is read.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    place = Path(os.path.normpath(folder / path))  # links that lead elsewhere and back are not followed
    within = place.is_relative_to(folder) or place.is_relative_to(base)
    # A colon may stand in a name, but for one before a slash, which is of an address or a drive.
    if path.is_absolute() or not within or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", str(path)):
        raise Refusal("image name leads out of the folder", name[:200])
    return Path(os.path.relpath(place, folder)).as_posix()


def _size_and_scale(picture: Path, layout: Layout) -> tuple[tuple[int, int], tuple[float, float]]:
    """Width and height of a page's picture, and how many of its pixels are one unit of the layout in x and y.

    Raises:
        Refusal: If the layout is another picture's.
    """
    stored, turned = picture_sizes(picture)
    if layout.size is None:
        if layout.unit not in ("", "pixel"):
            raise Refusal("unit without a page size", layout.unit)
        return turned, (1.0, 1.0)
    width, height = layout.size
    for size in (stored, turned):
        if layout.unit in ("", "pixel"):
            if abs(size[0] - width) <= PIXELS and abs(size[1] - height) <= PIXELS:
                return size, (1.0, 1.0)
        elif min(width, height) > 0 and abs(size[0] / width * height / size[1] - 1) <= PROPORTION:
            return size, (size[0] / width, size[1] / height)
    told = f"{width:g}x{height:g} {layout.unit or 'pixel'}"
    raise Refusal("image of another size", f"{turned[0]}x{turned[1]}, the XML says {told}")
