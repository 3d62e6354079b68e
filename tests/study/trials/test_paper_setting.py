"""The paper's setting as a baseline: which epoch, trained on what, and when the cache answers for it."""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

import study.trials.paper_setting
from pan_model.config import TrialConfig
from pan_model.data.splits import Split
from pan_model.errors import UserError
from pan_model.scoring.pan_scorer import pan_scorer
from pan_model.tasks.few_shot import FewShotTask
from pan_model.training.trainer import Trainer
from study.trials.paper_setting import (
    ChosenEpochs,
    PaperSetting,
    choose_epochs,
    count_pairs,
    paper_setting_of_final,
    paper_setting_of_search,
    train_on_train_and_val,
)
from study.trials.preparation import PreparedDataset

METRIC = "few_shot_accuracy"
EPOCHS = 6
SETTING: dict[str, Any] = {
    "encoder": "siamese",
    "supervision": "supervised",
    "gate": "XNOR",
    "lambda": 0.1,
    "num_conditions": 4,
    "normalisation": "standardise",
    "pairs": "fixed",
    "steps_per_epoch": 1,
    "learning_rate": 1e-2,
    "patience": 12,
}
Train = Callable[..., PaperSetting]


@pytest.fixture
def shown() -> list[str]:
    """A line for every epoch that is trained."""
    return []


@pytest.fixture
def search(prepared: PreparedDataset, tmp_path: Path, shown: list[str]) -> Train:
    """The baseline of a search, from the test's own cache."""

    def train(
        data: PreparedDataset = prepared, *, cache: Path = tmp_path, epochs: int = EPOCHS, **changes: Any
    ) -> PaperSetting:
        setting = SETTING | {"pairs_per_epoch": 8192, "max_epochs": epochs} | changes
        return paper_setting_of_search(data, setting, cache_dir=cache, show=lambda line: shown.append(line()))

    return train


@pytest.fixture
def final(prepared: PreparedDataset, tmp_path: Path, shown: list[str]) -> Callable[..., PaperSetting]:
    """The baseline of a final training, with fewer epochs than the paper's."""

    def train(epochs: int = EPOCHS) -> PaperSetting:
        return paper_setting_of_final(
            prepared,
            SETTING,
            paper_epochs=epochs,
            cache_dir=tmp_path,
            show=lambda line: shown.append(line()),
            announce=lambda _epochs, _epoch_s: None,
        )

    return train


def files(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob("*") if path.is_file())


def weights(model: torch.nn.Module) -> list[bytes]:
    return [name.encode() + value.numpy().tobytes() for name, value in model.state_dict().items()]


def configured(**changes: Any) -> TrialConfig:
    return TrialConfig.from_flat(SETTING | {"pairs_per_epoch": 8192, "max_epochs": EPOCHS, "seed": 0} | changes)


def train_each_epoch(
    prepared: PreparedDataset, config: TrialConfig, *train_on: Split
) -> list[tuple[float, list[bytes]]]:
    """After every epoch, the value on val and the weights, by a loop of our own."""
    task = FewShotTask(prepared.featured, seed=0, train_on=train_on)
    trainer = Trainer(task, config, torch.device("cpu"))
    seen: list[tuple[float, list[bytes]]] = []
    for _ in range(config.train.max_epochs):
        trainer.train_epoch()
        scorer = pan_scorer(trainer.model, trainer.task, Split.VAL, trainer.device)
        seen.append((float(task.evaluate(scorer, Split.VAL)[METRIC].mean()), weights(trainer.model)))
    return seen


def best_of(values: list[float]) -> int:
    return values.index(max(values)) + 1


def test_in_a_search_it_is_the_epoch_that_is_best_on_val(search: Train, prepared: PreparedDataset, shown: list[str]):
    paper = search()
    epochs = train_each_epoch(prepared, configured(), Split.TRAIN)
    assert paper.epoch == best_of([value for value, _ in epochs])
    assert weights(paper.model) == epochs[paper.epoch - 1][1]
    assert paper.config == configured()
    assert shown == [f"baseline paper_setting: epoch {epoch}/{EPOCHS}" for epoch in range(1, EPOCHS + 1)]


