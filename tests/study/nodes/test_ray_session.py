"""The start of Ray: its errors are one line, and its stderr is captured."""

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
import ray

from pan_model.errors import UserError
from study.config.study_config import StudyConfig
from study.nodes.ray_session import captured_stderr, ray_session


@pytest.mark.parametrize("error", [Exception("the node timed out"), RuntimeError("no room"), OSError("no port")])
@pytest.mark.parametrize(
    ("address", "told"),
    [
        (None, r"^Ray did not start on this machine \({}\); (?!.*busy).+\.$"),
        ("auto", r"^--ray-address: no Ray cluster answers at 'auto' \({}\); start one "),
    ],
)
def test_a_ray_that_does_not_start_is_an_error(
    study_config: Callable[..., StudyConfig],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    address: str | None,
    told: str,
):
    def fail(**_options: Any) -> None:
        raise error

    monkeypatch.setattr(ray, "init", fail)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(UserError, match=told.format(error)), ray_session(study_config(ray_address=address)):
        pass
    assert signal.getsignal(signal.SIGTERM) is before


def test_stderr_is_captured_and_then_restored(capfd: pytest.CaptureFixture[str]):
    with pytest.raises(OSError, match="gone"), captured_stderr() as said:  # noqa: PT012
        os.write(2, b"of a library\n")
        assert said() == "of a library\n"
        raise OSError("gone")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"
