"""What every dataset does: a row of the registry is tested by being there, with a drawer of a small folder of it."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.samplers import RandomSampler

from pan_model.config import TrialConfig
from pan_model.data.featured_items import FeaturedItems
from pan_model.data.fingerprint import fingerprint
from pan_model.data.splits import Split
from pan_model.datasets import DATASETS
from pan_model.errors import UserError
from pan_model.scoring.baselines.untrained import untrained_baselines
from pan_model.tasks import few_shot
from pan_model.tasks.pairs import Pairs, PairSampling, PairsConfig
from pan_model.tasks.task import Task
from pan_model.training.trainer import Trainer
from search_spaces import SPACES, SearchSpace
from study.trials.preparation import PreparedDataset

Case = Any
"""See conftest.py."""

MARKED = "a word that no message has by chance"


@pytest.fixture(scope="module")
def task(case: Case, prepared: PreparedDataset) -> Task:
    return case.row.make_task(prepared.featured, seed=0)


@pytest.fixture(autouse=True)
def few_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask a few questions of each split: what is shown here does not depend on their number."""
    for split in Split:
        monkeypatch.setitem(few_shot.NUM_EPISODES, split, 20)


@pytest.fixture
def copy(case: Case, tmp_path: Path) -> Path:
    """The drawn folder, to be damaged."""
    return Path(shutil.copytree(case.data_root, tmp_path / "data")) / case.row.folder