def test_val_is_looked_at_so_often_at_most(search: Train, prepared: PreparedDataset, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(study.trials.paper_setting, "NUM_EVALUATIONS", 3)
    paper = search(epochs=7)
    epochs = train_each_epoch(prepared, configured(max_epochs=7), Split.TRAIN)
    looks = (2, 5, 7)
    assert paper.epoch == looks[best_of([epochs[epoch - 1][0] for epoch in looks]) - 1]
    assert weights(paper.model) == epochs[paper.epoch - 1][1]


class TimedTask(FewShotTask):
    """A task that notes at which of its evaluations on val it is, and gives them these values."""

    values: ClassVar[list[float]] = []
    looks = 0

    def evaluate(self, scorer: Any, split: Split) -> Any:
        type(self).looks += 1
        return {METRIC: np.array([self.values.pop(0)])} if self.values else super().evaluate(scorer, split)

    def scored_items(self, split: Split) -> Any:
        return self.featured.splits[split]


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> type[TimedTask]:
    """The demo's task, which notes its looks."""
    monkeypatch.setattr("pan_model.tasks.few_shot.FewShotTask", TimedTask)  # the registry looks it up by name
    monkeypatch.setattr(TimedTask, "looks", 0)
    monkeypatch.setattr(TimedTask, "values", [])
    return TimedTask


@pytest.mark.parametrize(("epochs", "looks"), [(1, 1), (19, 19), (20, 20), (39, 20), (59, 20), (100, 20)])
def test_there_are_twenty_looks_however_many_epochs(search: Train, timed: type[TimedTask], epochs: int, looks: int):
    search(epochs=epochs)
    assert timed.looks == looks


def test_the_last_epoch_is_always_looked_at(search: Train, timed: type[TimedTask]):
    timed.values = [n / 20 for n in range(20)]
    assert search(epochs=59).epoch == 59


def test_an_epoch_without_a_finite_value_is_never_the_best(search: Train, timed: type[TimedTask]):
    timed.values = [math.nan, 0.25, math.inf]
    assert search(epochs=3).epoch == 2


@pytest.mark.parametrize("kind", ["search", "final"])
def test_no_finite_value_on_val_is_refused(
    request: pytest.FixtureRequest, timed: type[TimedTask], tmp_path: Path, kind: str
):
    timed.values = [math.nan, math.inf, -math.inf]
    rule = f"baseline paper_setting: {METRIC} on val must be a finite number in at least one epoch, got none in 3"
    with pytest.raises(UserError, match=re.escape(rule)):
        request.getfixturevalue(kind)(epochs=3)
    assert files(tmp_path) == []


def test_in_the_end_it_is_trained_as_long_on_train_and_val_with_all_the_paper_s_pairs(
    final: Train, prepared: PreparedDataset, tmp_path: Path
):
    paper = final()
    chosen = configured(pairs_per_epoch=0)
    assert paper.epoch == best_of([value for value, _ in train_each_epoch(prepared, chosen, Split.TRAIN)])
    again = configured(pairs_per_epoch=0, max_epochs=paper.epoch)
    assert paper.config == again
    assert weights(paper.model) == train_each_epoch(prepared, again, Split.TRAIN, Split.VAL)[-1][1]
    assert len(files(tmp_path)) == 2


def test_in_the_end_it_has_no_more_epochs_than_so_many_pairs(
    final: Train, prepared: PreparedDataset, monkeypatch: pytest.MonkeyPatch, shown: list[str]
):
    pairs = count_pairs(FewShotTask(prepared.featured, seed=0), configured(pairs_per_epoch=0))
    assert pairs == 2 * (10 * 28 // 2)  # half of all positives, and as many negatives
    monkeypatch.setattr(study.trials.paper_setting, "FINAL_MAX_PAIRS", 3 * pairs + 1)
    monkeypatch.setattr(study.trials.paper_setting, "FINAL_MIN_EPOCHS", 1)
    paper = final(epochs=4000)
    assert paper.max_epochs == 3
    assert shown[2] == "baseline paper_setting: epoch 3/3"
    monkeypatch.setattr(study.trials.paper_setting, "FINAL_MIN_EPOCHS", 2)
    monkeypatch.setattr(study.trials.paper_setting, "FINAL_MAX_PAIRS", 1)
    assert final(epochs=4000).max_epochs == 2, "so many are never cut"


def test_pairs_of_a_graph_are_those_that_carry_no_message(prepared: PreparedDataset):
    task, config = FewShotTask(prepared.featured, seed=0), configured(encoder="graph", pairs_per_epoch=0)
    learning, _ = task.split_edges(0)
    (step,) = learning.draw_steps(config.pairs, np.random.default_rng(0))
    assert count_pairs(task, config) == len(step.same)


def test_in_the_end_no_epoch_is_tried_after_so_many_looks_in_vain(final: Train, timed: type[TimedTask]):
    timed.values = [0.1, 0.5, 0.4, math.nan, 0.5, 0.1, 0.2, 0.9]
    assert final(epochs=20).epoch == 2
    assert timed.values == [0.9]
    assert timed.looks == 7


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_training_that_begins_before_the_epochs_are_chosen_is_the_same(
    prepared: PreparedDataset, tmp_path: Path, shown: list[str], schedule: str
):
    def train(cache: str, *epochs: tuple[int, bool]) -> PaperSetting:
        return train_on_train_and_val(
            prepared,
            SETTING | {"schedule": schedule},
            [(ChosenEpochs(number, 9), is_final) for number, is_final in epochs],
            cache_dir=tmp_path / cache,
            show=lambda line: shown.append(line()),
        )

    whole = train("whole", (5, True))
    shown.clear()
    begun = train("begun", (2, False), (3, False), (5, True))
    assert weights(begun.model) == weights(whole.model)
    assert begun[:1] == whole[:1]
    assert begun[3:] == whole[3:] == (5, 9)
    assert len(shown) == 5, "no epoch is trained twice"


def test_better_epochs_are_announced_as_they_are_found(
    prepared: PreparedDataset, tmp_path: Path, timed: type[TimedTask]
):
    timed.values = [0.1, 0.5, 0.4, 0.6, 0.5, 0.2]
    found: list[ChosenEpochs] = []
    chosen = choose_epochs(
        prepared,
        SETTING,
        paper_epochs=EPOCHS,
        cache_dir=tmp_path,
        show=lambda _line: None,
        announce=lambda _epochs, _epoch_s: None,
        improved=found.append,
    )
    assert found == [ChosenEpochs(1, 6), ChosenEpochs(2, 6), ChosenEpochs(4, 6)]
    assert chosen == ChosenEpochs(4, 6)


def test_a_search_looks_to_its_end(search: Train, timed: type[TimedTask]):
    timed.values = [0.5, *[0.1] * 18, 0.9]
    assert search(epochs=20).epoch == 20


def test_on_train_and_on_train_and_val_are_two_models_of_one_setting(final: Train, tmp_path: Path):
    assert final(epochs=1).epoch == 1  # so that nothing but the splits differs
    assert len(files(tmp_path)) == 2


@pytest.mark.parametrize("kind", ["search", "final"])
def test_the_second_time_it_comes_from_the_cache(
    request: pytest.FixtureRequest, prepared: PreparedDataset, tmp_path: Path, shown: list[str], kind: str
):
    train: Train = request.getfixturevalue(kind)
    first = train()
    written = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files(tmp_path)}
    assert shown
    assert all(path.parent == tmp_path / "paper_setting" for path in written)
    shown.clear()
    second = train()
    assert shown == []
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files(tmp_path)} == written
    assert (second.epoch, second.config, weights(second.model)) == (first.epoch, first.config, weights(first.model))
    task = FewShotTask(prepared.featured, seed=1)
    scores = [
        task.evaluate_fully(pan_scorer(paper.model, task, Split.TEST, paper.device), Split.TEST)
        for paper in (first, second)
    ]
    assert {name: questions.tolist() for name, questions in scores[0].items()} == {
        name: questions.tolist() for name, questions in scores[1].items()
    }


