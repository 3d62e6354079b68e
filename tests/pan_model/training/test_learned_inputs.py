"""A backbone that is trained inside a trial: what it learns, where it starts; runs repeat and can be resumed."""

import copy
import io
import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pan_model.backbones.architectures import build_backbone
from pan_model.backbones.config import FeaturesConfig
from pan_model.backbones.features import extract_features
from pan_model.config import TrialConfig
from pan_model.data.featured_items import FeaturedItems
from pan_model.data.items import Items
from pan_model.data.splits import Split
from pan_model.errors import UserError
from pan_model.images.decoded_cache import load_decoded_images
from pan_model.scores import EpochRecord
from pan_model.scoring.pan_scorer import pan_scorer
from pan_model.tasks.few_shot import FewShotTask
from pan_model.training.finetuning import FinetuneStart
from pan_model.training.trainer import Trainer

CPU = torch.device("cpu")
NUM_CLASSES = 20
PER_CLASS = 7
SIZE = 32
Configure = Callable[..., TrialConfig]
Run = Callable[[Trainer, int], list[EpochRecord]]
Make = Callable[..., Trainer]


class Planted(NamedTuple):
    """A task on images, and what a trial that trains its backbone on them starts from."""

    task: FewShotTask
    start: FinetuneStart


def draw(folder: Path) -> Items:
    """A class is a faint hue; the brightness, which differs far more, says nothing of it."""
    generator = np.random.default_rng(0)
    classes = np.repeat(np.arange(NUM_CLASSES), PER_CLASS)
    for number, label in enumerate(classes):
        hue = 20 * np.cos(2 * np.pi * label / NUM_CLASSES + np.array([0, 2.1, 4.2]))
        noise = 30 * generator.normal(size=(40, 40, 1))
        pixels = generator.uniform(60, 190) + hue + noise
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    return Items(
        image_root=folder,
        image_names=tuple(f"{number}.png" for number in range(len(classes))),
        classes=classes,
        class_names=tuple(f"c{number}" for number in range(NUM_CLASSES)),
        attributes=np.zeros((len(classes), 1), dtype=bool),
        certainty=np.zeros((len(classes), 1), dtype=np.uint8),
        attribute_names=("none",),
    )


