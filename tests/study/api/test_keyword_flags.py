"""Keyword arguments of Python as a command line."""

from pathlib import Path
from typing import Any

import pytest

from study.api.keyword_flags import to_words
from study.app.flags import read_final_config, read_study_config
from study.config.final_config import FinalConfig
from study.config.study_config import StudyConfig


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"num_trials": 4, "name": "my birds"}, ["--num-trials=4", "--name=my birds"]),
        ({"dataset": "cub"}, ["--dataset=cub"]),
        ({"datasets": ("cub", "inshop")}, ["--dataset", "cub", "inshop"]),
        ({"resume": True, "skip_bad_images": False}, ["--resume", "--no-skip-bad-images"]),
        ({"max_epochs": None}, []),
        ({"time_budget": 90}, ["--time-budget=90s"]),
        ({"time_budget_s": 1.5}, ["--time-budget=1.5s"]),
        ({"time_budget": "2h"}, ["--time-budget=2h"]),
        ({"try_": Path("a b.toml")}, ["--try=a b.toml"]),
        ({"try_file": Path("c.toml"), "config": "d.toml"}, ["--try=c.toml", "--config=d.toml"]),
        ({"fix": "gate=OR"}, ["--fix=gate=OR"]),
        ({"fix": ["gate=OR", "dropout=0"]}, ["--fix=gate=OR", "--fix=dropout=0"]),
        ({"fix": {"gate": "OR", "dropout": 0}}, ["--fix=gate=OR", "--fix=dropout=0"]),
        ({"range": {"lambda": (1e-4, 1)}}, ["--range=lambda=0.0001:1"]),
        ({"ranges": {"lambda": "1e-4:1"}}, ["--range=lambda=1e-4:1"]),
        ({"choices": {"gate": ["OR", "XNOR"]}}, ["--choices=gate=OR,XNOR"]),
        ({"no_such_flag": 1}, ["--no-such-flag=1"]),
    ],
)
def test_words_are_those_that_are_typed(flags: dict[str, Any], words: list[str]):
    assert to_words(StudyConfig, flags) == words


def test_values_read_back():
    config = read_study_config(
        to_words(
            StudyConfig,
            {
                "dataset": ["demo"],
                "executor": "serial",
                "fix": {"gate": "OR"},
                "range": {"lambda": (1e-3, 1.0)},
                "time_budget": 90,
                "gpus_per_trial": 0.25,
            },
        )
    )
    assert (config.datasets, config.executor, config.fix) == (("demo",), "serial", ("gate=OR",))
    assert (config.ranges, config.time_budget_s, config.gpus_per_trial) == (("lambda=0.001:1.0",), 90.0, 0.25)


def test_words_of_a_final_training():
    words = to_words(FinalConfig, {"seeds": 2, "baselines": ["nearest_class_mean", "paper_setting"], "jobs": 1})
    config = read_final_config(["best_config.json", *words])
    assert (config.seeds, config.baseline_names, config.jobs) == (2, ("nearest_class_mean", "paper_setting"), 1)
