"""Each scope sets what it promises and restores what it found, also when the block raises."""

import os
from collections.abc import Callable
from contextlib import suppress

import pytest
import torch

from pan_model.config import TrialConfig
from pan_model.data.splits import Split
from pan_model.reproducibility import WORKSPACE, computing_threads, deterministic_arithmetic, seeded
from pan_model.tasks.few_shot import FewShotTask
from pan_model.training.trainer import Trainer

CPU = torch.device("cpu")


def settings() -> tuple[object, ...]:
    """Return the settings of the process that the library's work might change."""
    cudnn = torch.backends.cudnn
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        cudnn.benchmark,
        cudnn.deterministic,
        cudnn.allow_tf32,
        os.environ.get(WORKSPACE),
        torch.get_num_threads(),
        torch.get_default_dtype(),
        torch.get_rng_state().tolist(),
    )


@pytest.fixture(params=[(False, False, None), (True, False, ":16:8")])
def before(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    enabled, warn_only, workspace = request.param
    monkeypatch.delenv(WORKSPACE, raising=False)
    if workspace is not None:
        monkeypatch.setenv(WORKSPACE, workspace)
    torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", enabled)
    yield settings()
    torch.use_deterministic_algorithms(False)


def test_deterministic_arithmetic_holds_inside_the_block_alone(before: tuple[object, ...]):
    with suppress(RuntimeError), deterministic_arithmetic():
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.backends.cudnn.benchmark
        assert os.environ[WORKSPACE] == (before[5] or ":4096:8")
        raise RuntimeError
    assert settings() == before


def test_seeded_numbers_depend_on_the_seed_alone_and_leave_the_random_state(before: tuple[object, ...]):
    drawn: list[list[float]] = []
    for seed in (3, 3, 4):
        with seeded(seed, CPU):
            drawn.append(torch.rand(4).tolist())
    assert drawn[0] == drawn[1] != drawn[2]
    assert settings() == before


def test_threads_are_set_inside_the_block_alone():
    before = torch.get_num_threads()
    with suppress(RuntimeError), computing_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise RuntimeError
    assert torch.get_num_threads() == before


def test_training_and_evaluating_change_no_setting_of_the_process(
    before: tuple[object, ...], task: FewShotTask, configure: Callable[..., TrialConfig]
):
    trainer = Trainer(task, configure(first_weights="distance"), CPU)
    trainer.train_epoch()
    trainer.evaluate(Split.VAL)
    assert settings() == before


def test_the_last_of_overlapping_scopes_restores_the_settings(before: tuple[object, ...]):
    first, second = deterministic_arithmetic(), deterministic_arithmetic()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert torch.are_deterministic_algorithms_enabled()
    second.__exit__(None, None, None)
    assert settings() == before
