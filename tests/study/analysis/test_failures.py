"""Failed trials by reason."""

from collections.abc import Callable
from typing import Any

from study.analysis.failures import group_failures
from study.trials.ledger import Status

Make = Callable[..., Any]


def test_failures_with_other_numbers_are_one_group(make_data: Make, make_trial: Make) -> None:
    errors = ("loss/total is nan in epoch 2", "RuntimeError: shapes", "loss/total is nan in epoch 11", "")
    records = [make_trial(n, 0.1, 0.2, status=Status.FAILED, error=error) for n, error in enumerate(errors)]
    groups = group_failures(make_data([*records, make_trial(9, 0.5)]))
    assert [(group.reason, group.trial_ids, group.epochs) for group in groups] == [
        ("loss/total is nan in epoch 2", ("trial0", "trial2"), 4),
        ("RuntimeError: shapes", ("trial1",), 2),
        ("no reason was recorded", ("trial3",), 2),
    ]


def test_a_study_without_failures_has_no_groups(make_data: Make, make_trial: Make) -> None:
    assert group_failures(make_data([make_trial(0, 0.5)])) == ()
