"""Identity: hashes of everything that changes the results of a trial or a study, and of nothing else."""

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
    """Return the id of a trial, 12 hex digits.

    Args:
        fingerprint: The fingerprint of the data.
        features: The `features` of best_config.json; weights are identified by their content, not by their file.
        config: The flat configuration, with seed and epochs.
    """
    return digest({"fingerprint": fingerprint, "features": content_of(features), "config": dict(config)})[:12]


def content_of(features: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries that identify features: all except the name of the weights, whose hash is among them.

    Pooling `avg` is left out, so that trials of releases without other poolings keep their ids.
    """
    return {key: value for key, value in features.items() if key != "weights" and (key, value) != ("pooling", "avg")}
