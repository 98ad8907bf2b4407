"""Pages for people, built offline by `make docs`; a warning is an error."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "docs" / "_ext"), str(ROOT / "src")]

project = "mooc-maml"
author = "the authors of mooc-maml"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "mathml",
    "settings_page",
    "tutorial_page",
]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
html_math_renderer = "mathml"
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_title = "mooc-maml"
html_show_copyright = False
html_show_sphinx = False
html_last_updated_fmt = None  # the same pages for the same text
html_copy_source = False
exclude_patterns = ["_build", "_ext"]
autodoc_typehints = "signature"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
nitpicky = False
# Links out of docs/ lead to files of the repository; tests/test_links.py looks after all links.
suppress_warnings = ["myst.xref_missing", "misc.highlighting_failure"]
