"""What is transparent in a PNG file by its level or color, which Pillow keeps as it is stored while it brings pixels to 8 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

# Of 8 bits, the levels from one of a file's to the next, by what Pillow calls pixels as they are stored.
STEPS = {"L;2": 85, "L;4": 17}
DEEP_COLORS = "RGB;16B"


def settle_transparency(picture: ImageFile) -> None:
    """Bring the transparent level to the pixels', before these are decoded.

    Raises:
        ValueError: If it is a color of 16 bits, whose lower ones the pixels lose.
    """
    level = picture.info.get("transparency")
    stored = [str(tile[3]) for tile in picture.tile if len(tile) > 3]
    if level is None or not stored:
        return
    if stored[0] == DEEP_COLORS:
        raise ValueError("has 16 bits and a transparent color")
    if isinstance(level, int):
        picture.info["transparency"] = level * STEPS.get(stored[0], 1)