@pytest.fixture(scope="module", params=["squeezenet1_1"])
def planted_images(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Planted:
    folder = tmp_path_factory.mktemp("images")
    items = draw(folder)
    splits = {
        Split.TRAIN: np.flatnonzero(items.classes % 2 == 0),
        Split.VAL: np.flatnonzero(items.classes % 4 == 1),
        Split.TEST: np.flatnonzero(items.classes % 4 == 3),
    }
    config = FeaturesConfig(backbone=request.param, weights="random", image_size=SIZE)
    features = extract_features(items, "sha256:0", config, folder / "cache")
    task = FewShotTask(FeaturedItems.join(items, features.values, splits), seed=0)
    images = load_decoded_images(items, "sha256:0", SIZE, folder / "cache")
    return Planted(task, FinetuneStart(backbone=build_backbone(request.param), images=images))


RECIPE: dict[str, Any] = {
    "normalisation": "l2",
    "joint": "product",
    "first_weights": "distance",
    "scoring": "support_mean",
    "pairs": "balanced",
    "classes_per_step": 4,
    "images_per_class": 4,
    "pairs_per_epoch": 4096,
    "steps_per_epoch": 3,
    "learning_rate": 1e-3,
}
BACKBONE: dict[str, Any] = {
    "backbone_learning_rate": 1e-4,
    "backbone_warmup_epochs": 0,
    "crop_scale_min": 0.5,
}
EVERYTHING: dict[str, Any] = BACKBONE | {
    "backbone_warmup_epochs": 1,
    "hard_pair_share": 0.5,
    "feature_dropout": 0.1,
    "dropout": 0.2,
    "feature_power": 0.5,
    "weight_decay": 0.1,
    "start_decay": 1.0,
    "schedule": "cosine",
}


@pytest.fixture
def make(planted_images: Planted, configure: Configure) -> Make:
    """Make a trainer; it trains its backbone where the changes have its keys."""
    task, start = planted_images

    def trainer(start_changes: dict[str, Any] | None = None, **changes: Any) -> Trainer:
        config = configure(**RECIPE | changes)
        return Trainer(task, config, CPU, replace(start, **start_changes or {}) if config.finetune else None)

    return trainer


def weights(trainer: Trainer) -> dict[str, Tensor]:
    assert trainer.backbone is not None
    return copy.deepcopy(trainer.backbone.network.state_dict() | dict(trainer.model.state_dict()))


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def saved(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_the_backbone_learns_what_its_first_weights_do_not_see(make: Make, run: Run):
    frozen, learned = make(max_epochs=9), make(**BACKBONE | {"crop_scale_min": 0.9}, steps_per_epoch=6, max_epochs=9)
    before = learned.evaluate(Split.VAL).means()["few_shot_accuracy"]
    of_frozen, history = run(frozen, 9), run(learned, 9)
    assert history[-1]["loss/pairs"] < history[0]["loss/pairs"] - 0.05
    best = max(record["few_shot_accuracy"] for record in history)
    assert best > before + 0.1
    assert best > max(record["few_shot_accuracy"] for record in of_frozen) + 0.05


def test_a_trial_starts_as_the_frozen_one_and_is_it_while_the_backbone_rests(make: Make, run: Run):
    frozen, learned = make(), make(**BACKBONE | {"backbone_warmup_epochs": 2})
    for split in Split:
        assert learned.evaluate(split).means() == frozen.evaluate(split).means()
    assert run(learned, 2) == run(frozen, 2)
    assert "backbone" not in learned.state_dict()
    assert run(learned, 1) != run(frozen, 1)
    assert "backbone" in learned.state_dict()


def test_a_backbone_that_hardly_moves_gives_the_frozen_features_from_images(make: Make):
    learned = make(**BACKBONE | {"backbone_learning_rate": 1e-30})
    learned.train_epoch()
    features = torch.tensor(learned.task.featured.features)
    for split in Split:
        items = learned.task.featured.splits[split]
        table = torch.tensor(learned.features_of(split))
        error = (table[items] - features[items]).norm() / features[items].norm()
        assert error < 0.01  # images in the cache may be a grey level off
        others = np.setdiff1d(np.arange(len(features)), items)
        assert not table[others].any()


def test_what_the_first_weights_made_stays_what_it_was(make: Make, planted_images: Planted):
    first = copy.deepcopy(planted_images.start.backbone.network.state_dict())
    learned = make(**BACKBONE)
    normalised, fitted = learned.normalised_features(), copy.deepcopy(learned.model.normalisation.state_dict())
    learned.train_epoch()
    assert equal(planted_images.start.backbone.network.state_dict(), first)
    np.testing.assert_array_equal(learned.normalised_features(), normalised)
    assert equal(learned.model.normalisation.state_dict(), fitted)


@pytest.mark.parametrize("planted_images", ["shufflenet_v2_x0_5"], indirect=True)
def test_weights_move_and_the_statistics_of_batch_normalisation_do_not(make: Make):
    learned = make(**BACKBONE | {"backbone_learning_rate": 1e-5})
    before = weights(learned)
    learned.train_epoch()
    after = weights(learned)
    assert learned.backbone is not None
    learn = {name for name, _ in learned.backbone.network.named_parameters()}
    assert all(
        torch.equal(before[name], after[name]) != (name in learn) for name in learned.backbone.network.state_dict()
    )


def test_processes_end_and_start_again(make: Make):
    others = set(multiprocessing.active_children())
    alone, helped = make(**BACKBONE), make({"num_workers": 1}, **BACKBONE)
    assert alone.train_epoch()["loss/total"] == helped.train_epoch()["loss/total"]
    assert alone.evaluate(Split.VAL).means() == helped.evaluate(Split.VAL).means()
    assert len(set(multiprocessing.active_children()) - others) == 2
    helped.close()
    assert set(multiprocessing.active_children()) <= others
    assert alone.train_epoch()["loss/total"] == helped.train_epoch()["loss/total"]
    assert len(set(multiprocessing.active_children()) - others) == 1
    helped.close()
    assert set(multiprocessing.active_children()) <= others


def test_an_item_s_features_do_not_depend_on_its_batch(make: Make):
    learned = make(**BACKBONE)
    learned.train_epoch()
    inputs = learned._inputs
    items = torch.arange(40)
    one_by_one = torch.cat([inputs.of(item[None]) for item in items])
    torch.testing.assert_close(inputs.of(items), one_by_one, rtol=1e-4, atol=1e-6)
    assert not inputs.of(items).requires_grad


@pytest.mark.parametrize(("batch_size", "pause"), [(None, 1), (5, 2)])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    make: Make, run: Run, batch_size: int | None, pause: int
):
    """The backbone rests in the first epoch, and learns in the second."""
    changes = {"batch_size": batch_size}
    whole, first = (make(changes, **EVERYTHING) for _ in range(2))
    history, records = run(whole, 4), run(first, pause)
    state = saved(first.state_dict())
    torch.manual_seed(12345)
    second = make(changes, **EVERYTHING)
    second.load_state_dict(state)
    assert second.evaluate(Split.VAL).means() == first.evaluate(Split.VAL).means()
    records += run(second, 4 - pause)
    assert records == history
    assert equal(weights(second), weights(whole))
    assert not equal(weights(first), weights(whole))


def test_same_seed_gives_the_same_numbers_and_evaluating_changes_none(make: Make, run: Run):
    one, other = make(**EVERYTHING), make(**EVERYTHING)
    torch.manual_seed(1)
    run(one, 2)
    one.evaluate(Split.TRAIN)
    one.train_epoch()
    for _ in range(3):
        other.train_epoch()
    assert equal(weights(one), weights(other))
    another = make(**EVERYTHING, seed=1)
    for _ in range(3):
        another.train_epoch()
    assert not equal(weights(another), weights(other))


@pytest.mark.parametrize("chunk_size", [8192, 50])
def test_a_step_in_pieces_is_the_whole_step(make: Make, monkeypatch: pytest.MonkeyPatch, chunk_size: int):
    """Gradients are compared after one step: Adam's first one only knows their signs."""
    gradients: list[dict[str, Tensor]] = []
    losses: list[float | int] = []
    monkeypatch.setattr("pan_model.training.pair_loss.CHUNK_PAIRS", {"cpu": (1, chunk_size)})
    for batch_size in (1000, 6, 1):
        learned = make({"batch_size": batch_size}, **BACKBONE, steps_per_epoch=1, hard_pair_share=0.5)
        losses.append(learned.train_epoch()["loss/total"])
        assert learned.backbone is not None
        parameters = dict(learned.backbone.named_parameters()) | dict(learned.model.named_parameters())
        gradients.append({name: weight.grad for name, weight in parameters.items() if weight.grad is not None})
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)
    for other in gradients[1:]:
        for name, gradient in gradients[0].items():
            error = (other[name] - gradient).norm() / gradient.norm().clamp(min=1e-12)
            assert error < 1e-3, name


