"""Draw all pictures anew: ``python -m docs.drawing``."""

from __future__ import annotations

from pathlib import Path

from docs.drawing import grids, growth, readme, wavefront

FOLDER = Path(__file__).parents[1] / "pictures"


def main() -> None:
    """Write every picture."""
    for name, draw in {
        "wavefront.svg": wavefront.draw,
        "cell.svg": grids.draw_cell,
        "directions.svg": grids.draw_directions,
        "faces.svg": grids.draw_faces,
    }.items():
        (FOLDER / name).write_text(draw())
    growth.save(FOLDER / "growth.svg")
    readme.save(FOLDER / "readme.png")


if __name__ == "__main__":
    main()
