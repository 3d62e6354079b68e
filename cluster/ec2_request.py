"""What EC2 takes: node_config compared with the model of RunInstances that botocore carries, without a call to AWS."""

from functools import cache
from typing import Any

import botocore.session

from cluster.finding import Finding, mapping, nearest, sequence, step

RAYS_OWN = {"SubnetIds"}
"""Keys that Ray takes away before it asks EC2."""

KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "boolean": (bool,),
    "structure": (dict,),
    "list": (list,),
}
"""What a value of each kind of botocore's is in YAML; other kinds pass."""


@cache
def _model() -> Any:
    return botocore.session.get_session().get_service_model("ec2").operation_model("RunInstances").input_shape


@cache
def regions() -> tuple[str, ...]:
    """The regions of AWS that botocore knows."""
    return tuple(botocore.session.get_session().get_available_regions("ec2"))


@cache
def instance_types() -> tuple[str, ...]:
    """Every instance type that botocore knows."""
    return tuple(_model().members["InstanceType"].enum)


def check_request(where: str, node_config: dict[str, Any]) -> list[Finding]:
    """Keys, types and closed choices of a node_config, at every depth; instance types are looked at elsewhere."""
    request = {key: value for key, value in node_config.items() if key not in RAYS_OWN | {"InstanceType"}}
    return _check(where, request, _model())


def _check(where: str, value: object, shape: Any) -> list[Finding]:
    wanted = KINDS.get(shape.type_name)
    if wanted is not None and (not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted)):
        return [Finding(where=where, what=f"EC2 takes {_a(shape.type_name)} here, got {value!r}.")]
    if shape.type_name == "structure":
        return _check_structure(where, mapping(value), shape)
    if shape.type_name == "list":
        parts = enumerate(sequence(value))
        return [found for index, part in parts for found in _check(step(where, index), part, shape.member)]
    choices = getattr(shape, "enum", None) or []
    if choices and value not in choices:
        hint = nearest(str(value), choices) or f"; choose from {', '.join(choices)}."
        return [Finding(where=where, what=f"EC2 knows no '{value}' here{hint}")]
    return []


def _check_structure(where: str, value: dict[str, Any], shape: Any) -> list[Finding]:
    findings: list[Finding] = []
    for key, part in value.items():
        if key in shape.members:
            findings += _check(step(where, key), part, shape.members[key])
        else:
            hint = nearest(key, shape.members) or "; take it out."
            findings.append(Finding(where=step(where, key), what=f"EC2 knows no such key{hint}"))
    return findings


def _a(kind: str) -> str:
    return {"integer": "a whole number", "long": "a whole number", "boolean": "true or false"}.get(kind, f"a {kind}")
