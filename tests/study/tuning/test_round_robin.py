"""Several searches that share the slots, without Ray."""

from collections import Counter
from typing import Any

import pytest
from ray.tune.search import Searcher

from study.tuning.round_robin import RoundRobinSearcher

FINISHED = RoundRobinSearcher.FINISHED


class ListedSearch(Searcher):
    """As much of a dataset's search as takes turns: it suggests numbers, and hears of them again."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.left = count
        self.heard: list[str] = []

    def suggest(self, trial_id: str) -> Any:
        self.left -= 1
        return {"number": self.left} if self.left >= 0 else FINISHED

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self.heard.append(f"{trial_id} {result['epoch']}")

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self.heard.append(f"{trial_id} failed" if error else f"{trial_id} ended")


def taking_turns(
    slots: list[int], missing: dict[str, int], **have: int
) -> tuple[RoundRobinSearcher, dict[str, ListedSearch]]:
    searches = {name: ListedSearch(have.get(name, count)) for name, count in missing.items()}
    return RoundRobinSearcher(searches, missing, lambda: slots[0]), searches


def test_slots_are_shared_evenly_until_one_search_has_no_more():
    turns, _ = taking_turns([4], {"cub": 5, "inshop": 1, "polyvore": 5})
    running = [turns.suggest(f"t{number}")["dataset"] for number in range(4)]
    assert Counter(running) == {"cub": 2, "inshop": 1, "polyvore": 1}
    assert turns.suggest("t4") is None
    turns.on_trial_complete("t1")
    assert running[1] == "inshop"
    assert turns.suggest("t5")["dataset"] == "polyvore"


def test_every_trial_is_suggested_once_and_then_it_is_over():
    missing = {"cub": 3, "inshop": 2}
    turns, searches = taking_turns([2], missing)
    suggested: list[tuple[str, int]] = []
    for number in range(5):
        one = turns.suggest(f"t{number}")
        suggested.append((one["dataset"], one["number"]))
        turns.on_trial_complete(f"t{number}")
    assert Counter(dataset for dataset, _ in suggested) == missing
    assert len(set(suggested)) == 5
    assert turns.suggest("t5") == FINISHED
    assert {name: len(search.heard) for name, search in searches.items()} == missing


def test_a_space_that_is_used_up_leaves_its_slots_to_the_others():
    turns, _ = taking_turns([9], {"cub": 5, "inshop": 3}, cub=1)
    datasets = [turns.suggest(f"t{number}")["dataset"] for number in range(4)]
    assert Counter(datasets) == {"cub": 1, "inshop": 3}
    assert turns.suggest("t4") == FINISHED


def test_each_search_hears_of_its_own_trials():
    turns, searches = taking_turns([2], {"cub": 1, "inshop": 1})
    of = {name: turns.suggest(name)["dataset"] for name in ("t0", "t1")}
    turns.on_trial_result("t0", {"epoch": 1})
    turns.on_trial_complete("t0", error=True)
    turns.on_trial_complete("t1")
    assert searches[of["t0"]].heard == ["t0 1", "t0 failed"]
    assert searches[of["t1"]].heard == ["t1 ended"]


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1)])
def test_a_cluster_that_changes_is_heeded(before: int, after: int):
    slots = [before]
    turns, _ = taking_turns(slots, {"cub": 9})
    for number in range(before):
        assert turns.suggest(f"t{number}") is not None
    assert turns.suggest("more") is None
    slots[0] = after
    more = [turns.suggest(f"u{number}") for number in range(3)]
    assert sum(one is not None for one in more) == max(0, after - before)
