import copy
import io
import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pan_model import train as train_module
from pan_model.conditions import choose_conditions
from pan_model.config import TrialConfig
from pan_model.data.featured import FeaturedItems
from pan_model.data.splits import Split
from pan_model.encoders import ENCODERS
from pan_model.encoders.proxynca import ProxyNCAEncoder
from pan_model.pairs import Pairs
from pan_model.tasks.few_shot import FewShotTask
from pan_model.train import EpochRecord, Trainer

CPU = torch.device("cpu")
Configure = Callable[..., TrialConfig]
Plant = Callable[..., FeaturedItems]

EVERYTHING = {
    "supervision": "hybrid",
    "gate": "AND_XOR",
    "lambda": 0.5,
    "num_conditions": 9,
    "dropout": 0.3,
    "weight_decay": 0.01,
}
"""Labelled and free conditions, dropout and weight decay at once."""


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """These tensors are so small that a second thread costs more than it brings, many times more on a busy machine."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


def run(trainer: Trainer, num_epochs: int) -> list[EpochRecord]:
    """Train and evaluate for some epochs; gives what must repeat exactly."""
    records = [trainer.train_epoch() | trainer.evaluate(Split.VAL) for _ in range(num_epochs)]
    return [{key: value for key, value in record.items() if not key.startswith("time/")} for record in records]


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def saved(state: dict[str, Any]) -> dict[str, Any]:
    """What a file gives back, read as from a stranger."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_an_epoch_s_record_holds_its_number_losses_metric_and_times(task: FewShotTask, configure: Configure):
    trainer = Trainer(task, configure(encoder="proxynca", **EVERYTHING), CPU)
    records = [trainer.train_epoch() for _ in range(2)]
    losses = ["loss/total", "loss/pairs", "loss/conditions", "loss/encoder"]
    assert [list(record) for record in records] == [["epoch", *losses, "time/train_s"]] * 2
    assert [record["epoch"] for record in records] == [1, 2]
    assert all(type(record[name]) is float and record[name] > 0 for record in records for name in losses)
    for record in records:
        total = record["loss/pairs"] + 0.5 * record["loss/conditions"] + record["loss/encoder"]
        assert record["loss/total"] == pytest.approx(total, rel=1e-5)
    evaluated = trainer.evaluate(Split.VAL)
    assert list(evaluated) == ["few_shot_accuracy", "time/evaluate_s"]
    assert all(type(value) is float for value in evaluated.values())
    assert json.loads(json.dumps(records[0] | evaluated)) == records[0] | evaluated


def test_without_labels_and_own_loss_there_is_the_pair_loss_alone(task: FewShotTask, configure: Configure):
    record = Trainer(task, configure(), CPU).train_epoch()
    assert record["loss/conditions"] == record["loss/encoder"] == 0
    assert record["loss/total"] == record["loss/pairs"]


