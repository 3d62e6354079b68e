"""How much a curve may still rise: the prior decides with few finished trials, those of the study with many."""

import numpy as np
import pytest

from study.tuning.stopping.rise import (
    GAP_OFFSET,
    PRIOR_DEVIATION,
    PRIOR_SHARE,
    FinishedCurve,
    predict_share,
    predictors_of,
)

PLAIN = (1.0, 0.0, 0.0)


def curve(*values: float, predictors: tuple[float, ...] = PLAIN) -> FinishedCurve:
    return FinishedCurve(values=values, predictors=predictors)


def closing(share: float, start: float, **of: tuple[float, ...]) -> FinishedCurve:
    """Return a curve that closes a share of its distance to 1."""
    return curve(start, start + share * (1 - start + GAP_OFFSET), start, **of)


def test_without_finished_trials_the_prior_decides():
    mean, deviation = predict_share([], 1.0, 1, PLAIN)
    assert mean == pytest.approx(PRIOR_SHARE)
    assert PRIOR_DEVIATION < deviation < 1.6 * PRIOR_DEVIATION
    assert predict_share([curve(0.5)], 1.0, 1, PLAIN) == (mean, deviation)  # it ended at this epoch


def test_many_finished_trials_decide():
    finished = [closing(0.6, start) for start in np.linspace(0.1, 0.9, 60)]
    mean, deviation = predict_share(finished, 1.0, 1, PLAIN)
    assert mean == pytest.approx(0.6, abs=0.05)
    assert deviation < 0.7 * PRIOR_DEVIATION


def test_the_learning_rate_and_the_first_weights_predict():
    generator = np.random.default_rng(0)
    finished: list[FinishedCurve] = []
    for _ in range(60):
        decades, random = float(generator.uniform(-1, 1)), float(generator.integers(2))
        finished.append(closing(0.3 - 0.1 * decades + 0.2 * random, 0.5, predictors=(1.0, decades, random)))
    slow, fast = predict_share(finished, 1.0, 1, (1.0, -1.0, 1.0)), predict_share(finished, 1.0, 1, (1.0, 1.0, 0.0))
    assert slow[0] == pytest.approx(0.6, abs=0.05)
    assert fast[0] == pytest.approx(0.2, abs=0.05)


def test_an_unusual_trial_is_less_certain():
    finished = [closing(0.3, 0.5, predictors=(1.0, 0.1, 0.0)) for _ in range(20)]
    unusual, usual = (predict_share(finished, 1.0, 1, (1.0, *of))[1] for of in ((-2.0, 1.0), (0.1, 0.0)))
    assert unusual > 1.5 * usual


def test_a_fall_is_no_rise_and_an_ended_curve_keeps_its_last_value():
    assert curve(0.5, 0.25, 0.125).rise_after(1) == 0
    assert curve(0.5, 0.25, 0.375).rise_after(2) == 0.125
    assert curve(0.5, 0.25).at(9) == 0.25
    assert curve(0.5, 0.25).best == 0.5


def test_predictors_of_configurations():
    assert predictors_of({"learning_rate": 3e-3}) == (1.0, pytest.approx(1.0), 1.0)
    assert predictors_of({"encoder": "graph"}) == (1.0, 0.0, 1.0)
