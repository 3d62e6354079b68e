"""The searcher on a ledger written by hand; Ray is not started."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from ray.tune.search import Searcher

from pan_model.errors import UserError
from search_spaces import SPACES
from search_spaces.pan import SearchSpace
from study.config.choices import Sampler
from study.config.study_config import StudyConfig
from study.trials.ledger import Status, TrialRecord, read_ledger
from study.trials.trial import TrialSpec
from study.tuning.dataset_search import DatasetSearch
from study.tuning.journal import correct_journal
from study.tuning.searcher import LedgerSearch, RoundRobinSearcher

METRIC = "few_shot_accuracy"
Make = Callable[..., DatasetSearch]


def suggest_width(trial: Any) -> dict[str, Any]:
    num_conditions = trial.suggest_int("num_conditions", 1, 4)
    return {"encoder": "siamese", "supervision": "unsupervised", "num_conditions": num_conditions}


FOUR_TRIALS = SearchSpace(
    suggest=suggest_width, first_trials=({"num_conditions": 2},), paper_setting={}, num_trials=4, max_epochs=9
)


def searcher_of(search: DatasetSearch, sampler: Sampler = Sampler.RANDOM, seed: int = 0) -> LedgerSearch:
    """Return the searcher of a study that starts, or goes on, from its ledger."""
    return LedgerSearch(search, search.records(), StudyConfig(sampler=sampler, seed=seed), search.paths.journal)


def suggest(searcher: Searcher, name: str) -> TrialSpec:
    suggested: Any = searcher.suggest(name)
    return suggested["spec"]


def run_epochs(search: DatasetSearch, searcher: LedgerSearch, name: str, spec: TrialSpec, *values: float) -> None:
    """What a trial and Tune do for each epoch: the ledger first, then the report."""
    ledger = search.ledger(spec.trial_id)
    ledger.open(number=spec.number, config=spec.config)
    done = len(ledger.history())
    for epoch, value in enumerate(values, done + 1):
        ledger.add_epoch({"epoch": epoch, METRIC: value}, {"epoch": epoch})
        searcher.on_trial_result(name, {"epoch": epoch, METRIC: value, "training_iteration": epoch - done})


def journal(search: DatasetSearch) -> list[optuna.trial.FrozenTrial]:
    """Return the trials of the journal that have started."""
    backend = JournalFileBackend(str(search.paths.journal))
    trials = optuna.load_study(study_name="demo", storage=JournalStorage(backend)).trials
    return [trial for trial in trials if trial.state is not TrialState.WAITING]


def end(search: DatasetSearch, status: Status, error: str = "", values: tuple[float, ...] = (0.5, 0.75, 0.25)) -> Any:
    """Run spec trial to an end, and give Optuna's view of it."""
    searcher = searcher_of(search)
    spec = suggest(searcher, "t")
    run_epochs(search, searcher, "t", spec, *values)
    if status is not Status.RUNNING:
        search.ledger(spec.trial_id).close(status, error)
    searcher.on_trial_complete("t", {"epoch": len(values), METRIC: values[-1] if values else float("nan")})
    (trial,) = journal(search)
    assert trial.user_attrs["trial_id"] == spec.trial_id
    return trial


def test_the_first_trials_are_the_space_s_own(search: DatasetSearch):
    searcher = searcher_of(search)
    for number, point in enumerate(search.space.first_trials):
        suggested = suggest(searcher, f"t{number}")
        assert suggested.number == number
        assert {key: suggested.config[key] for key in point} == point
        assert suggested.config["max_epochs"] == 9
        assert suggested.trial_id == search.identify(suggested.config)


@pytest.mark.parametrize("dataset", SPACES)
def test_the_space_is_asked_with_what_it_says_it_takes(search_in: Make, tmp_path: Path, dataset: str):
    assert suggest(searcher_of(search_in(tmp_path, space=SPACES[dataset])), "t").number == 0


def test_a_completed_trial_is_complete_with_its_best_value(search: DatasetSearch):
    trial = end(search, Status.COMPLETED)
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.75)
    assert trial.intermediate_values == {1: 0.5, 2: 0.75, 3: 0.25}


def test_where_less_is_better_the_best_is_the_least(search_in: Make, tmp_path: Path):
    assert end(search_in(tmp_path, mode="min"), Status.COMPLETED).value == 0.25


def test_a_stopped_trial_is_pruned_with_its_last_value(search: DatasetSearch):
    trial = end(search, Status.STOPPED)
    assert (trial.state, trial.value) == (TrialState.PRUNED, 0.25)
    assert trial.intermediate_values == {1: 0.5, 2: 0.75, 3: 0.25}


