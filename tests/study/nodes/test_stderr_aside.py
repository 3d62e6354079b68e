"""What a library writes to stderr is kept, and what comes afterwards is seen again."""

import os

import pytest

from study.nodes.stderr_aside import stderr_aside


def test_what_is_written_meanwhile_is_kept_from_the_screen(capfd: pytest.CaptureFixture[str]):
    with pytest.raises(OSError, match="gone"), stderr_aside() as said:  # noqa: PT012
        os.write(2, b"of a library\n")
        assert said() == "of a library\n"
        raise OSError("gone")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"
