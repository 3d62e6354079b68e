"""Augmentation: each part can be turned off, colours and places change as far as asked and no further."""

from typing import Any

import pytest
import torch
from torch import Tensor

from pan_model.errors import UserError
from pan_model.images.augmentation import AugmentationConfig

WHOLE: dict[str, Any] = {"crop_scale_min": 1.0, "colour_jitter": 0.0, "flip": False}
SIDE, SIZE = 37, 32


def ramp() -> Tensor:
    """Brighter to the right."""
    return torch.linspace(0, 250, SIDE).expand(3, SIDE, SIDE).to(torch.uint8)


def many(config: AugmentationConfig, image: Tensor, count: int = 40) -> Tensor:
    transform = config.build(SIZE)
    torch.manual_seed(0)
    return torch.stack([transform(image) for _ in range(count)])


def rises(changed: Tensor) -> Tensor:
    return changed[:, 0, 0, -1].int() > changed[:, 0, 0, 0].int()


def test_size_and_type() -> None:
    changed = many(AugmentationConfig(), ramp(), 3)
    assert changed.shape == (3, 3, SIZE, SIZE)
    assert changed.dtype == torch.uint8


def test_mirrored_every_other_time_only_when_asked() -> None:
    assert rises(many(AugmentationConfig(**WHOLE), ramp())).all()
    share = rises(many(AugmentationConfig(**WHOLE | {"flip": True}), ramp(), 200)).float().mean()
    assert 0.4 < share < 0.6


def test_crops_are_as_small_as_allowed_and_no_smaller() -> None:
    def width_seen(scale: float) -> Tensor:
        changed = many(AugmentationConfig(**WHOLE | {"crop_scale_min": scale}), ramp(), 200)
        return (changed[:, 0, 0, -1].float() - changed[:, 0, 0, 0].float()) / 250

    assert width_seen(1.0).min() > 0.8
    small = width_seen(0.25)
    assert 0.35 < small.min() < 0.6  # sides as 3:4: 0.5 * sqrt(3 / 4)
    assert small.max() > 0.8


@pytest.mark.parametrize(("jitter", "least", "most"), [(0.0, 100, 100), (0.4, 60, 140)])
def test_grey_changes_by_brightness_alone(jitter: float, least: int, most: int) -> None:
    grey = torch.full((3, SIDE, SIDE), 100, dtype=torch.uint8)
    changed = many(AugmentationConfig(**WHOLE | {"colour_jitter": jitter}), grey, 200)
    assert torch.equal(changed[:, 0], changed[:, 1])
    assert least - 1 <= changed.min() <= least + 5
    assert most - 5 <= changed.max() <= most + 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"crop_scale_min": 0.0}, r"crop_scale_min must be above 0 and at most 1, got 0\.0"),
        ({"crop_scale_min": float("nan")}, "crop_scale_min must be above 0 and at most 1, got nan"),
        ({"colour_jitter": 1.5}, r"colour_jitter must lie between 0 and 1, got 1\.5"),
        ({"colour_jitter": float("inf")}, "colour_jitter must lie between 0 and 1, got inf"),
    ],
)
def test_rules(values: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        AugmentationConfig(**values)
