"""A trial inside a Ray worker: the trainable that Tune runs."""

import errno
import math
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import ray
import torch
from ray import tune
from ray.util import get_node_ip_address

from pan_model.errors import MachineFault, find_machine_fault
from pan_model.training.trial_cache import TrialCache
from study.nodes.image_transfer import start_on_this_node
from study.nodes.node_probe import node_name
from study.nodes.requirements import REQUIREMENT_FAILURE, NodeRequirements, check_requirements
from study.trials.host import TrialHost, write_host
from study.trials.preparation import PreparedDataset
from study.trials.trial import TrialEnvironment, TrialRun, spec_of

MACHINE_FAULT = "machine_fault"
"""Key, in the result of a trial, of the MachineFault that ended it on its node."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SharedByWorkers:
    """Objects that all workers of a study share; Ray keeps one copy on each node.

    Attributes:
        environment: The paths of the results, and the threads and the device of a trial.
        datasets: The prepared datasets in the object store, by name. Workers of a node map the same arrays.
        gpu_share: The GPUs of one trial. A share of one GPU also limits the memory to that share.
        file_server: The actor that serves images to nodes that cannot read the driver's cache, or None.
        requirements: The requirements that a node must meet to run trials; None without a cluster.
    """

    environment: TrialEnvironment
    datasets: Mapping[str, Any]
    gpu_share: float = 0.0
    file_server: Any = None
    requirements: NodeRequirements | None = None


class RayTrial(tune.Trainable):
    """A trial on any dataset of a study; Tune reuses its worker for the next trial."""

    def setup(self, config: dict[str, Any], shared: SharedByWorkers | None = None) -> None:
        """Prepare the worker. The trial starts with its first step, since Tune may move it to another worker before."""
        assert shared is not None
        if 0 < shared.gpu_share < 1 and torch.cuda.is_available():
            torch.cuda.set_per_process_memory_fraction(shared.gpu_share)
        self._shared, self._requirements = shared, shared.requirements
        self._spec = spec_of(config)
        self._run: TrialRun | None = None
        self._prepared: dict[str, PreparedDataset] = {}
        self._caches: dict[str, TrialCache] = {}

    def step(self) -> dict[str, Any]:
        """Run one epoch; on a node that fails its requirements, or whose disk fails, report the reason instead."""
        try:
            return self._run_epoch()
        except Exception as error:
            if (fault := find_machine_fault(error)) is None:
                raise
            on_cluster = self._shared.requirements is not None
            node = node_name(get_node_ip_address()) if on_cluster else ""
            named = MachineFault(fault.errno or errno.EIO, fault.place, fault.node or node)
            return self._ended_early() | {MACHINE_FAULT: named}

    def _run_epoch(self) -> dict[str, Any]:
        metric = self._spec.row.task.objective.name
        if self._requirements is not None:
            if failure := check_requirements(self._requirements):
                message = f"node {node_name(get_node_ip_address())} {failure}"
                return self._ended_early() | {REQUIREMENT_FAILURE: message}
            self._requirements = None  # checked once in a process
        self._run = self._run or self._start()
        step = self._run.step()
        return {"epoch": step.epoch, metric: step.value, "done": step.done}

    def _ended_early(self) -> dict[str, Any]:
        """Return the result of a trial that must not go on here; it stays running in the ledger."""
        metric = self._spec.row.task.objective.name
        return {"epoch": 0, metric: math.nan, "done": True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Switch to another trial in the same process."""
        self.cleanup()
        self._spec = spec_of(new_config)
        return True

    def cleanup(self) -> None:
        """Close the trial."""
        if self._run is not None:
            with suppress(OSError):  # the epochs are in the ledger
                self._run.close()
            self._run = None

    def _start(self) -> TrialRun:
        name, file_server = self._spec.dataset, self._shared.file_server
        if name not in self._prepared:
            self._prepared[name] = ray.get(self._shared.datasets[name])
            self._caches[name] = TrialCache()
        dataset = self._prepared[name]
        start = dataset.start
        if start is not None and file_server is not None:
            start = start_on_this_node(start, file_server)
        run = TrialRun(self._spec, self._shared.environment, dataset.featured, start, self._caches[name])
        host = TrialHost(
            node_id=ray.get_runtime_context().get_node_id(),
            address=get_node_ip_address(),
            hostname=socket.gethostname(),
            pid=os.getpid(),
        )
        write_host(run.folder, host)
        return run
