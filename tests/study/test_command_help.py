"""The help of every command ends with an example that the command accepts."""

import re
import runpy
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from pan_model.command_line import EXAMPLE, OneLineParser

ROOT = Path(__file__).parents[2]
COMMANDS = sorted(
    str(path.relative_to(ROOT))
    for package in ("study", "pan_model", "cluster")
    for path in (ROOT / package).rglob("*.py")
    if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")
)


def called_as(command: str) -> str:
    """Return how a user calls a command."""
    if command.startswith("study/"):
        return f"uv run {command}"
    module = command.removesuffix(".py").removesuffix("/__main__").replace("/", ".")
    return f"uv run python -m {module}"


def test_all_commands_are_found():
    assert {"study/run.py", "study/final.py", "pan_model/data/download/__main__.py"} <= {*COMMANDS}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_ends_with_an_example_that_parses(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    parsers: list[OneLineParser] = []
    print_help = OneLineParser.print_help

    def remember(parser: OneLineParser, file: Any = None) -> None:
        parsers.append(parser)
        print_help(parser, file)

    monkeypatch.setattr(OneLineParser, "print_help", remember)
    monkeypatch.setattr(sys, "argv", [command, "--help"])
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(ROOT / command), run_name="__main__")
    text = capsys.readouterr().out
    assert text.count(EXAMPLE) == 1
    examples = re.sub(r"\\\n\s*", "", text.split(EXAMPLE)[1].strip().split("\n\n")[0]).splitlines()
    for example in (line.split("  #")[0].strip() for line in examples):
        assert example.startswith(f"{called_as(command)} ")
        parsers[0].parse(shlex.split(example.removeprefix(called_as(command))))
