"""A trial, epoch by epoch, without Ray: what it writes, and that it may be killed at every instant."""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pan_model.data.featured import FeaturedItems
from study.ledger import Status, read_ledger
from study.trial import Step, TrialPlace, TrialRequest, TrialRun

METRIC = "few_shot_accuracy"
Kill = Callable[..., AbstractContextManager[list[str]]]


@pytest.fixture(autouse=True)
def torch_settings() -> Iterator[None]:
    """A trial sets torch up for its process; here it shares one with other tests."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


@pytest.fixture
def place(tmp_path: Path) -> TrialPlace:
    return TrialPlace(root=tmp_path / "whole", dataset="demo", num_threads=1)


@pytest.fixture
def request_of(small_trial: dict[str, Any]) -> Callable[..., TrialRequest]:
    def make(**changes: Any) -> TrialRequest:
        return TrialRequest(trial_id="abc", number=5, config=small_trial | changes)

    return make


def run(request: TrialRequest, place: TrialPlace, featured: FeaturedItems) -> list[Step]:
    """Run a trial to its end, as whoever runs it would."""
    trial = TrialRun(request, place, featured)
    steps = [trial.step()]
    while not steps[-1].done:
        steps.append(trial.step())
    trial.close()
    return steps


def history(place: TrialPlace) -> list[dict[str, Any]]:
    """history.jsonl, less what the clock says."""
    lines = (place.results.trials / "abc" / "history.jsonl").read_text(encoding="utf-8").splitlines()
    return [{k: v for k, v in json.loads(line).items() if not k.startswith("time/")} for line in lines]


def checkpoint(place: TrialPlace) -> list[bytes]:
    """Every tensor of the last checkpoint, and all else that it holds."""
    state = torch.load(place.results.trials / "abc" / "checkpoint" / "state.pt", weights_only=True)["state"]
    leaves: list[bytes] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            for key, part in value.items():
                leaves.append(str(key).encode())
                walk(part)
        elif isinstance(value, list):
            for part in value:
                walk(part)
        else:
            leaves.append(value.numpy().tobytes() if isinstance(value, torch.Tensor) else repr(value).encode())

    walk(state)
    return leaves


def test_a_trial_reports_every_epoch_and_writes_it_down(
    place: TrialPlace, featured: FeaturedItems, request_of: Callable[..., TrialRequest]
):
    steps = run(request_of(max_epochs=3), place, featured)
    (record,) = read_ledger(place.results.trials)
    assert [(step.epoch, step.done) for step in steps] == [(1, False), (2, False), (3, True)]
    assert [step.value for step in steps] == [epoch[METRIC] for epoch in record.history]
    assert (record.trial_id, record.number, record.status, record.error) == ("abc", 5, Status.COMPLETED, "")
    assert record.config == request_of(max_epochs=3).config
    assert [epoch["epoch"] for epoch in record.history] == [1, 2, 3]
    assert {METRIC, "loss/total", "time/train_s", "time/evaluate_s"} <= record.history[0].keys()
    assert len(list(place.results.events("abc").iterdir())) == 1


def test_the_same_trial_gives_the_same_numbers(
    tmp_path: Path, place: TrialPlace, featured: FeaturedItems, request_of: Callable[..., TrialRequest]
):
    again = TrialPlace(root=tmp_path / "again", dataset="demo", num_threads=1)
    run(request_of(), place, featured)
    torch.rand(7)  # the state of the process does not count
    run(request_of(), again, featured)
    assert history(again) == history(place)
    assert checkpoint(again) == checkpoint(place)


@pytest.mark.parametrize("encoder", [{}, {"encoder": "proxynca", "embedding_dim": 8}], ids=["siamese", "proxynca"])
@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_stopped_and_resumed_equals_uninterrupted(
    tmp_path: Path,
    place: TrialPlace,
    featured: FeaturedItems,
    request_of: Callable[..., TrialRequest],
    encoder: dict[str, Any],
    stop_after: int,
):
    request = request_of(max_epochs=4, **encoder)
    run(request, place, featured)
    cut = TrialPlace(root=tmp_path / "cut", dataset="demo", num_threads=1)
    first = TrialRun(request, cut, featured)
    for _ in range(stop_after):
        first.step()
    first.close()
    assert read_ledger(cut.results.trials)[0].status is Status.RUNNING
    assert run(request, cut, featured)[0].epoch == stop_after + 1
    assert history(cut) == history(place)
    assert checkpoint(cut) == checkpoint(place)


def test_a_trial_killed_at_any_instant_equals_one_that_was_not(
    tmp_path: Path, place: TrialPlace, featured: FeaturedItems, request_of: Callable[..., TrialRequest], killed_at: Kill
):
    request = request_of()
    run(request, place, featured)
    for instant in count():
        cut = TrialPlace(root=tmp_path / f"cut{instant}", dataset="demo", num_threads=1)
        with killed_at(cut.results.trials, instant, cut=20) as died:
            run(request, cut, featured)
        steps = run(request, cut, featured)
        assert steps[-1].epoch == 2
        assert steps[-1].value == history(place)[-1][METRIC]
        assert history(cut) == history(place)
        assert checkpoint(cut) == checkpoint(place)
        assert read_ledger(cut.results.trials)[0].status is Status.COMPLETED
        if not died:
            break
    assert instant == 2 * (2 + 2 * 3 + 2)  # config; checkpoint and line of two epochs; status


def test_a_trial_that_is_over_repeats_its_last_word(
    place: TrialPlace, featured: FeaturedItems, request_of: Callable[..., TrialRequest]
):
    last = run(request_of(), place, featured)[-1]
    before = {path: path.stat().st_mtime_ns for path in place.root.rglob("*")}
    assert run(request_of(), place, featured) == [last]
    assert {path: path.stat().st_mtime_ns for path in place.root.rglob("*")} == before


def test_a_trial_that_was_stopped_stays_stopped(
    place: TrialPlace, featured: FeaturedItems, request_of: Callable[..., TrialRequest]
):
    trial = TrialRun(request_of(max_epochs=9), place, featured)
    first = trial.step()
    place.ledger("abc").close(Status.STOPPED)
    assert trial.step() == Step(epoch=1, value=first.value, done=True)
    trial.close()
    (record,) = read_ledger(place.results.trials)
    assert (record.status, len(record.history)) == (Status.STOPPED, 1)


def test_a_trial_stopped_before_its_first_epoch_says_nothing(
    place: TrialPlace, featured: FeaturedItems, request_of: Callable[..., TrialRequest]
):
    trial = TrialRun(request_of(), place, featured)
    place.ledger("abc").close(Status.STOPPED)
    step = trial.step()
    assert (step.epoch, step.done, math.isnan(step.value)) == (0, True, True)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"encoder": "transformer"}, r"BadInput: encoder must be one of siamese, "),
        ({"colour": "red"}, r"BadInput: unknown key 'colour' in a configuration"),
        ({"gate": "PERHAPS"}, r"BadInput: gate must be one of AND, "),
    ],
)
def test_a_trial_that_raises_has_failed_and_says_why(
    place: TrialPlace,
    featured: FeaturedItems,
    request_of: Callable[..., TrialRequest],
    changes: dict[str, Any],
    error: str,
):
    (step,) = run(request_of(**changes), place, featured)
    assert (step.epoch, step.done, math.isnan(step.value)) == (0, True, True)
    (record,) = read_ledger(place.results.trials)
    assert record.status is Status.FAILED
    assert record.error.startswith(error)
    assert "\n" not in record.error
    assert record.history == []
    (again,) = run(request_of(**changes), place, featured)
    assert (again.done, math.isnan(again.value)) == (True, True)


def test_a_trial_whose_loss_is_nan_has_failed(
    place: TrialPlace, featured: FeaturedItems, request_of: Callable[..., TrialRequest]
):
    broken = replace(featured, features=np.full_like(featured.features, np.nan))
    (step,) = run(request_of(), place, broken)
    assert step.done
    assert math.isnan(step.value)
    (record,) = read_ledger(place.results.trials)
    assert (record.status, record.history) == (Status.FAILED, [])
    assert record.error == "loss/total is nan in epoch 1"
    assert not (place.results.trials / "abc" / "checkpoint").exists()


def test_a_failed_trial_keeps_the_epochs_before(
    place: TrialPlace, featured: FeaturedItems, request_of: Callable[..., TrialRequest]
):
    trial = TrialRun(request_of(), place, featured)
    trial.step()
    trial.close()
    file = place.results.trials / "abc" / "checkpoint" / "state.pt"
    saved = torch.load(file, weights_only=True)
    for weights in saved["state"]["model"].values():
        weights.fill_(math.nan)
    torch.save(saved, file)
    (step,) = run(request_of(), place, featured)
    assert math.isnan(step.value)
    (record,) = read_ledger(place.results.trials)
    assert [epoch["epoch"] for epoch in record.history] == [1]
    assert record.status is Status.FAILED
    assert record.error.endswith("is nan in epoch 2")


def test_a_disk_that_cannot_be_written_is_no_result(
    place: TrialPlace, featured: FeaturedItems, request_of: Callable[..., TrialRequest]
):
    trial = TrialRun(request_of(), place, featured)
    in_the_way = place.results.trials / "abc" / "checkpoint"
    in_the_way.touch()
    with pytest.raises(OSError, match="checkpoint"):
        trial.step()
    trial.close()
    assert read_ledger(place.results.trials)[0].status is Status.RUNNING
    in_the_way.unlink()
    assert run(request_of(), place, featured)[-1].done
    assert [epoch["epoch"] for epoch in history(place)] == [1, 2]


def test_a_trial_may_be_stepped_again_after_a_disk_error(
    place: TrialPlace, featured: FeaturedItems, request_of: Callable[..., TrialRequest]
):
    trial = TrialRun(request_of(), place, featured)
    in_the_way = place.results.trials / "abc" / "checkpoint"
    in_the_way.touch()
    with pytest.raises(OSError, match="checkpoint"):
        trial.step()
    in_the_way.unlink()
    assert trial.step().epoch == 1
    trial.close()


def test_no_epoch_is_missing_in_tensorboard(
    place: TrialPlace, featured: FeaturedItems, request_of: Callable[..., TrialRequest], killed_at: Kill
):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with killed_at(place.results.trials, 7) as died:  # after the rename of the first checkpoint
        run(request_of(), place, featured)
    assert died[0].startswith("after replace of .state.pt")
    run(request_of(), place, featured)
    accumulator = EventAccumulator(str(place.results.events("abc")))
    accumulator.Reload()
    assert [event.step for event in accumulator.Scalars(METRIC)] == [1, 2]
