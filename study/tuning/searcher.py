"""Searchers: Optuna suggests trials that the study has not had yet, or trials are given. Datasets take turns."""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from pan_model.errors import UserError
from study.config.search_space import Parameters
from study.config.study_config import StudyConfig
from study.trials.ledger import Status, TrialRecord
from study.trials.trial import TrialSpec
from study.tuning.dataset_search import DatasetSearch
from study.tuning.journal import STATES, Journal, final_value, points_to_try
from study.tuning.sampling.sampler_memory import NUMBER, remember
from study.tuning.sampling.samplers import make_sampler

MAX_REPEATS = 100
"""Number of suggestions in a row that may repeat earlier trials before the space counts as used up."""


@dataclass(frozen=True)
class SuggestedTrial:
    """A suggested trial that has not ended.

    Attributes:
        spec: The specification with which it runs.
        trial: The trial of Optuna.
        journal_number: The number of the trial in the journal.
        reported: The epochs that were reported.
    """

    spec: TrialSpec
    trial: optuna.Trial
    journal_number: int
    reported: set[int] = field(default_factory=set[int])


class LedgerSearch(OptunaSearch):
    """The searcher of one dataset: an OptunaSearch that reads the end of a trial from the ledger.

    It never suggests a trial twice in a study. The sampler learns from a memory of bounded size, so that the cost of a
    suggestion does not grow with the number of trials.

    Args:
        search: The search of the dataset.
        records: The trials of the ledger.
        study: Supplies `sampler` and `seed`.
        journal: The file of Optuna's journal.
        trial_finished: Called with every trial that ends.
    """

    def __init__(
        self,
        search: DatasetSearch,
        records: list[TrialRecord],
        study: StudyConfig,
        journal: Path,
        trial_finished: Callable[[TrialRecord], None] = lambda _: None,
    ) -> None:
        self._search = search
        self._trial_finished = trial_finished
        self._seen = {
            search.identify_as_new(record.config) for record in records if record.status is not Status.RUNNING
        }
        self._unfinished = {
            search.identify_as_new(record.config): record for record in records if record.status is Status.RUNNING
        }
        self._next_number = len(records)
        self._suggested: dict[str, SuggestedTrial] = {}
        self._journal = Journal(journal, records, search)
        super().__init__(
            space=search.space.suggest,
            metric=search.objective.name,
            mode=search.objective.mode,
            points_to_evaluate=points_to_try(records, search),
            sampler=make_sampler(study.chosen_sampler, study.seed, len(records), search.space),
            study_name=search.dataset,
            storage=remember(records, search),
        )

    def suggest(self, trial_id: str) -> Any:
        """Suggest a trial that is new to this study: a Tune configuration whose "spec" is a TrialSpec.

        Raises:
            UserError: If the search space suggests an invalid value.
        """
        for _ in range(MAX_REPEATS):
            trial = self._optuna.ask()
            config = self._search.complete(self._search.space.suggest(trial))
            name = self._search.identify(config)
            if name not in self._seen:
                self._seen.add(name)
                spec = self._make_spec(name, config)
                self._search.ledger(spec.trial_id).reopen(spec.config)
                trial.set_user_attr(NUMBER, spec.number)
                parameters = Parameters(trial.params, trial.distributions)
                journal_number = self._journal.trial_started(spec.trial_id, parameters)
                self._suggested[trial_id] = SuggestedTrial(spec, trial, journal_number)
                return {"spec": spec}
            self._optuna.tell(trial, state=STATES[Status.FAILED])
        return self.FINISHED

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Report an epoch to Optuna; a result that Tune repeats after a trial's end is dropped."""
        if trial_id in self._suggested:
            value = float(result[self._search.objective.name])
            self._report(self._suggested[trial_id], int(result["epoch"]), value)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Report the end of a trial to Optuna as the ledger has it; an interrupted trial has not ended."""
        suggested = self._suggested.get(trial_id)
        if suggested is None:
            return
        spec = suggested.spec
        ledger = self._search.ledger(spec.trial_id)
        ledger.open(number=spec.number, config=spec.config)
        if error:
            ledger.close(Status.FAILED, "its worker died")
        record = ledger.read(best=False)
        if record.status is Status.RUNNING:
            return
        for epoch in record.history:
            self._report(suggested, int(epoch["epoch"]), float(epoch[self._search.objective.name]))
        value = final_value(record, self._search.objective)
        stopped = record.status is Status.STOPPED
        self._optuna.tell(suggested.trial, None if stopped else value, state=STATES[record.status])
        self._journal.trial_finished(suggested.journal_number, STATES[record.status], value)
        del self._suggested[trial_id]
        self._trial_finished(record)

    def save(self, checkpoint_path: str) -> None:
        """Write an empty file: a study is resumed from its ledger."""
        Path(checkpoint_path).touch()

    @property
    def _optuna(self) -> optuna.Study:
        assert self._ot_study is not None
        return self._ot_study

    def _make_spec(self, name: str, config: dict[str, Any]) -> TrialSpec:
        """Return the specification of a new trial, or of an unfinished one, which keeps its id and its number."""
        record = self._unfinished.pop(name, None)
        if record is None:
            number = self._next_number
            self._next_number += 1
        else:
            name, number, config = record.trial_id, record.number, record.config
        try:
            return TrialSpec.from_flat(
                trial_id=name,
                number=number,
                dataset=self._search.dataset,
                config=config,
                task=self._search.task,
                val_questions=self._search.val_questions,
            )
        except UserError as rule:
            raise UserError(f"the search space of {self._search.dataset} suggests an invalid trial: {rule}") from rule

    def _report(self, suggested: SuggestedTrial, epoch: int, value: float) -> None:
        if epoch not in suggested.reported and math.isfinite(value):
            suggested.reported.add(epoch)
            suggested.trial.report(value, epoch)
            self._journal.epoch_reported(suggested.journal_number, epoch, value)


class GivenTrials(Searcher):
    """A searcher that suggests given trials, and reads their end from the ledger.

    Args:
        search: The search with the trials, `given`.
        finished: Called with every trial that ends.
    """

    def __init__(self, search: DatasetSearch, finished: Callable[[TrialRecord], None]) -> None:
        super().__init__()
        self._search, self._finished = search, finished
        self._waiting = list(search.given)
        self._suggested: dict[str, TrialSpec] = {}

    def suggest(self, trial_id: str) -> Any:
        """Return the next trial as a Tune configuration whose "spec" is a TrialSpec."""
        if not self._waiting:
            return self.FINISHED
        spec = self._suggested[trial_id] = self._waiting.pop(0)
        return {"spec": spec}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Report the end of a trial as the ledger has it; an interrupted trial has not ended."""
        spec = self._suggested.get(trial_id)
        if spec is None:
            return
        ledger = self._search.ledger(spec.trial_id)
        ledger.open(number=spec.number, config=spec.config)
        if error:
            ledger.close(Status.FAILED, "its worker died")
        record = ledger.read(best=False)
        if record.status is not Status.RUNNING:
            del self._suggested[trial_id]
            self._finished(record)

    def save(self, checkpoint_path: str) -> None:
        """Write an empty file: a study is resumed from its ledger."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Raise NotImplementedError: a study is resumed from its ledger."""
        raise NotImplementedError