def test_a_failed_trial_is_failed(search: DatasetSearch):
    trial = end(search, Status.FAILED, "it broke")
    assert (trial.state, trial.value) == (TrialState.FAIL, None)
    assert trial.intermediate_values == {1: 0.5, 2: 0.75, 3: 0.25}


def test_a_trial_that_failed_at_once_is_failed(search: DatasetSearch):
    assert end(search, Status.FAILED, "it broke", values=()).state is TrialState.FAIL


def test_nan_is_a_failure_and_no_value(search: DatasetSearch):
    searcher = searcher_of(search)
    spec = suggest(searcher, "t")
    run_epochs(search, searcher, "t", spec, 0.5)
    search.ledger(spec.trial_id).close(Status.FAILED, "loss/total is nan in epoch 2")
    result = {"epoch": 2, METRIC: float("nan"), "training_iteration": 2}
    searcher.on_trial_result("t", result)
    searcher.on_trial_complete("t", result)
    (trial,) = journal(search)
    assert (trial.state, trial.value, trial.intermediate_values) == (TrialState.FAIL, None, {1: 0.5})


def test_a_trial_that_was_interrupted_has_not_ended(search: DatasetSearch):
    assert end(search, Status.RUNNING).state is TrialState.RUNNING
    searcher_of(search)
    assert journal(search) == []  # the journal is written anew, with the trials that have ended


def test_a_worker_that_died_is_a_failure(search: DatasetSearch):
    searcher = searcher_of(search)
    spec = suggest(searcher, "t")
    searcher.on_trial_complete("t", None, error=True)
    (record,) = read_ledger(search.paths.trials)
    assert (record.trial_id, record.status, record.error) == (spec.trial_id, Status.FAILED, "its worker died")
    assert record.config == spec.config
    assert journal(search)[0].state is TrialState.FAIL


def test_the_ledger_s_word_stands_when_the_worker_dies_after_it(search: DatasetSearch):
    searcher = searcher_of(search)
    spec = suggest(searcher, "t")
    run_epochs(search, searcher, "t", spec, 0.5)
    search.ledger(spec.trial_id).close(Status.COMPLETED)
    searcher.on_trial_complete("t", None, error=True)
    (trial,) = journal(search)
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.5)


def test_epochs_that_tune_did_not_report_are_taken_from_the_ledger(search: DatasetSearch):
    searcher = searcher_of(search)
    spec = suggest(searcher, "t")
    ledger = search.ledger(spec.trial_id)
    ledger.open(number=0, config=spec.config)
    for epoch, value in enumerate((0.5, 0.75), 1):
        ledger.add_epoch({"epoch": epoch, METRIC: value}, {"epoch": epoch})
    ledger.close(Status.COMPLETED)
    searcher.on_trial_complete("t", {"epoch": 2, METRIC: 0.75})
    assert journal(search)[0].intermediate_values == {1: 0.5, 2: 0.75}


def test_a_worker_that_starts_again_may_repeat_an_epoch(search: DatasetSearch):
    searcher = searcher_of(search)
    spec = suggest(searcher, "t")
    run_epochs(search, searcher, "t", spec, 0.5, 0.75)
    searcher.on_trial_result("t", {"epoch": 2, METRIC: 0.75, "training_iteration": 1})
    search.ledger(spec.trial_id).close(Status.COMPLETED)
    searcher.on_trial_complete("t", {"epoch": 2, METRIC: 0.75})
    assert journal(search)[0].intermediate_values == {1: 0.5, 2: 0.75}


def interrupted_after_two_epochs(search: DatasetSearch) -> tuple[LedgerSearch, TrialSpec]:
    """Interrupt a study in its first trial; return the searcher with which it goes on, and the trial."""
    before = searcher_of(search)
    spec = suggest(before, "t")
    run_epochs(search, before, "t", spec, 0.5, 0.75)
    return searcher_of(search), spec


def test_a_trial_that_was_interrupted_goes_on_under_its_name_and_number(search: DatasetSearch):
    searcher, spec = interrupted_after_two_epochs(search)
    assert suggest(searcher, "u") == spec
    following = suggest(searcher, "v")
    assert following.number == 1
    assert following.trial_id != spec.trial_id


def test_a_trial_that_went_on_has_all_its_epochs(search: DatasetSearch):
    searcher, spec = interrupted_after_two_epochs(search)
    run_epochs(search, searcher, "u", suggest(searcher, "u"), 0.25)
    search.ledger(spec.trial_id).close(Status.COMPLETED)
    searcher.on_trial_complete("u", {"epoch": 3, METRIC: 0.25})
    (trial,) = [trial for trial in journal(search) if trial.state is TrialState.COMPLETE]
    assert trial.value == 0.75
    assert trial.intermediate_values == {1: 0.5, 2: 0.75, 3: 0.25}


