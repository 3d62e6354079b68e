"""PAN_STUDY_WORKERS must match the worker groups at their largest."""

from typing import Any

import pytest

from cluster.check.pods import check_declared_workers


def group(most: int, cpu: Any = 7, gpus: int = 1, **more: Any) -> dict[str, Any]:
    container = {"resources": {"limits": {"cpu": cpu, "nvidia.com/gpu": gpus}}}
    return {"maxReplicas": most, "template": {"spec": {"containers": [container]}}, **more}


def lines(groups: list[dict[str, Any]], **container: Any) -> list[str]:
    """Return the problems of a head container with this environment and a ConfigMap with 2 x CPU=7,GPU=1."""
    head = {"template": {"spec": {"containers": [container]}}}
    values = {"declared": {"PAN_STUDY_WORKERS": "2 x CPU=7,GPU=1"}}
    return [
        str(problem)
        for problem in check_declared_workers("", {"headGroupSpec": head, "workerGroupSpecs": groups}, values)
    ]


def env(value: str) -> list[dict[str, str]]:
    return [{"name": "PAN_STUDY_WORKERS", "value": value}]


FROM_MAP: dict[str, Any] = {"envFrom": [{"configMapRef": {"name": "declared"}}]}


@pytest.mark.parametrize(
    ("groups", "declared"),
    [
        ([group(2)], "2 x CPU=7,GPU=1"),
        ([group(2, "6500m")], "2 x CPU=7,GPU=1"),
        ([group(2, 6.5, 0)], "2 x CPU=7"),
        ([group(1), group(3, 15, 4)], "3 x CPU=15,GPU=4 + 1 x CPU=7,GPU=1"),
        ([group(2, rayStartParams={"num-cpus": "6"})], "2 x CPU=6,GPU=1"),
        ([group(2, numOfHosts=2)], "4 x CPU=7,GPU=1"),
    ],
)
def test_a_declaration_of_the_largest_groups_is_valid_and_no_other(groups: list[dict[str, Any]], declared: str):
    assert lines(groups, env=env(declared)) == []
    [line] = lines(groups, env=env("9 x CPU=7,GPU=1"))
    assert "got '9 x CPU=7,GPU=1'; change one of the two." in line


def test_a_containers_own_variable_overrides_its_config_map():
    assert lines([group(2)], **FROM_MAP) == []
    assert lines([group(3)], env=env("3 x CPU=7,GPU=1"), **FROM_MAP) == []
    assert len(lines([group(2)], env=env("3 x CPU=7,GPU=1"), **FROM_MAP)) == 1


def test_values_that_only_the_cluster_can_resolve_are_not_checked():
    assert lines([group(3)], env=[{"name": "PAN_STUDY_WORKERS", "valueFrom": {}}], **FROM_MAP) == []
    assert lines([group(3)], envFrom=[{"configMapRef": {"name": "tld"}}]) == []
