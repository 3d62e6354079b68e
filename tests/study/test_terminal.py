import re
import time
from collections.abc import Callable, Iterator
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from study.terminal import QUIET_S, REFRESH_S, ProgressRow, ShowRows, Terminal, duration, show_work, work_line


@pytest.fixture
def written() -> StringIO:
    return StringIO()


@pytest.fixture
def watched(written: StringIO) -> Terminal:
    return Terminal(Console(file=written, force_terminal=True, width=60, legacy_windows=False))


@pytest.fixture
def unwatched(written: StringIO) -> Terminal:
    return Terminal(Console(file=written, force_terminal=False, soft_wrap=True))


def test_where_nobody_watches_lines_are_plain(unwatched: Terminal, written: StringIO):
    unwatched.say("[bold]50%[/bold] of https://x.org/a :smile: " + "long " * 40)
    assert written.getvalue() == "[bold]50%[/bold] of https://x.org/a :smile: " + "long " * 40 + "\n"


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def logged(written: StringIO, clock: Clock) -> Terminal:
    """A screen that nobody watches, with a clock to move."""
    return Terminal(Console(file=written, force_terminal=False, soft_wrap=True), clock)


def steps(clock: Clock, count: int, every_s: float) -> Iterator[Callable[[], str]]:
    """What a work of `count` steps shows, one each `every_s` seconds."""
    for step in range(1, count + 1):
        clock.now_s += every_s
        yield lambda: f"step {step}"  # noqa: B023 - shown before the next


def test_where_nobody_watches_short_work_is_not_told_and_its_line_not_even_made(
    logged: Terminal, clock: Clock, written: StringIO
):
    made: list[int] = []

    def make() -> str:
        made.append(1)
        return "at work"

    with logged.live() as show:
        for _ in steps(clock, 59, every_s=1):
            show(make)
    assert made == []
    assert written.getvalue() == ""


def test_where_nobody_watches_long_work_is_told_once_a_minute(logged: Terminal, clock: Clock, written: StringIO):
    with logged.live() as show:
        for make in steps(clock, 400, every_s=1):
            show(make)
    assert written.getvalue().splitlines() == [f"step {n * round(QUIET_S)}" for n in range(1, 7)]


def test_where_nobody_watches_work_that_may_be_long_is_told_at_once(logged: Terminal, clock: Clock, written: StringIO):
    with logged.live(at_once=True) as show:
        for make in steps(clock, 70, every_s=1):
            show(make)
    assert written.getvalue().splitlines() == ["step 1", "step 61"]


def test_what_is_said_in_between_counts_as_news(logged: Terminal, clock: Clock, written: StringIO):
    for part in range(3):  # such as seeds that train for 40 s each
        with logged.live() as show:
            for make in steps(clock, 4, every_s=10):
                show(make)
        logged.say(f"part {part}")
    assert written.getvalue().splitlines() == ["part 0", "part 1", "part 2"]


def test_on_a_terminal_the_line_lives_and_then_goes(watched: Terminal, written: StringIO):
    with watched.live() as show:
        show(lambda: "demo: 3/16 trials")
        assert "demo: 3/16 trials" in written.getvalue()
    watched.say("done")
    after = written.getvalue().split("demo: 3/16 trials")[-1]
    assert "\x1b[2K" in after  # the line is erased
    assert after.endswith("done\n")


def test_the_line_is_made_only_as_often_as_it_is_shown(watched: Terminal, written: StringIO):
    with watched.live() as show:
        show(lambda: "first")
        show(lambda: "at once")
        time.sleep(1.1 * REFRESH_S)
        show(lambda: "later")
    assert "first" in written.getvalue()
    assert "later" in written.getvalue()
    assert "at once" not in written.getvalue()


def test_a_long_line_is_cut_to_the_terminal(watched: Terminal, written: StringIO):
    with watched.live() as show:
        show(lambda: "[red]" + "x" * 100)
    assert "[red]" + "x" * 54 + "…" in written.getvalue()