def one_step(trainer: Trainer, task: FewShotTask, config: TrialConfig, lambda_: float) -> dict[str, Tensor]:
    """The weights after one step of AdamW on all of an epoch's pairs, from the formulas, in double precision."""
    featured = task.featured
    model = copy.deepcopy(trainer.model).double()
    generator = np.random.default_rng([config.train.seed, train_module.PAIRS_PURPOSE, 1])
    pairs = task.draw_pairs(config.pairs.pairs_per_epoch, generator)
    features = torch.tensor(featured.features).double()
    s_and_r = model(features[pairs.index_1], features[pairs.index_2])
    s, r = s_and_r.similarity_logits.sigmoid(), s_and_r.log_relevance.exp()
    p, y = (r * s).sum(dim=1), torch.tensor(pairs.same).double()
    loss = -(y * p.log() + (1 - y) * (1 - p).log()).mean()
    if lambda_:
        conditions = choose_conditions(
            config.conditions,
            featured.attributes[task.training_items],
            featured.certain[task.training_items],
            featured.attribute_names,
        )
        columns = conditions.attribute_index.numpy()
        one, other = (featured.attributes[index][:, columns] for index in pairs[:2])
        a = torch.tensor(one == other).double()
        c = torch.tensor(featured.certain[pairs.index_1] & featured.certain[pairs.index_2])[:, columns].double()
        s = s[:, : len(columns)]
        of_each = -(a * s.log() + (1 - a) * (1 - s).log())
        loss = loss + lambda_ * ((c * of_each).sum(dim=1) / (c.sum(dim=1) + 1e-6)).mean()
    loss.backward()
    rate, decay = config.train.learning_rate, config.train.weight_decay
    for weight in model.parameters():
        assert weight.grad is not None
        step = weight.grad / (weight.grad.abs() + 1e-8)  # of Adam's first step
        weight.data = weight.data * (1 - rate * decay) - rate * step
    return {name: value.float() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("lambda_", [0.0, 2.0])
@pytest.mark.parametrize("pairs_at_once", [8192, 100])
def test_a_full_batch_epoch_is_one_step_on_the_papers_loss_however_it_is_cut(
    task: FewShotTask, configure: Configure, monkeypatch: pytest.MonkeyPatch, lambda_: float, pairs_at_once: int
):
    labelled = {"supervision": "hybrid", "gate": "XNOR", "lambda": lambda_} if lambda_ else {}
    config = configure(batch_size=0, weight_decay=0.1, **labelled)
    trainer = Trainer(task, config, CPU)
    expected = one_step(trainer, task, config, lambda_)
    monkeypatch.setattr(train_module, "TRAINED_AT_ONCE", pairs_at_once)
    trainer.train_epoch()
    for name, weight in weights(trainer).items():
        torch.testing.assert_close(
            weight, expected[name], rtol=1e-4, atol=2e-6, msg=lambda text, n=name: f"{n}: {text}"
        )


def test_losses_of_an_epoch_do_not_depend_on_how_its_batch_is_cut(
    task: FewShotTask, configure: Configure, monkeypatch: pytest.MonkeyPatch
):
    config = configure(batch_size=0, supervision="supervised", gate="OR", lambda_=1.0)
    whole = Trainer(task, config, CPU).train_epoch()
    monkeypatch.setattr(train_module, "TRAINED_AT_ONCE", 100)
    cut = Trainer(task, config, CPU).train_epoch()
    for name in ("loss/total", "loss/pairs", "loss/conditions"):
        assert cut[name] == pytest.approx(whole[name], rel=1e-5)


@pytest.mark.parametrize(("batch_size", "num_steps"), [(0, 1), (64, 4), (100, 3), (256, 1), (1000, 1)])
def test_an_epoch_has_a_step_for_each_batch(task: FewShotTask, configure: Configure, batch_size: int, num_steps: int):
    trainer = Trainer(task, configure(batch_size=batch_size), CPU)
    trainer.train_epoch()
    state = trainer.state_dict()["optimiser"]["state"]
    assert {int(of_weight["step"]) for of_weight in state.values()} == {num_steps}


class NotedTask(FewShotTask):
    """The task itself, noting the pairs that it drew."""

    def draw_pairs(self, num_pairs: int, generator: np.random.Generator) -> Pairs:
        pairs = super().draw_pairs(num_pairs, generator)
        self.noted = [*getattr(self, "noted", []), [part.tolist() for part in pairs]]
        return pairs


@pytest.mark.parametrize(("pairs", "num_different"), [("fixed", 1), ("fresh", 3)])
def test_pairs_are_drawn_once_a_trial_or_once_an_epoch(
    featured: FeaturedItems, configure: Configure, pairs: str, num_different: int
):
    task = NotedTask(featured, seed=0)
    run(Trainer(task, configure(pairs=pairs), CPU), 3)
    assert len(task.noted) == 3
    assert len({json.dumps(drawn) for drawn in task.noted}) == num_different


@pytest.mark.parametrize("pairs", ["fixed", "fresh"])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    task: FewShotTask, configure: Configure, encoder: str, pairs: str
):
    config = configure(encoder=encoder, pairs=pairs, **EVERYTHING)
    whole = Trainer(task, config, CPU)
    history = run(whole, 4)

    first = Trainer(task, config, CPU)
    records = run(first, 2)
    state = saved(first.state_dict())
    torch.manual_seed(12345)
    second = Trainer(task, config, CPU)
    second.load_state_dict(state)
    records += run(second, 2)

    assert records == history
    assert second.epoch == 4
    assert equal(weights(second), weights(whole))
    assert not equal(weights(first), weights(whole))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_same_seed_gives_the_same_numbers_whatever_was_drawn_before(
    task: FewShotTask, configure: Configure, encoder: str
):
    config = configure(encoder=encoder, **EVERYTHING)
    torch.manual_seed(1)
    one = run(Trainer(task, config, CPU), 2)
    torch.manual_seed(2)
    trainer = Trainer(task, config, CPU)
    torch.rand(77)
    np.random.default_rng().random(7)
    assert run(trainer, 2) == one
    assert run(Trainer(task, configure(encoder=encoder, **EVERYTHING | {"seed": 1}), CPU), 2) != one


