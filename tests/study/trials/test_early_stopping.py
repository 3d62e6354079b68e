"""A trial ends when its best epoch is as long ago as its patience; until then nothing is different."""

from collections.abc import Callable
from typing import Any

import pytest

from pan_model.data.featured_items import FeaturedItems
from study.trials.ledger import Status, read_ledger
from study.trials.trial import Step, TrialEnvironment, TrialRun, TrialSpec

METRIC = "few_shot_accuracy"
MAX_EPOCHS = 9
Ask = Callable[..., TrialSpec]
Run = Callable[..., list[Step]]
Left = Callable[[TrialEnvironment], dict[str, Any]]
Place = Callable[[str], TrialEnvironment]


def last_epoch(values: list[float], patience: int) -> int:
    """Where a trial of these values ends, by going through them."""
    best, since = -1.0, 0
    for epoch, value in enumerate(values, 1):
        best, since = (value, 0) if value > best else (best, since + 1)
        if since == patience:
            return epoch
    return len(values)


def test_a_trial_ends_when_its_patience_does(environment_of: Place, spec_of: Ask, run: Run, left: Left):
    whole = environment_of("whole")
    run(spec_of(max_epochs=MAX_EPOCHS, patience=0), whole)
    history = left(whole)["history"]
    values = [epoch[METRIC] for epoch in history]
    assert len(values) == MAX_EPOCHS
    ends = [last_epoch(values, patience) for patience in (1, 2, 3)]
    assert ends[0] < ends[-1] < MAX_EPOCHS  # so that all of this shows something
    for patience, end in enumerate(ends, 1):
        environment = environment_of(f"patience{patience}")
        steps = run(spec_of(max_epochs=MAX_EPOCHS, patience=patience), environment)
        assert [(step.epoch, step.done) for step in steps] == [(epoch, epoch == end) for epoch in range(1, end + 1)]
        assert left(environment)["history"] == history[:end]
        (record,) = read_ledger(environment.results.dataset("demo").trials)
        assert record.status is Status.COMPLETED
        assert record.best is not None
        assert record.best.epoch == end - patience


def test_patience_that_is_never_needed_changes_nothing(environment_of: Place, spec_of: Ask, run: Run, left: Left):
    one, other = environment_of("one"), environment_of("other")
    run(spec_of(), one)
    run(spec_of(patience=2), other)
    assert left(other) == left(one)


@pytest.mark.parametrize("killed", [False, True], ids=["whole", "killed before its status"])
def test_a_trial_whose_patience_is_over_does_not_train_again(
    environment: TrialEnvironment, featured: FeaturedItems, spec_of: Ask, run: Run, left: Left, killed: bool
):
    spec = spec_of(max_epochs=MAX_EPOCHS, patience=1)
    last = run(spec, environment)[-1]
    before = left(environment)
    if killed:
        (environment.results.dataset("demo").trials / "abc" / "status.json").unlink()
    trial = TrialRun(spec, environment, featured)
    assert trial.step() == last
    trial.close()
    assert left(environment) == before