def one_line(error: pytest.ExceptionInfo[UserError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def test_registry_and_spaces_have_the_same_names():
    assert SPACES.keys() == DATASETS.keys(), "a dataset is a row of DATASETS and a row of SPACES"


def test_a_dataset_without_a_drawer_is_told_what_to_write_and_where(tmp_path: Path, find_drawer: Callable[..., Any]):
    with pytest.raises(
        pytest.fail.Exception, match=r"dataset cub has no drawer: write .*/cub\.py with a function draw"
    ):
        find_drawer("cub", DATASETS["cub"], tmp_path)


class TestReader:
    def test_gives_items_and_counts_what_it_leaves_out(self, case: Case):
        items = case.read()
        assert len(items) > 0
        assert len(set(items.image_names)) == len(items)
        assert len(set(items.attribute_names)) == len(items.attribute_names) > 0
        assert set(np.unique(items.classes)) == set(range(len(items.class_names)))
        assert items.certain.any(), "the drawn folder has labels"
        assert all(items.image_path(index).is_file() for index in range(len(items)))
        assert items.left_out == case.left_out, "LEFT_OUT of the drawer says what must be left out, by reason"

    def test_the_fingerprint_repeats_and_changes_with_a_label(self, case: Case, copy: Path):
        items = case.read()
        assert fingerprint(case.read(copy)) == fingerprint(items)
        flipped = items.attributes.copy()
        flipped[-1, -1] = ~flipped[-1, -1]
        assert fingerprint(replace(items, attributes=flipped)) != fingerprint(items)

    def test_splits_are_ascending_not_empty_and_disjoint_unless_the_drawer_says_why_not(self, case: Case):
        items = case.read()
        splits = case.row.split(items)
        assert splits.keys() == set(Split)
        for split, indices in splits.items():
            assert len(indices) > 0, split
            assert (np.diff(indices) > 0).all(), split
            assert 0 <= indices[0] <= indices[-1] < len(items)
        together = np.concatenate(list(splits.values()))
        assert (len(np.unique(together)) == len(together)) == (not case.shares_items)

    def test_what_is_selected_keeps_its_labels_and_relations(self, case: Case):
        items = case.read()
        keep = np.ones(len(items), dtype=bool)
        keep[[0, len(items) // 2]] = False
        kept = items.select(keep, MARKED)
        assert kept.left_out == {**items.left_out, MARKED: 2}
        assert (items.relations is None) == (kept.relations is None)
        again = items.select(np.arange(len(items)) > 0, "first").select(keep[1:], "second")
        if kept.relations is not None and again.relations is not None:
            assert kept.relations.content() == again.relations.content(), "one at a time or both at once"
        before, after = case.row.split(items), case.row.split(kept)
        for split in Split:
            names = {items.image_names[index] for index in before[split]}
            assert {kept.image_names[index] for index in after[split]} <= names, split

    def test_a_folder_that_is_not_there_is_named(self, case: Case, tmp_path: Path):
        if case.row.drawn:
            pytest.skip("is drawn where it is missing")
        with pytest.raises(UserError, match=case.row.folder) as error:
            case.read(tmp_path / case.row.folder)
        assert str(tmp_path / case.row.folder) in one_line(error)

    def test_an_empty_folder_is_named(self, case: Case, tmp_path: Path):
        (tmp_path / case.row.folder).mkdir()
        with pytest.raises(UserError, match=case.row.folder) as error:
            case.read(tmp_path / case.row.folder)
        assert str(tmp_path / case.row.folder) in one_line(error)

    def test_a_missing_image_is_named(self, case: Case, copy: Path):
        path = case.read(copy).image_path(1)
        path.unlink()
        with pytest.raises(UserError, match=path.name) as error:
            case.read(copy)
        assert str(path) in one_line(error)


class TestPreparation:
    def test_a_damaged_image_is_named_and_can_be_skipped(self, case: Case, copy: Path, tmp_path: Path):
        items = case.read(copy)
        items.image_path(0).write_bytes(b"no image")
        with pytest.raises(UserError, match=r"1 of \d+ images cannot be read") as error:
            case.prepare(copy.parent, tmp_path / "cache")
        assert str(items.image_path(0)) in one_line(error)
        skipped = case.prepare(copy.parent, tmp_path / "cache", skip_bad_images=True)
        assert skipped.left_out.items() >= {**case.left_out, "unreadable image": 1}.items()
        assert len(skipped.featured.features) == len(items) - 1

    def test_the_data_of_a_study_are_there(self, case: Case, prepared: PreparedDataset, task: Task):
        assert prepared.featured.feature_dim > 1
        assert prepared.left_out == {**case.left_out, **task.left_out}
        assert prepared.fingerprint == fingerprint(case.read())


class TestTask:
    def test_pairs_repeat_with_the_seed_and_are_of_training_items(self, task: Task):
        config = PairsConfig(pairs=PairSampling.FRESH, pairs_per_epoch=64, steps_per_epoch=2)
        first, again, other = (listed(task.draw_steps(config, np.random.default_rng(seed))) for seed in (0, 0, 1))
        assert first == again != other
        steps = task.draw_steps(config, np.random.default_rng(0))
        assert all(np.isin([step.index_1, step.index_2], task.training_items).all() for step in steps)
        assert set(task.training_items) == set(task.featured.splits[Split.TRAIN])
        assert {bool(same) for step in steps for same in step.same} == {True, False}

    def test_every_untrained_baseline_answers_in_finite_numbers(self, task: Task):
        for scorer in untrained_baselines(task).values():
            on_val = task.evaluate(scorer, Split.VAL)
            on_test = task.evaluate_fully(scorer, Split.TEST)
            assert {task.objective.name} <= on_val.keys() <= on_test.keys()
            for scores in (*on_val.values(), *on_test.values()):
                assert len(scores) > 0
                assert np.isfinite(scores).all()

    def test_the_same_seed_asks_the_same_questions(self, case: Case, task: Task, prepared: PreparedDataset):
        again = case.row.make_task(prepared.featured, seed=0)
        scorer = next(iter(untrained_baselines(task).values()))
        first, second = (asked.evaluate(scorer, Split.VAL)[task.objective.name] for asked in (task, again))
        assert first.tolist() == second.tolist()

    def test_two_epochs_train_with_every_encoder_and_never_touch_what_only_test_has(
        self, case: Case, prepared: PreparedDataset
    ):
        for config in one_trial_an_encoder(case.space()):
            trained, poisoned = (
                train(case, config, featured) for featured in (prepared.featured, without_test(prepared.featured))
            )
            assert trained == poisoned, "other features and labels of test items, other training"
            assert all(np.isfinite(value) for record in trained for value in record.values())


class TestSpace:
    def test_first_trials_and_paper_setting_lie_in_the_space_and_come_back_as_they_were_written(self, case: Case):
        default = case.space()
        for space in (default, default.among(default.supported)):
            study = optuna.create_study(sampler=RandomSampler(seed=0))
            written = [*space.first_trials, space.paper_setting]
            for params in written:
                study.enqueue_trial(params)
            for params in written:
                trial = study.ask()
                config = space.suggest(trial)  # a value out of its range would warn, and a warning is an error
                assert trial.params == params
                TrialConfig.from_flat(config | {"max_epochs": space.max_epochs, "seed": 0})

    def test_the_paper_setting_is_supervised_and_a_configuration_by_itself(self, case: Case):
        space = case.space()
        assert space.paper_setting["supervision"] == "supervised"
        TrialConfig.from_flat({**space.paper_setting, "pairs_per_epoch": 0, "max_epochs": 1, "seed": 0})

    def test_a_study_has_trials_and_epochs(self, case: Case):
        assert case.space().num_trials >= 1
        assert case.space().max_epochs >= 1


def listed(steps: list[Pairs]) -> list[list[list[Any]]]:
    return [[part.tolist() for part in step] for step in steps]


def one_trial_an_encoder(space: SearchSpace) -> Iterator[TrialConfig]:
    """The first trial of each supported encoder, a random one where there is none, of two epochs."""
    for name in space.supported:
        alone = space.among([name])
        study = optuna.create_study(sampler=RandomSampler(seed=0))
        if alone.first_trials:
            study.enqueue_trial(alone.first_trials[0])
        yield TrialConfig.from_flat(alone.suggest(study.ask()) | {"max_epochs": 2, "seed": 0})


def without_test(featured: FeaturedItems) -> FeaturedItems:
    """The same items, but those that only test has are made other ones: no numbers for features, labels turned."""
    only_test = np.setdiff1d(featured.splits[Split.TEST], featured.items_of((Split.TRAIN, Split.VAL)))
    features, attributes = featured.features.copy(), featured.attributes.copy()
    features[only_test] = np.nan
    attributes[only_test] = ~attributes[only_test]
    return replace(featured, features=features, attributes=attributes)


def train(case: Case, config: TrialConfig, featured: FeaturedItems) -> list[dict[str, float]]:
    trainer = Trainer(case.row.make_task(featured, seed=0), config, torch.device("cpu"))
    records = [trainer.train_epoch() | trainer.evaluate(Split.VAL).means() for _ in range(2)]
    return [{key: value for key, value in record.items() if not key.startswith("time/")} for record in records]
