"""A trial outside of Ray: where it is, what is asked of it, and what it leaves but for what the clock says."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from pan_model.data.featured_items import FeaturedItems
from pan_model.training.trial_cache import TrialCache
from study.storage.paths import StudyPaths
from study.trials.ledger import TrialLedger
from study.trials.trial import Step, TrialEnvironment, TrialRun, TrialSpec


@pytest.fixture
def environment_of(tmp_path: Path) -> Callable[[str], TrialEnvironment]:
    """A folder of that name for results of the demo."""
    return lambda name: TrialEnvironment(results=StudyPaths(tmp_path / name), num_threads=1)


@pytest.fixture
def environment(environment_of: Callable[[str], TrialEnvironment]) -> TrialEnvironment:
    return environment_of("whole")


@pytest.fixture
def spec_of(small_trial: dict[str, Any]) -> Callable[..., TrialSpec]:
    """Ask for the small trial, with changes, as trial abc."""

    def make(**changes: Any) -> TrialSpec:
        return TrialSpec.from_flat(trial_id="abc", number=5, dataset="demo", config=small_trial | changes)

    return make


@pytest.fixture
def run(featured: FeaturedItems) -> Callable[..., list[Step]]:
    """Run a trial to its end, as whoever runs it would; on other items if given. Runs share what they compute alike."""
    cache = TrialCache()

    def to_the_end(spec: TrialSpec, environment: TrialEnvironment, items: FeaturedItems = featured) -> list[Step]:
        trial = TrialRun(spec, environment, items, cache=cache if items is featured else None)
        steps = [trial.step()]
        while not steps[-1].done:
            steps.append(trial.step())
        trial.close()
        return steps

    return to_the_end


@pytest.fixture(scope="session")
def left() -> Callable[[TrialEnvironment], dict[str, Any]]:
    """All that trial abc has left, less what the clock says: its record and its last checkpoint, leaf by leaf."""

    def look(environment: TrialEnvironment) -> dict[str, Any]:
        folder = environment.results.dataset("demo").trials / "abc"
        lines = (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()
        state = torch.load(folder / "checkpoint" / "state.pt", weights_only=True)["state"]
        return {
            "history": [{k: v for k, v in json.loads(line).items() if not k.startswith("time/")} for line in lines],
            "scores": (folder / "val_questions.jsonl").read_text(encoding="utf-8"),
            "best": json.loads((folder / "best_epoch.json").read_text(encoding="utf-8")),
            "status": TrialLedger(folder).status(),
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
