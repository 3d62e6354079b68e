"""Identity: hashes of everything that changes the results of a trial or a study, and of nothing else."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pan_model.data.splits import ValQuestions
from pan_model.flat import Scalar


def digest(value: Any) -> str:
    """Return the SHA-256 (hex) of a value's canonical JSON.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(
        json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    ).hexdigest()


def trial_id(
    fingerprint: str,
    features: Mapping[str, Any],
    config: Mapping[str, Scalar],
    *,
    task: str | None = None,
    val_questions: ValQuestions = ValQuestions.FULL,
    question_seed: int | None = None,
) -> str:
    """Return the id of a trial, 12 hex digits.

    A trial that gets more epochs later keeps its id: the hash takes the epochs that it was begun with.

    Args:
        fingerprint: The fingerprint of the data.
        features: The `features` of best_config.json; weights are identified by their content, not by their file.
        config: The flat configuration, with seed and epochs.
        task: The task of `--task`; None for the dataset's default.
        val_questions: Which questions are asked on val; full also if the dataset has no choice.
        question_seed: The seed from which questions are drawn; None for the trial's own.
    """
    content: dict[str, Any] = {
        "fingerprint": fingerprint,
        "features": content_of(features),
        "config": as_begun(config),
    }
    if task is not None:
        content["task"] = task
    if val_questions is not ValQuestions.FULL:
        content["val_questions"] = val_questions
    if question_seed not in (None, config.get("seed")):
        content["question_seed"] = question_seed
    return digest(content)[:12]


def as_begun(config: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return the configuration with which a trial was begun, before it got more epochs.

    >>> as_begun({"max_epochs": 40, "schedule_epochs": 20})
    {'max_epochs': 20}
    """
    begun = dict(config)
    if "schedule_epochs" in begun:
        begun["max_epochs"] = begun.pop("schedule_epochs")
    return begun


def with_more_epochs(config: Mapping[str, Scalar], max_epochs: int) -> dict[str, Scalar]:
    """Return the configuration of a trial that goes on to a later last epoch; its schedule keeps its length.

    >>> with_more_epochs({"max_epochs": 20}, 40)
    {'max_epochs': 40, 'schedule_epochs': 20}
    """
    return (
        dict(config)
        if config["max_epochs"] == max_epochs
        else {**config, "max_epochs": max_epochs, "schedule_epochs": as_begun(config)["max_epochs"]}
    )


def has_params(config: Mapping[str, Scalar], params: Mapping[str, Scalar]) -> bool:
    """Return whether a configuration has the given values of the given parameters, whatever its others are.

    >>> has_params({"gate": "XOR", "seed": 1}, {"gate": "XOR"}), has_params({"gate": "OR"}, {"gate": "XOR"})
    (True, False)
    """
    return all(name in config and config[name] == value for name, value in params.items())


def content_of(features: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries that identify features: all except the name and the part of the weights, whose hash is there.

    Pooling `avg` is left out, so that trials of releases without other poolings keep their ids.
    """
    names = {"weights", "weights_part"}
    return {key: value for key, value in features.items() if key not in names and (key, value) != ("pooling", "avg")}
