"""Links from a page to files beside ``docs/``, which serve those who read the pages as files, lead to the site or to GitHub."""

from __future__ import annotations

import posixpath
import re
from typing import Any

from sphinx.application import Sphinx

FILES = "https://github.com/spatial-lstm/spatial-lstm/blob/main/"
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(((?:\.\./)+[^)\s#]+)(#[^)\s]*)?\)")
# Files that a page includes.
PAGES = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/results/amd-epyc-2-cores/report.md": "report.md",
    "benchmarks/results/image_models.md": "image-figures.md",
}


def lead(app: Sphinx, page: str, source: list[str]) -> None:
    """Rewrite the links of a page before it is read."""
    folder = posixpath.dirname(f"docs/{page}")

    def elsewhere(found: re.Match[str]) -> str:
        text, path, anchor = found[1], posixpath.normpath(posixpath.join(folder, found[2])), found[3] or ""
        if path.startswith("docs/"):
            return found[0]
        inside = PAGES.get(path)
        target = posixpath.relpath(f"docs/{inside}", folder) if inside else FILES + path + anchor
        return f"[{text}]({target})"

    source[0] = LINK.sub(elsewhere, source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    """Ahead of the parser."""
    app.connect("source-read", lead)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
