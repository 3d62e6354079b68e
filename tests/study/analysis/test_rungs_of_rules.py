"""The rungs of rules other than ASHA."""

from collections.abc import Callable
from typing import Any

import pytest

from study.analysis.stopping import find_stopping
from study.trials.ledger import Status

Make = Callable[..., Any]


def test_the_rung_of_the_one_epoch_rule_is_the_first_epoch(make_data: Make, make_trial: Make) -> None:
    signed = {"scheduler": "top-k", "reduction_factor": 3.0}
    records = [make_trial(number, 0.3 + number / 100, 0.6 + number / 100) for number in range(8)]
    records += [make_trial(8, 0.2, status=Status.STOPPED)]
    stopping = find_stopping(make_data(records, signed=signed))
    (rung,) = stopping.rungs
    assert (rung.epoch, rung.num_reached, rung.num_stopped, rung.num_went_on) == (1, 9, 1, 8)
    assert rung.spearman is not None
    assert rung.spearman.mean == pytest.approx(1)
    assert stopping.num_stopped_elsewhere == 0
    one_epoch = find_stopping(make_data([make_trial(0, 0.5)], max_epochs=1, grace_epochs=1, signed=signed))
    assert one_epoch.missing == "Trials have a single epoch, so that none can be stopped early."


def test_the_rungs_of_the_paired_rule_are_where_it_stopped_trials(make_data: Make, make_trial: Make) -> None:
    signed = {"scheduler": "paired", "reduction_factor": 3.0}
    records = [make_trial(number, *[0.3 + number / 100] * 8, 0.6 + number / 100) for number in range(8)]
    stopped = [
        make_trial(8 + number, *[0.1] * epochs, status=Status.STOPPED) for number, epochs in enumerate((2, 1, 2))
    ]
    stopping = find_stopping(make_data([*records, *stopped], signed=signed))
    assert [(rung.epoch, rung.num_reached, rung.num_stopped) for rung in stopping.rungs] == [(1, 11, 1), (2, 10, 2)]
    assert all(rung.spearman is not None and rung.wrong_stops is not None for rung in stopping.rungs)
    assert find_stopping(make_data(records, signed=signed)).missing == (
        "The paired rule stopped no trial: none was shown to be too far behind the best completed one."
    )
