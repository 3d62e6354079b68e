"""Classes go to exactly one split, by their index."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pan_model.data.items import Items
from pan_model.data.splits import Split, few_shot_split


def items_of(classes: list[int]) -> Items:
    num = len(classes)
    return Items(
        image_root=Path("nowhere"),
        image_names=tuple(f"{n}.png" for n in range(num)),
        classes=np.array(classes, dtype=np.int64),
        class_names=tuple(f"class {k}" for k in range(max(classes) + 1)),
        attributes=np.zeros((num, 1), dtype=bool),
        certainty=np.zeros((num, 1), dtype=np.uint8),
        attribute_names=("has_shape::circle",),
    )


def test_splits_by_class_index() -> None:
    splits = few_shot_split(items_of([3, 1, 0, 2, 1, 4, 5, 7]))
    assert list(splits) == [Split.TRAIN, Split.VAL, Split.TEST]
    assert splits[Split.TRAIN].tolist() == [2, 3, 5]
    assert splits[Split.VAL].tolist() == [1, 4, 6]
    assert splits[Split.TEST].tolist() == [0, 7]


def test_two_hundred_classes_are_100_50_and_50() -> None:
    splits = few_shot_split(items_of(list(range(200))))
    assert [len(indices) for indices in splits.values()] == [100, 50, 50]


@given(classes=st.lists(st.integers(0, 30), min_size=1, max_size=60))
def test_every_item_is_in_one_split_and_no_class_in_two(classes: list[int]) -> None:
    splits = few_shot_split(items_of(classes))
    assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(len(classes)))
    assert all(indices.dtype == np.int64 and (np.diff(indices) > 0).all() for indices in splits.values())
    held = [{classes[index] for index in indices.tolist()} for indices in splits.values()]
    assert sum(map(len, held)) == len(set(classes))
