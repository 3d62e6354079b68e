"""Optuna suggests: trials that this study has not had yet, and Optuna hears how each really ended."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
from ray.tune.search.optuna import OptunaSearch

from study.config import StudyConfig
from study.journal import STATES, final_value, make_sampler, points_to_try, write_journal
from study.ledger import Status, TrialRecord
from study.trial import TrialRequest
from study.tune_request import TuneRequest

MAX_REPEATS = 100
"""How often in a row the sampler may suggest what was tried before, until the space counts as used up."""


class LedgerSearch(OptunaSearch):
    """OptunaSearch that tells Optuna how trials really ended, and never suggests one twice in a study."""

    def __init__(self, request: TuneRequest, records: list[TrialRecord], study: StudyConfig, journal: Path) -> None:
        self._request = request
        self._seen = {record.trial_id for record in records if record.status is not Status.RUNNING}
        self._numbers = {record.trial_id: record.number for record in records}
        self._running: dict[str, TrialRequest] = {}
        self._reported: dict[str, set[int]] = {}
        points = points_to_try(records, request.space, lambda config: request.identify(request.complete(config)))
        super().__init__(
            space=request.space.suggest,
            metric=request.metric,
            mode=request.mode,
            points_to_evaluate=points,
            sampler=make_sampler(study.sampler, study.seed, len(records)),
            study_name=request.place.dataset,
            storage=write_journal(journal, records, request.journaled),
        )

    def suggest(self, trial_id: str) -> Any:
        """Suggest a trial that this study has not had yet."""
        for _ in range(MAX_REPEATS):
            trial = self._optuna.ask()
            config = self._request.complete(self._request.space.suggest(trial))
            name = self._request.identify(config)
            if name not in self._seen:
                trial.set_user_attr("trial_id", name)
                self._seen.add(name)
                self._ot_trials[trial_id] = trial
                self._reported[trial_id] = set()
                number = self._numbers.setdefault(name, len(self._numbers))
                self._running[trial_id] = TrialRequest(trial_id=name, number=number, config=config)
                return asdict(self._running[trial_id])
            self._optuna.tell(trial, state=STATES[Status.FAILED])  # tune_dataset writes the journal without it
        return self.FINISHED

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Tell Optuna of an epoch."""
        self._report(trial_id, int(result["epoch"]), float(result[self._request.metric]))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell Optuna how the trial ended, as the ledger has it; a trial that was only cut has not ended."""
        request = self._running[trial_id]
        ledger = self._request.place.ledger(request.trial_id)
        ledger.open(number=request.number, config=request.config)
        if error:
            ledger.close(Status.FAILED, "its worker died")
        record = ledger.read()
        if record.status is Status.RUNNING:
            return
        for epoch in record.history:
            self._report(trial_id, int(epoch["epoch"]), float(epoch[self._request.metric]))
        value = final_value(record, self._request.journaled)
        stopped = record.status is Status.STOPPED
        self._optuna.tell(self._ot_trials[trial_id], None if stopped else value, state=STATES[record.status])

    def save(self, checkpoint_path: str) -> None:
        """Leave nothing to restore from: the ledger is all that a study needs to go on."""
        Path(checkpoint_path).touch()

    @property
    def _optuna(self) -> optuna.Study:
        assert self._ot_study is not None
        return self._ot_study

    def _report(self, trial_id: str, epoch: int, value: float) -> None:
        if epoch not in self._reported[trial_id] and math.isfinite(value):
            self._reported[trial_id].add(epoch)
            self._ot_trials[trial_id].report(value, epoch)
