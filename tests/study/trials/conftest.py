"""A trial outside of Ray: where it is, what is asked of it, and what it leaves but for what the clock says."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from pan_model.data.featured_items import FeaturedItems
from study.trials.trial import Step, TrialPlace, TrialRequest, TrialRun


@pytest.fixture
def place_of(tmp_path: Path) -> Callable[[str], TrialPlace]:
    """A folder of that name for results of the demo."""
    return lambda name: TrialPlace(root=tmp_path / name, dataset="demo", num_threads=1)


@pytest.fixture
def place(place_of: Callable[[str], TrialPlace]) -> TrialPlace:
    return place_of("whole")


@pytest.fixture
def request_of(small_trial: dict[str, Any]) -> Callable[..., TrialRequest]:
    """Ask for the small trial, with changes, as trial abc."""

    def make(**changes: Any) -> TrialRequest:
        return TrialRequest(trial_id="abc", number=5, config=small_trial | changes)

    return make


@pytest.fixture
def run(featured: FeaturedItems) -> Callable[..., list[Step]]:
    """Run a trial to its end, as whoever runs it would; on other items if given."""

    def to_the_end(request: TrialRequest, place: TrialPlace, items: FeaturedItems = featured) -> list[Step]:
        trial = TrialRun(request, place, items)
        steps = [trial.step()]
        while not steps[-1].done:
            steps.append(trial.step())
        trial.close()
        return steps

    return to_the_end


@pytest.fixture(scope="session")
def left() -> Callable[[TrialPlace], dict[str, Any]]:
    """All that trial abc has left, less what the clock says: its record and its last checkpoint, leaf by leaf."""

    def look(place: TrialPlace) -> dict[str, Any]:
        folder = place.results.trials / "abc"
        lines = (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()
        state = torch.load(folder / "checkpoint" / "state.pt", weights_only=True)["state"]
        return {
            "history": [{k: v for k, v in json.loads(line).items() if not k.startswith("time/")} for line in lines],
            "best": json.loads((folder / "best_epoch.json").read_text(encoding="utf-8")),
            "status": json.loads((folder / "status.json").read_text(encoding="utf-8")),
            "checkpoint": list(leaves(state)),
        }

    return look


def leaves(value: Any) -> Iterator[bytes]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield str(key).encode()
            yield from leaves(part)
    elif isinstance(value, list):
        for part in value:
            yield from leaves(part)
    else:
        yield value.numpy().tobytes() if isinstance(value, torch.Tensor) else repr(value).encode()
