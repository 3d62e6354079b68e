"""The memory of a sampler: the best and the latest trials, so that the cost of a suggestion is bounded."""

import copy
import heapq
from collections.abc import Container, Mapping, Sequence

import optuna
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from pan_model.objective import Objective
from study.config.search_space import Parameters, replay
from study.trials.ledger import Status, TrialRecord
from study.tuning.dataset_search import DatasetSearch
from study.tuning.journal import DIRECTIONS, STATES, final_value, intermediate_values

NUMBER = "number"
"""The attribute by which trials are ordered: their number in the study, which interruptions do not change."""

NUM_BEST = 25
"""Number of best trials to keep: TPE counts a tenth of the trials as good ones, at most this many."""

NUM_LATEST = 475
"""Number of latest trials to keep: from 250 trials on, TPE counts its largest number of trials as good ones."""

LEARNED_FROM = (TrialState.COMPLETE, TrialState.PRUNED)


class SamplerMemory(InMemoryStorage):
    """Optuna's storage for one study that keeps running trials and, of the ended ones, the best and the latest.

    The best are the first in TPE's order: completed trials by value, then pruned ones by the number of their epochs.
    The choice depends only on the trials, not on the order in which they ended or on interruptions of the study. All
    other trials are forgotten.

    A trial that failed is kept as a pruned one without any epoch, which TPE ranks behind all others. Optuna's samplers
    would not learn from a failed trial, and suggest the same region again. A failed trial without `NUMBER` never ran:
    it is a repeated suggestion, and is forgotten.

    Args:
        num_best: Number of best trials to keep.
        num_latest: Number of latest trials to keep.
    """

    def __init__(self, *, num_best: int = NUM_BEST, num_latest: int = NUM_LATEST) -> None:
        super().__init__()
        self._num_best, self._num_latest = num_best, num_latest
        self._running: set[int] = set()
        self._ended: dict[int, FrozenTrial] = {}

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Start a trial, or add one that has ended or is waiting."""
        trial_id = super().create_new_trial(study_id, template_trial)
        self._running.add(trial_id)
        self._note(study_id, trial_id)
        return trial_id

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """End a trial, or start a waiting one."""
        changed = super().set_trial_state_values(trial_id, state, values)
        self._note(self._trial_id_to_study_id_and_number[trial_id][0], trial_id)
        return changed

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials that are kept, in the order of their ids."""
        kept = self._ended | {trial_id: self.get_trial(trial_id) for trial_id in self._running}
        chosen = [trial for _, trial in sorted(kept.items()) if states is None or trial.state in states]
        return copy.deepcopy(chosen) if deepcopy else chosen

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        """Return the best completed trial that is kept.

        InMemoryStorage keeps the id of the first of equally good trials to end, which may be a forgotten one.
        """
        return BaseStorage.get_best_trial(self, study_id)

    def _note(self, study_id: int, trial_id: int) -> None:
        trial = self.get_trial(trial_id)
        if not trial.state.is_finished():
            return
        self._running.remove(trial_id)
        if trial.state is TrialState.FAIL and NUMBER in trial.user_attrs:
            trial = self._replace(trial, _rank_last(trial))
        if trial.state not in LEARNED_FROM:
            self._forget(trial)
            return
        self._ended[trial_id] = trial
        if len(self._ended) > self._num_latest:
            direction = self.get_study_directions(study_id)[0]
            kept = choose(self._ended, direction, num_best=self._num_best, num_latest=self._num_latest)
            for forgotten in self._ended.keys() - kept:
                self._forget(self._ended.pop(forgotten))

    def _forget(self, trial: FrozenTrial) -> None:
        self._replace(trial, create_trial(state=TrialState.FAIL))

    def _replace(self, trial: FrozenTrial, by: FrozenTrial) -> FrozenTrial:
        by.number, by._trial_id = trial.number, trial._trial_id  # pyright: ignore[reportPrivateUsage]
        self._set_trial(by._trial_id, by)  # pyright: ignore[reportPrivateUsage]
        return by


def _rank_last(failed: FrozenTrial) -> FrozenTrial:
    """Return a failed trial as a pruned one without epochs."""
    return create_trial(
        state=TrialState.PRUNED,
        params=failed.params,
        distributions=failed.distributions,
        user_attrs=failed.user_attrs,
        system_attrs=failed.system_attrs,
    )


def remember(records: Sequence[TrialRecord], search: DatasetSearch) -> SamplerMemory:
    """Build the memory of a sampler from the ended trials of the ledger."""
    memory, direction = SamplerMemory(), DIRECTIONS[search.objective.mode]
    study = optuna.create_study(storage=memory, study_name=search.dataset, direction=direction)
    ended = [record for record in records if record.status is not Status.RUNNING]
    ends = {number: _frozen(record, search.objective, Parameters({}, {})) for number, record in enumerate(ended)}
    for number in sorted(choose(ends, direction)):
        parameters = replay(search.space, ended[number].config)
        study.add_trial(_frozen(ended[number], search.objective, parameters))
    return memory


def _frozen(record: TrialRecord, objective: Objective, parameters: Parameters) -> FrozenTrial:
    trial = create_trial(
        state=STATES[record.status],
        value=final_value(record, objective),
        params=parameters.values,
        distributions=parameters.distributions,
        intermediate_values=intermediate_values(record, objective),
        user_attrs={NUMBER: record.number},
    )
    return _rank_last(trial) if trial.state is TrialState.FAIL else trial


def choose(
    ended: Mapping[int, FrozenTrial],
    direction: StudyDirection,
    *,
    num_best: int = NUM_BEST,
    num_latest: int = NUM_LATEST,
) -> set[int]:
    """Return the keys of the trials to keep.

    Args:
        ended: Completed and pruned trials.
        direction: The direction of the objective.
        num_best: Number of best trials to keep.
        num_latest: Number of latest trials to keep.
    """
    sign = 1.0 if direction is StudyDirection.MINIMIZE else -1.0
    best = heapq.nsmallest(num_best, ended, key=lambda name: rank(ended[name], sign))
    return {*best, *heapq.nlargest(num_latest, ended, key=lambda name: order(ended[name]))}


def order(trial: FrozenTrial) -> int:
    """Return the position of a trial in the order of suggestions."""
    return trial.user_attrs.get(NUMBER, trial.number)


def rank(trial: FrozenTrial, sign: float) -> tuple[int, int, float, int]:
    """Return the key by which TPE sorts ended trials, the best first; sign is -1 if more is better."""
    if trial.state is TrialState.COMPLETE:
        assert trial.value is not None
        return 0, 0, sign * trial.value, order(trial)
    if not trial.intermediate_values:
        return 1, 1, 0.0, order(trial)
    step, value = max(trial.intermediate_values.items())
    return 1, -step, sign * value, order(trial)
