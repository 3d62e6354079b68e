"""Suggestions near the first trials and the best so far."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import TrialState, create_trial

from search_spaces import SPACES
from study.config.search_space import replay
from study.tuning.sampling.prior_sampler import Annealed, PriorRules, PriorSampler
from study.tuning.sampling.sampler_memory import NUMBER, SamplerMemory

NEVER = Annealed(start=0.0, end=0.0)
ALWAYS = Annealed(start=1.0, end=1.0)
OFTEN = Annealed(start=0.25, end=0.25)
Params = dict[str, Any]


def study_of(sampler: BaseSampler, space: str, ended: list[tuple[Params, float | None]]) -> optuna.Study:
    """Return a study with ended trials; those without a value failed."""
    study = optuna.create_study(storage=SamplerMemory(), sampler=sampler, direction="maximize")
    for number, (params, value) in enumerate(ended):
        state = TrialState.FAIL if value is None else TrialState.COMPLETE
        distributions = replay(SPACES[space], params).distributions
        user_attrs = {NUMBER: number}
        values = {name: params[name] for name in distributions}
        study.add_trial(
            create_trial(state=state, value=value, params=values, distributions=distributions, user_attrs=user_attrs)
        )
    return study


def suggest(study: optuna.Study, space: str) -> Params:
    trial = study.ask()
    SPACES[space].suggest(trial)
    return trial.params


def num_changed(params: Params, centre: Params) -> int:
    return sum(params[name] != value for name, value in centre.items() if name in params)


@pytest.mark.parametrize("space", SPACES)
def test_suggestions_are_in_the_space_and_repeat_with_the_seed(space: str):
    first = SPACES[space].first_trials

    def drawn(seed: int) -> list[Params]:
        study = study_of(PriorSampler(first, seed=seed), space, [(first[0], 0.5)])
        return [suggest(study, space) for _ in range(30)]

    suggested = drawn(0)
    for params in suggested:
        assert replay(SPACES[space], params).values == params
    assert drawn(0) == suggested
    assert drawn(1) != suggested
    assert all(a != b for a, b in pairwise(suggested))  # all run at the same time


def test_a_changed_choice_opens_its_own_branch():
    unsupervised = next(trial for trial in SPACES["cub"].first_trials if trial["supervision"] == "unsupervised")
    sampler = PriorSampler([unsupervised], seed=0, rules=PriorRules(tpe_share=NEVER, choice_change=OFTEN))
    study = study_of(sampler, "cub", [])
    labelled = [params for _ in range(60) if "lambda" in (params := suggest(study, "cub"))]
    assert 3 < len(labelled) < 40
    assert len({params["lambda"] for params in labelled}) == len(labelled)


def test_a_parameter_that_the_centre_lacks_starts_from_the_most_similar_trial():
    paper, hybrid = SPACES["cub"].first_trials[0], SPACES["cub"].first_trials[4]
    centre = {name: value for name, value in hybrid.items() if name not in ("gate", "lambda")}
    centre["supervision"] = "unsupervised"
    rules = PriorRules(
        tpe_share=NEVER,
        choice_change=OFTEN,
        mean_place=1e-9,
        adopt=1.0,
        scale=Annealed(start=1e-3, end=1e-3),
    )
    study = study_of(PriorSampler([], seed=0, rules=rules), "cub", [(centre, 0.9), (paper, 0.2), (hybrid, 0.1)])
    labelled = [params for _ in range(60) if "lambda" in (params := suggest(study, "cub"))]
    distances = [abs(np.log(params["lambda"] / hybrid["lambda"])) for params in labelled]
    assert len(labelled) > 3
    assert np.median(distances) < 0.1


def test_better_trials_take_the_place_of_the_first_ones():
    first, better = SPACES["cub"].first_trials[0], SPACES["cub"].first_trials[3]

    def mean_distance(value: float) -> float:
        sampler = PriorSampler([first], seed=0, rules=PriorRules(tpe_share=NEVER, mean_place=0.5))
        study = study_of(sampler, "cub", [(first, 0.5), (better, value)])
        suggested = [suggest(study, "cub") for _ in range(30)]
        return float(np.mean([num_changed(params, better) for params in suggested]))

    assert mean_distance(0.9) < mean_distance(0.1) - 3


def test_failed_trials_are_no_centres():
    first, fails = SPACES["cub"].first_trials[0], SPACES["cub"].first_trials[3]
    rules = PriorRules(tpe_share=NEVER, choice_change=NEVER, number_change=0.0)
    study = study_of(PriorSampler([first, fails], seed=0, rules=rules), "cub", [(first, 0.5), *[(fails, None)] * 5])
    assert all(num_changed(suggest(study, "cub"), first) == 0 for _ in range(20))


def test_steps_shrink_with_the_number_of_suggested_trials(suggested: Callable[[int], Params]):
    first = SPACES["demo"].first_trials[0]

    def mean_changes(num_ended: int) -> float:
        ended = [(suggested(number), 0.1) for number in range(num_ended)]
        rules = PriorRules(tpe_share=NEVER, choice_change=Annealed(start=0.5, end=0.0), mean_place=1e-9)
        study = study_of(PriorSampler([first], seed=0, rules=rules), "demo", [(first, 0.9), *ended])
        return float(np.mean([num_changed(suggest(study, "demo"), first) for _ in range(30)]))

    assert mean_changes(0) > mean_changes(20) > mean_changes(60)


def test_the_other_trials_are_those_of_tpe():
    first = SPACES["cub"].first_trials[0]
    mixed = study_of(PriorSampler([first], seed=0, rules=PriorRules(tpe_share=ALWAYS)), "cub", [(first, 0.9)] * 12)
    alone = study_of(TPESampler(seed=0), "cub", [(first, 0.9)] * 12)
    assert [suggest(mixed, "cub") for _ in range(5)] == [suggest(alone, "cub") for _ in range(5)]


def test_half_of_the_way_to_the_limit_is_done_after_the_half_life():
    annealed = Annealed(start=0.5, end=0.1, half_life=16)
    assert [annealed.after(number) for number in (0, 16, 32)] == pytest.approx([0.5, 0.3, 0.2])