def finish(search: DatasetSearch, searcher: LedgerSearch, num_trials: int, first: int = 0) -> list[TrialSpec]:
    """Run so many trials to their end; gives what was suggested."""
    suggested: list[TrialSpec] = []
    for number in range(first, first + num_trials):
        suggested.append(suggest(searcher, f"t{number}"))
        run_epochs(search, searcher, f"t{number}", suggested[-1], number / 64)
        search.ledger(suggested[-1].trial_id).close(Status.COMPLETED)
        searcher.on_trial_complete(f"t{number}", {"epoch": 1, METRIC: number / 64})
    return suggested


@pytest.mark.parametrize("sampler", Sampler)
def test_a_study_repeats_and_another_seed_does_not(search_in: Make, tmp_path: Path, sampler: Sampler):
    runs, num_first = [], len(SPACES["demo"].first_trials)
    for number, seed in enumerate((3, 3, 4)):
        search = search_in(tmp_path / str(number))
        runs.append([spec.config for spec in finish(search, searcher_of(search, sampler, seed), 6)])
    assert runs[0] == runs[1]
    assert runs[0][:num_first] == runs[2][:num_first]  # the first trials are no draw
    assert all(a != b for a, b in zip(runs[0][num_first:], runs[2][num_first:], strict=True))


@pytest.mark.parametrize("sampler", Sampler)
def test_a_study_that_goes_on_draws_other_numbers(search: DatasetSearch, sampler: Sampler):
    before = finish(search, searcher_of(search, sampler), 5)
    after = finish(search, searcher_of(search, sampler), 5, first=5)
    assert [spec.number for spec in before + after] == list(range(10))
    assert len({spec.trial_id for spec in before + after}) == 10
    if sampler is not Sampler.PRIOR:  # which keeps values of the trial that it starts from
        rates = [spec.config["learning_rate"] for spec in before[len(search.space.first_trials) :] + after]
        assert len(set(rates)) == len(rates)


def test_a_study_that_goes_on_knows_what_it_learnt(search: DatasetSearch):
    finish(search, searcher_of(search), 5)
    before = {trial.user_attrs["trial_id"]: (trial.state, trial.value, trial.params) for trial in journal(search)}
    searcher_of(search)
    after = {trial.user_attrs["trial_id"]: (trial.state, trial.value, trial.params) for trial in journal(search)}
    assert len(before) == 5
    assert after == before


def test_no_trial_is_suggested_twice_and_a_used_up_space_is_over(search_in: Make, tmp_path: Path):
    search = search_in(tmp_path, space=FOUR_TRIALS)
    searcher = searcher_of(search)
    suggested = [suggest(searcher, f"t{number}") for number in range(4)]
    assert suggested[0].config["num_conditions"] == 2
    assert sorted(spec.config["num_conditions"] for spec in suggested) == [1, 2, 3, 4]
    assert [spec.number for spec in suggested] == [0, 1, 2, 3]
    assert searcher.suggest("t4") == LedgerSearch.FINISHED


def test_what_ran_before_is_not_suggested_again(search_in: Make, tmp_path: Path):
    search = search_in(tmp_path, space=FOUR_TRIALS)
    tried = {spec.config["num_conditions"] for spec in finish(search, searcher_of(search), 2)}
    searcher = searcher_of(search)
    left = {suggest(searcher, f"u{number}").config["num_conditions"] for number in range(2)}
    assert tried | left == {1, 2, 3, 4}


def test_a_suggestion_that_comes_again_is_not_in_the_journal(search_in: Make, tmp_path: Path):
    search = search_in(tmp_path, space=FOUR_TRIALS)
    finish(search, searcher_of(search), 4)  # the space has four trials: some were suggested again
    assert [trial.state for trial in journal(search)] == [TrialState.COMPLETE] * 4


def test_a_trial_that_never_began_is_taken_out_of_the_journal(search: DatasetSearch):
    searcher = searcher_of(search)
    finish(search, searcher, 2)
    suggest(searcher, "u")
    assert [trial.state for trial in journal(search)] == [
        TrialState.COMPLETE,
        TrialState.COMPLETE,
        TrialState.RUNNING,
    ]
    correct_journal(search.paths.journal, read_ledger(search.paths.trials), search)
    assert [trial.state for trial in journal(search)] == [TrialState.COMPLETE, TrialState.COMPLETE]


def test_it_reports_how_each_trial_ended(search: DatasetSearch):
    reported: list[TrialRecord] = []
    searcher = LedgerSearch(search, [], StudyConfig(), search.paths.journal, reported.append)
    suggested = finish(search, searcher, 2)
    failing = suggest(searcher, "u")
    searcher.on_trial_complete("u", None, error=True)
    assert [record.trial_id for record in reported] == [spec.trial_id for spec in (*suggested, failing)]
    assert [record.status for record in reported] == [Status.COMPLETED, Status.COMPLETED, Status.FAILED]
    assert reported == read_ledger(search.paths.trials)


