"""No class and no product is in two splits; roles of queries and gallery."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pan_model.data.items import Items
from pan_model.data.splits import (
    Role,
    Roles,
    Split,
    alternate,
    few_shot_split,
    inshop_split,
    queries_and_gallery,
    roles_of,
)


def items_of(classes: list[int], roles: list[Role] | None = None) -> Items:
    num = len(classes)
    return Items(
        image_root=Path("nowhere"),
        image_names=tuple(f"{n}.png" for n in range(num)),
        classes=np.array(classes, dtype=np.int64),
        class_names=tuple(f"class {k}" for k in range(max(classes) + 1)),
        attributes=np.zeros((num, 1), dtype=bool),
        certainty=np.zeros((num, 1), dtype=np.uint8),
        attribute_names=("has_shape::circle",),
        relations=None if roles is None else Roles(roles=np.array(roles, dtype=np.uint8)),
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


TRAIN, QUERY, GALLERY = Role


def test_the_second_of_every_five_training_products_is_validation():
    classes = [9, 0, 2, 3, 5, 6, 7, 7, 8, 1, 4]
    roles = [TRAIN] * 9 + [QUERY, GALLERY]
    splits = inshop_split(items_of(classes, roles))
    # training products 0 2 3 5 6 7 8 9: the second is 2, the seventh is 8
    assert list(splits) == [Split.TRAIN, Split.VAL, Split.TEST]
    assert splits[Split.VAL].tolist() == [2, 8]
    assert splits[Split.TRAIN].tolist() == [0, 1, 3, 4, 5, 6, 7]
    assert splits[Split.TEST].tolist() == [9, 10]


def test_a_fifth_of_inshop_s_training_products_is_800():
    items = items_of(list(range(3999)), [TRAIN] * 3997 + [QUERY, GALLERY])
    assert len(inshop_split(items)[Split.VAL]) == 800


@given(data=st.data())
def test_every_item_is_in_one_split_and_no_product_in_two(data: st.DataObject):
    classes = data.draw(st.lists(st.integers(0, 30), min_size=1, max_size=60))
    tested = data.draw(st.sets(st.integers(0, 30)))
    roles = [data.draw(st.sampled_from((QUERY, GALLERY))) if product in tested else TRAIN for product in classes]
    splits = inshop_split(items_of(classes, roles))
    assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(len(classes)))
    assert all(indices.dtype == np.int64 and (np.diff(indices) > 0).all() for indices in splits.values())
    held = [{classes[index] for index in indices.tolist()} for indices in splits.values()]
    assert sum(map(len, held)) == len(set(classes))
    assert held[2] == tested & set(classes)


@given(classes=st.lists(st.integers(0, 4), max_size=20))
def test_images_of_a_product_are_query_and_gallery_in_turn(classes: list[int]):
    expected_queries, expected_gallery = list[int](), list[int]()
    for place, product in enumerate(classes):
        asks = classes[:place].count(product) % 2 == 0 and classes.count(product) > 1
        (expected_queries if asks else expected_gallery).append(100 + place)
    queries, gallery = alternate(np.arange(len(classes)) + 100, np.array(classes, dtype=np.int64))
    assert (queries.tolist(), gallery.tolist()) == (expected_queries, expected_gallery)


def test_test_has_the_official_queries_and_gallery_and_the_others_their_own():
    classes = np.array([0, 0, 0, 1, 1, 1])
    roles = Roles(roles=np.array([TRAIN, TRAIN, TRAIN, GALLERY, QUERY, GALLERY], dtype=np.uint8))
    asked = {
        split: [part.tolist() for part in queries_and_gallery(split, items, classes, roles)]
        for split, items in {Split.VAL: np.array([0, 1, 2]), Split.TEST: np.array([3, 4, 5])}.items()
    }
    assert asked == {Split.VAL: [[0, 2], [1]], Split.TEST: [[4], [3, 5]]}


def test_roles_stay_with_their_items_when_others_are_left_out():
    items = items_of([0, 1, 1, 2], [TRAIN, QUERY, GALLERY, TRAIN])
    kept = items.select(np.array([False, True, True, True]), "unreadable image")
    assert roles_of(kept.relations).roles.tolist() == [QUERY, GALLERY, TRAIN]


def test_content_tells_roles_apart():
    contents = {roles_of(items_of([0, 0], [TRAIN, role]).relations).content() for role in Role}
    assert len(contents) == 3


def test_items_without_roles_are_no_retrieval_s():
    with pytest.raises(TypeError, match=r"retrieval needs the roles of its items, got NoneType\."):
        roles_of(None)
