"""A trial ends when its best epoch is as long ago as its patience; until then nothing is different."""

from collections.abc import Callable
from typing import Any

import pytest

from pan_model.data.featured_items import FeaturedItems
from study.trials.ledger import Status, read_ledger
from study.trials.trial import Step, TrialPlace, TrialRequest, TrialRun

METRIC = "few_shot_accuracy"
MAX_EPOCHS = 9
Ask = Callable[..., TrialRequest]
Run = Callable[..., list[Step]]
Left = Callable[[TrialPlace], dict[str, Any]]
Place = Callable[[str], TrialPlace]


def last_epoch(values: list[float], patience: int) -> int:
    """Where a trial of these values ends, by going through them."""
    best, since = -1.0, 0
    for epoch, value in enumerate(values, 1):
        best, since = (value, 0) if value > best else (best, since + 1)
        if since == patience:
            return epoch
    return len(values)


def test_a_trial_ends_when_its_patience_does(place_of: Place, request_of: Ask, run: Run, left: Left):
    whole = place_of("whole")
    run(request_of(max_epochs=MAX_EPOCHS, patience=0), whole)
    history = left(whole)["history"]
    values = [epoch[METRIC] for epoch in history]
    assert len(values) == MAX_EPOCHS
    ends = [last_epoch(values, patience) for patience in (1, 2, 3)]
    assert ends[0] < ends[-1] < MAX_EPOCHS  # so that all of this shows something
    for patience, end in enumerate(ends, 1):
        place = place_of(f"patience{patience}")
        steps = run(request_of(max_epochs=MAX_EPOCHS, patience=patience), place)
        assert [(step.epoch, step.done) for step in steps] == [(epoch, epoch == end) for epoch in range(1, end + 1)]
        assert left(place)["history"] == history[:end]
        (record,) = read_ledger(place.results.trials)
        assert record.status is Status.COMPLETED
        assert record.best is not None
        assert record.best.epoch == end - patience


def test_patience_that_is_never_needed_changes_nothing(place_of: Place, request_of: Ask, run: Run, left: Left):
    one, other = place_of("one"), place_of("other")
    run(request_of(), one)
    run(request_of(patience=2), other)
    assert left(other) == left(one)


@pytest.mark.parametrize("killed", [False, True], ids=["whole", "killed before its status"])
def test_a_trial_whose_patience_is_over_does_not_train_again(
    place: TrialPlace, featured: FeaturedItems, request_of: Ask, run: Run, left: Left, killed: bool
):
    request = request_of(max_epochs=MAX_EPOCHS, patience=1)
    last = run(request, place)[-1]
    before = left(place)
    if killed:
        (place.results.trials / "abc" / "status.json").unlink()
    trial = TrialRun(request, place, featured)
    assert trial.step() == last
    trial.close()
    assert left(place) == before