def test_nothing_is_left_for_tune_to_restore_from(tmp_path: Path, search: DatasetSearch):
    searcher_of(search).save(str(tmp_path / "searcher.pkl"))
    assert (tmp_path / "searcher.pkl").read_bytes() == b""


def suggest_invalid(trial: Any) -> dict[str, Any]:
    num_conditions = trial.suggest_int("num_conditions", 1, 4)
    return {"encoder": "siamese", "supervision": "supervised", "gate": "PERHAPS", "num_conditions": num_conditions}


def test_an_invalid_value_is_an_error_of_the_search_space(search_in: Make, tmp_path: Path):
    space = replace(FOUR_TRIALS, suggest=suggest_invalid)
    search = search_in(tmp_path, space=space)
    searcher = searcher_of(search)
    rule = r"^the search space of demo suggests an invalid trial: gate must be one of AND, [^\n]*$"
    with pytest.raises(UserError, match=rule):
        searcher.suggest("t")
    assert search.records() == []
    assert journal(search) == []


class ListedSearch(Searcher):
    """A searcher of spec dataset that suggests numbers and records what is reported of them."""

    def __init__(self, dataset: str, count: int) -> None:
        super().__init__()
        self.dataset, self.left = dataset, count
        self.reported: list[str] = []

    def suggest(self, trial_id: str) -> Any:
        self.left -= 1
        return {"dataset": self.dataset, "number": self.left} if self.left >= 0 else RoundRobinSearcher.FINISHED

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self.reported.append(f"{trial_id} {result['epoch']}")

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self.reported.append(f"{trial_id} failed" if error else f"{trial_id} ended")


def taking_turns(
    slots: list[int], missing: dict[str, int], **have: int
) -> tuple[RoundRobinSearcher, dict[str, ListedSearch]]:
    searches = {name: ListedSearch(name, have.get(name, count)) for name, count in missing.items()}
    return RoundRobinSearcher(searches, missing, lambda: slots[0]), searches


def test_slots_are_shared_evenly_until_one_search_has_no_more():
    turns, _ = taking_turns([4], {"cub": 5, "inshop": 1, "polyvore": 5})
    running = [turns.suggest(f"t{number}")["dataset"] for number in range(4)]
    assert Counter(running) == {"cub": 2, "inshop": 1, "polyvore": 1}
    assert turns.suggest("t4") is None
    turns.on_trial_complete("t1")
    assert running[1] == "inshop"
    assert turns.suggest("t5")["dataset"] == "polyvore"


def test_every_trial_is_suggested_once_and_then_it_is_over():
    missing = {"cub": 3, "inshop": 2}
    turns, searches = taking_turns([2], missing)
    suggested: list[tuple[str, int]] = []
    for number in range(5):
        trial = turns.suggest(f"t{number}")
        suggested.append((trial["dataset"], trial["number"]))
        turns.on_trial_complete(f"t{number}")
    assert Counter(dataset for dataset, _ in suggested) == missing
    assert len(set(suggested)) == 5
    assert turns.suggest("t5") == RoundRobinSearcher.FINISHED
    assert {name: len(search.reported) for name, search in searches.items()} == missing


def test_a_space_that_is_used_up_leaves_its_slots_to_the_others():
    turns, _ = taking_turns([9], {"cub": 5, "inshop": 3}, cub=1)
    datasets = [turns.suggest(f"t{number}")["dataset"] for number in range(4)]
    assert Counter(datasets) == {"cub": 1, "inshop": 3}
    assert turns.suggest("t4") == RoundRobinSearcher.FINISHED


def test_each_search_hears_of_its_own_trials():
    turns, searches = taking_turns([2], {"cub": 1, "inshop": 1})
    of = {name: turns.suggest(name)["dataset"] for name in ("t0", "t1")}
    turns.on_trial_result("t0", {"epoch": 1})
    turns.on_trial_complete("t0", error=True)
    turns.on_trial_complete("t1")
    assert searches[of["t0"]].reported == ["t0 1", "t0 failed"]
    assert searches[of["t1"]].reported == ["t1 ended"]


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1)])
def test_a_cluster_that_changes_is_heeded(before: int, after: int):
    slots = [before]
    turns, _ = taking_turns(slots, {"cub": 9})
    for number in range(before):
        assert turns.suggest(f"t{number}") is not None
    assert turns.suggest("more") is None
    slots[0] = after
    more = [turns.suggest(f"u{number}") for number in range(3)]
    assert sum(suggested is not None for suggested in more) == max(0, after - before)