class RoundRobinSearcher(Searcher):
    """Suggest trials of several datasets in turn: the dataset with the fewest running trials gets the next slot.

    Args:
        searchers: The searcher of each dataset.
        missing: The number of trials that each dataset lacks.
        count_slots: Returns the number of trials that may run now.
    """

    def __init__(
        self, searchers: Mapping[str, Searcher], missing: Mapping[str, int], count_slots: Callable[[], int]
    ) -> None:
        super().__init__()
        self._searchers = dict(searchers)
        self._missing = dict(missing)
        self._count_slots = count_slots
        self._running: dict[str, str] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Return no state: Tune pickles its searcher, but a study is resumed from its ledger."""
        return {}

    def suggest(self, trial_id: str) -> Any:
        """Suggest a trial of the dataset with the fewest running ones; return None while all slots are taken."""
        running = Counter(self._running.values())
        if running.total() >= self._count_slots():
            return None
        for dataset in sorted((name for name, count in self._missing.items() if count), key=lambda name: running[name]):
            suggested: Any = self._searchers[dataset].suggest(trial_id)
            if suggested != self.FINISHED:
                self._missing[dataset] -= 1
                self._running[trial_id] = dataset
                return suggested
            self._missing[dataset] = 0
        return self.FINISHED

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Pass an epoch to the searcher of the dataset; a result that Tune repeats after a trial's end is dropped."""
        if trial_id in self._running:
            self._searchers[self._running[trial_id]].on_trial_result(trial_id, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Pass the end of a trial to the searcher of the dataset, and free its slot."""
        if trial_id in self._running:
            self._searchers[self._running.pop(trial_id)].on_trial_complete(trial_id, result, error)

    def save(self, checkpoint_path: str) -> None:
        """Write an empty file: a study is resumed from its ledger."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Raise NotImplementedError: a study is resumed from its ledger."""
        raise NotImplementedError
