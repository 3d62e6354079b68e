"""The candidates of a confirmation: the best completed trial on val, those that may be better, and the first trials.

Good trials are often near copies of the best one, and to confirm a copy adds no information. Candidates are therefore
chosen by their expected improvement, as in Bayesian optimisation (Jones et al., 1998), over those chosen before. All
trials have the same questions on val, so the difference of two trials is known with its standard error, which is small
for copies. A trial that is clearly worse has no expected improvement either.

First trials that are not clearly behind the best trial on val are candidates as well. So the confirmation shows what
the search has gained over what its space would try first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import NormalDist

import numpy as np

from pan_model.flat import Scalar
from pan_model.objective import Objective
from pan_model.scores import DEVIATIONS, mean_and_error
from pan_model.shapes import Float
from study.config.identity import has_params
from study.storage.location import Location
from study.trials.ledger import TrialLedger, TrialRecord

Ranked = tuple[TrialRecord, float, int]
"""A completed trial, its value on val, and its chosen epoch."""

POOL = 4
"""The candidates are chosen among this many times as many of the best trials."""


def choose_candidates(
    trials: Location,
    ranked: Sequence[Ranked],
    objective: Objective,
    count: int,
    first_trials: Sequence[Mapping[str, Scalar]] = (),
) -> list[Ranked]:
    """Return the trials to confirm, in the order of `ranked`.

    Args:
        trials: The folder of the dataset's trials, from which scores of questions are read that `ranked` lacks.
        ranked: The completed trials, the best first.
        objective: The metric.
        count: The number of trials to choose by val, at least 1; first trials that may be as good are added.
        first_trials: The parameters of the first trials of the search space.

    Raises:
        UserError: If the scores of a trial are damaged.
    """
    places = [place for place, trial in enumerate(ranked) if place < POOL * count or is_one_of(trial[0], first_trials)]
    pool = {place: (with_questions(trials, ranked[place][0]), *ranked[place][1:]) for place in places}
    scores = {place: _signed_scores(trial, objective) for place, trial in pool.items()}
    left = [place for place in places if place < POOL * count]
    chosen = left[:1]
    while len(chosen) < min(count, len(left)):
        others = [place for place in left if place not in chosen]
        gains = [min(_expected_gain(scores[place], scores[other]) for other in chosen) for place in others]
        chosen.append(others[gains.index(max(gains))])
    level = [
        place
        for place in places
        if is_one_of(ranked[place][0], first_trials) and _may_be_level(scores[place], scores[places[0]])
    ]
    return [pool[place] for place in sorted({*chosen, *level})]


def is_one_of(record: TrialRecord, first_trials: Sequence[Mapping[str, Scalar]]) -> bool:
    """Return whether a trial is one of the first trials, which are given by their parameters."""
    return any(has_params(record.config, params) for params in first_trials)


def with_questions(trials: Location, record: TrialRecord) -> TrialRecord:
    """Return a record with the scores of its questions, if the ledger of its trial in the folder `trials` has them."""
    if record.best is not None:
        return record
    return replace(record, best=TrialLedger(trials / record.trial_id).read_best())


def _signed_scores(trial: Ranked, objective: Objective) -> Float[np.ndarray, "Q"]:
    """Return the score of each question in the chosen epoch, or their mean alone; more is better."""
    record, value, epoch = trial
    best = record.best
    kept = best.questions.get(objective.name) if best is not None and best.epoch == epoch else None
    return objective.signed(1.0) * np.asarray(kept or [value])


def _expected_gain(scores: Float[np.ndarray, "Q"], others: Float[np.ndarray, "O"]) -> float:
    """Return the expectation of the positive part of a trial's lead over another one, which is normally distributed."""
    lead, error = _lead(scores, others)
    if error == 0:
        return max(lead, 0.0)
    normal = NormalDist()
    return error * normal.pdf(lead / error) + lead * normal.cdf(lead / error)


def _may_be_level(scores: Float[np.ndarray, "Q"], others: Float[np.ndarray, "O"]) -> bool:
    """Return whether the 95% interval of a trial's lead over another one does not end below 0."""
    lead, error = _lead(scores, others)
    return lead + DEVIATIONS * error >= 0


def _lead(scores: Float[np.ndarray, "Q"], others: Float[np.ndarray, "O"]) -> tuple[float, float]:
    """Return the mean lead of a trial over another one, and its standard error; 0 if their questions differ."""
    if len(scores) != len(others):
        return float(scores.mean() - others.mean()), 0.0
    return mean_and_error(scores - others)
