"""The Markdown files: their links lead somewhere where they lie, and their commands exist, as do the flags of these."""

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

import pan_model
from pan_model.command_line import OneLineParser

ROOT = Path(__file__).parents[2]
FILES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "cluster/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
LINK = re.compile(r"(?<!`)\[[^\]]*\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]+))?\)")
COMMAND = re.compile(r"study/\w+\.py|python -m (?:pan_model|cluster)[\w.]*")
Tool = Callable[[str], ModuleType]


def prose(path: Path) -> str:
    """Return the text of a file without blocks of code."""
    return re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(path: Path) -> set[str]:
    """Return the anchors that headings have on code hosts: words in lower case, joined by hyphens."""
    headings = re.findall(r"^#+ (.+)$", prose(path), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path):
    wrong = []
    for file, anchor in LINK.findall(prose(path)):
        target = (path.parent / file).resolve() if file else path
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            wrong.append(f"{file}#{anchor}")
    assert wrong == []


@pytest.fixture(scope="module")
def parsers(tool: Tool) -> dict[str, OneLineParser]:
    return tool("flags").parsers()


def commands_in(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the commands of this project in blocks of code: what is run, and the flags that are given to it."""
    text = path.read_text(encoding="utf-8")
    for block in re.findall(r"^ *```(?:sh)?\n(.*?)^ *```", text, flags=re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r" && | # ", line):
                if (found := COMMAND.search(part)) and not part.startswith("#"):
                    after = re.sub(r"['\"]", "", part[found.end() :])
                    yield found[0], [word.split("=")[0] for word in after.split() if re.match(r"--\w", word)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_and_their_flags_exist(path: Path, parsers: dict[str, OneLineParser]):
    unknown = []
    for command, flags in commands_in(path):
        if not (parser := parsers.get(command)):
            unknown.append(command)
            continue
        known = {option for action in parser.flags.values() for option in action.option_strings} | {"--help"}
        unknown += [f"{command} {flag}" for flag in flags if flag not in known]
    assert unknown == []


def test_commands_are_found_in_pages():
    found = [command for path in FILES for command in commands_in(path)]
    assert ("study/run.py", ["--dataset", "--data-root", "--num-trials", "--resume"]) in found
    assert ("python -m pan_model.data.download", ["--data-root", "--check"]) in found
    assert ("study/collate.py", ["--copy"]) in found


def test_every_public_name_is_in_the_reference_of_python():
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    documented = re.findall(r"^\.\. (?:auto|py:)\w+:: [\w.]+\.(\w+)$", page, flags=re.MULTILINE)
    assert {*pan_model.__all__, "Study", "BestConfig"} <= set(documented)


def test_the_reference_of_flags_is_that_of_the_parsers(tool: Tool):
    flags = tool("flags")
    assert flags.PAGE.read_text(encoding="utf-8") == flags.page(), "run: python docs/tools/flags.py"


def test_every_script_and_every_flag_is_in_the_reference(parsers: dict[str, OneLineParser]):
    page = (ROOT / "docs" / "flags.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", page, flags=re.DOTALL | re.MULTILINE))
    scripts = {f"study/{path.name}" for path in (ROOT / "study").glob("*.py")} - {"study/terminal.py"}
    assert scripts - {"study/__init__.py"} <= sections.keys()
    for command, parser in parsers.items():
        rows = re.findall(r"^\| `(--.*?)` \|", sections[command], flags=re.MULTILINE)
        written = {shlex.split(row)[0] for row in rows}
        assert written == {action.option_strings[0] for action in parser.flags.values()}, command
        assert parser.description in sections[command]
        assert "```\nuv run " in sections[command], f"{command} has an example"
