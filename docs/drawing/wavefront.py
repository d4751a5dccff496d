"""The wavefront crossing an image, animated by the browser."""

from __future__ import annotations

from docs.drawing.svg import BLUE, DARK, GRAY, ORANGE, PALE, arrow, picture, rectangle, words

ROWS, COLUMNS, SIDE, LEFT, TOP = 6, 9, 40, 60, 56
STEPS = ROWS + COLUMNS - 1
SECONDS = 0.6 * (STEPS + 3)  # all steps, and a pause


def draw() -> str:
    """Every site lights up in its step, and stays pale."""
    parts = [words(LEFT, 32, f"{ROWS} x {COLUMNS} = {ROWS * COLUMNS} sites in {STEPS} steps", anchor="start", size=16)]
    for row in range(ROWS):
        for column in range(COLUMNS):
            x, y, step = LEFT + column * SIDE, TOP + row * SIDE, row + column
            parts.append(rectangle(x, y, SIDE - 3, SIDE - 3, GRAY, f"class='s{step}'"))
            parts.append(words(x + SIDE / 2 - 1, y + SIDE / 2 + 4, str(step + 1), size=13))
    parts += [arrow(LEFT - 16, TOP, LEFT - 16, TOP + 90, DARK), arrow(LEFT, TOP - 14, LEFT + 90, TOP - 14, DARK)]
    return picture(LEFT + COLUMNS * SIDE + 20, TOP + ROWS * SIDE + 20, "A wavefront crosses an image", parts, _style())


def _style() -> str:
    rules = []
    for step in range(STEPS):
        begin, end = (100 * 0.6 * (step + k) / SECONDS for k in (0, 1))
        rules.append(
            f"@keyframes k{step}{{0%,{begin:.2f}%{{fill:{GRAY}}}{begin + 0.01:.2f}%,{end:.2f}%{{fill:{ORANGE}}}"
            f"{end + 0.01:.2f}%,99.9%{{fill:{PALE}}}100%{{fill:{GRAY}}}}}"
            f".s{step}{{animation:k{step} {SECONDS:g}s infinite}}"
        )
    still = f"@media(prefers-reduced-motion:reduce){{rect{{animation:none!important}}.s5{{fill:{BLUE}}}}}"
    return "".join(rules) + still
