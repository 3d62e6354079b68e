"""A backbone trained on the training images alone: resumable bit for bit, cached by content, readable as weights."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pan_model.backbones.architectures import build_backbone
from pan_model.backbones.config import FeaturesConfig, Pooling
from pan_model.backbones.features import extract_features
from pan_model.backbones.weights import load_weights
from pan_model.data.items import Items
from pan_model.errors import UserError
from pan_model.images.augmentation import AugmentationConfig
from pan_model.images.batches import ImageBatches
from pan_model.images.decoded_cache import load_decoded_images
from pan_model.training.backbone.config import BackboneTraining, BackboneTrainingConfig, default_training
from pan_model.training.backbone.images import TrainingImages
from pan_model.training.backbone.store import TrainedBackbone, training_key
from pan_model.training.backbone.trainer import BackboneTrainer
from pan_model.training.backbone.training import Stage, train_backbone
from pan_model.training.backbone.triplets import Groups

FINGERPRINT = "sha256:" + "0" * 64
SIZE = 32
FEATURES = FeaturesConfig(backbone="shufflenet_v2_x0_5", weights="random", image_size=SIZE)
SIAMESE = replace(
    default_training(BackboneTraining.SIAMESE),
    epochs=3,
    batch_size=8,
    augmentation=AugmentationConfig(crop_scale_min=0.5),
)
PROXYNCA = replace(
    default_training(BackboneTraining.PROXYNCA),
    epochs=3,
    batch_size=8,
    images_per_class=2,
    warm_up_epochs=1,
    embedding_dim=8,
    learning_rate=1e-3,
    images_at_once=4,
)
CONFIGS = pytest.mark.parametrize("config", [SIAMESE, PROXYNCA], ids=["siamese", "proxynca"])
TRAINING = np.arange(16)
TrainWhole = Callable[[BackboneTrainingConfig], TrainedBackbone]


@pytest.fixture
def images(draw_items: Callable[..., Items]) -> TrainingImages:
    """Of 24 items in 4 classes, 16 to train on."""
    return TrainingImages(items=draw_items(24, num_classes=4), fingerprint=FINGERPRINT, training_items=TRAINING)


@pytest.fixture
def cache_dir(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def train(images: TrainingImages, config: BackboneTrainingConfig, cache_dir: Path, **options: Any) -> TrainedBackbone:
    return train_backbone(images, options.pop("features", FEATURES), config, cache_dir, device="cpu", **options)


def stop_in(stage: Stage, part: int) -> Callable[[Stage, int, int], None]:
    def progress(at: Stage, done: int, total: int) -> None:
        if at is stage and done > part:
            raise KeyboardInterrupt

    return progress


@pytest.fixture(scope="module")
def train_whole(draw_items_in: Callable[..., Items], tmp_path_factory: pytest.TempPathFactory) -> TrainWhole:
    """Train without an interruption, once for each configuration, on images like those of `images`."""
    folder = tmp_path_factory.mktemp("whole")
    items = draw_items_in(folder / "images", 24, num_classes=4)
    images = TrainingImages(items=items, fingerprint=FINGERPRINT, training_items=TRAINING)
    return cache(lambda config: train(images, config, folder / "cache"))


@CONFIGS
def test_stopped_and_resumed_equals_uninterrupted(
    images: TrainingImages, config: BackboneTrainingConfig, train_whole: TrainWhole, tmp_path: Path
) -> None:
    whole = train_whole(config)
    for cut in (1000, 2000):  # in the second epoch, and in the third
        with pytest.raises(KeyboardInterrupt, match=r"^$"):
            train(images, config, tmp_path / "cut", progress=stop_in(Stage.TRAINING, cut))
    seen: list[int] = []
    resumed = train(images, config, tmp_path / "cut", progress=lambda _stage, done, _total: seen.append(done))
    assert min(seen) > 2000  # nothing that was finished is done again
    assert max(seen) == 3000
    assert resumed.losses == whole.losses
    assert resumed.path.read_bytes() == whole.path.read_bytes()


@CONFIGS
def test_second_call_trains_nothing(
    images: TrainingImages, config: BackboneTrainingConfig, train_whole: TrainWhole
) -> None:
    first = train_whole(config)
    cache_dir = first.path.parent.parent
    written = first.path.stat().st_mtime_ns
    again = train(images, config, cache_dir, progress=stop_in(Stage.TRAINING, 0))
    assert (first.from_cache, again.from_cache) == (False, True)
    assert again.path.stat().st_mtime_ns == written
    assert again.losses == first.losses
    assert not list((cache_dir / "backbones").glob("*.pt"))  # no checkpoint is left


@CONFIGS
def test_trained_weights_are_weights_like_any_other(
    images: TrainingImages, config: BackboneTrainingConfig, train_whole: TrainWhole, cache_dir: Path
) -> None:
    trained = train_whole(config)
    backbone = build_backbone(FEATURES.backbone)
    before = {name: value.clone() for name, value in backbone.network.state_dict().items()}
    load_weights(backbone, str(trained.path))
    assert any(not torch.equal(value, before[name]) for name, value in backbone.network.state_dict().items())
    new = extract_features(images.items, FINGERPRINT, replace(FEATURES, weights=str(trained.path)), cache_dir)
    old = extract_features(images.items, FINGERPRINT, FEATURES, cache_dir)
    assert new.weights_sha256 != old.weights_sha256
    assert np.isfinite(new.values).all()
    assert np.abs(new.values - old.values).max() > 1e-3


@CONFIGS
def test_loss_falls(images: TrainingImages, config: BackboneTrainingConfig, cache_dir: Path) -> None:
    longer = replace(config, epochs=8, augmentation=None)
    losses = train(images, longer, cache_dir).losses
    assert len(losses) == 8
    assert np.mean(losses[-2:]) < 0.7 * losses[0]


@CONFIGS
def test_no_other_image_is_looked_at(
    images: TrainingImages, config: BackboneTrainingConfig, train_whole: TrainWhole, tmp_path: Path
) -> None:
    with_others = train_whole(config)
    for index in range(16, 24):
        images.items.image_path(index).unlink()
    without = train(images, config, tmp_path / "two")
    assert without.path.read_bytes() == with_others.path.read_bytes()


def test_warm_up_leaves_the_backbone_alone(images: TrainingImages, cache_dir: Path) -> None:
    decoded = load_decoded_images(images.alone(), FINGERPRINT, SIZE, cache_dir)
    trainer = BackboneTrainer(
        build_backbone(FEATURES.backbone),
        images.groups_for(BackboneTraining.PROXYNCA),
        ImageBatches(decoded, image_size=SIZE),
        PROXYNCA,
        image_size=SIZE,
        device=torch.device("cpu"),
    )
    states = []
    for _ in range(3):
        states.append({name: value.clone() for name, value in trainer.state_dict()["backbone"].items()})
        trainer.train_epoch()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert not all(torch.equal(value, states[2][name]) for name, value in states[1].items())


@CONFIGS
def test_pieces_add_up_to_the_whole_step(
    images: TrainingImages, config: BackboneTrainingConfig, cache_dir: Path
) -> None:
    decoded = load_decoded_images(images.alone(), FINGERPRINT, SIZE, cache_dir)

    def gradient(images_at_once: int) -> tuple[float, torch.Tensor]:
        trainer = BackboneTrainer(
            build_backbone("squeezenet1_1"),  # has no BatchNorm
            images.groups_for(config.kind),
            ImageBatches(decoded, image_size=SIZE),
            replace(config, images_at_once=images_at_once, epochs=1, warm_up_epochs=0, batch_size=8),
            image_size=SIZE,
            device=torch.device("cpu"),
        )
        loss = trainer.train_epoch()
        return loss, torch.cat([weight.grad.flatten() for weight in trainer.backbone.parameters()])

    (whole_loss, whole), (cut_loss, cut) = gradient(0), gradient(5)
    assert cut_loss == pytest.approx(whole_loss, rel=1e-4)
    torch.testing.assert_close(cut, whole, rtol=1e-2, atol=1e-4 * float(whole.abs().max()))


def test_siamese_learns_from_groups_and_proxies_from_classes(images: TrainingImages, cache_dir: Path) -> None:
    outfits = (np.array([3, 5, 5, 9]), np.array([0, 0, 7, 7]))
    grouped = replace(images, training_items=np.array([9, 3, 5]), groups=outfits)
    assert [part.tolist() for part in grouped.groups_for(BackboneTraining.SIAMESE)] == [[0, 1, 1, 2], [0, 0, 7, 7]]
    classes = grouped.groups_for(BackboneTraining.PROXYNCA)
    assert [part.tolist() for part in classes] == [[0, 1, 2], [3, 1, 1]]
    assert grouped.alone().image_names == ("3.png", "5.png", "9.png")
    assert train(grouped, replace(SIAMESE, epochs=1), cache_dir).path.is_file()


def test_key_holds_all_that_the_result_depends_on() -> None:
    base: dict[str, Any] = {
        "fingerprint": "a",
        "image_names": ("1", "2"),
        "groups": Groups(np.array([0, 1]), np.array([0, 1])),
        "features": FeaturesConfig(backbone="resnet18", image_size=64),
        "weights_sha256": "w",
        "config": SIAMESE,
    }
    assert SIAMESE.augmentation is not None
    changes: list[dict[str, Any]] = [
        {},
        {"fingerprint": "b"},
        {"image_names": ("1", "3")},
        {"groups": Groups(np.array([0, 1]), np.array([0, 0]))},
        {"groups": Groups(np.array([1, 0]), np.array([0, 1]))},
        {"features": FeaturesConfig(backbone="resnet34", image_size=64)},
        {"weights_sha256": "v"},
        {"features": FeaturesConfig(backbone="resnet18", image_size=65)},
        {"features": FeaturesConfig(backbone="resnet18", image_size=64, pooling=Pooling.MAX)},
        {"config": PROXYNCA},
        {"config": replace(SIAMESE, seed=1)},
        {"config": replace(SIAMESE, margin=0.3)},
        {"config": replace(SIAMESE, augmentation=None)},
        {"config": replace(SIAMESE, augmentation=replace(SIAMESE.augmentation, flip=False))},
    ]
    assert len({training_key(**base | change) for change in changes}) == len(changes)


def test_damaged_result_is_trained_again(images: TrainingImages, cache_dir: Path) -> None:
    config = replace(SIAMESE, epochs=1)
    path = train(images, config, cache_dir).path
    content = path.read_bytes()
    for damaged in (b"", content[:-9], b"\xff" * 300):
        path.write_bytes(damaged)
        assert not train(images, config, cache_dir).from_cache
        assert path.read_bytes() == content


def test_damaged_checkpoint_is_not_used(images: TrainingImages, train_whole: TrainWhole, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        train(images, SIAMESE, tmp_path / "cut", progress=stop_in(Stage.TRAINING, 1000))
    (checkpoint,) = (tmp_path / "cut" / "backbones").iterdir()
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1000])
    assert train(images, SIAMESE, tmp_path / "cut").losses == train_whole(SIAMESE).losses


def test_random_numbers_of_others_are_left_alone(images: TrainingImages, cache_dir: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    train(images, replace(SIAMESE, epochs=1), cache_dir)
    assert torch.equal(torch.rand(2), expected)


def test_wrong_input(images: TrainingImages, cache_dir: Path) -> None:
    with pytest.raises(UserError, match="groups must hold training items only"):
        replace(images, groups=(np.array([20]), np.array([0])))
    with pytest.raises(UserError, match="training a backbone needs training items, got none"):
        replace(images, training_items=np.array([], dtype=np.int64))
    with pytest.raises(UserError, match="training a backbone needs items of 2 classes, got 1"):
        train(replace(images, training_items=np.array([0, 4, 8])), SIAMESE, cache_dir)
    with pytest.raises(UserError, match="needs items of the same class or outfit and items of another"):
        train(replace(images, training_items=np.arange(4)), SIAMESE, cache_dir)
    with pytest.raises(UserError, match="has no finite loss in epoch 1; give a learning_rate below 1e"):
        train(images, replace(SIAMESE, learning_rate=1e30), cache_dir)
    with pytest.raises(UserError, match=r"num_workers must be at least 0, got -1\."):
        train(images, SIAMESE, cache_dir, num_workers=-1)
    images.items.image_path(2).write_bytes(b"no image")
    with pytest.raises(UserError, match=r"1 of 16 images cannot be read, the first is .*/2\.png"):
        train(images, replace(SIAMESE, seed=1), tmp := cache_dir / "other")
    assert not list(tmp.rglob("*.npy"))


def test_cache_dir_that_is_a_file(images: TrainingImages, cache_dir: Path) -> None:
    cache_dir.write_text("a file")
    with pytest.raises(UserError, match=r"the trained backbone cannot be written to .*--cache-dir"):
        train(images, SIAMESE, cache_dir)
