"""How the site is built: ``python -m sphinx -W --keep-going -b html docs docs/_build/html``."""

from __future__ import annotations

import sys
from pathlib import Path

import spatial_lstm

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "spatial-lstm"
author = "The spatial-lstm developers"
copyright = author
version = release = spatial_lstm.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "mathml",
    "outside",
    "references",
]
exclude_patterns = ["_build", "extensions", "drawing"]
nitpicky = True

html_theme = "furo"
html_title = f"spatial-lstm {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_show_sphinx = False
html_theme_options = {
    "source_repository": "https://github.com/spatial-lstm/spatial-lstm/",
    "source_branch": "main",
    "source_directory": "docs/",
}

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "imported-members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_custom_sections = [("Inputs", "params_style"), ("Outputs", "params_style"), "Shape"]
napoleon_use_ivar = True
napoleon_use_rtype = False
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True
