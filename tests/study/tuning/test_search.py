"""The searcher on a ledger written by hand; Ray is not started."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from search_spaces import SPACES
from search_spaces.pan import SearchSpace
from study.config.choices import Sampler
from study.config.study_config import StudyConfig
from study.trials.ledger import Status, TrialRecord, read_ledger
from study.trials.trial import TrialRequest
from study.tuning.journal import correct_journal
from study.tuning.searcher import LedgerSearch
from study.tuning.tune_request import TuneRequest

METRIC = "few_shot_accuracy"
Make = Callable[..., TuneRequest]


def suggest_digit(trial: Any) -> dict[str, Any]:
    return {"digit": trial.suggest_int("digit", 0, 3)}


DIGITS = SearchSpace(
    suggest=suggest_digit, first_trials=({"digit": 2},), paper_setting={"digit": 2}, num_trials=4, max_epochs=9
)


def search(request: TuneRequest, sampler: Sampler = Sampler.RANDOM, seed: int = 0) -> LedgerSearch:
    """The searcher as a study has it that starts, or goes on, from its ledger."""
    return LedgerSearch(
        request,
        read_ledger(request.place.results.trials),
        StudyConfig(sampler=sampler, seed=seed),
        request.place.results.journal,
    )


def run_epochs(request: TuneRequest, searcher: LedgerSearch, name: str, config: dict[str, Any], *values: float) -> None:
    """What a trial and Tune do for each epoch: the ledger first, then the report."""
    trial = TrialRequest(**config)
    ledger = request.place.ledger(trial.trial_id)
    ledger.open(number=trial.number, config=trial.config)
    done = len(ledger.history())
    for epoch, value in enumerate(values, done + 1):
        ledger.add_epoch({"epoch": epoch, METRIC: value}, {"epoch": epoch})
        searcher.on_trial_result(name, {"epoch": epoch, METRIC: value, "training_iteration": epoch - done})


def journal(request: TuneRequest) -> list[optuna.trial.FrozenTrial]:
    """The trials that Optuna has begun; those that are only waiting for their turn left out."""
    backend = JournalFileBackend(str(request.place.results.journal))
    trials = optuna.load_study(study_name="demo", storage=JournalStorage(backend)).trials
    return [trial for trial in trials if trial.state is not TrialState.WAITING]


def end(request: TuneRequest, status: Status, error: str = "", values: tuple[float, ...] = (0.5, 0.75, 0.25)) -> Any:
    """Run one trial to an end, and give Optuna's view of it."""
    searcher = search(request)
    config = searcher.suggest("t")
    run_epochs(request, searcher, "t", config, *values)
    if status is not Status.RUNNING:
        request.place.ledger(config["trial_id"]).close(status, error)
    searcher.on_trial_complete("t", {"epoch": len(values), METRIC: values[-1] if values else float("nan")})
    (trial,) = journal(request)
    assert trial.user_attrs["trial_id"] == config["trial_id"]
    return trial


def test_the_first_trials_are_the_space_s_own(request_: TuneRequest):
    searcher = search(request_)
    for number, point in enumerate(request_.space.first_trials):
        suggested = searcher.suggest(f"t{number}")
        assert suggested["number"] == number
        assert {key: suggested["config"][key] for key in point} == point
        assert suggested["config"]["max_epochs"] == 9
        assert suggested["trial_id"] == request_.identify(suggested["config"])


@pytest.mark.parametrize("dataset", SPACES)
def test_the_space_is_asked_with_what_it_says_it_takes(tune_request: Make, tmp_path: Path, dataset: str):
    assert search(tune_request(tmp_path, space=SPACES[dataset])).suggest("t")["number"] == 0


def test_a_completed_trial_is_complete_with_its_best_value(request_: TuneRequest):
    trial = end(request_, Status.COMPLETED)
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.75)
    assert trial.intermediate_values == {1: 0.5, 2: 0.75, 3: 0.25}


def test_where_less_is_better_the_best_is_the_least(tune_request: Make, tmp_path: Path):
    assert end(tune_request(tmp_path, mode="min"), Status.COMPLETED).value == 0.25


def test_a_stopped_trial_is_pruned_with_its_last_value(request_: TuneRequest):
    trial = end(request_, Status.STOPPED)
    assert (trial.state, trial.value) == (TrialState.PRUNED, 0.25)
    assert trial.intermediate_values == {1: 0.5, 2: 0.75, 3: 0.25}


def test_a_failed_trial_is_failed(request_: TuneRequest):
    trial = end(request_, Status.FAILED, "it broke")
    assert (trial.state, trial.value) == (TrialState.FAIL, None)
    assert trial.intermediate_values == {1: 0.5, 2: 0.75, 3: 0.25}


