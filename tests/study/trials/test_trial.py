"""A trial, epoch by epoch, without Ray: what it writes down, and how it fails."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pan_model.config import TrialConfig
from pan_model.data.featured_items import FeaturedItems
from pan_model.data.splits import Split
from pan_model.errors import UserError
from pan_model.scoring.baselines.untrained import NORMALISED, nearest_class_mean, normalised_features
from pan_model.scoring.pan_scorer import pan_scorer
from pan_model.tasks.few_shot import FewShotTask
from pan_model.training.trainer import Trainer
from pan_model.training.trial_cache import TrialCache
from study.trials.ledger import Status, TrialLedger, read_ledger
from study.trials.tensorboard_events import events_folder
from study.trials.trial import Step, TrialEnvironment, TrialRun, TrialSpec

METRIC = "few_shot_accuracy"
Ask = Callable[..., TrialSpec]
Run = Callable[..., list[Step]]


def test_a_trial_reports_every_epoch_and_writes_it_down(environment: TrialEnvironment, spec_of: Ask, run: Run):
    steps = run(spec_of(max_epochs=3), environment)
    trials = environment.results.dataset("demo").trials
    (record,) = read_ledger(trials)
    scores = TrialLedger(trials / "abc").question_scores()
    assert [float(np.mean(scores[step.epoch])) for step in steps] == [step.value for step in steps]
    assert [(step.epoch, step.done) for step in steps] == [(1, False), (2, False), (3, True)]
    assert [step.value for step in steps] == [epoch[METRIC] for epoch in record.history]
    assert (record.trial_id, record.number, record.status, record.error) == ("abc", 5, Status.COMPLETED, "")
    assert record.config == spec_of(max_epochs=3).config
    assert [epoch["epoch"] for epoch in record.history] == [1, 2, 3]
    assert {METRIC, f"train/{METRIC}", "loss/total", "time/train_s", "time/evaluate_s"} <= record.history[0].keys()
    assert len(list(events_folder(environment.results.dataset("demo"), record).iterdir())) == 1


@pytest.mark.parametrize("normalisation", [{}, {"normalisation": "whiten", "whitening_shrinkage": 0.5}])
def test_every_question_of_the_best_epoch_is_kept_beside_the_trial_s_own_baseline(
    environment: TrialEnvironment, featured: FeaturedItems, spec_of: Ask, run: Run, normalisation: dict[str, Any]
):
    spec = spec_of(max_epochs=3, **normalisation)
    run(spec, environment)
    (record,) = read_ledger(environment.results.dataset("demo").trials)
    epoch = record.best_epoch(FewShotTask.objective)
    assert epoch is not None
    assert record.best is not None
    assert record.best.epoch == epoch["epoch"]
    trainer = Trainer(FewShotTask(featured, seed=3), TrialConfig.from_flat(spec.config), torch.device("cpu"))
    while trainer.epoch < record.best.epoch:
        trainer.train_epoch()
    scorer = pan_scorer(trainer.model, trainer.task, Split.VAL, trainer.device)
    val, train = (trainer.task.evaluate(scorer, split)[METRIC] for split in (Split.VAL, Split.TRAIN))
    assert record.best.questions == {METRIC: val.tolist()}
    ledger = TrialLedger(environment.results.dataset("demo").trials / "abc")
    assert ledger.question_scores_at(record.best.epoch) == val.tolist()
    assert (epoch[METRIC], epoch[f"train/{METRIC}"]) == (val.mean(), train.mean())
    untrained = nearest_class_mean(normalised_features(trainer.task, trainer.config.normalisation))
    assert record.best.baselines == {NORMALISED: {METRIC: trainer.task.evaluate(untrained, Split.VAL)[METRIC].tolist()}}


def test_train_is_evaluated_in_epochs_that_are_the_best_so_far(environment: TrialEnvironment, spec_of: Ask, run: Run):
    run(spec_of(max_epochs=9), environment)
    (record,) = read_ledger(environment.results.dataset("demo").trials)
    values = [epoch[METRIC] for epoch in record.history]
    best_so_far = [value > max(values[:number], default=-1) for number, value in enumerate(values)]
    assert [f"train/{METRIC}" in epoch for epoch in record.history] == best_so_far
    assert not all(best_so_far)
    best = record.best_epoch(FewShotTask.objective)
    assert best is not None
    assert f"train/{METRIC}" in best


def test_a_trial_that_is_over_repeats_its_last_word(environment: TrialEnvironment, spec_of: Ask, run: Run):
    last = run(spec_of(), environment)[-1]
    before = {path: path.stat().st_mtime_ns for path in environment.results.root.rglob("*")}
    assert run(spec_of(), environment) == [last]
    assert {path: path.stat().st_mtime_ns for path in environment.results.root.rglob("*")} == before


def test_a_trial_that_was_stopped_stays_stopped(environment: TrialEnvironment, featured: FeaturedItems, spec_of: Ask):
    trial = TrialRun(spec_of(max_epochs=9), environment, featured)
    first = trial.step()
    TrialLedger(environment.results.dataset("demo").trials / "abc").close(Status.STOPPED)
    assert trial.step() == Step(epoch=1, value=first.value, done=True)
    trial.close()
    (record,) = read_ledger(environment.results.dataset("demo").trials)
    assert (record.status, len(record.history)) == (Status.STOPPED, 1)


def test_a_trial_leaves_the_settings_of_its_process(environment: TrialEnvironment, spec_of: Ask, run: Run):
    before = torch.get_num_threads(), torch.get_rng_state().tolist()
    run(spec_of(), replace(environment, num_threads=torch.get_num_threads() + 1))
    assert (torch.get_num_threads(), torch.get_rng_state().tolist()) == before
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_trial_stopped_before_its_first_epoch_says_nothing(
    environment: TrialEnvironment, featured: FeaturedItems, spec_of: Ask
):
    trial = TrialRun(spec_of(), environment, featured)
    TrialLedger(environment.results.dataset("demo").trials / "abc").close(Status.STOPPED)
    step = trial.step()
    assert (step.epoch, step.done, math.isnan(step.value)) == (0, True, True)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"encoder": "transformer"}, r"^encoder must be one of siamese, "),
        ({"colour": "red"}, r"^unknown key 'colour' in a configuration"),
        ({"gate": "PERHAPS"}, r"^gate must be one of AND, "),
    ],
)
def test_a_specification_has_valid_values(spec_of: Ask, changes: dict[str, Any], error: str):
    with pytest.raises(UserError, match=error):
        spec_of(**changes)


def test_a_specification_has_the_configuration_typed_and_flat(spec_of: Ask):
    spec = spec_of(max_epochs=3)
    assert spec.trial_config == TrialConfig.from_flat(spec.config)
    assert spec.trial_config.train.max_epochs == 3


def test_a_trial_that_raises_has_failed_and_says_why(
    environment: TrialEnvironment, featured: FeaturedItems, spec_of: Ask, run: Run
):
    few = replace(featured, splits={**featured.splits, Split.VAL: featured.splits[Split.VAL][:8]})
    (step,) = run(spec_of(), environment, few)
    assert (step.epoch, step.done, math.isnan(step.value)) == (0, True, True)
    (record,) = read_ledger(environment.results.dataset("demo").trials)
    assert record.status is Status.FAILED
    assert record.error.startswith("UserError: ")
    assert "\n" not in record.error
    assert (record.history, record.best) == ([], None)
    (again,) = run(spec_of(), environment, few)
    assert (again.done, math.isnan(again.value)) == (True, True)


def test_a_trial_whose_loss_is_nan_has_failed(
    environment: TrialEnvironment, featured: FeaturedItems, spec_of: Ask, run: Run
):
    broken = replace(featured, features=np.full_like(featured.features, np.nan))
    (step,) = run(spec_of(), environment, broken)
    assert step.done
    assert math.isnan(step.value)
    (record,) = read_ledger(environment.results.dataset("demo").trials)
    assert (record.status, record.history, record.best) == (Status.FAILED, [], None)
    assert record.error == "loss/total is nan in epoch 1"
    assert not (environment.results.dataset("demo").trials / "abc" / "checkpoint").exists()


def test_a_failed_trial_keeps_the_epochs_before(
    environment: TrialEnvironment, featured: FeaturedItems, spec_of: Ask, run: Run
):
    trial = TrialRun(spec_of(), environment, featured)
    trial.step()
    trial.close()
    file = environment.results.dataset("demo").trials / "abc" / "checkpoint" / "state.pt"
    saved = torch.load(file, weights_only=True)
    for weights in saved["state"]["model"].values():
        weights.fill_(math.nan)
    torch.save(saved, file)
    (step,) = run(spec_of(), environment)
    assert math.isnan(step.value)
    (record,) = read_ledger(environment.results.dataset("demo").trials)
    assert [epoch["epoch"] for epoch in record.history] == [1]
    assert record.best is not None
    assert record.best.epoch == 1
    assert record.status is Status.FAILED
    assert record.error.endswith("is nan in epoch 2")


@pytest.mark.parametrize("by_another", [False, True], ids=["stepped again", "run again"])
def test_a_disk_that_cannot_be_written_is_no_result(
    environment: TrialEnvironment, featured: FeaturedItems, spec_of: Ask, run: Run, by_another: bool
):
    trial = TrialRun(spec_of(), environment, featured)
    in_the_way = environment.results.dataset("demo").trials / "abc" / "checkpoint"
    in_the_way.touch()
    with pytest.raises(OSError, match="checkpoint"):
        trial.step()
    (record,) = read_ledger(environment.results.dataset("demo").trials)
    assert (record.status, record.history, record.best) == (Status.RUNNING, [], None)
    in_the_way.unlink()
    if not by_another:
        assert trial.step().epoch == 1
    trial.close()
    assert run(spec_of(), environment)[-1].done
    (record,) = read_ledger(environment.results.dataset("demo").trials)
    assert [epoch["epoch"] for epoch in record.history] == [1, 2]


def test_a_trial_in_the_process_of_others_leaves_what_it_leaves_alone(
    environment_of: Callable[[str], TrialEnvironment],
    featured: FeaturedItems,
    spec_of: Ask,
    run: Run,
    left: Callable[[TrialEnvironment], dict[str, Any]],
):
    whiten = {"normalisation": "whiten", "whitening_shrinkage": 0.5}
    run(spec_of(**whiten), environment_of("alone"))
    cache = TrialCache()
    for folder, changes in (("first", {}), ("second", {**whiten, "whitening_shrinkage": 0.1}), ("third", whiten)):
        trial = TrialRun(spec_of(**changes), environment_of(folder), featured, cache=cache)
        while not trial.step().done:
            pass
        trial.close()
    assert left(environment_of("third")) == left(environment_of("alone"))
