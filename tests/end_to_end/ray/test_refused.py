"""A study that is refused once Ray has started."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]


def test_a_gpu_that_is_not_there_is_refused(
    run_here: Callable[..., Any], flags: Callable[..., list[str]], tmp_path: Path
) -> None:
    result = run_here(*flags(tmp_path / "results"), "--gpus-per-trial=1000")
    assert result.code == 2
    assert result.err.startswith("error: --gpus-per-trial must be at most ")
    assert result.err.count("\n") == 1
    assert not (tmp_path / "results").exists()