def test_a_trial_that_failed_at_once_is_failed(request_: TuneRequest):
    assert end(request_, Status.FAILED, "it broke", values=()).state is TrialState.FAIL


def test_nan_is_a_failure_and_no_value(request_: TuneRequest):
    searcher = search(request_)
    config = searcher.suggest("t")
    run_epochs(request_, searcher, "t", config, 0.5)
    request_.place.ledger(config["trial_id"]).close(Status.FAILED, "loss/total is nan in epoch 2")
    result = {"epoch": 2, METRIC: float("nan"), "training_iteration": 2}
    searcher.on_trial_result("t", result)
    searcher.on_trial_complete("t", result)
    (trial,) = journal(request_)
    assert (trial.state, trial.value, trial.intermediate_values) == (TrialState.FAIL, None, {1: 0.5})


def test_a_trial_that_was_cut_has_not_ended(request_: TuneRequest):
    assert end(request_, Status.RUNNING).state is TrialState.RUNNING
    search(request_)
    assert journal(request_) == []  # the journal is written anew, with the trials that have ended


def test_a_worker_that_died_is_a_failure(request_: TuneRequest):
    searcher = search(request_)
    config = searcher.suggest("t")
    searcher.on_trial_complete("t", None, error=True)
    (record,) = read_ledger(request_.place.results.trials)
    assert (record.trial_id, record.status, record.error) == (config["trial_id"], Status.FAILED, "its worker died")
    assert record.config == config["config"]
    assert journal(request_)[0].state is TrialState.FAIL


def test_the_ledger_s_word_stands_when_the_worker_dies_after_it(request_: TuneRequest):
    searcher = search(request_)
    config = searcher.suggest("t")
    run_epochs(request_, searcher, "t", config, 0.5)
    request_.place.ledger(config["trial_id"]).close(Status.COMPLETED)
    searcher.on_trial_complete("t", None, error=True)
    (trial,) = journal(request_)
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.5)


def test_epochs_that_tune_did_not_report_are_taken_from_the_ledger(request_: TuneRequest):
    searcher = search(request_)
    config = searcher.suggest("t")
    ledger = request_.place.ledger(config["trial_id"])
    ledger.open(number=0, config=config["config"])
    for epoch, value in enumerate((0.5, 0.75), 1):
        ledger.add_epoch({"epoch": epoch, METRIC: value}, {"epoch": epoch})
    ledger.close(Status.COMPLETED)
    searcher.on_trial_complete("t", {"epoch": 2, METRIC: 0.75})
    assert journal(request_)[0].intermediate_values == {1: 0.5, 2: 0.75}


def test_a_worker_that_starts_again_may_repeat_an_epoch(request_: TuneRequest):
    searcher = search(request_)
    config = searcher.suggest("t")
    run_epochs(request_, searcher, "t", config, 0.5, 0.75)
    searcher.on_trial_result("t", {"epoch": 2, METRIC: 0.75, "training_iteration": 1})
    request_.place.ledger(config["trial_id"]).close(Status.COMPLETED)
    searcher.on_trial_complete("t", {"epoch": 2, METRIC: 0.75})
    assert journal(request_)[0].intermediate_values == {1: 0.5, 2: 0.75}


def cut_after_two_epochs(request: TuneRequest) -> tuple[LedgerSearch, dict[str, Any]]:
    """A study that was cut in its first trial, and the searcher with which it goes on."""
    before = search(request)
    config = before.suggest("t")
    run_epochs(request, before, "t", config, 0.5, 0.75)
    return search(request), config


def test_a_trial_that_was_cut_goes_on_under_its_name_and_number(request_: TuneRequest):
    searcher, config = cut_after_two_epochs(request_)
    assert searcher.suggest("u") == config
    following = searcher.suggest("v")
    assert following["number"] == 1
    assert following["trial_id"] != config["trial_id"]


def test_a_trial_that_went_on_has_all_its_epochs(request_: TuneRequest):
    searcher, config = cut_after_two_epochs(request_)
    run_epochs(request_, searcher, "u", searcher.suggest("u"), 0.25)
    request_.place.ledger(config["trial_id"]).close(Status.COMPLETED)
    searcher.on_trial_complete("u", {"epoch": 3, METRIC: 0.25})
    (trial,) = [trial for trial in journal(request_) if trial.state is TrialState.COMPLETE]
    assert trial.value == 0.75
    assert trial.intermediate_values == {1: 0.5, 2: 0.75, 3: 0.25}


def finish(request: TuneRequest, searcher: LedgerSearch, num_trials: int, first: int = 0) -> list[dict[str, Any]]:
    """Run so many trials to their end; gives what was suggested."""
    suggested: list[dict[str, Any]] = []
    for number in range(first, first + num_trials):
        suggested.append(searcher.suggest(f"t{number}"))
        run_epochs(request, searcher, f"t{number}", suggested[-1], number / 64)
        request.place.ledger(suggested[-1]["trial_id"]).close(Status.COMPLETED)
        searcher.on_trial_complete(f"t{number}", {"epoch": 1, METRIC: number / 64})
    return suggested


