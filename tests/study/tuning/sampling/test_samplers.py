"""The samplers of --sampler."""

from typing import Any

import optuna
import pytest
from optuna.samplers import RandomSampler, TPESampler

from search_spaces import SPACES
from study.config.choices import Sampler
from study.tuning.sampling.samplers import make_sampler

SPACE = SPACES["demo"]


@pytest.mark.parametrize(("kind", "sampler"), [(Sampler.TPE, TPESampler), (Sampler.RANDOM, RandomSampler)])
def test_samplers_repeat_and_go_on_with_other_numbers(kind: Sampler, sampler: type):
    def drawn(seed: int, num_tried: int) -> dict[str, Any]:
        made = make_sampler(kind, seed, num_tried)
        assert isinstance(made, sampler)
        return SPACE.suggest(optuna.create_study(sampler=made).ask())

    assert drawn(0, 0) == drawn(0, 0)
    different = [drawn(0, 0), drawn(0, 1), drawn(0, 2), drawn(1, 0), drawn(2, 1)]
    assert all(a != b for i, a in enumerate(different) for b in different[:i])
