"""The help of every command ends with an example that the command accepts."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

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
def test_the_help_ends_with_an_example_that_parses(command: str, parser_of: Callable[[str], tuple[OneLineParser, str]]):
    parser, text = parser_of(command)
    assert text.count(EXAMPLE) == 1
    examples = re.sub(r"\\\n\s*", "", text.split(EXAMPLE)[1].strip().split("\n\n")[0]).splitlines()
    for example in (line.split("  #")[0].strip() for line in examples):
        assert example.startswith(f"{called_as(command)} ")
        parser.parse(shlex.split(example.removeprefix(called_as(command))))
