from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from search_spaces import SPACES
from search_spaces.pan import SearchSpace
from study.config import Sampler, Scheduler, StudyConfig
from study.dry_run import describe_plan, describe_space

Make = Callable[..., StudyConfig]


def suggest(trial: Any) -> dict[str, Any]:
    config = {
        "kind": trial.suggest_categorical("kind", ("a", "b", "c")),
        "size": trial.suggest_int("size", 1, 512, log=True),
    }
    if config["kind"] != "a":
        config["rate"] = trial.suggest_float("rate", 0.001, 1.0)
    return config


FIRST = {"kind": "a", "size": 3}
SPACE = SearchSpace(suggest=suggest, first_trials=(FIRST,), paper_setting=FIRST, num_trials=2, max_epochs=1)


def test_a_space_is_one_line_a_parameter_then_its_first_trials():
    lines = describe_space(SPACE)
    assert sorted(lines[:3]) == [
        "  kind: a | b | c",
        "  rate: 0.001 to 1 (when kind is b or c)",
        "  size: 1 to 512, log",
    ]
    assert lines[3:] == ["  first trial 1: kind a, size 3"]


@pytest.mark.parametrize("dataset", SPACES)
def test_every_parameter_of_every_space_is_shown(dataset: str):
    lines = describe_space(SPACES[dataset])
    assert "  num_conditions: 1 to 512, log" in lines
    assert "  lambda: 1e-05 to 10, log (when supervision is hybrid or supervised)" in lines
    assert any(line.startswith("  gate: AND | OR | ") and "(when supervision is" in line for line in lines)
    for name, condition in (
        ("temperature", "encoder is proxynca"),
        ("whitening_shrinkage", "normalisation is whiten"),
        ("first_weights", "joint is absdiff or product"),
        ("classes_per_step", "pairs is balanced"),
    ):
        assert any(line.startswith(f"  {name}: ") and line.endswith(f" (when {condition})") for line in lines)
    assert sum(line.startswith("  first trial ") for line in lines) == len(SPACES[dataset].first_trials)


def test_the_same_is_said_every_time():
    assert describe_space(SPACE) == describe_space(SPACE)


def test_optuna_is_as_talkative_after_as_before():
    before = optuna.logging.get_verbosity()
    describe_space(SPACE)
    assert optuna.logging.get_verbosity() == before


def test_the_resolved_study_is_shown(study_config: Make, tmp_path: Path):
    config = study_config(
        datasets=("demo", "cub"),
        seed=5,
        sampler=Sampler.RANDOM,
        scheduler=Scheduler.NONE,
        reduction_factor=2.5,
        cpus_per_trial=2,
        gpus_per_trial=0.25,
        num_trials=7,
        max_epochs=8,
    )
    lines = describe_plan(config)
    assert lines[0] == f"study demo-cub in {tmp_path}/results/demo-cub, seed 5"
    text = " ".join(lines)
    for said in (
        "sampler random",
        "scheduler none",
        "reduction factor 2.5",
        "regime frozen",
        "CPUs a trial 2",
        "GPUs a trial 0.25",
    ):
        assert said in text
    assert f"features are cached in {tmp_path}/cache" in lines
    assert "demo: 7 trials of at most 8 epochs, stopped at 3 at the earliest, for few_shot_accuracy (max)" in lines
    assert "  backbone resnet18, weights random, 64 px" in lines
    assert "  backbone resnet50, weights imagenet, 224 px" in lines
    assert sum(line.startswith("  first trial 1: ") for line in lines) == 2


def test_it_is_said_whether_the_data_are_there(study_config: Make, tmp_path: Path):
    config = study_config(datasets=("demo", "cub"))
    lines = describe_plan(config)
    assert f"  data {tmp_path}/data/demo: will be drawn there" in lines
    assert f"  data {tmp_path}/data/CUB_200_2011: not there: a run would stop here" in lines
    (config.data_root / "demo").mkdir(parents=True)
    assert f"  data {tmp_path}/data/demo: found" in describe_plan(study_config())


def test_nothing_is_written(study_config: Make, tmp_path: Path):
    describe_plan(study_config())
    assert list(tmp_path.iterdir()) == []
