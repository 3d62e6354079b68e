"""What ends a search before all its trials have run."""

import pickle

from study.nodes.requirements import REQUIREMENT_FAILURE
from study.tuning.budget import Budget, GpuMeter
from study.tuning.ray_executor import SearchStopper


def budget(seconds: float | None = None) -> Budget:
    return Budget(seconds=seconds, meter=GpuMeter(lambda: 0.0))


def test_a_search_goes_on_while_nothing_is_the_matter():
    stopper = SearchStopper(budget())
    assert not stopper("a trial", {"epoch": 1})
    assert not stopper.stop_all()


def test_a_budget_that_is_used_up_ends_it():
    assert SearchStopper(budget(seconds=0.0)).stop_all()


def test_the_first_requirement_failure_ends_it_and_is_kept():
    stopper = SearchStopper(budget())
    for message in ("node a is late", "node b is late"):
        assert not stopper("a trial", {REQUIREMENT_FAILURE: message})
    assert stopper.stop_all()
    assert stopper.requirement_failure == "node a is late"


def test_tune_may_pickle_it():
    assert not pickle.loads(pickle.dumps(SearchStopper(budget(seconds=0.0)))).stop_all()
