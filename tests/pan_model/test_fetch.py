"""A fetch goes on where it was cut, starts over where it must, and says in one line why it cannot."""

import hashlib
import http.server
import io
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pan_model.fetch import CHUNK, Checksum, FetchConfig, FetchError, fetch, show_progress

CONTENT = np.random.default_rng(0).bytes(3 * CHUNK + 17)
EAGER = FetchConfig(pause_s=0)


def checksum(content: bytes = CONTENT) -> Checksum:
    return Checksum("md5", hashlib.md5(content).hexdigest())


@pytest.fixture
def server(file_server: Any) -> Any:
    file_server.content = CONTENT
    return file_server


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "file.tgz.part"


def leave_part(server: Any, part: Path, size: int) -> None:
    """Leave what a run leaves that was cut after `size` bytes."""
    server.drop_after = [size]
    with pytest.raises(FetchError, match=f"the connection was dropped after {size} of {len(CONTENT)} bytes"):
        fetch(server.url, part, checksum(), config=FetchConfig(tries=1))
    assert part.stat().st_size == size
    server.asked.clear()


def test_whole_file_and_progress(server: Any, part: Path) -> None:
    told: list[tuple[int, int | None]] = []
    fetch(server.url, part, checksum(), config=EAGER, progress=lambda *state: told.append(state))
    assert part.read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert "Range" not in server.asked[0]


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ({"ETag": '"a"'}, '"a"'),
        ({"ETag": 'W/"a"', "Last-Modified": "Mon, 23 Nov 2026 12:00:00 GMT"}, "Mon, 23 Nov 2026 12:00:00 GMT"),
        ({}, None),
    ],
)
def test_next_run_goes_on(server: Any, part: Path, headers: dict[str, str], named: str | None) -> None:
    server.headers = headers
    leave_part(server, part, 1000)
    fetch(server.url, part, checksum(), config=EAGER)
    assert part.read_bytes() == CONTENT
    assert [(asked["Range"], asked.get("If-Range")) for asked in server.asked] == [("bytes=1000-", named)]


@settings(max_examples=12)
@given(cuts=st.lists(st.integers(0, len(CONTENT)), max_size=3))
def test_dropped_lines_are_taken_up_again(tmp_path_factory: pytest.TempPathFactory, cuts: list[int]) -> None:
    with Serving(cuts) as url:
        part = tmp_path_factory.mktemp("cuts") / "part"
        fetch(url, part, checksum(), config=EAGER)
        assert part.read_bytes() == CONTENT


