"""The sampler's memory compared with one that keeps every trial: the same suggestions while there are few trials."""

from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.samplers import RandomSampler, TPESampler
from optuna.samplers._tpe.sampler import _split_trials
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from search_spaces import SPACES
from study.tuning.sampler_memory import NUM_BEST, NUM_LATEST, NUMBER, SamplerMemory

optuna.logging.set_verbosity(optuna.logging.ERROR)
END = st.tuples(
    st.sampled_from([TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, None]),
    st.lists(st.integers(0, 3), max_size=3),
)


def run_study(storage: BaseStorage, direction: str, ends: list[Any], order: list[int]) -> optuna.Study:
    """Return a study whose trials start in order of their numbers and end in another order; some go on running."""
    study = optuna.create_study(storage=storage, sampler=RandomSampler(seed=0), direction=direction)
    trials = [study.ask() for _ in ends]
    for number, trial in enumerate(trials):
        trial.suggest_float("x", 0, 1)
        trial.set_user_attr(NUMBER, number)
    for number in order:
        state, values = ends[number]
        for step, value in enumerate(values):
            trials[number].report(value, step)
        if state is not None:
            value = float(sum(values)) if state is TrialState.COMPLETE else None
            study.tell(trials[number], value, state=state)
    return study


def names(trials: list[FrozenTrial]) -> list[int]:
    return [trial.user_attrs[NUMBER] for trial in trials]


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@given(data=st.data())
def test_it_keeps_those_that_run_the_best_as_tpe_has_them_and_the_latest(direction: str, data: st.DataObject):
    ends = data.draw(st.lists(END, max_size=12))
    order = data.draw(st.permutations(range(len(ends))))
    num_best, num_latest = data.draw(st.integers(1, 4)), data.draw(st.integers(0, 6))
    whole = run_study(InMemoryStorage(), direction, ends, order)
    shown = run_study(SamplerMemory(num_best=num_best, num_latest=num_latest), direction, ends, order)
    learned = whole.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))
    below, _ = _split_trials(whole, learned, num_best)
    running = [trial for trial in whole.trials if trial.state is TrialState.RUNNING]
    latest = learned[max(len(learned) - num_latest, 0) :]
    assert names(shown.trials) == sorted({*names(below), *names(latest), *names(running)})
    assert shown.get_trials(states=(TrialState.RUNNING,)) == [
        trial for trial in shown.trials if trial.state is TrialState.RUNNING
    ]
    if any(trial.state is TrialState.COMPLETE for trial in learned):
        assert shown.best_value == whole.best_value


@given(data=st.data())
def test_a_study_that_goes_on_is_shown_the_same(data: st.DataObject):
    ends = data.draw(st.lists(END.filter(lambda end: end[0] is not None), max_size=12))
    order = data.draw(st.permutations(range(len(ends))))
    before = run_study(SamplerMemory(num_best=2, num_latest=3), "maximize", ends, order)
    after = optuna.create_study(storage=SamplerMemory(num_best=2, num_latest=3), direction="maximize")
    after.add_trials(run_study(InMemoryStorage(), "maximize", ends, order).trials)
    assert names(after.trials) == names(before.trials)
    assert [trial.params for trial in after.trials] == [trial.params for trial in before.trials]


def test_what_is_forgotten_takes_no_room():
    memory = SamplerMemory(num_best=1, num_latest=1)
    run_study(memory, "minimize", [(TrialState.COMPLETE, [value]) for value in (1, 0, 2, 3)], [0, 1, 2, 3])
    assert [len(memory.get_trial(number).params) for number in range(4)] == [0, 1, 0, 1]


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_the_best_trial_is_one_that_is_kept(order: list[int]):
    memory = SamplerMemory(num_best=1, num_latest=0)
    study = run_study(memory, "minimize", [(TrialState.COMPLETE, [1]), (TrialState.COMPLETE, [1])], order)
    assert (study.best_trial.number, study.best_value) == (0, 1)


def suggestions(storage: BaseStorage, num_trials: int, seed: int) -> list[dict[str, Any]]:
    """What TPE suggests in a study on CUB's space in which weak trials are pruned and some fail."""
    study = optuna.create_study(storage=storage, sampler=TPESampler(seed=seed), direction="maximize")
    draw = np.random.default_rng(seed)
    suggested: list[dict[str, Any]] = []
    running: list[optuna.Trial] = []
    while len(suggested) < num_trials:
        running.append(study.ask())
        config = SPACES["cub"].suggest(running[-1])
        suggested.append(config)
        if len(running) < 3:
            continue
        trial = running.pop(int(draw.integers(3)))
        value = -abs(np.log10(trial.params["learning_rate"]) + 3) - trial.params["dropout"]
        trial.report(value, 1)
        state = draw.choice([TrialState.COMPLETE, TrialState.PRUNED, TrialState.PRUNED, TrialState.FAIL])
        study.tell(trial, value if state == TrialState.COMPLETE else None, state=TrialState(state))
    return suggested


def test_tpe_suggests_the_same_until_there_is_more_than_it_is_shown():
    whole = suggestions(InMemoryStorage(), 90, 0)
    assert suggestions(SamplerMemory(), 90, 0) == whole
    shown = suggestions(SamplerMemory(num_best=5, num_latest=35), 90, 0)
    same = next(number for number, (a, b) in enumerate(zip(whole, shown, strict=True)) if a != b)
    assert 35 < same < 90
    assert NUM_BEST + NUM_LATEST > 250 + NUM_BEST
