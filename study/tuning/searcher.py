"""Optuna suggests: trials that this study has not had yet, and Optuna hears how each really ended."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import optuna
from ray.tune.search.optuna import OptunaSearch

from study.config.search_space import Parameters
from study.config.study_config import StudyConfig
from study.trials.ledger import Status, TrialRecord
from study.trials.trial import TrialRequest
from study.tuning.journal import STATES, Journal, final_value, make_sampler, points_to_try, remember
from study.tuning.sampler_memory import NUMBER
from study.tuning.tune_request import TuneRequest

MAX_REPEATS = 100
"""How often in a row the sampler may suggest what was tried before, until the space counts as used up."""


@dataclass(frozen=True)
class TrialInHand:
    """A trial that was suggested and has not ended: as it is asked for, as Optuna's, its number in the journal."""

    request: TrialRequest
    trial: optuna.Trial
    journal_number: int
    reported: set[int] = field(default_factory=set[int])


class LedgerSearch(OptunaSearch):
    """OptunaSearch that tells Optuna how trials really ended, and never suggests one twice in a study.

    The sampler learns from a memory that has an end, the journal is written beside it, and `hear` is told of every
    trial that has ended: what a trial costs here does not grow with their number.
    """

    def __init__(
        self,
        request: TuneRequest,
        records: list[TrialRecord],
        study: StudyConfig,
        journal: Path,
        hear: Callable[[TrialRecord], None] = lambda _: None,
    ) -> None:
        self._request = request
        self._hear = hear
        self._seen = {record.trial_id for record in records if record.status is not Status.RUNNING}
        self._numbers = {record.trial_id: record.number for record in records if record.status is Status.RUNNING}
        self._next_number = len(records)
        self._in_hand: dict[str, TrialInHand] = {}
        self._journal = Journal(journal, records, request.journaled)
        super().__init__(
            space=request.space.suggest,
            metric=request.objective.name,
            mode=request.objective.mode,
            points_to_evaluate=points_to_try(
                records, request.space, lambda config: request.identify(request.complete(config))
            ),
            sampler=make_sampler(study.sampler, study.seed, len(records)),
            study_name=request.place.dataset,
            storage=remember(records, request.journaled),
        )

    def suggest(self, trial_id: str) -> Any:
        """Suggest a trial that this study has not had yet."""
        for _ in range(MAX_REPEATS):
            trial = self._optuna.ask()
            config = self._request.complete(self._request.space.suggest(trial))
            name = self._request.identify(config)
            if name not in self._seen:
                self._seen.add(name)
                request = TrialRequest(trial_id=name, number=self._number_of(name), config=config)
                trial.set_user_attr(NUMBER, request.number)
                number = self._journal.begin(name, Parameters(trial.params, trial.distributions))
                self._in_hand[trial_id] = TrialInHand(request, trial, number)
                return asdict(request)
            self._optuna.tell(trial, state=STATES[Status.FAILED])
        return self.FINISHED

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Tell Optuna of an epoch; one that Tune repeats of a trial that has ended is no news."""
        if trial_id in self._in_hand:
            self._report(self._in_hand[trial_id], int(result["epoch"]), float(result[self._request.objective.name]))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell Optuna how the trial ended, as the ledger has it; a trial that was only cut has not ended."""
        in_hand = self._in_hand.get(trial_id)
        if in_hand is None:
            return
        request = in_hand.request
        ledger = self._request.place.ledger(request.trial_id)
        ledger.open(number=request.number, config=request.config)
        if error:
            ledger.close(Status.FAILED, "its worker died")
        record = ledger.read(best=False)
        if record.status is Status.RUNNING:
            return
        for epoch in record.history:
            self._report(in_hand, int(epoch["epoch"]), float(epoch[self._request.objective.name]))
        value = final_value(record, self._request.journaled)
        stopped = record.status is Status.STOPPED
        self._optuna.tell(in_hand.trial, None if stopped else value, state=STATES[record.status])
        self._journal.end(in_hand.journal_number, STATES[record.status], value)
        del self._in_hand[trial_id]
        self._hear(record)

    def save(self, checkpoint_path: str) -> None:
        """Leave nothing to restore from: the ledger is all that a study needs to go on."""
        Path(checkpoint_path).touch()

    @property
    def _optuna(self) -> optuna.Study:
        assert self._ot_study is not None
        return self._ot_study

    def _number_of(self, name: str) -> int:
        """A trial that goes on keeps its number."""
        if name in self._numbers:
            return self._numbers.pop(name)
        self._next_number += 1
        return self._next_number - 1

    def _report(self, in_hand: TrialInHand, epoch: int, value: float) -> None:
        if epoch not in in_hand.reported and math.isfinite(value):
            in_hand.reported.add(epoch)
            in_hand.trial.report(value, epoch)
            self._journal.report(in_hand.journal_number, epoch, value)
