"""Write docs/flags.md, the reference of all commands, from their parsers: python docs/tools/flags.py.

A test compares the file with the parsers.
"""

import argparse
import pkgutil
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

from pan_model.command_line import EXAMPLE, OneLineParser
from study.app.ablation.config import AblationConfig
from study.app.flags import BAR, final_parser, flag_table, run_parser
from study.config.final_config import FinalConfig
from study.config.study_config import StudyConfig

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "flags.md"
FIRST = ("run", "final", "status", "collate", "report", "explain", "index", "query", "compare", "ablate")
"""The order of the scripts of study/; further ones follow."""

MODULES = {
    "pan_model.data.download": "pan_model.data.download.command:main",
    "pan_model.data.polyvore_check": "pan_model.data.polyvore_check:main",
    "pan_model.data.polyvore_resample": "pan_model.data.polyvore_resample:main",
    "cluster.check": "cluster.check.command:main",
}
"""The function behind each command that is run by `python -m`."""

CONFIGS: dict[str, Any] = {
    "study/run.py": StudyConfig,
    "study/final.py": FinalConfig,
    "study/ablate.py": AblationConfig,
}
"""The configuration whose fields declare the flags of a command."""

HEAD = """# Commands and flags

`--help` of each command prints its flags with an example. `python docs/tools/flags.py` writes this page from the same
source.
"""

Command = Callable[[Sequence[str]], int]


def scripts() -> dict[str, Command]:
    """Return the function behind each script of study/, by its path."""
    found: dict[str, Command] = {}
    for path in (ROOT / "study").glob("*.py"):
        if line := re.search(r"^ *from (study\.app\.[\w.]+) import (\w+_command)$", path.read_text(), re.MULTILINE):
            found[path.stem] = pkgutil.resolve_name(f"{line[1]}:{line[2]}")
    order = sorted(found, key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name))
    return {f"study/{name}.py": found[name] for name in order}


def parsers() -> dict[str, OneLineParser]:
    """Return the parser of each command, by what is typed to run it."""
    given = {"study/run.py": run_parser(), "study/final.py": final_parser()}
    commands = scripts() | {f"python -m {name}": pkgutil.resolve_name(main) for name, main in MODULES.items()}
    return {name: given.get(name) or parser_of(command) for name, command in commands.items()}


def parser_of(command: Command) -> OneLineParser:
    """Return the parser that a command builds, without running the command."""
    found: list[OneLineParser] = []

    def parse(parser: OneLineParser, _words: Sequence[str]) -> argparse.Namespace:
        found.append(parser)
        raise SystemExit(0)

    with patch.object(OneLineParser, "parse", parse), suppress(SystemExit):
        command([])
    return found[0]


def page() -> str:
    """Return the page."""
    parts = [HEAD]
    for name, parser in parsers().items():
        table = flag_table(CONFIGS[name]) if name in CONFIGS else argument_table(parser)
        example, notes = example_of(parser)
        code = f"```\n{example}\n```\n"
        parts += [f"## {name}\n", f"{parser.description}\n", code, *([f"{notes}\n"] if notes else []), table]
    return "\n".join(parts)


def example_of(parser: OneLineParser) -> tuple[str, str]:
    """Return the lines of the example in a parser's epilog, and the text after them."""
    example, _, notes = (parser.epilog or "").removeprefix(EXAMPLE).strip("\n").partition("\n\n")
    return "\n".join(line.strip() for line in example.splitlines()), notes


def argument_table(parser: OneLineParser) -> str:
    """Return the Markdown table of a parser's arguments."""
    rows = [("flag", "meaning", "default"), ("---", "---", "---"), *_rows(parser)]
    return "".join(f"| {' | '.join(cell.replace('|', BAR) for cell in row)} |\n" for row in rows)


def _rows(parser: OneLineParser) -> Iterator[tuple[str, str, str]]:
    for action in parser._actions:
        if action.dest == "help":
            continue
        value = action.metavar or "|".join(map(str, action.choices or ())) or action.dest.upper()
        name = " ".join([*action.option_strings[:1], *([] if action.nargs == 0 else [str(value)])])
        if action.nargs in ("+", "*"):
            name += f" [{value} ..]"
        yield f"`{name}`", " ".join((action.help or "").split()), _default(action)


def _default(action: argparse.Action) -> str:
    if action.required:
        return "required"
    if action.default is None or action.default is False or "(default: " in (action.help or ""):
        return "off" if action.nargs == 0 else ""
    return f"`{action.default}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