def gradients_of(trainer: Trainer) -> Tensor:
    assert trainer.backbone is not None
    weights_with_gradient = [*trainer.backbone.parameters(), *trainer.model.parameters()]
    return torch.cat([weight.grad.flatten().cpu() for weight in weights_with_gradient if weight.grad is not None])


@pytest.mark.parametrize("batch_size", [1000, 6])
@pytest.mark.parametrize(("precision", "tolerance"), [(torch.bfloat16, 0.5), (torch.float16, 0.2)])
def test_mixed_precision_gives_the_gradient_but_for_rounding(
    make: Make, monkeypatch: pytest.MonkeyPatch, precision: torch.dtype, tolerance: float, batch_size: int
):
    """A CPU computes in 16 bits too, if slowly. These features are nearly parallel, which makes more of rounding."""
    gradients: list[Tensor] = []
    for used in (torch.float32, precision):
        monkeypatch.setattr("pan_model.training.learned_inputs.fastest_precision", lambda _, used=used: used)
        learned = make({"batch_size": batch_size}, **BACKBONE, steps_per_epoch=1)
        learned.train_epoch()
        gradients.append(gradients_of(learned))
        assert all(value.dtype != precision for value in weights(learned).values())
    exact, rounded = gradients
    assert (rounded - exact).norm() < tolerance * exact.norm()
    assert not torch.equal(rounded, exact)
    monkeypatch.setattr("pan_model.training.learned_inputs.fastest_precision", lambda _: precision)
    switched_off = make({"batch_size": batch_size, "mixed_precision": False}, **BACKBONE, steps_per_epoch=1)
    switched_off.train_epoch()
    assert torch.equal(gradients_of(switched_off), exact)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_trains_as_a_cpu_does(planted_images: Planted, configure: Configure):
    task, start = planted_images
    config = configure(**RECIPE | BACKBONE)
    for mixed_precision, tolerance in ((False, 1e-3), (True, 0.05)):
        start = replace(start, mixed_precision=mixed_precision, batch_size=6)
        one, other = (Trainer(task, config, torch.device(device), start) for device in ("cpu", "cuda"))
        for _ in range(2):
            expected = one.train_epoch()["loss/total"]
            assert other.train_epoch()["loss/total"] == pytest.approx(expected, rel=tolerance)
        for split in Split:
            np.testing.assert_allclose(
                other.evaluate(split).means()[task.objective.name],
                one.evaluate(split).means()[task.objective.name],
                atol=0.05,
            )


