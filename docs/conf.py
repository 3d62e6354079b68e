"""Configuration of the documentation site, which `make docs` builds."""

import sys
from pathlib import Path
from typing import Any

from docutils import nodes

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "tools"))  # the extensions mathml and root_pages

project = "PAN Study"
author = "the authors of PAN Study"
html_title = "PAN Study"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "mathml", "root_pages"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "tools", "**/.ipynb_checkpoints"]
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_math_renderer = "mathml"
pygments_style = "default"
highlight_language = "none"

# Every reference must lead somewhere. Types in signatures, many of other libraries, are links where they can be.
nitpicky = True
nitpick_ignore_regex = [("py:(class|exc)", ".*")]
default_role = "code"  # of docstrings
smartquotes = False  # "--" begins a flag

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence"]
myst_heading_anchors = 4
myst_links_external_new_tab = False

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True


def _write_dashes(_app: Any, doctree: nodes.document) -> None:
    """Write the dash between a parameter and its description, which Sphinx leaves to the smart quotes."""
    for text in list(doctree.findall(nodes.Text)):
        if text == " -- ":
            text.parent.replace(text, nodes.Text(" – "))  # noqa: RUF001


def setup(app: Any) -> None:
    """Register the dashes."""
    app.connect("doctree-read", _write_dashes)
