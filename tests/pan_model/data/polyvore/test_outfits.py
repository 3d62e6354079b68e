"""Outfits stay true when items are left out."""

import pickle
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pan_model.data.polyvore.outfits import Outfit, Outfits
from pan_model.data.polyvore.questions import CompatQuestion, FitbQuestion, QuestionFiles, QuestionSource
from pan_model.data.splits import Split
from pan_model.errors import UserError

NUM_ITEMS = 7
KEY = (QuestionSource.ORIGINAL, Split.VAL)


def make(train: list[Outfit], val: list[Outfit]) -> Outfits:
    fitb = tuple(FitbQuestion(outfit[1:], (outfit[0], val[0][0]), 0) for outfit in val)
    compat = tuple(CompatQuestion(outfit, True) for outfit in val)
    return Outfits(
        outfits={Split.TRAIN: tuple(train), Split.VAL: tuple(val)},
        set_ids={Split.TRAIN: tuple(map(str, train)), Split.VAL: tuple(map(str, val))},
        categories=np.arange(NUM_ITEMS) % 3,
        category_names=("bags", "coats", "shoes"),
        files=QuestionFiles(fitb={KEY: fitb}, compat={KEY: compat}),
    )


@pytest.fixture
def outfits() -> Outfits:
    return make([(3, 1), (0, 5, 2)], [(6, 5, 4), (4, 1)])


def test_items_of_a_split_are_ascending_and_once(outfits: Outfits) -> None:
    assert outfits.items_of(Split.TRAIN).tolist() == [0, 1, 2, 3, 5]
    assert outfits.items_of(Split.VAL).tolist() == [1, 4, 5, 6]
    assert outfits.items_of(Split.VAL).dtype == np.int64


def test_select_renumbers_drops_and_counts(outfits: Outfits) -> None:
    kept = outfits.select(np.arange(NUM_ITEMS) != 1)
    assert kept.outfits == {Split.TRAIN: ((0, 4, 1),), Split.VAL: ((5, 4, 3),)}
    assert kept.set_ids == {Split.TRAIN: ("(0, 5, 2)",), Split.VAL: ("(6, 5, 4)",)}
    assert kept.categories.tolist() == [0, 2, 0, 1, 2, 0]
    assert kept.category_names == outfits.category_names
    assert kept.files.fitb == {KEY: (FitbQuestion((4, 3), (5, 5), 0),)}
    assert kept.files.compat == {KEY: (CompatQuestion((5, 4, 3), True),)}
    assert kept.lost == {
        "items of train outfits": 1,
        "items of val outfits": 1,
        "train outfits of fewer than 2 items": 1,
        "val outfits of fewer than 2 items": 1,
        "original fitb val questions": 1,
        "original compatibility val questions": 1,
    }


def test_what_is_lost_adds_up(outfits: Outfits) -> None:
    once = outfits.select(np.arange(NUM_ITEMS) != 0).select(np.arange(NUM_ITEMS - 1) != 5)  # items 0 and 6
    assert once.lost == {
        "items of train outfits": 1,
        "items of val outfits": 1,
        "original fitb val questions": 2,  # item 6 is an answer of both
        "original compatibility val questions": 1,
    }


item_sets = st.lists(st.integers(0, NUM_ITEMS - 1), min_size=2, max_size=5, unique=True).map(tuple)
many = st.lists(item_sets, min_size=1, max_size=5)


@given(train=many, val=many, keep=st.lists(st.booleans(), min_size=NUM_ITEMS, max_size=NUM_ITEMS))
def test_select_is_what_a_slow_loop_selects(train: list[Outfit], val: list[Outfit], keep: list[bool]) -> None:
    outfits = make(train, val)
    old = [item for item in range(NUM_ITEMS) if keep[item]]
    expected = {
        split: [(name, left) for name, whole in zip(outfits.set_ids[split], listed, strict=True)
                if len(left := [item for item in whole if keep[item]]) >= 2]
        for split, listed in outfits.outfits.items()
    }  # fmt: skip
    assume(all(expected.values()))
    kept = outfits.select(np.array(keep))
    for split, pairs in expected.items():
        got = [[old[item] for item in outfit] for outfit in kept.outfits[split]]
        assert list(zip(kept.set_ids[split], got, strict=True)) == pairs
    asked = [[old[item] for item in question.items] for question in kept.files.compat[KEY]]
    assert asked == [list(outfit) for outfit in val if all(keep[item] for item in outfit)]
    assert kept.categories.tolist() == [item % 3 for item in old]


def test_selecting_all_changes_nothing(outfits: Outfits) -> None:
    kept = outfits.select(np.ones(NUM_ITEMS, dtype=bool))
    assert kept.content() == outfits.content()
    assert kept.lost == {}


def test_refuses_to_lose_a_whole_split(outfits: Outfits) -> None:
    with pytest.raises(UserError, match="split val: no outfit with 2 items or more is left"):
        outfits.select(np.arange(NUM_ITEMS) < 4)


def test_refuses_set_ids_that_are_not_beside_the_outfits(outfits: Outfits) -> None:
    with pytest.raises(UserError, match="split val: 2 outfits but 1 set_ids"):
        replace(outfits, set_ids=outfits.set_ids | {Split.VAL: ("1",)})


CHANGES: dict[str, Callable[[Outfits], Outfits]] = {
    "an outfit": lambda o: replace(o, outfits=o.outfits | {Split.VAL: ((6, 5), (4, 1))}),
    "the order of an outfit": lambda o: replace(o, outfits=o.outfits | {Split.VAL: ((5, 6, 4), (4, 1))}),
    "a set_id": lambda o: replace(o, set_ids=o.set_ids | {Split.VAL: ("a", "b")}),
    "a category": lambda o: replace(o, categories=o.categories[::-1].copy()),
    "a category name": lambda o: replace(o, category_names=("hats", "coats", "shoes")),
    "a question": lambda o: replace(o, files=QuestionFiles(fitb={KEY: o.files.fitb[KEY][:1]}, compat=o.files.compat)),
    "a label": lambda o: replace(
        o, files=replace(o.files, compat={KEY: tuple(q._replace(compatible=False) for q in o.files.compat[KEY])})
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_content_changes_with(outfits: Outfits, change: str) -> None:
    assert CHANGES[change](outfits).content() != outfits.content()


def test_content_does_not_depend_on_the_order_of_splits(outfits: Outfits) -> None:
    turned = replace(outfits, outfits=dict(reversed(outfits.outfits.items())), lost={"anything": 1})
    assert turned.content() == outfits.content()


def test_can_be_pickled(outfits: Outfits) -> None:
    assert pickle.loads(pickle.dumps(outfits)).content() == outfits.content()
