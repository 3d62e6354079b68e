"""Take pages of the site from a notebook and from Markdown files outside of docs/, and let links lead to pages.

Every file reads well where it is, with links as an editor or a code host follows them. In the site, a link to a file
that is a page leads to the page, and a link to another file of the repository to a copy of it.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent

PAGES = {
    "extending": "CONTRIBUTING.md",
    "changes": "CHANGELOG.md",
    "cluster-guide": "cluster/README.md",
    "benchmark-results": "benchmarks/RESULTS.md",
    "first-study": "docs/first_study.ipynb",
}
"""The file that is shown instead of docs/<page>.md."""

START = "README.md"
"""The README is not a page: links to it lead to the first page of the site."""

LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)(#[^)\s]*)?(?=\))")
"""A link of Markdown to a file, with an anchor in it."""


def page_text(page: str) -> str:
    """Return the Markdown of a page of docs/, with links as the site needs them."""
    source = ROOT / PAGES[page] if page in PAGES else DOCS / f"{page}.md"
    text = source.read_text(encoding="utf-8")
    return link_pages(notebook_text(text, source.name) if source.suffix == ".ipynb" else text, source)


def notebook_text(content: str, name: str) -> str:
    """Return the cells of a notebook as Markdown, without outputs, and a link to the file after the first one."""
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(content)["cells"]]
    parts = [text if kind == "markdown" else f"```python\n{text}\n```" for kind, text in cells]
    parts.insert(1, f"{{download}}`Download the notebook <{name}>`.")
    return "\n\n".join([*parts, ""])


def link_pages(text: str, source: Path) -> str:
    """Return Markdown whose links are relative to docs/, given the file that contains it."""
    pages = {(ROOT / file).resolve(): f"{page}.md" for page, file in PAGES.items()}
    pages[ROOT / START] = "index.md"

    def relink(match: re.Match[str]) -> str:
        target = (source.parent / match[1]).resolve()
        path = pages.get(target) or os.path.relpath(target, DOCS)
        return path if target == ROOT / START else f"{path}{match[2] or ''}"

    return LINK.sub(relink, text)


def _read(app: Any, docname: str, content: list[str]) -> None:
    if app.env.doc2path(docname).suffix == ".md":
        content[0] = page_text(docname)
        app.env.note_dependency(str(ROOT / PAGES.get(docname, START)))


def setup(app: Any) -> dict[str, bool]:
    """Read the pages."""
    app.connect("source-read", _read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
