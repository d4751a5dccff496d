"""Lines from what people have: pictures of lines with transcripts, and pages with ALTO or PAGE XML."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from spatial_lstm.arguments import as_positive_int
from spatial_lstm.handwriting.data.cache import Pictures
from spatial_lstm.handwriting.data.find import Files, find
from spatial_lstm.handwriting.data.line import Line, Lines
from spatial_lstm.handwriting.data.line_pictures import line_pictures
from spatial_lstm.handwriting.data.pages import Pages
from spatial_lstm.handwriting.data.pictures import BROKEN, further_pages
from spatial_lstm.handwriting.data.report import Refusal, Report

Track = Callable[[Sequence[Line]], Iterable[Line]]


def read_lines(
    *paths: Path | str,
    texts: bool = True,
    decode: bool = True,
    height: int | None = None,
    pictures: Pictures | None = None,
    track: Track = iter,
) -> tuple[Lines, Report]:
    """Read lines, and say of each that cannot be used why.

    What is read: folders, and the folders in them, of pictures (PNG, JPEG, TIFF, JPEG 2000, WebP, BMP, GIF) with transcripts (``a.png``
    beside ``a.gt.txt``, UTF-8) or of ALTO and PAGE XML beside the pages' pictures or in a folder next to them; lists of such files; single
    ones. See :func:`find`.

    Args:
        paths: Folders, lists, pictures, XML files.
        texts: Whether lines without a text are left out; else they are kept, to be read, and no text is None.
        decode: Whether every line is cut out once, so that broken pictures are found here and not later; the lines are then in the
            cache, as far as they fit.
        height: At which they are put there; None: as they are on the page.
        pictures: The cache to use; None: one of its own.
        track: Called with the lines that are about to be cut, gives them back one by one: the place for a progress bar.

    Returns:
        The lines in the order of files and, of a page, of its XML; and what was kept and left out.

    Raises:
        FileNotFoundError: If a path is not there.
        ValueError: If there is no path or one of them is of no kind that is read, or the height is not positive.
        TypeError: If the height is no int.
        ModuleNotFoundError: If Pillow or defusedxml is missing.
    """
    height = None if height is None else as_positive_int("height", height)
    report = Report()
    files = find([Path(path) for path in paths], report)
    pictures = pictures or Pictures()
    pages = Pages(files, texts, pictures, report)
    lines = [*pages.lines(), *line_pictures(files, texts, pictures, report, besides=pages.pictures)]
    if decode:
        lines = list(_cut_out(lines, height, files, report, track))
    report.kept.update(files.name(line.file) for line in lines)
    return Lines(lines), report


def _cut_out(lines: Sequence[Line], height: int | None, files: Files, report: Report, track: Track) -> Iterator[Line]:
    """The lines whose pictures are whole."""
    broken: dict[Path, Refusal] = {}
    seen: set[Path] = set()
    for line in track(lines):
        try:
            if line.picture in broken:
                raise broken[line.picture]
            line.image(height)
        except Refusal as refusal:
            if refusal.reason == BROKEN:
                broken[line.picture] = refusal
            report.refuse(files.name(line.file), line.id if line.outline else "", refusal)
        else:
            if line.picture not in seen and (more := further_pages(line.picture)):
                report.refuse(
                    files.name(line.picture), "", Refusal("further pages of a TIFF", f"{more} behind the first")
                )
            seen.add(line.picture)
            yield line
