"""A trial may be killed at every instant, and then equals one that was not: bit for bit, its early end included."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import count
from typing import Any

import pytest
import torch

from pan_model.data.featured_items import FeaturedItems
from study.trials.ledger import Status, read_ledger
from study.trials.tensorboard_events import events_folder
from study.trials.trial import Step, TrialEnvironment, TrialRun, TrialSpec

METRIC = "few_shot_accuracy"
Ask = Callable[..., TrialSpec]
Run = Callable[..., list[Step]]
Left = Callable[[TrialEnvironment], dict[str, Any]]
Place = Callable[[str], TrialEnvironment]
Kill = Callable[..., AbstractContextManager[list[str]]]

PATIENT = {"max_epochs": 9, "patience": 1}
"""Ends before its last epoch, by its patience."""


def test_the_same_trial_gives_the_same_numbers(environment_of: Place, spec_of: Ask, run: Run, left: Left):
    one, again = environment_of("one"), environment_of("again")
    run(spec_of(), one)
    torch.rand(7)  # the state of the process does not count
    run(spec_of(), again)
    assert left(again) == left(one)


@pytest.mark.parametrize("encoder", [{}, {"encoder": "proxynca", "embedding_dim": 8}], ids=["siamese", "proxynca"])
@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_stopped_and_resumed_equals_uninterrupted(
    environment: TrialEnvironment,
    environment_of: Place,
    featured: FeaturedItems,
    spec_of: Ask,
    run: Run,
    left: Left,
    encoder: dict[str, Any],
    stop_after: int,
):
    spec = spec_of(max_epochs=4, **encoder)
    run(spec, environment)
    interrupted = environment_of("interrupted")
    first = TrialRun(spec, interrupted, featured)
    for _ in range(stop_after):
        first.step()
    first.close()
    assert read_ledger(interrupted.results.dataset("demo").trials)[0].status is Status.RUNNING
    assert run(spec, interrupted)[0].epoch == stop_after + 1
    assert left(interrupted) == left(environment)


@pytest.mark.parametrize("changes", [{}, PATIENT], ids=["to its last epoch", "to its early end"])
def test_a_trial_killed_at_any_instant_equals_one_that_was_not(
    environment: TrialEnvironment,
    environment_of: Place,
    spec_of: Ask,
    run: Run,
    left: Left,
    killed_at: Kill,
    changes: dict[str, Any],
):
    spec = spec_of(**changes)
    run(spec, environment)
    expected = left(environment)
    values = [epoch[METRIC] for epoch in expected["history"]]
    for instant in count():
        interrupted = environment_of(f"interrupted{instant}")
        with killed_at(interrupted.results.dataset("demo").trials, instant, cut=20) as died:
            run(spec, interrupted)
        last = run(spec, interrupted)[-1]
        assert (last.epoch, last.value) == (len(values), values[-1])
        assert left(interrupted) == expected
        if not died:
            break
    new_best = [epoch for epoch, value in enumerate(values) if value > max(values[:epoch], default=-1)]
    # config; checkpoint and lines of every epoch, and what is kept of those that were the best; own baselines; status
    assert instant == 2 * (2 + 4 * len(values) + 2 * len(new_best) + 2 + 2)
    assert (len(values) == spec.config["max_epochs"]) is (not changes)


def test_no_epoch_is_missing_in_tensorboard(environment: TrialEnvironment, spec_of: Ask, run: Run, killed_at: Kill):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with killed_at(environment.results.dataset("demo").trials, 7) as died:  # after the rename of the first checkpoint
        run(spec_of(), environment)
    assert died[0].startswith("after replace of .state.pt")
    run(spec_of(), environment)
    accumulator = EventAccumulator(str(events_folder(environment.results.dataset("demo"), spec_of())))
    accumulator.Reload()
    (record,) = read_ledger(environment.results.dataset("demo").trials)
    for name in (METRIC, f"train/{METRIC}"):
        expected = [epoch["epoch"] for epoch in record.history if name in epoch]
        assert [event.step for event in accumulator.Scalars(name)] == expected
    assert [epoch["epoch"] for epoch in record.history] == [1, 2]