def test_another_seed_has_other_pairs_too(featured: FeaturedItems, configure: Configure):
    task = NotedTask(featured, seed=0)
    for seed in (0, 1):
        Trainer(task, configure(seed=seed), CPU).train_epoch()
    assert task.noted[0] != task.noted[1]


def test_evaluating_does_not_change_training(task: FewShotTask, configure: Configure):
    config = configure(encoder="proxynca", **EVERYTHING)
    evaluated, quiet = Trainer(task, config, CPU), Trainer(task, config, CPU)
    run(evaluated, 3)
    for _ in range(3):
        quiet.train_epoch()
    assert equal(weights(evaluated), weights(quiet))


def test_dropout_plays_a_part_in_training_and_none_in_evaluation(task: FewShotTask, configure: Configure):
    with_dropout, without = (Trainer(task, configure(dropout=dropout), CPU) for dropout in (0.5, 0.0))
    assert with_dropout.train_epoch()["loss/pairs"] != without.train_epoch()["loss/pairs"]
    with_dropout.model.load_state_dict(without.model.state_dict())
    with_dropout.model.train()
    assert with_dropout.evaluate(Split.VAL)["few_shot_accuracy"] == without.evaluate(Split.VAL)["few_shot_accuracy"]


def test_training_does_not_look_at_other_splits(planted: Plant, configure: Configure):
    def spoil(arrays: dict[str, np.ndarray]) -> None:
        others = arrays["classes"] % 2 == 1
        arrays["features"][others] *= -50
        arrays["attributes"][others] ^= True
        arrays["certain"][others] ^= True

    config = configure(encoder="proxynca", **EVERYTHING)
    clean, spoilt = (
        Trainer(FewShotTask(planted(change=change), seed=0), config, CPU) for change in (lambda _: None, spoil)
    )
    for trainer in (clean, spoilt):
        trainer.train_epoch()
    assert equal(weights(clean), weights(spoilt))
    assert clean.model.condition_names == spoilt.model.condition_names


def test_uncertain_attributes_play_no_part_in_training(planted: Plant, configure: Configure):
    def flip(arrays: dict[str, np.ndarray]) -> None:
        arrays["attributes"] ^= ~arrays["certain"]

    config = configure(supervision="supervised", gate="XNOR", lambda_=1.0)
    clean, flipped = (
        run(Trainer(FewShotTask(planted(change=change), seed=0), config, CPU), 2) for change in (lambda _: None, flip)
    )
    assert clean == flipped


