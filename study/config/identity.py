"""Identity: hashes that name a trial or a study by everything that changes its results, and nothing else."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pan_model.flat import Scalar


def digest(value: Any) -> str:
    """Return the SHA-256 (hex) of a value's canonical JSON.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(
        json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    ).hexdigest()


def trial_id(fingerprint: str, features: Mapping[str, Any], config: Mapping[str, Scalar]) -> str:
    """Return 12 hex digits that name a trial.

    Args:
        fingerprint: Identifies the data.
        features: The `features` of best_config.json; weights are identified by their content, not by their file.
        config: The flat configuration, with seed and epochs.
    """
    return digest({"fingerprint": fingerprint, "features": content_of(features), "config": dict(config)})[:12]


def content_of(features: Mapping[str, Any]) -> dict[str, Any]:
    """Return what identifies features: everything but the name of the weights, whose hash is included.

    Pooling avg is left out, so that trials keep the names they had before there was a choice.
    """
    return {key: value for key, value in features.items() if key != "weights" and (key, value) != ("pooling", "avg")}
