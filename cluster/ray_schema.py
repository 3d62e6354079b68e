"""Ray's own schema of a cluster's file, asked without a cloud, and its answers as findings."""

import copy
import json
import logging
from collections.abc import Generator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator, ValidationError

from cluster.finding import Finding, mapping, nearest, step

PROVIDERS = ("aws", "gcp", "local")
"""What this check knows more of than Ray's schema does."""


def check_schema(config: dict[str, Any]) -> list[Finding]:
    """Ray's verdict on a cluster's file: what its schema refuses, key by key, and then what its own code refuses.

    The schema is asked about what Ray makes of the file, its defaults filled in; where that fails, about the file.
    """
    prepared, refusal = _prepare(config)
    return [_from_schema(error) for error in _validator().iter_errors(prepared)] or refusal


@cache
def _validator() -> Draft7Validator:
    import ray.autoscaler

    schema = Path(ray.autoscaler.__file__).with_name("ray-schema.json")
    return Draft7Validator(json.loads(schema.read_text(encoding="utf-8")))


def _from_schema(error: ValidationError) -> Finding:
    where = ""
    for key in error.absolute_path:
        where = step(where, key)
    if error.validator == "additionalProperties":
        known = mapping(mapping(error.schema).get("properties"))
        unknown = [key for key in mapping(error.instance) if key not in known]
        key = unknown[0] if unknown else ""
        return Finding(where=step(where, key), what=f"Ray knows no such key{nearest(key, known) or '; take it out.'}")
    if error.validator == "required":
        return Finding(where=where, what=f"{error.message.replace(' is a required property', '')} is missing; add it.")
    return Finding(where=where, what=f"Ray's schema refuses this value: {error.message}.")


def _prepare(config: dict[str, Any]) -> tuple[dict[str, Any], list[Finding]]:
    """What Ray makes of a file, or the file itself, and Ray's refusal of it, if any."""
    from click import ClickException
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = config
    if mapping(config.get("provider")).get("type") == "local":  # Ray takes this key away, and only there it counts
        prepared = {key: value for key, value in config.items() if key != "min_workers"}
    try:
        with _quiet():
            prepared = prepare_config(copy.deepcopy(config))
            validate_config(prepared)
    except (ClickException, ValueError, RuntimeError, NotImplementedError, ValidationError) as error:
        return prepared, [_refusal(error)]
    except (
        LookupError,
        TypeError,
        AttributeError,
    ) as error:  # Ray takes what is missing or of another type for granted
        return prepared, [_refusal(error)]
    return prepared, []


def _refusal(error: Exception) -> Finding:
    return Finding(where="", what=f"Ray refuses the file, {type(error).__name__}: {' '.join(str(error).split())}")


@contextmanager
def _quiet() -> Generator[None]:
    """Ray says on the screen what it also raises; once is enough."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            yield
    finally:
        logging.disable(before)