def test_labels_reach_their_own_conditions_only(task: FewShotTask, configure: Configure):
    """With a tiny learning rate the first step's direction is the gradient's: lambda moves only labelled rows of W1."""
    moved = []
    for lambda_ in (0.0, 5.0):
        config = configure(supervision="hybrid", gate="XNOR", lambda_=lambda_, batch_size=0, weight_decay=0.0)
        trainer = Trainer(task, config, CPU)
        trainer.train_epoch()
        moved.append({key: value["exp_avg"] for key, value in trainer.state_dict()["optimiser"]["state"].items()})
    of_similarity = (moved[1][0] - moved[0][0]).abs().amax(dim=1)
    assert len(of_similarity) == 6
    assert (of_similarity[:3] > 1e-4).all()
    assert (of_similarity[3:] < 1e-7).all()
    assert torch.allclose(moved[1][2], moved[0][2], atol=1e-7)  # the relevances'


def test_proxies_move_faster_by_their_factor(task: FewShotTask, configure: Configure):
    config = configure(encoder="proxynca", batch_size=0, learning_rate=1e-3, proxy_learning_rate_factor=50.0)
    trainer = Trainer(task, config, CPU)
    before = weights(trainer)
    trainer.train_epoch()
    moved = {name: (weight - before[name]).abs() for name, weight in weights(trainer).items()}
    # Adam's first step moves every weight by its learning rate.
    assert moved["encoder.proxies"].median().item() == pytest.approx(0.05, rel=1e-2)
    assert moved["encoder.embedding.weight"].median().item() == pytest.approx(0.001, rel=1e-2)
    assert moved["similarity.similarity.weight"].median().item() == pytest.approx(0.001, rel=1e-2)


def test_proxies_without_a_loss_stay_where_they_are_under_weight_decay(task: FewShotTask, configure: Configure):
    trainer = Trainer(task, configure(encoder="proxynca", proxy_loss_weight=0.0, weight_decay=0.1), CPU)
    before = weights(trainer)
    trainer.train_epoch()
    after = weights(trainer)
    assert torch.equal(after["encoder.proxies"], before["encoder.proxies"])
    assert not torch.equal(after["encoder.embedding.weight"], before["encoder.embedding.weight"])


def test_proxies_are_those_of_the_training_classes(featured: FeaturedItems, configure: Configure):
    task = FewShotTask(featured, seed=0, train_on=(Split.TRAIN, Split.VAL))
    encoder = Trainer(task, configure(encoder="proxynca"), CPU).model.encoder
    assert isinstance(encoder, ProxyNCAEncoder)
    assert len(encoder.proxies) == 18


