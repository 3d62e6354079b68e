"""Batches of images: central crops as load_image reads them; augmentations that depend on seed and place alone."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pan_model.data.items import Items
from pan_model.errors import UserError
from pan_model.images.augmentation import AugmentationConfig
from pan_model.images.batches import ImageBatches
from pan_model.images.decoded_cache import DecodedImages, load_decoded_images
from pan_model.images.decoding import load_image

SIZE = 32
STEPS = [np.array([3, 1]), np.array([3]), np.array([0, 5, 2, 3])]
AUGMENTATION = AugmentationConfig(crop_scale_min=0.3)


@pytest.fixture
def items(draw_items: Callable[..., Items]) -> Items:
    return draw_items(6)


@pytest.fixture
def images(items: Items, tmp_path: Path) -> DecodedImages:
    return load_decoded_images(items, "sha256:0", SIZE, tmp_path / "cache")


@pytest.fixture
def augmented(images: DecodedImages) -> ImageBatches:
    return ImageBatches(images, image_size=SIZE, augmentation=AUGMENTATION)


def epoch(batches: ImageBatches, seed: tuple[int, ...] = (0, 1), steps: list[np.ndarray] = STEPS) -> list[Tensor]:
    return list(batches.epoch(steps, seed))


def equal(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_without_augmentation_as_load_image_reads_them(items: Items, images: DecodedImages) -> None:
    for indices, batch in zip(STEPS, epoch(ImageBatches(images, image_size=SIZE)), strict=True):
        assert batch.dtype == torch.float32
        assert batch.is_contiguous()
        expected = torch.stack([load_image(items.image_path(int(index)), SIZE) for index in indices])
        assert (batch - expected).abs().max() < 2.1 / 255 / 0.224  # two levels of colour: either pass may round
        assert (batch != expected).float().mean() < 0.1


def test_augmentation_repeats_and_differs_by_seed_and_place(augmented: ImageBatches) -> None:
    first = epoch(augmented)
    assert [batch.shape for batch in first] == [(2, 3, SIZE, SIZE), (1, 3, SIZE, SIZE), (4, 3, SIZE, SIZE)]
    assert equal(first, epoch(augmented))
    assert not torch.equal(first[0], epoch(augmented, (0, 2))[0])
    assert not torch.equal(first[0], epoch(augmented, (1, 1))[0])
    same_image = [first[0][0], first[1][0], first[2][3]]
    assert not torch.equal(same_image[0], same_image[1])
    assert not torch.equal(same_image[1], same_image[2])


def test_augmentation_does_not_depend_on_how_an_epoch_is_cut(augmented: ImageBatches) -> None:
    cut = torch.cat(epoch(augmented))
    assert torch.equal(torch.cat(epoch(augmented, steps=[np.concatenate(STEPS)])), cut)


def test_workers_make_the_same_batches_epoch_after_epoch(images: DecodedImages, augmented: ImageBatches) -> None:
    parallel = ImageBatches(images, image_size=SIZE, augmentation=AUGMENTATION, num_workers=2, pin_memory=True)
    try:
        for seed in ((0, 1), (0, 2)):
            assert equal(epoch(parallel, seed), epoch(augmented, seed))
        unfinished = parallel.epoch(STEPS, (0, 3))
        next(unfinished)
        del unfinished
        assert equal(epoch(parallel, (0, 4), STEPS[:1]), epoch(augmented, (0, 4), STEPS[:1]))
    finally:
        parallel.close()


def test_random_numbers_of_others_are_left_alone(augmented: ImageBatches) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    stream: Iterator[Tensor] = augmented.epoch(STEPS, (0,))
    drawn = [torch.rand(1) for _ in stream]
    assert torch.equal(torch.cat(drawn), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 31}, "image_size must be that of the images, 32 px, got 31"),
        ({"image_size": SIZE, "num_workers": -1}, "num_workers must be at least 0, got -1"),
    ],
)
def test_rules(images: DecodedImages, options: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ImageBatches(images, **options)
