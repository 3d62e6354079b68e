"""How a command ends: done, refused, interrupted or broken."""

import os
import signal
import threading
from collections.abc import Generator
from pathlib import Path

import pytest

import study.app.train_final
from pan_model.errors import UserError
from study.app.commands import final_command, run_command, run_with_terminal
from study.storage.object_store import StoreError
from study.terminal import Terminal

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
    assert run_with_terminal(lambda _terminal: 1, "again") == 1


def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str]):
    def refuse(_terminal: Terminal) -> int:
        raise UserError("words.txt line 2:\n  too long")

    assert run_with_terminal(refuse, "again") == 2
    assert capsys.readouterr().err == "error: words.txt line 2: too long\n"


def test_a_rule_is_told_by_the_flag_that_people_type(capsys: pytest.CaptureFixture[str]):
    assert run_command(["--num-trials", "0"]) == 2
    assert capsys.readouterr().err == "error: --num-trials must be at least 1, got 0.\n"


@pytest.mark.parametrize(
    ("dataset", "task", "rule"),
    [
        ("polyvore", "retrieval", "--task needs demo or cub or inshop or folder among --dataset, got polyvore."),
        ("polyvore", "few-shot", "--task needs demo or cub or inshop or folder among --dataset, got polyvore."),
        (
            "inshop",
            "few-shot",
            "--task few-shot does not apply to inshop, whose task is retrieval; it applies to demo, cub, folder.",
        ),
    ],
)
def test_a_task_that_a_dataset_does_not_have_is_one_line(
    dataset: str, task: str, rule: str, capsys: pytest.CaptureFixture[str]
):
    for more in ([], ["--dry-run"], ["--regime", "finetune"]):
        assert run_command(["--dataset", dataset, "--task", task, *more]) == 2
        assert capsys.readouterr().err == f"error: {rule}\n"


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_an_interrupt(number: signal.Signals, capsys: pytest.CaptureFixture[str]):
    def stop(_terminal: Terminal) -> int:
        os.kill(os.getpid(), number)
        return 0

    assert run_with_terminal(stop, "again") == 130
    assert capsys.readouterr().err == "interrupted; again\n"


@pytest.mark.parametrize("error", [RuntimeError("no lock"), FileNotFoundError("no file"), PermissionError("no")])
@pytest.mark.parametrize("number", SIGNALS)
def test_an_error_that_comes_of_a_signal_is_one_too(
    number: signal.Signals, error: Exception, capsys: pytest.CaptureFixture[str]
):
    def stop(_terminal: Terminal) -> int:
        try:
            os.kill(os.getpid(), number)
        finally:
            raise error

    assert run_with_terminal(stop, "again") == 130
    assert capsys.readouterr().err == "interrupted; again\n"


def test_ctrl_c_that_a_shell_has_ignored_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert run_with_terminal(lambda _terminal: 0, "again") == 0
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_final_training_that_is_interrupted_says_what_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert study.app.train_final.__file__  # imported before the interrupt, which would leave it half imported
    os.mkfifo(tmp_path / "best_config.json")  # reading it waits for somebody who writes
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    assert final_command([str(tmp_path / "best_config.json")]) == 130
    text = "interrupted; run it again; if the folder final/ exists already, it is complete\n"
    assert capsys.readouterr().err == text


def test_a_store_that_fails_is_a_line_with_how_to_go_on(capsys: pytest.CaptureFixture[str]):
    def fail(_terminal: Terminal) -> int:
        raise StoreError("s3://bucket/file: cannot be written (no answer)")

    assert run_with_terminal(fail, "go on with: this") == 2
    assert capsys.readouterr().err == "error: s3://bucket/file: cannot be written (no answer); go on with: this\n"


def test_an_error_of_ours_is_not_hidden():
    def fail(_terminal: Terminal) -> int:
        raise RuntimeError("ours")

    with pytest.raises(RuntimeError, match="ours"):
        run_with_terminal(fail, "again")
