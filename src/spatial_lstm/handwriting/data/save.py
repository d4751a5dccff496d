"""Lines as a folder of pictures and transcripts: to look at, or for another tool."""

from __future__ import annotations

from pathlib import Path

from spatial_lstm.files import write_atomically
from spatial_lstm.handwriting.data.find import TRANSCRIPT
from spatial_lstm.handwriting.data.line import Line, Lines


def save_lines(lines: Lines, folder: Path | str, *, height: int | None = None) -> None:
    """Write ``0001.png`` with ``0001.gt.txt`` for each line, in order; without the transcript where there is none.

    Lines of a part go to a folder of its name within ``folder``, so that they are read again as what they were.

    Args:
        lines: To write.
        folder: New or empty.
        height: In pixels; None: as they are on their page.

    Raises:
        FileExistsError: If the folder has anything in it.
        Refusal: If a line's picture is missing or broken.
        ModuleNotFoundError: If Pillow is missing.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"expected a new or empty folder to write lines into, got {folder}")
    digits = max(4, len(str(len(lines))))
    for number, line in enumerate(lines, 1):
        _save(line, folder / (line.part or "") / f"{number:0{digits}}.png", height)


def _save(line: Line, path: Path, height: int | None) -> None:
    from PIL import Image

    picture = Image.fromarray(line.image(height))
    write_atomically(path, lambda file: picture.save(file, format="PNG"))
    if line.text is not None:
        text = line.text.encode()
        write_atomically(path.with_name(path.stem + TRANSCRIPT), lambda file: file.write(text))
