"""Keys and types that Ray, EC2, Google Cloud and KubeRay accept, checked without any network access."""

import copy
import json
import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import botocore.session
from jsonschema import Draft7Validator, ValidationError

from cluster.check.problem import Problem, mapping, nearest, sequence, step

PROVIDERS = ("aws", "gcp", "local")
"""Providers with checks beyond Ray's schema."""


def check_schema(config: dict[str, Any]) -> list[Problem]:
    """Return what Ray's JSON Schema rejects, or else what Ray's own validation rejects.

    The schema is applied to the configuration with Ray's defaults filled in, or to the file if that fails.
    """
    prepared, rejection = _prepare(config)
    return [_from_schema(error) for error in _validator().iter_errors(prepared)] or rejection


@cache
def _validator() -> Draft7Validator:
    import ray.autoscaler

    schema = Path(ray.autoscaler.__file__).with_name("ray-schema.json")
    return Draft7Validator(json.loads(schema.read_text(encoding="utf-8")))


def _from_schema(error: ValidationError) -> Problem:
    where = ""
    for key in error.absolute_path:
        where = step(where, key)
    if error.validator == "additionalProperties":
        known = mapping(mapping(error.schema).get("properties"))
        unknown = [key for key in mapping(error.instance) if key not in known]
        key = unknown[0] if unknown else ""
        return Problem(where=step(where, key), what=f"Ray has no such key{nearest(key, known) or '; remove it.'}")
    if error.validator == "required":
        return Problem(where=where, what=f"{error.message.replace(' is a required property', '')} is missing; add it.")
    return Problem(where=where, what=f"Ray's schema rejects this value: {error.message}.")


def _prepare(config: dict[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Return the configuration with Ray's defaults, or as it is if that fails, and Ray's error, if any."""
    from click import ClickException
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = config
    if mapping(config.get("provider")).get("type") == "local":  # Ray removes this key, which is only used there
        prepared = {key: value for key, value in config.items() if key != "min_workers"}
    try:
        with _quiet():
            prepared = prepare_config(copy.deepcopy(config))
            validate_config(prepared)
    # Ray uses some values before it validates them, which raises the last three.
    except (ClickException, ValidationError, ValueError, RuntimeError, LookupError, TypeError, AttributeError) as error:
        return prepared, [_rejection(error)]
    return prepared, []


def _rejection(error: Exception) -> Problem:
    return Problem(where="", what=f"Ray rejects the file, {type(error).__name__}: {' '.join(str(error).split())}")


@contextmanager
def _quiet() -> Generator[None]:
    """Silence Ray, which prints what it also raises."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            yield
    finally:
        logging.disable(before)


RAY_ONLY_KEYS = {"SubnetIds"}
"""Keys that Ray removes before it calls EC2."""

KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "boolean": (bool,),
    "structure": (dict,),
    "list": (list,),
}
"""Python types of botocore's kinds. Other kinds are not checked."""


@cache
def _model() -> Any:
    return botocore.session.get_session().get_service_model("ec2").operation_model("RunInstances").input_shape


@cache
def regions() -> tuple[str, ...]:
    """Return the AWS regions in botocore's data."""
    return tuple(botocore.session.get_session().get_available_regions("ec2"))


@cache
def instance_types() -> tuple[str, ...]:
    """Return the instance types in botocore's data."""
    return tuple(_model().members["InstanceType"].enum)


def check_request(where: str, node_config: dict[str, Any]) -> list[Problem]:
    """Check a node_config against botocore's model of EC2's RunInstances: keys, types and enumerations, at every depth.

    Instance types are checked by `node_types.find_machine`.
    """
    request = {key: value for key, value in node_config.items() if key not in RAY_ONLY_KEYS | {"InstanceType"}}
    return _check(where, request, _model())


def _check(where: str, value: object, shape: Any) -> list[Problem]:
    wanted = KINDS.get(shape.type_name)
    if wanted is not None and (not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted)):
        return [Problem(where=where, what=f"EC2 requires {_a(shape.type_name)} here, got {value!r}.")]
    if shape.type_name == "structure":
        return _check_structure(where, mapping(value), shape)
    if shape.type_name == "list":
        children = enumerate(sequence(value))
        return [problem for index, child in children for problem in _check(step(where, index), child, shape.member)]
    choices = getattr(shape, "enum", None) or []
    if choices and value not in choices:
        hint = nearest(str(value), choices) or f"; choose from {', '.join(choices)}."
        return [Problem(where=where, what=f"EC2 does not accept '{value}' here{hint}")]
    return []