def test_it_is_the_same_wherever_it_is_trained(search: Train, tmp_path: Path):
    one = search()
    torch.rand(7)  # the state of the process does not count
    assert weights(search(cache=tmp_path / "other").model) == weights(one.model)


@pytest.mark.parametrize(
    ("changes", "flags"),
    [
        ({"fingerprint": f"sha256:{'00' * 32}"}, {}),
        ({"features": {"weights_sha256": "00" * 32}}, {}),
        ({"features": {"backbone": "resnet34"}}, {}),
        ({"features": {"image_size": 32}}, {}),
        ({}, {"learning_rate": 2e-2}),
        ({}, {"gate": "OR"}),
        ({}, {"epochs": 2}),
    ],
)
def test_other_data_features_or_settings_are_another_baseline(
    search: Train, prepared: PreparedDataset, tmp_path: Path, changes: dict[str, Any], flags: dict[str, Any]
):
    flags = {"epochs": 1} | flags
    search(epochs=1)
    features = prepared.features | changes.get("features", {})
    search(replace(prepared, **(changes | {"features": features})), **flags)
    assert len(files(tmp_path)) == 2


def test_where_the_weights_came_from_and_what_was_left_out_does_not_count(
    search: Train, prepared: PreparedDataset, tmp_path: Path, shown: list[str]
):
    search(epochs=1)
    features = prepared.features | {"weights": "copy.pth"}
    search(replace(prepared, features=features, left_out={"no attributes": 1}, from_cache=False), epochs=1)
    assert (len(files(tmp_path)), len(shown)) == (1, 1)


