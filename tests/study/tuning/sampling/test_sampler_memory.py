"""The sampler's memory compared with one that keeps every trial: the same suggestions while there are few trials."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.samplers import RandomSampler, TPESampler
from optuna.samplers._tpe.sampler import _split_trials  # pyright: ignore[reportPrivateUsage]
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from pan_model.objective import Objective
from search_spaces import SPACES
from study.config.choices import Sampler
from study.config.search_space import replay
from study.trials.ledger import Status, TrialRecord
from study.tuning.dataset_search import DatasetSearch
from study.tuning.sampling.sampler_memory import NUM_BEST, NUM_LATEST, NUMBER, SamplerMemory, rank, remember
from study.tuning.sampling.samplers import make_sampler

optuna.logging.set_verbosity(optuna.logging.ERROR)
Make = Callable[..., TrialRecord]
END = st.tuples(
    st.sampled_from([TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, None]),
    st.lists(st.integers(0, 3), max_size=3),
)


def run_study(storage: BaseStorage, direction: Any, ends: list[Any], order: list[int]) -> optuna.Study:
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
    as_tpe_ranks_them = [(TrialState.PRUNED, []) if end[0] is TrialState.FAIL else end for end in ends]
    whole = run_study(InMemoryStorage(), direction, as_tpe_ranks_them, order)
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


@pytest.mark.parametrize("status", [Status.FAILED, Status.STOPPED])
def test_a_failed_trial_ranks_last_with_its_parameters(search: DatasetSearch, record: Make, status: Status):
    records = [record(0, Status.COMPLETED, 0.1), record(1, status, 0.9, 0.8), record(2, Status.STOPPED, 0.1)]
    memory = remember(records, search)
    best_first = sorted(memory.get_all_trials(0), key=lambda trial: rank(trial, -1))
    assert names(best_first) == ([0, 2, 1] if status is Status.FAILED else [0, 1, 2])
    assert memory.get_all_trials(0)[1].params == replay(search.space, records[1].config).values


def test_a_repeated_suggestion_is_forgotten():
    study = optuna.create_study(storage=SamplerMemory())
    study.tell(study.ask(), state=TrialState.FAIL)
    assert study.trials == []


@pytest.mark.parametrize("kind", [Sampler.TPE, Sampler.TPE_GROUPED, Sampler.PRIOR])
def test_where_trials_fail_few_are_suggested(kind: Sampler):
    space = replace(SPACES["demo"], first_trials=())

    def num_failed(storage: BaseStorage) -> int:
        study = optuna.create_study(storage=storage, sampler=make_sampler(kind, 0, 0, space))
        for number in range(60):
            trial = study.ask()
            trial.set_user_attr(NUMBER, number)
            fails = trial.suggest_categorical("x", ["fails", "works"]) == "fails"
            value = trial.suggest_float("y", 0, 1)
            study.tell(trial, None if fails else value, state=TrialState.FAIL if fails else TrialState.COMPLETE)
        return sum(trial.params.get("x") == "fails" for trial in study.trials)

    assert num_failed(SamplerMemory()) < 15


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


def test_a_sampler_remembers_what_ended(search: DatasetSearch, record: Make):
    records = [
        record(0, Status.COMPLETED, 0.5, 0.75, 0.6),
        record(1, Status.STOPPED, 0.9, 0.4),
        record(2, Status.FAILED, error="it broke"),
        record(3, Status.FAILED, 0.25, error="it broke later"),
        record(4, Status.RUNNING, 0.3),
        record(5, Status.STOPPED),
    ]
    trials = optuna.load_study(storage=remember(records, search), study_name="demo").trials
    assert names(trials) == [0, 1, 2, 3, 5]
    assert [trial.params for trial in trials] == [
        replay(search.space, records[number].config).values for number in names(trials)
    ]
    assert [(trial.state, trial.values, trial.intermediate_values) for trial in trials] == [
        (TrialState.COMPLETE, [0.75], {1: 0.5, 2: 0.75, 3: 0.6}),
        (TrialState.PRUNED, [0.4], {1: 0.9, 2: 0.4}),
        (TrialState.PRUNED, None, {}),
        (TrialState.PRUNED, None, {}),
        (TrialState.PRUNED, None, {}),
    ]


def test_of_a_long_study_a_sampler_remembers_the_best_and_the_latest(search: DatasetSearch, record: Make):
    config = record(0, Status.RUNNING).config
    length = NUM_BEST + NUM_LATEST + 10
    records = [record(n, Status.COMPLETED, abs(n - 20), config=config) for n in range(length)]
    shortest = replace(search, objective=Objective(search.objective.name, "min"))
    assert names(remember(records, shortest).get_all_trials(0)) == [
        *range(20 - 12, 20 + 13),
        *range(length - NUM_LATEST, length),
    ]
