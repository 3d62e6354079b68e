"""Which parameters mattered: PED-ANOVA for conditional spaces, with bootstrap intervals and a test against chance.

Optuna's default evaluators skip conditional parameters, such as λ and the gate. `PedAnovaImportanceEvaluator` does not
(Watanabe et al., 2023; for conditional parameters "Conditional PED-ANOVA", 2026): it asks how different the values of a
parameter are among the best trials from those among all trials, separately for the trials that have the parameter; a
parameter's presence is credited to the choice that brings it.

Which trials count: all completed and stopped ones. The method only asks whether a trial is among the best, so a stopped
trial needs no value: it counts as one that is not. Its value of an earlier epoch is never compared with a final one.
Failed and running trials are left out.

The best trials of a search are often within noise of each other, so which of them are "the best" is partly chance. Each
bootstrap resample therefore also varies the values by the standard error of the metric over the validation questions.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.storages import InMemoryStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from study.analysis.frozen_trials import frozen_trials
from study.analysis.study_data import DatasetData
from study.trials.ledger import Status

NUM_RESAMPLES = 50
"""Bootstrap resamples of the trials."""

NUM_SHUFFLES = 50
"""Random assignments of results to trials."""

MIN_TOP = 5
"""Number of best trials from which the method is stable, says Optuna's documentation."""

MIN_FULL, MIN_TRIALS = 2 * MIN_TOP, 4 * MIN_TOP
"""Full-length trials, and completed and stopped ones, below which there are too few trials to say.

The 5 best are then more than half of the full-length trials, or more than a quarter of all: hardly a selection.
"""

LEVEL = 0.05
"""Share of studies in which some parameter stands out although none matters."""

STABLE = 0.9
"""Share of the resamples in which a parameter must matter more than by chance to stand out."""

TOP_SHARE = 0.1
"""Share of the trials that counts as the best, if it is at least `MIN_TOP` and at most half of the full-length ones."""


@dataclass(frozen=True, kw_only=True)
class ParameterImportance:
    """The importance of a parameter.

    Attributes:
        name: The parameter.
        share: Its share of the importance of all parameters, 0 to 1. Shares add up to 1 even if nothing matters.
        low: The low end of the 95% bootstrap interval of the share, which includes the share.
        high: The high end.
        by_chance: The share that the parameter has on average if results are assigned to trials at random.
        stands_out: Whether it matters beyond chance: its importance is larger than that of any parameter in 95% of the
            random assignments, and its share is above `by_chance` in 9 of 10 resamples.
        num_trials: The number of trials that have the parameter; fewer than all for a conditional one.
    """

    name: str
    share: float
    low: float
    high: float
    by_chance: float
    stands_out: bool
    num_trials: int


@dataclass(frozen=True, kw_only=True)
class Importance:
    """The importance of a search's parameters for reaching the best values.

    Attributes:
        parameters: All parameters with more than one value, the most important first; empty if trials are too few.
        num_completed: The completed trials that count.
        num_stopped: The stopped trials that count, as not among the best.
        num_top: The number of completed trials that count as the best.
        num_left_out: Trials whose configuration does not fit the recorded search space.
        num_resamples: Bootstrap resamples behind the intervals.
        verdict: What can be said, in a sentence.
        too_few: Why there is nothing to say; otherwise empty.
    """

    parameters: tuple[ParameterImportance, ...]
    num_completed: int
    num_stopped: int
    num_top: int
    num_left_out: int
    num_resamples: int
    verdict: str
    too_few: str


def find_importance(
    data: DatasetData, *, num_resamples: int = NUM_RESAMPLES, num_shuffles: int = NUM_SHUFFLES, seed: int = 0
) -> Importance:
    """Return the importance of the parameters of a search.

    Args:
        data: The dataset's trials.
        num_resamples: Bootstrap resamples.
        num_shuffles: Random assignments of results to trials.
        seed: The seed of both.
    """
    counted = data.with_status(Status.COMPLETED, Status.STOPPED)
    trials, values = frozen_trials(data, [record for record in counted if record.history])
    num_completed = sum(value is not None for value in values)
    num_stopped, num_top = len(values) - num_completed, _num_top(len(values), num_completed)
    counts = {
        "num_completed": num_completed,
        "num_stopped": num_stopped,
        "num_left_out": len(counted) - len(values),
    }
    if num_completed < MIN_FULL or len(values) < MIN_TRIALS:
        too_few = (
            f"Too few trials to say: importance needs {MIN_FULL} full-length trials and {MIN_TRIALS} that completed or "
            f"were stopped, so that the {MIN_TOP} best are a selection; there are {num_completed} and {len(values)}."
        )
        return Importance(parameters=(), num_top=0, num_resamples=0, verdict="", too_few=too_few, **counts)
    estimator = _Estimator(trials, _scores(values), num_top, _standard_error(data))
    generator = np.random.default_rng(seed)
    parameters = _estimate(estimator, generator, num_resamples, num_shuffles)
    return Importance(
        parameters=parameters,
        num_top=num_top,
        num_resamples=num_resamples,
        verdict=_verdict(parameters),
        too_few="",
        **counts,
    )


