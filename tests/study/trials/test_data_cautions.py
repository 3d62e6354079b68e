"""What is said of data before a search: equal images, equal features, scores no better than random answers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pan_model.data.featured_items import FeaturedItems
from pan_model.data.fingerprint import read_contents
from pan_model.data.items import Items
from pan_model.data.splits import Split
from pan_model.errors import UserError
from pan_model.scoring.baselines.untrained import untrained_baselines
from pan_model.tasks.few_shot import FewShotTask
from study.trials.data_cautions import LOOK, find_chance, find_data_cautions
from study.trials.question_scores import as_lists

NUM_ITEMS = 6
SPLITS = {Split.TRAIN: np.array([0, 1, 2]), Split.VAL: np.array([3, 4]), Split.TEST: np.array([5])}


@pytest.fixture
def items(tmp_path: Path) -> Items:
    """Six images, each with another colour."""
    names = tuple(f"{number}.png" for number in range(NUM_ITEMS))
    for number, name in enumerate(names):
        Image.new("RGB", (8, 8), (40 * number, 0, 0)).save(tmp_path / name)
    return Items(
        image_root=tmp_path,
        image_names=names,
        classes=np.zeros(NUM_ITEMS, dtype=np.int64),
        class_names=("a",),
        attributes=np.zeros((NUM_ITEMS, 0), dtype=bool),
        certainty=np.zeros((NUM_ITEMS, 0), dtype=np.uint8),
        attribute_names=(),
    )


@pytest.fixture
def features() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).normal(size=(NUM_ITEMS, 4)).astype(np.float32)


def cautions(items: Items, features: np.ndarray, splits: Any = SPLITS, unreadable: tuple[int, ...] = ()) -> list[str]:
    readable = ~np.isin(np.arange(NUM_ITEMS), unreadable)
    return find_data_cautions(items, read_contents(items), readable, splits, features)


def copy(items: Items, source: int, target: int) -> None:
    items.image_path(target).write_bytes(items.image_path(source).read_bytes())


def test_good_data_need_no_caution(items: Items, features: Any) -> None:
    assert cautions(items, features) == []


class TestSharedImages:
    def test_are_counted_with_an_example(self, items: Items, features: Any) -> None:
        copy(items, 1, 4)
        copy(items, 2, 5)
        assert cautions(items, features) == [
            "2 image files in two splits, byte for byte (first: 1.png in train and 4.png in val)"
        ]

    def test_are_not_those_of_one_split(self, items: Items, features: Any) -> None:
        copy(items, 1, 2)
        assert cautions(items, features) == []

    def test_are_not_items_that_a_dataset_puts_into_two_splits(self, items: Items, features: Any) -> None:
        assert cautions(items, features, SPLITS | {Split.TEST: np.array([0, 5])}) == []

    def test_are_found_although_images_are_left_out(self, items: Items, features: Any) -> None:
        copy(items, 2, 5)
        splits = {Split.TRAIN: np.array([0, 1]), Split.VAL: np.array([2, 3]), Split.TEST: np.array([4])}
        assert cautions(items, features[1:], splits, unreadable=(0,)) == [
            "1 image file in two splits, byte for byte (first: 2.png in train and 5.png in test)"
        ]


class TestFeatures:
    def test_the_same_for_all_are_refused(self, items: Items, features: Any) -> None:
        same = np.repeat(features[:1], NUM_ITEMS, axis=0) * (1 + 1e-7)
        with pytest.raises(UserError, match=r"the features of all 6 images are the same, so that no method can tell"):
            cautions(items, same)

    def test_nearly_the_same_for_all(self, items: Items, features: Any) -> None:
        assert cautions(items, 100 + features) == [
            "the features of all 6 images are nearly the same: half of them differ from their mean by less than "
            f"0.0073 of its length; {LOOK}"
        ]

    def test_the_same_for_different_files(self, items: Items, features: Any) -> None:
        features[[1, 4]] = features[0]
        copy(items, 2, 1)
        copy(items, 3, 2)  # the same file may have the same features
        features[3] = features[2]
        assert cautions(items, features, {Split.TRAIN: np.arange(6)}) == [
            f"3 of 6 images have the same features as another, different file (first: 0.png and 1.png); {LOOK}"
        ]


def test_frames_are_counted(items: Items, features: Any) -> None:
    first, second = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    first.save(items.image_path(2), "TIFF", save_all=True, append_images=[second])
    assert cautions(items, features) == ["1 image file with several frames; the first is used (first file: 2.png)"]


@pytest.mark.parametrize("is_noise", [False, True])
def test_baselines_that_are_no_better_than_random_answers(featured: FeaturedItems, is_noise: bool) -> None:
    if is_noise:
        noise = np.random.default_rng(0).normal(size=featured.features.shape).astype(np.float32)
        featured = replace(featured, features=noise)
    task = FewShotTask(featured, seed=0)
    scores = {name: as_lists(task.evaluate(scorer, Split.VAL)) for name, scorer in untrained_baselines(task).items()}
    lines = find_chance(task, scores)
    assert len(lines) == is_noise
    assert all(
        line.startswith("no baseline without training is better on val than random answers, few_shot_accuracy 0.")
        for line in lines
    )
