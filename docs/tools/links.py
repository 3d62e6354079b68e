"""Check the links of a built site: python docs/tools/links.py docs/_build/html.

Every link to a file of the site must lead to a file, with its anchor if it has one. Pages must load nothing from the
network.
"""

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("object", "data")}
"""Attributes whose addresses a browser loads by itself; so does `link` with the relations of LOADED_RELATIONS."""

LOADED_RELATIONS = {"stylesheet", "icon", "preload", "modulepreload"}


class Page(HTMLParser):
    """The anchors and the addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the anchors and the addresses of an element."""
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if values.get(name)}
        relations = set(values.get("rel", "").split())
        for name in ("href", "src", "data"):
            if name in values:
                loads = (tag, name) in LOADED or (tag == "link" and relations & LOADED_RELATIONS)
                (self.loaded if loads else self.links).append(values[name])


def problems(site: Path) -> Iterator[str]:
    """Yield a line for each address that is wrong."""
    pages = {file: Page(file.read_text(encoding="utf-8")) for file in sorted(site.rglob("*.html"))}
    for file, page in pages.items():
        name = file.relative_to(site)
        for address in page.loaded:
            if urlsplit(address).scheme not in ("", "data") or address.startswith("//"):
                yield f"{name}: loads {address} from the network"
        for address in (*page.links, *page.loaded):
            parts = urlsplit(address)
            if parts.scheme or address.startswith("//"):
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            anchor = unquote(parts.fragment)
            if not target.is_file():
                yield f"{name}: {address} leads to no file"
            elif anchor and target in pages and anchor not in pages[target].anchors:
                yield f"{name}: {address} leads to no anchor"


def main(folder: Path) -> int:
    """Print the wrong addresses of a site, and return the exit code."""
    wrong = list(problems(folder.resolve()))
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
