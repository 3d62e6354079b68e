"""How a command ends: done, refused, interrupted or broken."""

import os
import signal
from collections.abc import Generator

import pytest

from pan_model.errors import BadInput
from study.commands import answer
from study.screen import Screen

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(autouse=True)
def own_signals() -> Generator[None]:
    """Handlers as a command in the foreground finds them, and afterwards those of the tests again."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_what_the_command_gives_is_the_exit_code():
    assert answer(lambda _screen: 1, "again") == 1


def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str]):
    def refuse(_screen: Screen) -> int:
        raise BadInput("words.txt line 2:\n  too long")

    assert answer(refuse, "again") == 2
    assert capsys.readouterr().err == "error: words.txt line 2: too long\n"


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_an_interrupt(number: signal.Signals, capsys: pytest.CaptureFixture[str]):
    def stop(_screen: Screen) -> int:
        os.kill(os.getpid(), number)
        return 0

    assert answer(stop, "again") == 130
    assert capsys.readouterr().err == "interrupted; again\n"


@pytest.mark.parametrize("error", [RuntimeError("no lock"), FileNotFoundError("no file"), PermissionError("no")])
@pytest.mark.parametrize("number", SIGNALS)
def test_an_error_that_comes_of_a_signal_is_one_too(
    number: signal.Signals, error: Exception, capsys: pytest.CaptureFixture[str]
):
    def stop(_screen: Screen) -> int:
        try:
            os.kill(os.getpid(), number)
        finally:
            raise error

    assert answer(stop, "again") == 130
    assert capsys.readouterr().err == "interrupted; again\n"


def test_an_error_of_ours_is_not_hidden():
    def fail(_screen: Screen) -> int:
        raise RuntimeError("ours")

    with pytest.raises(RuntimeError, match="ours"):
        answer(fail, "again")