def test_proxies_find_the_clusters_of_their_classes(task: FewShotTask, configure: Configure):
    config = configure(encoder="proxynca", temperature=1 / 9, proxy_learning_rate_factor=10.0)
    trainer = Trainer(task, config, CPU)
    history = [trainer.train_epoch() for _ in range(25)]
    assert history[-1]["loss/encoder"] < 0.3 * history[0]["loss/encoder"]
    encoder = trainer.model.encoder
    assert isinstance(encoder, ProxyNCAEncoder)
    items = task.training_items
    with torch.inference_mode():
        embeddings = trainer.model.eval().embed(torch.tensor(task.featured.features[items]))
        cosines = torch.nn.functional.normalize(embeddings) @ torch.nn.functional.normalize(encoder.proxies).T
    assert (cosines.argmax(dim=1).numpy() == task.featured.classes[items] // 2).mean() > 0.95


def area_under_curve(scores: np.ndarray, labels: np.ndarray) -> float:
    """The share of (positive, negative) couples that are scored in the right order."""
    difference = scores[labels][:, None] - scores[~labels][None]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


RULES = {"XNOR": np.equal, "XOR": np.not_equal, "AND": np.logical_and}


@pytest.mark.parametrize("gate", ["XNOR", "AND_XOR"])
def test_planted_conditions_are_found_again_by_name(task: FewShotTask, configure: Configure, gate: str):
    joint = "absdiff" if gate == "XNOR" else "concat"
    config = configure(
        supervision="supervised", gate=gate, lambda_=10.0, num_conditions=14, pairs_per_epoch=2048, joint=joint
    )
    trainer = Trainer(task, config, CPU)
    for _ in range(15):
        trainer.train_epoch()
    featured, model = task.featured, trainer.model.eval()
    index_1, index_2 = np.random.default_rng(0).choice(featured.splits[Split.TEST], size=(2, 1500))
    features = torch.tensor(featured.features)
    with torch.inference_mode():
        similarity = model(features[index_1], features[index_2]).similarity.numpy()
    labelled = [name for name in model.condition_names if not name.startswith("unsupervised")]
    assert len(labelled) == (7 if gate == "XNOR" else 14)
    assert not any("(a3)" in name for name in labelled)  # never certain
    for m, name in enumerate(labelled):
        rule, attribute = name.removesuffix(")").split("(")
        bits = featured.attributes[:, featured.attribute_names.index(attribute)]
        truth = RULES[rule](bits[index_1], bits[index_2])
        if not (joint == "concat" and rule == "XOR"):  # no linear layer on [h1, h2] is an exclusive or
            assert area_under_curve(similarity[:, m], truth) > 0.9, name


@pytest.mark.parametrize("encoder", ENCODERS)
def test_training_learns_the_classes_of_unseen_items(task: FewShotTask, configure: Configure, encoder: str):
    trainer = Trainer(task, configure(encoder=encoder, embedding_dim=16) if encoder == "proxynca" else configure(), CPU)
    before = trainer.evaluate(Split.VAL)["few_shot_accuracy"]
    history = run(trainer, 15)
    assert history[-1]["loss/pairs"] < 0.5 * math.log(2)
    assert history[-1]["few_shot_accuracy"] > max(0.8, before)


def test_shared_read_only_arrays_are_trained_on_without_a_copy_or_a_warning(
    task: FewShotTask, featured: FeaturedItems, configure: Configure
):
    arrays = [featured.features, featured.classes, featured.attributes, featured.certain, *featured.splits.values()]
    assert not any(array.flags.writeable for array in arrays)
    before = [array.copy() for array in arrays]
    run(Trainer(task, configure(encoder="proxynca", **EVERYTHING), CPU), 1)
    assert all((array == copied).all() for array, copied in zip(arrays, before, strict=True))


def test_a_feature_that_is_no_number_shows_in_loss_and_metric(planted: Plant, configure: Configure):
    def spoil(arrays: dict[str, np.ndarray]) -> None:
        arrays["features"][0, 0] = math.nan

    (record,) = run(Trainer(FewShotTask(planted(change=spoil), seed=0), configure(pairs_per_epoch=0), CPU), 1)
    assert math.isnan(record["loss/total"])
    assert math.isnan(record["few_shot_accuracy"])


GOLDEN = Path(__file__).parent / "golden" / "history.json"


@pytest.mark.parametrize("encoder", ENCODERS)
def test_history_is_the_recorded_one(task: FewShotTask, configure: Configure, encoder: str):
    """Record it again: RECORD_GOLDEN=1 .venv/bin/python -m pytest tests/pan_model/test_train.py -k recorded."""
    history = run(Trainer(task, configure(encoder=encoder, learning_rate=1e-3, **EVERYTHING), CPU), 3)
    recorded = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if os.environ.get("RECORD_GOLDEN"):
        GOLDEN.write_text(json.dumps(recorded | {encoder: history}, indent=2, sort_keys=True) + "\n")
        pytest.skip(f"recorded in {GOLDEN}")
    assert len(history) == len(recorded[encoder])
    for record, golden in zip(history, recorded[encoder], strict=True):
        accuracy = golden.pop("few_shot_accuracy")
        # One query in 7500 that falls on the other side of a tie is no change.
        assert record.pop("few_shot_accuracy") == pytest.approx(accuracy, abs=1e-3)
        assert record == pytest.approx(golden, rel=1e-4)
