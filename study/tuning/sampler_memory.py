"""What the sampler learns from: the best trials and the latest, so that no study is too long for it."""

import copy
import heapq
from collections.abc import Container, Mapping, Sequence

from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

NUMBER = "number"
"""The attribute by which trials are ordered: as they were first suggested, however often a study was cut since."""

NUM_BEST = 25
"""TPE calls a tenth of the trials good, but never more than these."""

NUM_LATEST = 475
"""At least 250, from where on TPE calls as many good as it ever does."""

LEARNED_FROM = (TrialState.COMPLETE, TrialState.PRUNED)


class SamplerMemory(InMemoryStorage):
    """Optuna's storage for one study that keeps the trials in hand and, of those that ended, the best and the latest.

    Best is what TPE calls best: completed trials by value, then pruned ones by how far they came. What is kept follows
    from the trials alone, not from the order of their ends nor from when a study was cut; the rest can never be kept
    again and is forgotten. Up to num_latest trials nothing is, save failures, from which no sampler learns.
    """

    def __init__(self, *, num_best: int = NUM_BEST, num_latest: int = NUM_LATEST) -> None:
        super().__init__()
        self._num_best, self._num_latest = num_best, num_latest
        self._in_hand: set[int] = set()
        self._ended: dict[int, FrozenTrial] = {}

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Begin a trial, or add one that has ended or that waits."""
        trial_id = super().create_new_trial(study_id, template_trial)
        self._in_hand.add(trial_id)
        self._note(study_id, trial_id)
        return trial_id

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """End a trial, or begin one that waited."""
        changed = super().set_trial_state_values(trial_id, state, values)
        self._note(self._trial_id_to_study_id_and_number[trial_id][0], trial_id)
        return changed

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """The trials that are kept, in Optuna's order."""
        kept = self._ended | {trial_id: self.get_trial(trial_id) for trial_id in self._in_hand}
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
        self._in_hand.remove(trial_id)
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
        empty = create_trial(state=TrialState.FAIL)
        empty.number, empty._trial_id = trial.number, trial._trial_id  # pyright: ignore[reportPrivateUsage]
        self._set_trial(empty._trial_id, empty)  # pyright: ignore[reportPrivateUsage]


def choose(
    ended: Mapping[int, FrozenTrial],
    direction: StudyDirection,
    *,
    num_best: int = NUM_BEST,
    num_latest: int = NUM_LATEST,
) -> set[int]:
    """Names of the trials that a sampler learns from, among those that were completed or pruned."""
    sign = 1.0 if direction is StudyDirection.MINIMIZE else -1.0
    best = heapq.nsmallest(num_best, ended, key=lambda name: rank(ended[name], sign))
    return {*best, *heapq.nlargest(num_latest, ended, key=lambda name: order(ended[name]))}


def order(trial: FrozenTrial) -> int:
    """Where a trial stands among all that were suggested."""
    return trial.user_attrs.get(NUMBER, trial.number)


def rank(trial: FrozenTrial, sign: float) -> tuple[int, int, float, int]:
    """TPE's order of trials that have ended, the best first; sign is -1 where more is better."""
    if trial.state is TrialState.COMPLETE:
        assert trial.value is not None
        return 0, 0, sign * trial.value, order(trial)
    if not trial.intermediate_values:
        return 1, 1, 0.0, order(trial)
    step, value = max(trial.intermediate_values.items())
    return 1, -step, sign * value, order(trial)
