"""Final trainings here are short: the baseline with the paper's settings tries few epochs."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def short_paper_setting() -> Iterator[None]:
    """Try 10 epochs of the paper's, not 100 or more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("study.trials.paper_setting.FINAL_MIN_EPOCHS", 10)
        patch.setattr("study.trials.paper_setting.FINAL_MAX_PAIRS", 0)
        yield
