"""Identity: a trial and a study are hashes of what changes their results, and of nothing else."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pan_model.flat import Scalar


def digest(value: Any) -> str:
    """SHA-256 (hex) of a value's canonical JSON.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(
        json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    ).hexdigest()


def trial_id(fingerprint: str, features: Mapping[str, Any], config: Mapping[str, Scalar]) -> str:
    """Name a trial by the data, the features and the configuration (seed and epochs included): 12 hex digits.

    Weights count by their content, not by the file they came from.
    """
    return digest({"fingerprint": fingerprint, "features": content_of(features), "config": dict(config)})[:12]


def content_of(features: Mapping[str, Any]) -> dict[str, Any]:
    """What tells features from others: all but the name of the weights, whose hash is there.

    Pooling avg is left out, so that trials keep the names they had before there was another.
    """
    return {key: value for key, value in features.items() if key != "weights" and (key, value) != ("pooling", "avg")}
