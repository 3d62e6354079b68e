"""Checks of a RayJob: its entrypoint, and that its cluster is deleted when the study ends."""

import re
from itertools import pairwise
from typing import Any

from cluster.check.problem import Problem, integer, mapping, nearest, sequence, step

POLICIES = ("DeleteCluster", "DeleteWorkers", "DeleteSelf", "DeleteNone")
DELETES_CLUSTER = ("DeleteCluster", "DeleteSelf")
"""Policies that delete the cluster; deleting the RayJob itself deletes its cluster."""

ENDS = ("SUCCEEDED", "FAILED")
"""The ways in which a Ray job ends."""


def check_job(where: str, spec: dict[str, Any]) -> list[Problem]:
    """Check the spec of a RayJob, without that of its cluster."""
    problems: list[Problem] = []
    entrypoint = str(spec.get("entrypoint", ""))
    if not re.search(r"(^|[\s/])study/run\.py\b", entrypoint):
        what = f"must run study/run.py, got '{entrypoint}'; see cluster/kuberay.yaml."
        problems.append(Problem(where=step(where, "entrypoint"), what=what))
    elif integer(spec.get("backoffLimit")) and "--resume" not in entrypoint:
        what = "must contain --resume, because backoffLimit runs it again and an existing study is an error; add it."
        problems.append(Problem(where=step(where, "entrypoint"), what=what))
    return problems + _check_deletion(where, spec)


def _check_deletion(where: str, spec: dict[str, Any]) -> list[Problem]:
    """Check that the cluster is deleted, and that the operator accepts the fields that say so."""
    strategy, place = mapping(spec.get("deletionStrategy")), step(where, "deletionStrategy")
    rules = [mapping(rule) for rule in sequence(strategy.get("deletionRules"))]
    policies = {key: mapping(strategy[key]).get("policy") for key in ("onSuccess", "onFailure") if key in strategy}
    shutdown = spec.get("shutdownAfterJobFinishes") is True
    if not (rules or policies or "deletionStrategy" in spec):
        return [] if shutdown or "clusterSelector" in spec else [_left_running(where, spec)]
    if not shutdown and integer(spec.get("ttlSecondsAfterFinished")) > 0:
        what = "the operator accepts it only with shutdownAfterJobFinishes: true; write ttlSeconds in deletionRules."
        return [Problem(where=step(where, "ttlSecondsAfterFinished"), what=what)]
    if rules and (shutdown or policies):
        other = "shutdownAfterJobFinishes" if shutdown else " and ".join(policies)
        what = f"the operator refuses deletionRules together with {other}; remove one of the two."
        return [Problem(where=step(place, "deletionRules"), what=what)]
    if rules:
        return _check_rules(step(place, "deletionRules"), spec, rules)
    if policies:
        return _check_policies(place, spec, policies)
    what = "the operator requires deletionRules, or both onSuccess and onFailure; add them or remove this key."
    return [Problem(where=place, what=what)]


def _left_running(where: str, spec: dict[str, Any]) -> Problem:
    got = spec.get("shutdownAfterJobFinishes", "nothing")
    what = f"must be true, got {got}; otherwise the cluster keeps running and costs money."
    return Problem(where=step(where, "shutdownAfterJobFinishes"), what=what)


