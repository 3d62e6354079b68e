"""The candidates of a confirmation: the best completed trial on val, and those that may turn out better than it.

Good trials are often near copies of the best one, and to confirm a copy teaches nothing. Candidates are therefore
chosen by their expected improvement, as in Bayesian optimisation (Jones et al., 1998), over those chosen before. All
trials have the same questions on val, so the difference of two trials is known with its standard error, which is small
for copies. A trial that is clearly worse has no expected improvement either.
"""

from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist

import numpy as np

from pan_model.objective import Objective
from pan_model.shapes import Float
from study.storage.location import Location
from study.trials.ledger import TrialLedger, TrialRecord

Ranked = tuple[TrialRecord, float, int]
"""A completed trial, its value on val, and its chosen epoch."""

POOL = 4
"""The candidates are chosen among this many times as many of the best trials."""


def choose_candidates(trials: Location, ranked: Sequence[Ranked], objective: Objective, count: int) -> list[Ranked]:
    """Return the trials to confirm, in the order of `ranked`.

    Args:
        trials: The folder of the dataset's trials, from which scores of questions are read that `ranked` lacks.
        ranked: The completed trials, the best first.
        objective: The metric.
        count: The number of trials to choose.

    Raises:
        UserError: If the scores of a trial are damaged.
    """
    if len(ranked) <= count or count <= 1:
        return list(ranked[:count])
    pool = [(_with_questions(trials, record), value, epoch) for record, value, epoch in ranked[: POOL * count]]
    scores = [_signed_scores(trial, objective) for trial in pool]
    chosen, left = [0], list(range(1, len(pool)))
    while len(chosen) < count:
        best = max(left, key=lambda place: min(_expected_gain(scores[place], scores[other]) for other in chosen))
        chosen.append(best)
        left.remove(best)
    return [pool[place] for place in sorted(chosen)]


def _with_questions(trials: Location, record: TrialRecord) -> TrialRecord:
    """Return a record with the scores of questions, if the ledger has them."""
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
    """Return the expectation of the positive part of a trial's lead over another one, which is normally distributed.

    Without the scores of the same questions the lead counts as certain.
    """
    lead = float(scores.mean() - others.mean())
    error = 0.0
    if len(scores) == len(others) > 1:
        error = float(np.std(scores - others, ddof=1)) / len(scores) ** 0.5
    if error == 0:
        return max(lead, 0.0)
    normal = NormalDist()
    return error * normal.pdf(lead / error) + lead * normal.cdf(lead / error)