def _check_structure(where: str, value: dict[str, Any], shape: Any) -> list[Problem]:
    problems: list[Problem] = []
    for key, child in value.items():
        if key in shape.members:
            problems += _check(step(where, key), child, shape.members[key])
        else:
            hint = nearest(key, shape.members) or "; remove it."
            problems.append(Problem(where=step(where, key), what=f"EC2 has no such key{hint}"))
    return problems


def _a(kind: str) -> str:
    return {"integer": "a whole number", "long": "a whole number", "boolean": "true or false"}.get(kind, f"a {kind}")


KNOWN_KEYS: dict[str, tuple[str, ...]] = {
    # Compute Engine's instances.insert, and Ray's sourceInstanceTemplate and networkConfig:
    # https://cloud.google.com/compute/docs/reference/rest/v1/instances/insert
    "gcp_instance": (
        "advancedMachineFeatures",
        "canIpForward",
        "confidentialInstanceConfig",
        "deletionProtection",
        "description",
        "disks",
        "displayDevice",
        "guestAccelerators",
        "hostname",
        "instanceEncryptionKey",
        "keyRevocationActionType",
        "labels",
        "machineType",
        "metadata",
        "minCpuPlatform",
        "name",
        "networkConfig",
        "networkInterfaces",
        "networkPerformanceConfig",
        "params",
        "privateIpv6GoogleAccess",
        "reservationAffinity",
        "resourcePolicies",
        "scheduling",
        "serviceAccounts",
        "shieldedInstanceConfig",
        "sourceInstanceTemplate",
        "tags",
    ),
    # KubeRay's resources: https://ray-project.github.io/kuberay/reference/api/
    "RayCluster": (
        "authOptions",
        "autoscalerOptions",
        "enableInTreeAutoscaling",
        "gcsFaultToleranceOptions",
        "headGroupSpec",
        "headServiceAnnotations",
        "managedBy",
        "rayVersion",
        "suspend",
        "upgradeStrategy",
        "workerGroupSpecs",
    ),
    "RayJob": (
        "activeDeadlineSeconds",
        "backoffLimit",
        "clusterSelector",
        "deletionStrategy",
        "entrypoint",
        "entrypointNumCpus",
        "entrypointNumGpus",
        "entrypointResources",
        "jobId",
        "managedBy",
        "metadata",
        "preRunningDeadlineSeconds",
        "rayClusterSpec",
        "runtimeEnvYAML",
        "schedule",
        "shutdownAfterJobFinishes",
        "submissionMode",
        "submitterConfig",
        "submitterPodTemplate",
        "suspend",
        "ttlSecondsAfterFinished",
    ),
    "worker_group": (
        "groupName",
        "idleTimeoutSeconds",
        "labels",
        "maxReplicas",
        "minReplicas",
        "numOfHosts",
        "rayStartParams",
        "replicas",
        "resources",
        "scaleStrategy",
        "suspend",
        "template",
    ),
}
"""Keys that Google Cloud and KubeRay accept, for which no locked package has a schema."""


def check_keys(where: str, given: Mapping[str, Any], of: str, *, newer: bool = False) -> list[Problem]:
    """Report unknown keys.

    Args:
        where: Path of the mapping in the file.
        given: The mapping.
        of: Name of a row of `KNOWN_KEYS`.
        newer: Report only keys that are similar to a known one, because newer versions may have added others.
    """
    known = KNOWN_KEYS[of]
    return [
        Problem(where=step(where, key), what=f"unknown key{nearest(key, known) or '; remove it.'}")
        for key in given
        if key not in known and (nearest(key, known) or not newer)
    ]