@pytest.mark.parametrize("sampler", Sampler)
def test_a_study_repeats_and_another_seed_does_not(tune_request: Make, tmp_path: Path, sampler: Sampler):
    runs, num_first = [], len(SPACES["demo"].first_trials)
    for number, seed in enumerate((3, 3, 4)):
        request = tune_request(tmp_path / str(number))
        runs.append([one["config"] for one in finish(request, search(request, sampler, seed), 6)])
    assert runs[0] == runs[1]
    assert runs[0][:num_first] == runs[2][:num_first]  # the first trials are no draw
    assert all(a != b for a, b in zip(runs[0][num_first:], runs[2][num_first:], strict=True))


@pytest.mark.parametrize("sampler", Sampler)
def test_a_study_that_goes_on_draws_other_numbers(request_: TuneRequest, sampler: Sampler):
    before = finish(request_, search(request_, sampler), 5)
    after = finish(request_, search(request_, sampler), 5, first=5)
    assert [one["number"] for one in before + after] == list(range(10))
    assert len({one["trial_id"] for one in before + after}) == 10
    rates = [one["config"]["learning_rate"] for one in before[len(request_.space.first_trials) :] + after]
    assert len(set(rates)) == len(rates)


def test_a_study_that_goes_on_knows_what_it_learnt(request_: TuneRequest):
    finish(request_, search(request_), 5)
    before = {trial.user_attrs["trial_id"]: (trial.state, trial.value, trial.params) for trial in journal(request_)}
    search(request_)
    after = {trial.user_attrs["trial_id"]: (trial.state, trial.value, trial.params) for trial in journal(request_)}
    assert len(before) == 5
    assert after == before


def test_no_trial_is_suggested_twice_and_a_used_up_space_is_over(tune_request: Make, tmp_path: Path):
    request = tune_request(tmp_path, space=DIGITS)
    searcher = search(request)
    suggested = [searcher.suggest(f"t{number}") for number in range(4)]
    assert suggested[0]["config"]["digit"] == 2
    assert sorted(one["config"]["digit"] for one in suggested) == [0, 1, 2, 3]
    assert [one["number"] for one in suggested] == [0, 1, 2, 3]
    assert searcher.suggest("t4") == LedgerSearch.FINISHED


def test_what_ran_before_is_not_suggested_again(tune_request: Make, tmp_path: Path):
    request = tune_request(tmp_path, space=DIGITS)
    tried = {one["config"]["digit"] for one in finish(request, search(request), 2)}
    searcher = search(request)
    left = {searcher.suggest(f"u{number}")["config"]["digit"] for number in range(2)}
    assert tried | left == {0, 1, 2, 3}


def test_a_suggestion_that_comes_again_is_not_in_the_journal(tune_request: Make, tmp_path: Path):
    request = tune_request(tmp_path, space=DIGITS)
    finish(request, search(request), 4)  # the space has four trials: some were suggested again
    assert [trial.state for trial in journal(request)] == [TrialState.COMPLETE] * 4


def test_a_trial_that_never_began_is_taken_out_of_the_journal(request_: TuneRequest):
    searcher = search(request_)
    finish(request_, searcher, 2)
    searcher.suggest("u")
    assert [trial.state for trial in journal(request_)] == [
        TrialState.COMPLETE,
        TrialState.COMPLETE,
        TrialState.RUNNING,
    ]
    correct_journal(request_.place.results.journal, read_ledger(request_.place.results.trials), request_.journaled)
    assert [trial.state for trial in journal(request_)] == [TrialState.COMPLETE, TrialState.COMPLETE]


def test_it_hears_how_each_trial_ended(request_: TuneRequest):
    heard: list[TrialRecord] = []
    searcher = LedgerSearch(request_, [], StudyConfig(), request_.place.results.journal, heard.append)
    suggested = finish(request_, searcher, 2)
    failing = searcher.suggest("u")
    searcher.on_trial_complete("u", None, error=True)
    assert [record.trial_id for record in heard] == [one["trial_id"] for one in (*suggested, failing)]
    assert [record.status for record in heard] == [Status.COMPLETED, Status.COMPLETED, Status.FAILED]
    assert heard == read_ledger(request_.place.results.trials)


def test_nothing_is_left_for_tune_to_restore_from(tmp_path: Path, request_: TuneRequest):
    search(request_).save(str(tmp_path / "searcher.pkl"))
    assert (tmp_path / "searcher.pkl").read_bytes() == b""