LINES = "\n".join(
    f"{name} 15/16 | best 0.9231 | 1 min 40 s left | 9 done, 6 stopped, 1 running" for name in ("cub", "polyvore")
)


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (80, LINES.split("\n")),
        (60, [f"{line[:59]}…" if len(line) > 60 else line for line in LINES.split("\n")]),
        (40, [f"{line[:39]}…" for line in LINES.split("\n")]),
    ],
)
def test_every_dataset_has_a_line_whose_end_a_narrow_terminal_leaves_out(
    written: StringIO, monkeypatch: pytest.MonkeyPatch, columns: int, shown: list[str]
):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    with Terminal(Console(file=written, force_terminal=True, legacy_windows=False)).live() as show:
        show(lambda: LINES)
        lines = re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", written.getvalue()).splitlines()
    assert [line.rstrip() for line in lines if line.strip()] == shown
    assert not re.search(r"\x1b\[[\d;]*m", written.getvalue())


def plain_console(written: StringIO, monkeypatch: pytest.MonkeyPatch, how: str) -> Console | None:
    """An output on which nothing is redrawn."""
    if how == "dumb":
        monkeypatch.setenv("TERM", "dumb")
        return Console(file=written, force_terminal=True, soft_wrap=True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("sys.stdout", written)
    return None


@pytest.mark.parametrize("how", ["dumb", "piped"])
def test_where_nothing_can_be_redrawn_output_is_whole_lines(
    written: StringIO, monkeypatch: pytest.MonkeyPatch, how: str, clock: Clock
):
    terminal = Terminal(plain_console(written, monkeypatch, how), clock)
    with terminal.live(at_once=True) as show:
        show(lambda: LINES)
        terminal.log(lambda: "a trial has ended")
        show(lambda: "too early")
    terminal.say("done")
    assert written.getvalue() == f"{LINES}\na trial has ended\ndone\n"


def test_where_progress_is_live_trials_that_end_have_no_lines(watched: Terminal, written: StringIO):
    watched.log(lambda: "a trial has ended")
    assert written.getvalue() == ""


def test_an_error_inside_goes_through(watched: Terminal):
    with pytest.raises(RuntimeError, match="it broke"), watched.live():
        raise RuntimeError("it broke")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (60, "1 min 0 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 0 min"),
        (3660, "1 h 1 min"),
        (90000, "25 h 0 min"),
    ],
)
def test_durations(seconds: float, text: str):
    assert duration(seconds) == text


@given(st.integers(0, 10**6))
def test_durations_add_up(seconds: int):
    words = duration(seconds).split()
    units = {"s": 1, "min": 60, "h": 3600}
    told = sum(int(number) * units[unit] for number, unit in zip(words[::2], words[1::2], strict=True))
    assert 0 <= seconds - told < (60 if seconds >= 3600 else 1)


@pytest.mark.parametrize(
    ("done", "since_s", "told"),
    [(0, 0.0, "0%"), (9, 0.5, "1%"), (480, 10.0, "50%, about 10 s left"), (960, 9.0, "100%, about 0 s left")],
)
def test_progress_of_work_before_a_search(done: int, since_s: float, told: str):
    assert work_line("demo", "features extracted", done, 960, since_s) == f"demo: features extracted, {told}"


def test_work_that_begins_again_has_a_pace_of_its_own(clock: Clock):
    shown: list[str] = []
    tell = show_work("demo", lambda make: shown.append(make()), clock)
    for work, done in (("features", 1), ("features", 2), ("training", 2), ("features", 1)):
        tell(work, done, 2)
        clock.now_s += 60
    assert shown[0] == "demo: features, 50%"
    assert shown[-1] == shown[0]


