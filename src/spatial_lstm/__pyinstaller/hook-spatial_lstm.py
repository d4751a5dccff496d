"""What PyInstaller takes along: the C++ kernel's source, and the libraries that a wheel brought."""

from __future__ import annotations

from pathlib import Path

PLACE = Path("engine", "kernels", "cpp")
datas = [
    (str(folder), str("spatial_lstm" / PLACE / folder.name))
    for name in ("source", "prebuilt")
    if (folder := Path(__file__).parents[1] / PLACE / name).is_dir()
]
