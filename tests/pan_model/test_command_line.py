"""One line on stderr and an exit code, whatever goes wrong for the user."""

import pytest

from pan_model.command_line import OneLineParser, answer
from pan_model.errors import BadInput


def test_a_command_that_ends_well_is_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(lambda: print("done")) == 0
    assert capsys.readouterr() == ("done\n", "")


def test_bad_input_is_one_line_and_2(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise BadInput("a file\nwith two lines in its name: no such file.")

    assert answer(fail) == 2
    assert capsys.readouterr() == ("", "error: a file with two lines in its name: no such file.\n")


def test_bad_usage_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    def parse() -> None:
        OneLineParser(prog="it").parse_args(["--colour"])

    assert answer(parse) == 2
    assert capsys.readouterr() == ("", "error: unrecognized arguments: --colour; --help shows every flag.\n")


def test_an_interrupt_is_130(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    assert answer(interrupt) == 130
    assert capsys.readouterr() == ("", "interrupted\n")


def test_a_defect_is_not_hidden() -> None:
    def fail() -> None:
        raise ValueError("ours")

    with pytest.raises(ValueError, match="ours"):
        answer(fail)
