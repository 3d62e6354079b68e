"""A download says how far it is: one line that is written over on a terminal, else a line for each tenth."""

import io

from pan_model.progress_line import ProgressLine


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_file_gets_a_line_for_each_tenth() -> None:
    stream = io.StringIO()
    line = ProgressLine(stream)
    for done in range(0, 2_000_001, 1000):
        line(done, 2_000_000)
    line.close()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 11
    assert (lines[0], lines[-1]) == ("downloaded 0.0 MB of 2.0 MB (0%)", "downloaded 2.0 MB of 2.0 MB (100%)")


def test_terminal_gets_one_line_twice_a_second() -> None:
    stream, seconds = Terminal(), iter(range(1000))
    line = ProgressLine(stream, clock=lambda: 0.1 * next(seconds))
    for done in range(100):
        line(done * 1000, 99_000)
    line.close()
    assert 10 < stream.getvalue().count("\r") < 30
    assert stream.getvalue().endswith("downloaded 0.1 MB of 0.1 MB (100%)\n")
    assert stream.getvalue().count("\n") == 1


def test_unknown_size_is_said_each_100_mb() -> None:
    stream = io.StringIO()
    line = ProgressLine(stream)
    for done in range(0, 250_000_001, 1_000_000):
        line(done, None)
    assert stream.getvalue().splitlines() == [f"downloaded {done}.0 MB" for done in (0, 100, 200)]
