"""What a good file would start, in one line: the head, workers from the least to the most, and all their GPUs."""

from typing import Any

from cluster.finding import mapping, sequence, whole
from cluster.instance_types import machines
from cluster.kuberay import is_kuberay, worker_groups
from cluster.node_types import head_name, node_types
from cluster.pods import gpus_of


def describe(documents: list[Any]) -> str:
    """What the file would start now and at most; for a cloud, how many machines are paid by the hour then."""
    if is_kuberay(documents):
        return "; ".join(_describe_pods(mapping(one)) for one in documents if "spec" in mapping(one))
    config = mapping(documents[0])
    provider = mapping(config.get("provider"))
    if provider.get("type") == "local":
        num_workers = whole(config.get("max_workers"), len(sequence(provider.get("worker_ips"))))
        return f"head {provider.get('head_ip')} and up to {num_workers} workers"
    return _describe_cloud(config)


def _describe_pods(document: dict[str, Any]) -> str:
    groups = [
        f"{whole(group.get('minReplicas'))} to {whole(group.get('maxReplicas'))} pods '{group.get('groupName')}' "
        f"of {gpus_of(group)} GPU"
        for group in worker_groups(document)
    ]
    most = sum(whole(group.get("maxReplicas")) * gpus_of(group) for group in worker_groups(document))
    return f"{document.get('kind')}: a head and {', '.join(groups)}, at most {most} GPUs"


def _describe_cloud(config: dict[str, Any]) -> str:
    kind = str(mapping(config.get("provider")).get("type"))
    most_at_all = whole(config.get("max_workers"))
    head, workers, most_gpus = "", list[str](), 0
    for name, node in node_types(config).items():
        machine = _machine(kind, mapping(node.get("node_config")))
        if name == head_name(config):
            head = machine
            continue
        gpus, most = whole(mapping(node.get("resources")).get("GPU")), whole(node.get("max_workers"), most_at_all)
        most_gpus += gpus * min(most, most_at_all)
        workers.append(f"{whole(node.get('min_workers'))} to {most} {machine} of {gpus} GPU{_memory(kind, machine)}")
    gpus = f"at most {most_gpus} GPUs and {1 + most_at_all} machines paid by the hour"
    return f"head {head}, then {', '.join(workers)}: {gpus}, workers {config.get('idle_timeout_minutes')} minutes idle"


def _machine(kind: str, node_config: dict[str, Any]) -> str:
    return str(node_config.get("InstanceType" if kind == "aws" else "machineType")).rsplit("/", 1)[-1]


def _memory(kind: str, machine: str) -> str:
    known = machines(kind).get(machine)
    return f" ({known.gpu_gb} GB)" if known and known.gpus else ""