def test_start_decay_holds_the_backbone_at_its_first_weights(make: Make):
    held, free = (make(**BACKBONE, start_decay=decay) for decay in (1e4, 0.0))  # 1e4 times 1e-4 is all of the way
    first = weights(held)
    assert held.backbone is not None
    for trainer in (held, free):
        trainer.train_epoch()
    learn = [name for name, _ in held.backbone.network.named_parameters()]
    assert all(torch.equal(weights(held)[name], first[name]) for name in learn)
    assert not any(torch.equal(weights(free)[name], first[name]) for name in learn if name.endswith("weight"))


def test_zeros_among_the_features_leave_the_gradient_finite(make: Make, planted_images: Planted):
    """The slope of a root is infinite at 0."""
    assert (planted_images.task.featured.features == 0).any()
    learned = make(**BACKBONE, feature_power=0.5)
    learned.train_epoch()
    assert all(value.isfinite().all() for value in weights(learned).values())


def test_weights_that_are_no_numbers_show_in_the_loss(make: Make):
    learned = make(**BACKBONE)
    assert learned.backbone is not None
    with torch.no_grad():
        next(learned.backbone.parameters()).fill_(torch.nan)
    assert np.isnan(learned.train_epoch()["loss/total"])


@pytest.mark.parametrize("split", [Split.VAL, Split.TEST])
def test_a_split_is_evaluated_as_the_model_scores_the_features_of_the_trained_backbone(make: Make, split: Split):
    learned = make(**BACKBONE)
    learned.train_epoch()
    task, objective = learned.task, learned.task.objective.name
    featured = replace(task.featured, features=learned.features_of(split))
    table = FewShotTask(featured, seed=0)
    expected = table.evaluate(pan_scorer(learned.model, table, split, CPU), split)[objective]
    np.testing.assert_allclose(learned.evaluate(split).questions[objective], expected, atol=0.05)
    np.testing.assert_allclose(task.evaluate(learned.scorer(split), split)[objective], expected, atol=0.05)


def test_on_train_only_the_items_that_are_asked_are_embedded(make: Make, monkeypatch: pytest.MonkeyPatch):
    learned = make(**BACKBONE)
    learned.train_epoch()
    embedded: list[int] = []
    of = learned._inputs.of
    monkeypatch.setattr(learned._inputs, "of", lambda items: embedded.append(len(items)) or of(items))
    asked = learned.task.scored_items(Split.TRAIN)
    learned.evaluate(Split.TRAIN)
    assert embedded == [len(asked)]


@pytest.mark.parametrize(
    ("changes", "with_start", "message"),
    [
        (BACKBONE, False, "backbone_learning_rate needs a backbone and images to train it on, got none"),
        ({}, True, "a backbone that is trained needs backbone_learning_rate in the configuration, got none"),
    ],
)
def test_a_configuration_and_a_start_go_together(
    planted_images: Planted, configure: Configure, changes: dict[str, Any], with_start: bool, message: str
):
    task, start = planted_images
    with pytest.raises(UserError, match=message):
        Trainer(task, configure(**RECIPE | changes), CPU, start if with_start else None)


def test_a_start_has_the_images_of_all_items_and_takes_some_at_once(make: Make, planted_images: Planted):
    images = planted_images.start.images
    fewer = images.select(np.arange(len(images)) < 30)
    with pytest.raises(UserError, match="needs the images of all 140 items, got 30"):
        make({"images": fewer}, **BACKBONE)
    with pytest.raises(UserError, match="batch_size must be at least 1, got 0"):
        make({"batch_size": 0}, **BACKBONE)
    start = planted_images.start
    assert start.batch_size_on(CPU) == 16 * 7**2
    assert replace(start, batch_size=3).batch_size_on(CPU) == 3
