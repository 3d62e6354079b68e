"""The command `python -m cluster.check FILE [FILE ..]`.

It prints every problem as one line on stderr and exits with 2. For a valid file it prints one line that describes the
cluster and exits with 0.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cluster.check.aws import check_aws
from cluster.check.documents import find_placeholders, read_documents
from cluster.check.gcp import check_gcp
from cluster.check.kuberay import KINDS, check_kuberay, cluster_spec, is_kuberay, worker_groups
from cluster.check.node_setup import check_commands, check_files
from cluster.check.node_types import OLD_KEYS, check_node_types, fill_defaults, known_machines, node_types
from cluster.check.onprem import check_onprem
from cluster.check.pods import gpus_of, is_autoscaled, pods_of
from cluster.check.problem import Problem, integer, mapping, nearest, one_line, sequence
from cluster.check.schemas import PROVIDERS, check_schema
from cluster.check.versions import Locked, locked_versions
from pan_model.command_line import BAD_INPUT, OneLineParser, counted, run_with_exit_code

REPORTED_HERE = {
    *OLD_KEYS,
    "available_node_types",
    "head_node_type",
    "max_workers",
    "provider.type",
    "provider.head_ip",
    "provider.worker_ips",
}
"""Keys that have a check here. For errors in them, Ray rejects the file without naming the key."""

CLUSTER_KEYS = {"provider", "cluster_name", "available_node_types"}
"""A file without any of these keys is another file."""


def check_file(path: Path, here: Path | None = None) -> tuple[list[Problem], str]:
    """Check a cluster file.

    Args:
        path: The file.
        here: The folder in which `ray up` will run, to which paths in the file are relative. Default: the current one.

    Returns:
        The problems and, if there are none, a description of the cluster that the file starts.
    """
    documents, problems = read_documents(path)
    if not documents:
        return problems or [Problem(where="", what="the file is empty.")], ""
    problems += find_placeholders(documents)
    if is_kuberay(documents):
        problems += check_kuberay(documents, locked_versions())
    elif len(documents) > 1 or not mapping(documents[0]):
        problems.append(
            Problem(where="", what="a cluster file must be a single mapping of keys; see cluster/config.yaml.")
        )
    elif not CLUSTER_KEYS & set(mapping(documents[0])):
        what = "the file describes no cluster: it has neither provider nor cluster_name; see cluster/config.yaml."
        return [*problems, Problem(where="", what=what)], ""
    else:
        config = mapping(documents[0])
        if mapping(config.get("provider")).get("type") in ("aws", "gcp"):
            config = fill_defaults(config)
        documents = [config]
        problems += _check_cluster(config, locked_versions(), here or Path.cwd())
    return list(dict.fromkeys(problems)), "" if problems else describe(documents)


def _check_cluster(config: dict[str, Any], locked: Locked, here: Path) -> list[Problem]:
    kind = mapping(config.get("provider")).get("type")
    schema = check_schema(config)
    if kind not in PROVIDERS:
        hint = nearest(str(kind), PROVIDERS) or "; other providers are checked against Ray's schema only."
        what = f"must be one of {', '.join(PROVIDERS)}, got '{kind or ''}'{hint}"
        return _without_repeats(schema, [Problem(where="provider.type", what=what)])
    problems = [
        *check_commands(config, locked, here, cloud=kind != "local"),
        *check_files(config, here, cloud=kind != "local"),
    ]
    if kind == "local":
        return _without_repeats(schema, [*check_onprem(config), *problems])
    nodes = (check_aws if kind == "aws" else check_gcp)(config, locked)
    return _without_repeats(schema, [*check_node_types(config), *nodes, *problems])


def _without_repeats(schema: list[Problem], problems: list[Problem]) -> list[Problem]:
    """Drop Ray's rejection of the file if a more specific problem explains it."""
    explained = {problem.where for problem in problems}
    ours = bool(explained & REPORTED_HERE)
    return [
        *(problem for problem in schema if problem.where not in OLD_KEYS and (problem.where or not ours)),
        *problems,
    ]


def main(words: Sequence[str]) -> int:
    """Check the given files. Return 0 if all are valid, 2 otherwise."""
    parser = OneLineParser(
        prog="python -m cluster.check",
        description="Check cluster files offline; nothing is started.",
        epilog="example:\n  uv run python -m cluster.check cluster/config.yaml",
    )
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="such as cluster/config.yaml")

    def check_all() -> int:
        num_wrong = 0
        for path in parser.parse(words).files:
            problems, description = check_file(path)
            num_wrong += len(problems)
            for problem in problems:
                print(one_line(f"{path}: {problem}"), file=sys.stderr)
            if not problems:
                print(one_line(f"{path}: good; {description}."))
        return BAD_INPUT if num_wrong else 0

    return run_with_exit_code(check_all)


def describe(documents: list[Any]) -> str:
    """Describe the cluster that a file starts: the head, the fewest and the most workers, and all their GPUs."""
    if is_kuberay(documents):
        return "; ".join(
            _describe_pods(document) for document in map(mapping, documents) if document.get("kind") in KINDS
        )
    config = mapping(documents[0])
    provider = mapping(config.get("provider"))
    if provider.get("type") == "local":
        num_workers = integer(config.get("max_workers"), len(sequence(provider.get("worker_ips"))))
        return f"head {provider.get('head_ip')} and up to {counted(num_workers, 'worker')}"
    return _describe_cloud(config)


def _describe_pods(document: dict[str, Any]) -> str:
    autoscaled = is_autoscaled(cluster_spec(document))
    groups, most = list[str](), 0
    for group in worker_groups(document):
        num_pods = pods_of(group, autoscaled=autoscaled)
        most += num_pods * gpus_of(group)
        least = f"{integer(group.get('minReplicas'))} to " if autoscaled else ""
        groups.append(f"{least}{counted(num_pods, 'pod')} '{group.get('groupName')}' of {gpus_of(group)} GPU")
    gpus = f"{'at most ' if autoscaled else ''}{counted(most, 'GPU')}"
    return f"{document.get('kind')}: a head and {', '.join(groups)}, {gpus}"


def _describe_cloud(config: dict[str, Any]) -> str:
    kind = str(mapping(config.get("provider")).get("type"))
    most_at_all = integer(config.get("max_workers"))
    head, workers, most_gpus = "", list[str](), 0
    for node in node_types(config):
        machine = _machine(kind, node.node_config)
        if node.head:
            head = machine
            continue
        gpus, most = integer(node.resources.get("GPU")), integer(node.values.get("max_workers"), most_at_all)
        most_gpus += gpus * min(most, most_at_all)
        least = integer(node.values.get("min_workers"))
        workers.append(f"{least} to {most} {machine} of {gpus} GPU{_memory(kind, machine)}")
    gpus = f"at most {counted(most_gpus, 'GPU')} and {counted(1 + most_at_all, 'machine')} billed by the hour"
    return (
        f"head {head}, then {', '.join(workers)}: {gpus}; workers stop after "
        f"{config.get('idle_timeout_minutes')} idle minutes"
    )


def _machine(kind: str, node_config: dict[str, Any]) -> str:
    return str(node_config.get("InstanceType" if kind == "aws" else "machineType")).rsplit("/", 1)[-1]


def _memory(kind: str, machine: str) -> str:
    known = known_machines(kind).get(machine)
    return f" ({known.gpu_gb} GB)" if known and known.gpus else ""
