"""A command goes on without a reader of its output, and its exit code stays its own."""

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pan_model.command_line import run_with_exit_code

COMMAND = """
import sys
from pathlib import Path
from pan_model.command_line import run_with_exit_code

def command():
    for number in range(20000):
        print("a name: \\u00e9", number)
        print("a name: \\u00e9", number, file=sys.stderr)
    Path(sys.argv[1]).write_text("done")
    return 1

sys.exit(run_with_exit_code(command))
"""


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "redirection",
    ["| head -1", "2>&1 | head -1", ">&-", "<&- >&- 2>&-", "> /dev/full", "> /dev/full 2>&1"],
)
def test_a_command_goes_on_without_the_screen(tmp_path: Path, redirection: str, unbuffered: str):
    script, done = tmp_path / "command.py", tmp_path / "done"
    script.write_text(COMMAND)
    line = f'"{sys.executable}" "{script}" "{done}" {redirection}; exit ${{PIPESTATUS[0]}}'
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUNBUFFERED": unbuffered}
    ended = subprocess.run(["bash", "-c", line], env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, done.read_text()) == (1, "done")
    assert "Traceback" not in ended.stdout + ended.stderr
    assert "BrokenPipe" not in ended.stderr
    if "head" in redirection:
        assert ended.stdout == "a name: \\xe9 0\n"
    if redirection == "> /dev/full":
        assert "output cannot be written (No space left on device); going on without it\n" in ended.stderr


def test_a_full_pipe_that_does_not_block_loses_nothing(tmp_path: Path):
    script, done = tmp_path / "command.py", tmp_path / "done"
    script.write_text(COMMAND)
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(write, False)
    with subprocess.Popen([sys.executable, script, done], stdout=write, stderr=subprocess.DEVNULL) as process:
        os.close(write)
        with os.fdopen(read, encoding="utf-8") as lines:
            assert sum(1 for _ in lines) == 20000
    assert (process.returncode, done.read_text()) == (1, "done")


@pytest.mark.parametrize("code", [1, 2, "no such thing"])
def test_an_exit_that_a_library_chooses_is_an_interrupt(capsys: pytest.CaptureFixture[str], code: int | str):
    assert run_with_exit_code(lambda: sys.exit(code), "run it again") == 130
    assert capsys.readouterr().err == f"interrupted (a library ended the command with {code!r}); run it again\n"


def test_help_ends_well():
    assert run_with_exit_code(lambda: sys.exit(0)) == 0


def test_a_repeated_hangup_does_not_interrupt_what_the_first_one_began():
    ended: list[str] = []

    def command():
        try:
            signal.raise_signal(signal.SIGHUP)
        finally:
            signal.raise_signal(signal.SIGHUP)
            ended.append("in good order")

    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        assert run_with_exit_code(command) == 130
    finally:
        signal.signal(signal.SIGHUP, before)
    assert ended == ["in good order"]
