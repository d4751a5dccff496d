"""Lines to train on or to read, whose pixels are got when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import overload

from spatial_lstm.arguments import as_positive_int
from spatial_lstm.handwriting.data.cache import Pictures
from spatial_lstm.handwriting.data.cut import cut
from spatial_lstm.handwriting.data.outline import Outline
from spatial_lstm.handwriting.data.pictures import Gray, check_gray, read_gray, resized, scaled
from spatial_lstm.handwriting.data.report import Refusal

PARTS = ("train", "validation", "test")
# A cut-out lower or narrower than this, in pixels, shows no writing; one longer in proportion to its height is no line.
SMALLEST, LONGEST = 5, 150


@dataclass(frozen=True, eq=False)
class Line:
    """One line.

    Attributes:
        id: Of this line among those of its page.
        text: What is written in it, as the file says; None where it is not known.
        page: The page that it is on, so that lines of one page are known to belong together; None where it is not known.
        file: What it was read from: the XML file of its page, or its own picture.
        picture: The page's picture, or its own.
        pictures: The cache that it shares with other lines.
        outline: Where it lies on the page's picture; None where the picture is the line.
        size: Width and height of the page's picture as its file tells them.
        part: ``"train"``, ``"validation"`` or ``"test"`` where its folder or a list says so.
        pixels: Of a line that is in memory and in no file.
    """

    id: str
    text: str | None
    page: str | None
    file: Path
    picture: Path
    pictures: Pictures = field(repr=False)
    outline: Outline | None = field(default=None, repr=False)
    size: tuple[int, int] | None = None
    part: str | None = None
    pixels: Gray | None = field(default=None, repr=False)

    @classmethod
    def of_pixels(
        cls, id: str, text: str | None, pixels: Gray, *, page: str | None = None, part: str | None = None
    ) -> Line:
        """A line of gray values ``(height, width)``, uint8, for which there is no file.

        Raises:
            TypeError: If these are not uint8.
            ValueError: If they are not of two dimensions, or empty.
        """
        check_gray(pixels)
        return cls(id, text, page, Path(id), Path(id), Pictures(), part=part, pixels=pixels)

    def image(self, height: int | None = None) -> Gray:
        """Gray values, ``(height, width)``, uint8, read-only: as high as it is on the page, or scaled to ``height``.

        With a height, large pages are decoded and cut at a half, a quarter or an eighth of their size where that is enough: it is faster,
        and the pixels are not quite those of the whole page scaled.

        Raises:
            Refusal: If the picture is missing or broken, or has nothing where the line should be, or what is there is no line.
            TypeError: If the height is no int.
            ValueError: If it is not positive.
        """
        height = None if height is None else as_positive_int("height", height)
        if self.pixels is not None:
            return self.pixels if height is None else scaled(self.pixels, height)
        return self.pictures.lines.get((self._source, self.outline, height), lambda: self._cut(height))

    @cached_property
    def _source(self) -> tuple[object, ...]:
        """What the pixels of the whole picture go by: its file, as it was when this line was first asked for, and how it is turned."""
        try:
            status = self.picture.stat()
        except OSError:  # what is wrong with it is told when it is read
            return self.picture, self.size
        return self.picture, self.size, status.st_mtime_ns, status.st_size

    def _cut(self, height: int | None) -> Gray:
        """The pixels as they are read, out of a page reduced as far as a line of ``height`` allows."""
        reduction = 1
        if self.outline is None:
            pixels = read_gray(self.picture)
        else:
            reduction = _reduction(self.outline, height)
            page = self.pictures.pages.get(
                (self._source, reduction), lambda: read_gray(self.picture, size=self.size, reduction=reduction)
            )
            pixels = cut(page, self.outline.reduced(reduction))
        rows, columns = (extent * reduction for extent in pixels.shape)
        if self.outline is not None and self.outline.band is not None:
            rows = max(1, round(self.outline.height()))  # a reduced page has only some fractions of it
        if min(rows, columns) < SMALLEST:
            raise Refusal("too small", f"{columns}x{rows} pixels")
        if columns > LONGEST * rows:
            raise Refusal("too long for its height", f"{columns}x{rows} pixels")
        return pixels if height is None else resized(pixels, height, max(1, round(columns * height / rows)))


def _reduction(outline: Outline, height: int | None) -> int:
    """By how much a page may be reduced so that a line still has half as many rows again as are asked for."""
    fit = (power for power in (8, 4, 2) if height is not None and outline.height() >= 1.5 * height * power)
    return next(fit, 1)


class Lines(Sequence[Line]):
    """Some lines, in order; a slice of them is Lines too."""

    def __init__(self, lines: Iterable[Line] = ()) -> None:
        self._lines = tuple(lines)

    @overload
    def __getitem__(self, index: int) -> Line: ...

    @overload
    def __getitem__(self, index: slice) -> Lines: ...

    def __getitem__(self, index: int | slice) -> Line | Lines:
        return Lines(self._lines[index]) if isinstance(index, slice) else self._lines[index]

    def __len__(self) -> int:
        return len(self._lines)

    def __repr__(self) -> str:
        return f"Lines({len(self)} lines of {len(self.pages())} pages)"

    def __add__(self, other: Lines) -> Lines:
        return Lines((*self, *other))

    def texts(self) -> list[str]:
        """What is written in the lines.

        Raises:
            ValueError: If that is not known of all of them.
        """
        known = [line.text for line in self if line.text is not None]
        if len(known) < len(self):
            raise ValueError(f"expected lines with texts, got {len(self) - len(known)} of {len(self)} without")
        return known

    def pages(self) -> list[str]:
        """The pages that are known, each once, in order."""
        return list(dict.fromkeys(line.page for line in self if line.page is not None))

    def of_part(self, part: str | None) -> Lines:
        """Those of ``"train"``, ``"validation"`` or ``"test"``, or of none of them.

        Raises:
            ValueError: If it is another part.
        """
        if part not in (None, *PARTS):
            raise ValueError(f"expected part to be one of {PARTS} or None, got {part!r}")
        return Lines(line for line in self if line.part == part)
