"""The samplers of --sampler."""

from typing import Any

import optuna
import pytest
from optuna.samplers import RandomSampler, TPESampler

from search_spaces import SPACES
from study.config.choices import Sampler
from study.config.search_space import replay
from study.tuning.sampling.prior_sampler import PriorSampler
from study.tuning.sampling.samplers import make_sampler

SPACE = SPACES["demo"]


@pytest.mark.parametrize(
    ("kind", "sampler"),
    [
        (Sampler.TPE, TPESampler),
        (Sampler.TPE_GROUPED, TPESampler),
        (Sampler.PRIOR, PriorSampler),
        (Sampler.RANDOM, RandomSampler),
    ],
)
def test_samplers_repeat_and_go_on_with_other_numbers(kind: Sampler, sampler: type):
    def drawn(seed: int, num_tried: int) -> dict[str, Any]:
        made = make_sampler(kind, seed, num_tried, SPACE)
        assert isinstance(made, sampler)
        return SPACE.suggest(optuna.create_study(sampler=made).ask())

    assert drawn(0, 0) == drawn(0, 0)
    different = [drawn(0, 0), drawn(0, 1), drawn(0, 2), drawn(1, 0), drawn(2, 1)]
    assert all(a != b for i, a in enumerate(different) for b in different[:i])


@pytest.mark.parametrize("kind", Sampler)
def test_trials_that_run_at_the_same_time_differ_and_can_be_suggested(kind: Sampler):
    study = optuna.create_study(sampler=make_sampler(kind, 0, 0, SPACE), direction="maximize")
    for number in range(12):
        trial = study.ask()
        SPACE.suggest(trial)
        study.tell(trial, number / 12)
    parallel = [(trial := study.ask(), SPACE.suggest(trial)) for _ in range(6)]
    assert len({repr(config) for _, config in parallel}) == 6
    for trial, config in parallel:
        assert replay(SPACE, config).values == trial.params