def _check_rules(where: str, spec: dict[str, Any], rules: list[dict[str, Any]]) -> list[Problem]:
    problems: list[Problem] = []
    deleted = set[str]()
    first: dict[tuple[str, str], int] = {}
    for index, rule in enumerate(rules):
        place, policy, condition = step(where, index), str(rule.get("policy", "")), mapping(rule.get("condition"))
        problems += _check_policy(step(place, "policy"), policy, spec)
        end = str(condition.get("jobStatus") or condition.get("jobDeploymentStatus") or "").upper()
        if end not in ENDS or ("jobStatus" in condition and "jobDeploymentStatus" in condition):
            got = condition or "nothing"
            what = f"must contain jobStatus: SUCCEEDED or FAILED, or jobDeploymentStatus: Failed, got {got}."
            problems.append(Problem(where=step(place, "condition"), what=what))
        seconds = condition.get("ttlSeconds", 0)
        if not isinstance(seconds, int) or seconds < 0:
            what = f"must be a number of seconds, 0 or more, got {seconds}."
            problems.append(Problem(where=step(place, "condition.ttlSeconds"), what=what))
        key = (str(condition.get("jobStatus") or f"deployment {end}"), policy)
        if key in first:
            what = f"repeats {policy} of rule {first[key]} for the same end of the job; remove one of the two."
            problems.append(Problem(where=place, what=what))
        first.setdefault(key, index)
        if policy in DELETES_CLUSTER:
            deleted.add(end)
    missing = [end for end in ENDS if end not in deleted]
    if missing and not problems and "clusterSelector" not in spec:
        what = (
            f"no rule deletes the cluster after {' or '.join(missing)}, so it keeps running and costs money; add "
            f"{{policy: DeleteCluster, condition: {{jobStatus: {missing[0]}, ttlSeconds: 600}}}}"
        )
        problems.append(Problem(where=where, what=what))
    return problems + ([] if problems else _check_times(where, rules))


def _check_times(where: str, rules: list[dict[str, Any]]) -> list[Problem]:
    """Check that what contains more is not deleted earlier: workers, then the cluster, then the RayJob."""
    problems: list[Problem] = []
    for end in ENDS:
        times = {
            str(rule.get("policy")): integer(mapping(rule["condition"]).get("ttlSeconds"))
            for rule in rules
            if mapping(rule.get("condition")).get("jobStatus") == end
        }
        order = [policy for policy in ("DeleteWorkers", "DeleteCluster", "DeleteSelf") if policy in times]
        for earlier, later in pairwise(order):
            if times[later] < times[earlier]:
                rule = f"ttlSeconds of {later} after {end} must be at least {times[earlier]}, that of {earlier}"
                what = f"{rule}, got {times[later]}."
                problems.append(Problem(where=where, what=what))
    return problems


def _check_policies(where: str, spec: dict[str, Any], policies: dict[str, Any]) -> list[Problem]:
    """Check onSuccess and onFailure, the fields before KubeRay 1.5."""
    if len(policies) < 2:
        missing = "onFailure" if "onSuccess" in policies else "onSuccess"
        what = f"missing; the operator requires both onSuccess and onFailure; add {missing}: {{policy: DeleteCluster}}"
        return [Problem(where=step(where, missing), what=what)]
    problems: list[Problem] = []
    for key, policy in policies.items():
        place = step(step(where, key), "policy")
        wrong = _check_policy(place, policy, spec)
        if not wrong and policy not in DELETES_CLUSTER and "clusterSelector" not in spec:
            rule = f"must be DeleteCluster or DeleteSelf, got '{policy}'"
            what = f"{rule}; otherwise the cluster keeps running and costs money."
            wrong = [Problem(where=place, what=what)]
        problems += wrong
    return problems


def _check_policy(where: str, policy: object, spec: dict[str, Any]) -> list[Problem]:
    if policy not in POLICIES:
        hint = nearest(str(policy), POLICIES) or "."
        return [Problem(where=where, what=f"must be one of {', '.join(POLICIES)}, got '{policy or ''}'{hint}")]
    if "clusterSelector" in spec and policy in ("DeleteCluster", "DeleteWorkers"):
        what = f"the operator refuses {policy} with clusterSelector, whose cluster it did not create; remove it."
        return [Problem(where=where, what=what)]
    autoscaling = mapping(spec.get("rayClusterSpec")).get("enableInTreeAutoscaling") is True
    if policy == "DeleteWorkers" and autoscaling:
        what = "the operator refuses DeleteWorkers with enableInTreeAutoscaling; write DeleteCluster."
        return [Problem(where=where, what=what)]
    return []