def test_without_labels_it_is_the_same_setting_unsupervised(search: Train, prepared: PreparedDataset):
    certain = prepared.featured.certain.copy()
    certain[prepared.featured.splits[Split.TRAIN]] = False
    unlabelled = replace(prepared, featured=replace(prepared.featured, certain=certain))
    supervised = SETTING | {"pairs_per_epoch": 8192, "max_epochs": 1, "seed": 0}
    without = {key: value for key, value in supervised.items() if key not in {"gate", "lambda"}}
    for data, config in ((prepared, supervised), (unlabelled, without | {"supervision": "unsupervised"})):
        assert search(data, epochs=1).config == TrialConfig.from_flat(config)


def content_of(file: Path) -> dict[str, Any]:
    return torch.load(file, weights_only=True)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda file: file.write_bytes(b""),
    "text": lambda file: file.write_text("no tensors at all"),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-100]),
    "cut short": lambda file: file.write_bytes(file.read_bytes()[:100]),
    "a list": lambda file: torch.save([1, 2], file),
    "an epoch alone": lambda file: torch.save({"epoch": 99}, file),
    "no weights": lambda file: torch.save(content_of(file) | {"epoch": 99, "model": {}}, file),
    "no optimiser": lambda file: torch.save(
        {"epoch": 99, "model": {k: v + 1 for k, v in content_of(file)["model"].items()}}, file
    ),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_file_is_trained_again(
    search: Train, tmp_path: Path, shown: list[str], damage: Callable[[Path], object]
):
    first = search()
    (file,) = files(tmp_path)
    damage(file)
    shown.clear()
    again = search()
    assert len(shown) == EPOCHS
    assert (again.epoch, weights(again.model)) == (first.epoch, weights(first.model))
    assert files(tmp_path) == [file]
    shown.clear()
    assert weights(search().model) == weights(first.model)
    assert shown == []


def test_a_cache_that_cannot_be_made_is_refused_before_training(search: Train, tmp_path: Path, shown: list[str]):
    (tmp_path / "paper_setting").touch()
    folder = re.escape(str(tmp_path / "paper_setting"))
    with pytest.raises(
        UserError, match=rf"paper_setting cannot be written to {folder}: .*; give another --cache-dir\."
    ):
        search()
    assert shown == []


def test_a_cache_that_turns_out_not_to_be_writable_is_refused_in_one_line(
    search: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for error in (OSError(28, "No space left on device"), RuntimeError("unexpected pos 64 vs 0")):
        monkeypatch.setattr(torch, "save", raiser(error))
        with pytest.raises(UserError, match=r"\.pt: cannot be written \(.*\); give another --cache-dir\."):
            search(epochs=1)
    assert files(tmp_path) == []


def raiser(error: Exception) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail
