"""Lines that are pictures of their own, each beside its transcript."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from os.path import isfile
from pathlib import Path

from spatial_lstm.handwriting.data.cache import Pictures
from spatial_lstm.handwriting.data.find import TRANSCRIPT, Files, plain_name
from spatial_lstm.handwriting.data.line import Line
from spatial_lstm.handwriting.data.names import Folders
from spatial_lstm.handwriting.data.report import Refusal, Report

# A folder in the folder with more lines than this is no page.
LINES_OF_A_PAGE = 100


def line_pictures(
    files: Files, texts: bool, pictures: Pictures, report: Report, *, besides: Collection[Path]
) -> Iterator[Line]:
    """The lines among the pictures found.

    The transcript of ``a.png`` is ``a.gt.txt``, that of ``a.bin.png`` too. Without a transcript, a picture beside XML of its name is no
    line. Lines in a folder of their own within the one that all files and folders asked for are in are taken to be a page's, unless there
    are more than a hundred, or the folder's name is a part's.

    Args:
        files: What was found.
        texts: Whether a line has to have a text.
        pictures: The cache that they share.
        report: Where what is left out is noted, transcripts without a picture too.
        besides: Pictures of pages.
    """
    rest = [picture for picture in files.pictures if picture not in besides]
    transcripts = _transcripts(rest)
    layouts = {_place(path) for path in files.layouts}
    # One without a transcript beside XML of its name is a page, whose XML may not be usable.
    own = [picture for picture in rest if picture in transcripts or _place(picture) not in layouts]
    in_folder = Counter(picture.parent for picture in own)
    used: dict[Path, Path] = {}
    for picture in own:
        try:
            text = _text(picture, transcripts.get(picture), used)
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


def _place(path: Path) -> tuple[Path, str]:
    """What a picture and its XML have in common."""
    return path.parent, plain_name(path.stem)


def _transcripts(pictures: Sequence[Path]) -> dict[Path, Path]:
    """The transcripts of those that have one: of just its name, or else of one that is the same to some systems and to no other picture."""
    wanted = {
        picture: [picture.with_name(stem + TRANSCRIPT) for stem in (picture.stem, picture.name.partition(".")[0])]
        for picture in pictures
    }
    exact = {picture: path for picture, paths in wanted.items() if (path := next(filter(isfile, paths), None))}
    look = Folders().file
    alike = {
        picture: path
        for picture, paths in wanted.items()
        if picture not in exact and (path := next(filter(None, map(look, paths)), None))
    }
    count = Counter([*set(exact.values()), *alike.values()])
    return exact | {picture: path for picture, path in alike.items() if count[path] == 1}


def _text(picture: Path, transcript: Path | None, used: dict[Path, Path]) -> str:
    """The text of a picture; ``used`` says which transcripts are whose."""
    if transcript is None:
        raise Refusal("no transcript", f"{picture.stem}{TRANSCRIPT} is not there")
    if used.setdefault(transcript, picture) != picture:
        raise Refusal(SAME, used[transcript].name)
    try:
        return checked_text(transcript.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise Refusal("transcript is not UTF-8", str(error)) from error
    except OSError as error:
        raise Refusal("file cannot be read", error.strerror or str(error)) from error
