"""One line on stderr and an exit code, whatever goes wrong for the user."""

import pytest

from pan_model.command_line import OneLineParser, run_with_exit_code
from pan_model.errors import UserError


def test_a_command_that_ends_well_is_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_with_exit_code(lambda: print("done")) == 0
    assert capsys.readouterr() == ("done\n", "")


def test_bad_input_is_one_line_and_2(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise UserError("a file\nwith two lines in its name: no such file.")

    assert run_with_exit_code(fail) == 2
    assert capsys.readouterr() == ("", "error: a file with two lines in its name: no such file.\n")


def parser() -> OneLineParser:
    made = OneLineParser(prog="it")
    made.add_argument("--colour", default="red", help="of the frame")
    made.add_argument("--check", action="store_true", help="only look")
    made.add_argument("--size", type=int, help="that of the screen when not given")
    return made


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--xyzzy"], "unknown flag or stray word '--xyzzy'; --help shows every flag."),
        (["--color=red"], "unknown flag or stray word '--color=red'; did you mean --colour?"),
        (["--col", "red"], "unknown flag or stray word '--col'; did you mean --colour?"),
        (["stray"], "unknown flag or stray word 'stray'; --help shows every flag."),
        (["--colour=--"], "argument --colour: '--' is not a value; --help shows every flag."),
        (["--size", "big"], "argument --size: invalid int value: 'big'; --help shows every flag."),
    ],
)
def test_bad_usage_is_bad_input(capsys: pytest.CaptureFixture[str], words: list[str], told: str) -> None:
    def parse() -> None:
        parser().parse(words)

    assert run_with_exit_code(parse) == 2
    assert capsys.readouterr() == ("", f"error: {told}\n")


def test_flags_are_known_by_the_values_that_they_set() -> None:
    assert [(name, action.option_strings) for name, action in parser().flags.items()] == [
        ("colour", ["--colour"]),
        ("check", ["--check"]),
        ("size", ["--size"]),
    ]


def test_help_shows_defaults_that_say_something() -> None:
    text = parser().format_help()
    assert "of the frame (default: red)" in text
    assert text.count("default") == 1


def test_an_interrupt_is_130(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    assert run_with_exit_code(interrupt) == 130
    assert capsys.readouterr() == ("", "interrupted\n")


def test_a_defect_is_not_hidden() -> None:
    def fail() -> None:
        raise ValueError("ours")

    with pytest.raises(ValueError, match="ours"):
        run_with_exit_code(fail)