def rows(num_rows: int, epochs: int = 1234) -> list[ProgressRow]:
    names = ("cub", "inshop", "polyvore", "folder")
    now = "now #12 siamese hybrid XNOR 3/9, #13 proxynca supervised NAND 1/9, #14 graph unsupervised 1/9, 5 more"
    cells = ("best 0.9231", "1 h 40 min left", "9 done, 36 stopped, 1 failed, 8 running", f"{epochs} epochs", now)
    return [ProgressRow(name, 46 + place, 64, cells) for place, name in enumerate(names[:num_rows])]


ESCAPES = re.compile(r"\x1b\[[?\d;]*[A-Za-z]")


@pytest.mark.parametrize("columns", [80, 200])
@pytest.mark.parametrize("num_rows", [1, 3])
def test_rows_are_drawn_in_place_and_within_the_terminal(
    written: StringIO, monkeypatch: pytest.MonkeyPatch, columns: int, num_rows: int
):
    monkeypatch.setenv("COLUMNS", str(columns))
    clock = Clock()
    console = Console(file=written, force_terminal=True, legacy_windows=False)
    frames: list[str] = []
    with Terminal(console, clock).live() as show:
        for epochs in (1234, 1235, 1235, 1236):
            clock.now_s += 2 * REFRESH_S
            before = len(written.getvalue())
            show(lambda: rows(num_rows, epochs))  # noqa: B023 - shown at once
            frames.append(written.getvalue()[before:])
    assert frames.pop(2) == ""  # what is the same is not drawn again
    for number, frame in enumerate(frames):
        lines = ESCAPES.sub("", frame).strip("\r\n").splitlines()
        assert len(lines) == num_rows
        assert all(len(line) <= columns for line in lines)
        assert all("best 0.9231" in line and "1 h 40 min left" in line for line in lines)
        assert [line.index("best") for line in lines] == [lines[0].index("best")] * num_rows
        if number > 0:  # the cursor goes to the first line again, and no line scrolls
            assert frame.count("\x1b[1A") == num_rows - 1
    shown = ESCAPES.sub("", frames[-1])
    assert ("siamese hybrid XNOR 3/9" in shown) == (columns == 200)
    assert ("━" in shown) == (columns == 200)
    assert "\x1b[?25h" in written.getvalue()[-40:]  # the cursor is back


def test_an_interrupt_leaves_a_clean_terminal(watched: Terminal, written: StringIO):
    def interrupt(show: ShowRows) -> None:
        show(lambda: rows(3))
        raise KeyboardInterrupt("Ctrl-C")

    with pytest.raises(KeyboardInterrupt, match="Ctrl-C"), watched.live() as show:
        interrupt(show)
    after = written.getvalue().split("folder")[-1].split("polyvore")[-1]
    assert after.count("\x1b[2K") >= 3  # every line is erased
    assert "\x1b[?25h" in after


def test_in_a_log_rows_are_lines_and_come_once_a_minute_whatever_is_said(
    logged: Terminal, clock: Clock, written: StringIO
):
    with logged.live(at_once=True) as show:
        for second in range(1, 150):
            clock.now_s += 1
            show(lambda: rows(2))
            if second % 10 == 0:
                logged.say("a trial has ended")
    lines = written.getvalue().splitlines()
    progress = [place for place, line in enumerate(lines) if not line.startswith("a trial")]
    assert len(progress) == 2 * 3
    assert all("1234 epochs | now #12 siamese" in lines[place] for place in progress)


def test_a_table_is_fitted_to_a_terminal_and_whole_in_a_log(watched: Terminal, unwatched: Terminal, written: StringIO):
    header, table = ("rank", "image"), [("1", "a/" + "long" * 30 + ".jpg"), ("10", "[b].jpg")]
    unwatched.table(header, table)
    assert written.getvalue() == f"rank  image\n1     {table[0][1]}\n10    [b].jpg\n"
    before = len(written.getvalue())
    watched.table(header, table)
    drawn = ESCAPES.sub("", written.getvalue()[before:])
    assert all(len(line) <= 60 for line in drawn.splitlines())
    assert table[0][1] in "".join(line.strip() for line in drawn.splitlines()).replace("rank  image1     ", "")
