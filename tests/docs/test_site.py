"""The documentation site builds without warnings, its links lead somewhere, and it loads nothing from the network."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
Tool = Callable[[str], ModuleType]


@pytest.mark.slow
def test_the_site_builds_and_its_links_lead_somewhere(tmp_path: Path, tool: Tool):
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-n", "-q"]
    built = subprocess.run(
        [*command, "-d", str(tmp_path / "doctrees"), "docs", str(tmp_path / "html")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert (built.returncode, built.stdout + built.stderr) == (0, "")
    assert list(tool("links").problems(tmp_path / "html")) == []
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert pages <= {path.stem for path in (tmp_path / "html").glob("*.html")}
    assert "<math" in (tmp_path / "html" / "pan.html").read_text(encoding="utf-8")
    contributing = (tmp_path / "html" / "extending.html").read_text(encoding="utf-8")
    assert 'id="add-a-gate"' in contributing, "the page is CONTRIBUTING.md"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('<a href="b.html">b</a>', "a.html: b.html leads to no file"),
        ('<a href="a.html#there">a</a>', "a.html: a.html#there leads to no anchor"),
        ('<a href="#there">a</a>', "a.html: #there leads to no anchor"),
        ('<img src="b.png">', "a.html: b.png leads to no file"),
        ('<script src="https://cdn.example/m.js"></script>', "a.html: loads https://cdn.example/m.js from the network"),
        ('<link rel="stylesheet" href="//cdn.example/m.css">', "a.html: loads //cdn.example/m.css from the network"),
    ],
)
def test_a_wrong_address_is_found(tmp_path: Path, tool: Tool, body: str, problem: str):
    right = '<a id="here" href="#here">h</a><a href="https://example.org/x#y">e</a><img src="data:image/png;base64,">'
    (tmp_path / "a.html").write_text(right, encoding="utf-8")
    assert list(tool("links").problems(tmp_path)) == []
    (tmp_path / "a.html").write_text(right + body, encoding="utf-8")
    assert list(tool("links").problems(tmp_path)) == [problem]


def test_a_link_to_a_file_of_the_repository_leads_to_its_page(tool: Tool):
    link_pages = tool("root_pages").link_pages
    text = "[a](../CONTRIBUTING.md#tests) [b](results.md) [c](../study/run.py) [d](https://x.org/y.md) [e](#here)"
    expected = "[a](extending.md#tests) [b](results.md) [c](../study/run.py) [d](https://x.org/y.md) [e](#here)"
    assert link_pages(text, ROOT / "docs" / "pan.md") == expected
    assert link_pages("[a](docs/pan.md#x) [b](README.md#y)", ROOT / "CONTRIBUTING.md") == "[a](pan.md#x) [b](index.md)"
    assert link_pages("[a](../docs/pan.md)", ROOT / "cluster" / "README.md") == "[a](pan.md)"