class Serving:
    """The smallest server with ranges, as hypothesis wants one for each example."""

    def __init__(self, cuts: list[int]) -> None:
        left = list(cuts)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                start = int(self.headers.get("Range", "bytes=0-")[6:-1])
                self.send_response(206 if start else 200)
                self.send_header("ETag", '"1"')
                self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
                self.send_header("Content-Length", str(len(CONTENT) - start))
                self.end_headers()
                self.wfile.write(CONTENT[start:][: left.pop(0) if left else None])

            def log_message(self, format: str, *args: object) -> None:
                """Keep the tests' output clean."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.005,))

    def __enter__(self) -> str:
        self.thread.start()
        return f"http://127.0.0.1:{self.server.server_address[1]}/file"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def test_server_that_ignores_ranges_starts_over(server: Any, part: Path) -> None:
    leave_part(server, part, 1000)
    server.ranges = False
    fetch(server.url, part, checksum(), config=EAGER)
    assert part.read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_changed_file_starts_over(server: Any, part: Path) -> None:
    leave_part(server, part, 1000)
    server.content, server.headers = CONTENT[::-1], {"ETag": '"2"'}
    fetch(server.url, part, checksum(CONTENT[::-1]), config=EAGER)
    assert part.read_bytes() == CONTENT[::-1]
    assert server.asked[0]["If-Range"] == '"1"'


def test_changed_file_without_a_validator_is_known_by_its_size(server: Any, part: Path) -> None:
    server.headers = {}
    leave_part(server, part, 1000)
    server.content = CONTENT[::-1] + b"more"
    fetch(server.url, part, checksum(server.content), config=EAGER)
    assert ["Range" in asked for asked in server.asked] == [True, False]


@pytest.mark.parametrize("fault", ["416", "another start"])
def test_rest_that_does_not_continue_starts_over(server: Any, part: Path, fault: str) -> None:
    leave_part(server, part, 1000)
    server.statuses, server.wrong_start = ([416], 0) if fault == "416" else ([], 5)
    fetch(server.url, part, checksum(), config=EAGER)
    assert part.read_bytes() == CONTENT
    assert ["Range" in asked for asked in server.asked] == [True, False]


@pytest.mark.parametrize("fault", ["no origin", "garbled origin", "another address"])
def test_part_of_unknown_origin_starts_over(server: Any, part: Path, fault: str) -> None:
    leave_part(server, part, 1000)
    origin = part.with_name(part.name + ".origin")
    if fault == "no origin":
        origin.unlink()
    else:
        origin.write_text("garbage" if fault == "garbled origin" else origin.read_text().replace("file.tgz", "other"))
    fetch(server.url, part, checksum(), config=EAGER)
    assert "Range" not in server.asked[0]
    assert part.read_bytes() == CONTENT


def test_whole_part_needs_no_server(server: Any, part: Path) -> None:
    fetch(server.url, part, checksum(), config=EAGER)
    server.asked.clear()
    fetch(server.url, part, checksum(), config=EAGER)
    assert server.asked == []


def test_wrong_sum_leaves_nothing(server: Any, part: Path) -> None:
    with pytest.raises(FetchError, match=r"^invalid hash value: md5 must be [0-9a-f]{32}, got [0-9a-f]{32}$"):
        fetch(server.url, part, checksum(b"other"), config=EAGER)
    assert list(part.parent.iterdir()) == []


def test_unsized_body_that_is_cut_is_known_by_its_sum(server: Any, part: Path) -> None:
    server.sized, server.drop_after = False, [1000]
    with pytest.raises(FetchError, match="invalid hash value"):
        fetch(server.url, part, checksum(), config=EAGER)
    assert list(part.parent.iterdir()) == []


def test_pauses_double_and_end(server: Any, part: Path) -> None:
    pauses: list[float] = []
    server.statuses = [503] * 9
    with pytest.raises(FetchError, match="HTTP Error 503"):
        fetch(server.url, part, checksum(), config=FetchConfig(sleep=pauses.append))
    assert pauses == [0.5, 1.0, 2.0]
    assert len(server.asked) == 4


def test_tries_that_bring_something_do_not_count(server: Any, part: Path) -> None:
    server.drop_after = [CHUNK, 0, CHUNK, 0]
    fetch(server.url, part, checksum(), config=FetchConfig(tries=3, pause_s=0))
    assert part.read_bytes() == CONTENT


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_final_answers_are_not_asked_for_again(server: Any, part: Path, status: int) -> None:
    server.statuses = [status]
    with pytest.raises(FetchError, match=f"HTTP Error {status}"):
        fetch(server.url, part, checksum(), config=EAGER)
    assert len(server.asked) == 1
    assert list(part.parent.iterdir()) == []


def test_refused_connection(part: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(FetchError, match="refused"):
        fetch(f"http://127.0.0.1:{port}/f", part, checksum(), config=FetchConfig(sleep=pytest.fail))


def test_silent_server_times_out(part: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/f"
        with pytest.raises(FetchError, match="timed out"):
            fetch(url, part, checksum(), config=FetchConfig(timeout_s=0.05, tries=2, pause_s=0))


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/f", "/a/file", "http://", "http://a b/"])
def test_other_addresses(part: Path, url: str) -> None:
    with pytest.raises(FetchError, match=r"^[^\n]+$"):
        fetch(url, part, checksum(), config=EAGER)
    assert list(part.parent.iterdir()) == []


def test_small_disk(server: Any, part: Path) -> None:
    config = FetchConfig(free_bytes=lambda _: 4_000_000)
    with pytest.raises(FetchError, match=r"the disk of .* must have 6\.3 MB free, got 4\.0 MB"):
        fetch(server.url, part, checksum(), config=config, room=2)
    assert not part.exists()
    fetch(server.url, part, checksum(), config=config)


def test_place_that_cannot_be_written(server: Any, part: Path) -> None:
    part.mkdir()
    with pytest.raises(FetchError, match="Is a directory"):
        fetch(server.url, part, checksum(), config=EAGER)


class TestShowProgress:
    def test_file_gets_a_line_for_each_tenth(self, capsys: pytest.CaptureFixture[str]) -> None:
        with show_progress() as progress:
            for done in range(0, 2_000_001, 1000):
                progress(done, 2_000_000)
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 11
        assert (lines[0], lines[-1]) == ("downloaded 0.0 MB of 2.0 MB (0%)", "downloaded 2.0 MB of 2.0 MB (100%)")

    def test_unknown_size_is_shown_each_100_mb(self, capsys: pytest.CaptureFixture[str]) -> None:
        with show_progress() as progress:
            for done in range(0, 250_000_001, 1_000_000):
                progress(done, None)
        assert capsys.readouterr().err.splitlines() == [f"downloaded {done}.0 MB" for done in (0, 100, 200)]

    def test_terminal_gets_a_bar(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TERM", "xterm")
        stream = TerminalStream()
        monkeypatch.setattr(sys, "stderr", stream)
        with show_progress() as progress:
            for done in range(0, 2_000_001, 1000):
                progress(done, 2_000_000)
        assert "2.0/2.0 MB" in stream.getvalue()
        assert "downloaded" not in stream.getvalue()

    def test_terminal_without_rich_gets_lines(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "rich", None)
        stream = TerminalStream()
        monkeypatch.setattr(sys, "stderr", stream)
        with show_progress() as progress:
            progress(5_000_000, 20_000_000)
        assert stream.getvalue() == "downloaded 5.0 MB of 20.0 MB (25%)\n"


class TerminalStream(io.StringIO):
    def isatty(self) -> bool:
        return True