def _num_top(num_trials: int, num_completed: int) -> int:
    """Return how many completed trials count as the best."""
    return max(MIN_TOP, min(math.ceil(TOP_SHARE * num_trials), num_completed // 2))


def _verdict(parameters: Sequence[ParameterImportance]) -> str:
    names = [parameter.name for parameter in parameters if parameter.stands_out]
    if not names:
        return "No parameter stands out from chance: these trials do not say which one mattered."
    return f"Beyond chance: {', '.join(names)}. The others cannot be told from chance."


def _estimate(
    estimator: "_Estimator", generator: np.random.Generator, num_resamples: int, num_shuffles: int
) -> tuple[ParameterImportance, ...]:
    num_trials = len(estimator.trials)
    everything = np.arange(num_trials)
    raw = estimator.importance(everything, everything)
    resamples = [generator.integers(num_trials, size=num_trials) for _ in range(num_resamples)]
    boots = np.array([_shares(estimator.importance(drawn, drawn, generator)) for drawn in resamples])
    chance = np.array(
        [estimator.importance(everything, generator.permutation(num_trials)) for _ in range(num_shuffles)]
    )
    beyond_chance = is_beyond_chance(raw, chance)
    low, in_most, high = np.quantile(boots, (0.025, 1 - STABLE, 0.975), axis=0)
    chance_shares = np.array([_shares(row) for row in chance]).mean(axis=0)
    found = [
        ParameterImportance(
            name=name,
            share=float(share),
            low=float(min(low[place], share)),
            high=float(max(high[place], share)),
            by_chance=float(chance_shares[place]),
            stands_out=bool(beyond_chance[place] and in_most[place] > chance_shares[place]),
            num_trials=estimator.num_trials_with(name),
        )
        for place, (name, share) in enumerate(zip(estimator.names, _shares(raw), strict=True))
    ]
    return tuple(sorted(found, key=lambda parameter: -parameter.share))


def is_beyond_chance(raw: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """Return which parameters are more important than any is in 95% of the random assignments.

    A parameter with many values differs more by chance, so each is measured on its own scale over all assignments, the
    actual one among them: under chance alone, that is one like the others, and 5% of studies show any parameter.

    Args:
        raw: The importance of each parameter.
        chance: The same for each random assignment, one a row.
    """
    roots = np.sqrt(np.vstack([raw, chance]))  # squared differences: their roots have shorter tails
    scaled = (roots - roots.mean(axis=0)) / roots.std(axis=0).clip(min=1e-9)
    largest = scaled[1:].max(axis=1)
    as_large = (largest[:, None] >= scaled[0]).sum(axis=0) + 1
    return as_large <= LEVEL * len(roots)


def _shares(importance: np.ndarray) -> np.ndarray:
    total = importance.sum()
    return importance / total if total > 0 else np.zeros_like(importance)


class _ChosenTrials(Study):
    """A study whose trials are given, so that a resample needs no copies in a storage."""

    def __init__(self) -> None:
        storage = InMemoryStorage()
        before = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # not a line for each study
        study_id = storage.create_new_study([StudyDirection.MAXIMIZE], "importance")
        optuna.logging.set_verbosity(before)
        super().__init__(storage.get_study_name_from_id(study_id), storage)
        self.chosen: list[FrozenTrial] = []

    def get_trials(self, deepcopy: bool = True, states: Any = None) -> list[FrozenTrial]:
        """Return the given trials."""
        return self.chosen


class _Estimator:
    """PED-ANOVA of resampled trials.

    Args:
        trials: The trials with their parameters.
        scores: The result of each trial, higher is better.
        num_top: The number of trials that count as the best.
        noise: The standard error of a score.
    """

    def __init__(self, trials: Sequence[FrozenTrial], scores: np.ndarray, num_top: int, noise: float) -> None:
        self.trials = trials
        self._noise = noise
        names = dict.fromkeys(name for trial in trials for name in trial.params)
        values = {name: [trial.params.get(name) for trial in trials] for name in names}
        self.names = [name for name, column in values.items() if len({*column} - {None}) > 1]
        self._values = values
        self._scores = scores
        from optuna.importance import PedAnovaImportanceEvaluator  # here, since it imports scikit-learn for seconds

        self._study = _ChosenTrials()
        # Half a trial below, so that rounding does not add one.
        self._evaluator = PedAnovaImportanceEvaluator(target_quantile=(num_top - 0.5) / len(trials))

    def num_trials_with(self, name: str) -> int:
        """Return the number of trials that have a parameter."""
        return sum(value is not None for value in self._values[name])

    def importance(
        self, chosen: np.ndarray, results_of: np.ndarray, generator: np.random.Generator | None = None
    ) -> np.ndarray:
        """Return the importance of each of `names`, for chosen trials with the results of some trials.

        Given a generator, results vary by their noise.
        """
        scores = self._scores if generator is None else generator.normal(self._scores, self._noise)
        for trial, result in zip(chosen, results_of, strict=True):
            self.trials[trial].value = float(scores[result])
        self._study.chosen = [self.trials[trial] for trial in chosen]
        present = [name for name in self.names if any(name in trial.params for trial in self._study.chosen)]
        with warnings.catch_warnings():  # that few trials have a parameter shows in num_trials
            warnings.simplefilter("ignore")
            found = self._evaluator.evaluate(self._study, present)
        return np.array([found.get(name, 0.0) for name in self.names])


def _standard_error(data: DatasetData) -> float:
    """Return the standard error of the winner's value over the validation questions; 0 if its scores were not kept."""
    interval = data.summary.scores[0].val if data.summary.scores else None
    return 0.0 if interval is None else max(interval.mean - interval.low, interval.high - interval.mean) / 1.96


def _scores(values: Sequence[float | None]) -> np.ndarray:
    """Return the results, with that of a stopped trial, None, below all others."""
    lowest = min(value for value in values if value is not None)
    return np.array([lowest - 1.0 if value is None else value for value in values])
