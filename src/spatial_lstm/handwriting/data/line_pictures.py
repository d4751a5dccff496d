"""Lines that are pictures of their own, each beside its transcript."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from spatial_lstm.handwriting.data.cache import Pictures
from spatial_lstm.handwriting.data.find import TRANSCRIPT, Files
from spatial_lstm.handwriting.data.line import Line
from spatial_lstm.handwriting.data.report import Refusal, Report

# A folder in the folder with more lines than this is no page.
LINES_OF_A_PAGE = 100


def line_pictures(
    files: Files, texts: bool, pictures: Pictures, report: Report, *, besides: Collection[Path]
) -> Iterator[Line]:
    """The lines among the pictures found.

    The transcript of ``a.png`` is ``a.gt.txt``, that of ``a.bin.png`` too. Lines in a folder of their own within the one that all files
    and folders asked for are in are taken to be a page's, unless there are more than a hundred, or the folder's name is a part's.

    Args:
        files: What was found.
        texts: Whether a line has to have a text.
        pictures: The cache that they share.
        report: Where what is left out is noted, transcripts without a picture too.
        besides: Pictures of pages.
    """
    used: dict[Path, Path] = {}
    own = [picture for picture in files.pictures if picture not in besides]
    in_folder = Counter(picture.parent for picture in own)
    for picture in own:
        try:
            text = _text(picture, used)
        except Refusal as refusal:
            if texts or refusal.reason == SAME:
                report.refuse(files.name(picture), "", refusal)
                continue
            text = None
        folder = picture.parent
        apart = folder not in {files.base, *files.named} and in_folder[folder] <= LINES_OF_A_PAGE
        page = files.name(folder) if apart else None
        name = files.name(picture)
        yield Line(name, text, page, picture, picture, pictures, part=files.parts.get(picture))
    for transcript in files.transcripts:
        if transcript not in used:
            report.refuse(files.name(transcript), "", Refusal("transcript without a picture"))


SAME = "another picture has this transcript"


def checked_text(text: str | None) -> str:
    """A text to train on, without space around it.

    Raises:
        Refusal: If there is none, or more than a line.
    """
    if text is None:
        raise Refusal("no text")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise Refusal("empty text")
    if len(lines) > 1:
        raise Refusal("text of several lines", f"{len(lines)} lines")
    return lines[0]


def _text(picture: Path, used: dict[Path, Path]) -> str:
    """The transcript of a picture; ``used`` says which are whose."""
    stems = (picture.stem, picture.name.partition(".")[0])
    found = [path for stem in stems if (path := picture.with_name(stem + TRANSCRIPT)).is_file()]
    if not found:
        raise Refusal("no transcript", f"{stems[0]}{TRANSCRIPT} is not there")
    if used.setdefault(found[0], picture) != picture:
        raise Refusal(SAME, used[found[0]].name)
    try:
        return checked_text(found[0].read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise Refusal("transcript is not UTF-8", str(error)) from error
    except OSError as error:
        raise Refusal("file cannot be read", error.strerror or str(error)) from error
