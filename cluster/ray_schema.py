"""Ray's own schema of a cluster's file, asked without a cloud, and its answers as findings."""

import copy
import json
import logging
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator, ValidationError

from cluster.finding import Finding, mapping, nearest, step

PROVIDERS = ("aws", "gcp", "local")
"""What this check knows more of than Ray's schema does."""


def check_schema(config: dict[str, Any]) -> list[Finding]:
    """Ray's verdict on a cluster's file: what its schema refuses, line by line, and then what its own code refuses."""
    findings = [_from_schema(error) for error in _validator().iter_errors(config)]
    return findings or _ask_ray(config)


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


def _ask_ray(config: dict[str, Any]) -> list[Finding]:
    from click import ClickException
    from ray.autoscaler._private.util import prepare_config, validate_config

    try:
        with _quiet():
            validate_config(prepare_config(copy.deepcopy(config)))
    except (ClickException, ValueError, RuntimeError, NotImplementedError) as error:
        return [Finding(where="", what=f"Ray refuses the file: {_one_line(error)}")]
    except (KeyError, TypeError, AttributeError) as error:  # Ray takes what is missing or of another type for granted
        return [Finding(where="", what=f"Ray cannot read the file: {type(error).__name__} {_one_line(error)}")]
    return []


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


@contextmanager
def _quiet() -> Generator[None]:
    """Ray says on the screen what it also raises; once is enough."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
