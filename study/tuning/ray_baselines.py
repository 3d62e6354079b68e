"""Baselines on Ray: those of one dataset after another, on one slot of the driver's node, while trials run."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pan_model.errors import MachineFault, UserError, find_machine_fault
from pan_model.reproducibility import computing_threads, deterministic_arithmetic
from study.config.dataset_plan import DatasetPlan
from study.config.study_config import StudyConfig
from study.nodes.slots import Slots
from study.trials.baselines import validation_baselines
from study.trials.preparation import PreparedDataset
from study.trials.question_scores import QuestionLists


class RayBaselines:
    """The baselines that all trials of a study share, which are computed while trials run.

    They run on the driver's node, where the cache is. They take the resources of a trial if the node has them.
    Otherwise the node runs no trials, and they use its idle cores.

    Args:
        plans: The plans of the datasets, in the order of computation.
        datasets: The prepared datasets, by name.
        config: The study.
        slots: The CPUs and GPUs of one trial.
        done: Called in `poll` and `wait` with the name and the baselines of a dataset.

    Attributes:
        datasets: The prepared datasets in Ray's object store, by name.
        error: Why baselines could not be computed; None if they could.
    """

    def __init__(
        self,
        plans: Sequence[DatasetPlan],
        datasets: Mapping[str, PreparedDataset],
        config: StudyConfig,
        slots: Slots,
        done: Callable[[str, dict[str, QuestionLists]], None],
    ) -> None:
        self.datasets = {dataset: ray.put(prepared) for dataset, prepared in datasets.items()}
        self.error: UserError | MachineFault | None = None
        self._config, self._slots, self._done = config, slots, done
        self._waiting = list(plans)
        self._node_id = ray.get_runtime_context().get_node_id()
        has = next(node["Resources"] for node in ray.nodes() if node["NodeID"] == self._node_id)
        self._takes_slot = has.get("CPU", 0) >= slots.cpus and has.get("GPU", 0) >= slots.gpus
        self._running: tuple[str, Any] | None = None
        self._start_next()

    @property
    def num_slots(self) -> int:
        """The number of slots that trials cannot have now."""
        return int(self._takes_slot and self._running is not None)

    def poll(self) -> None:
        """Report baselines that are computed, and keep an error."""
        if self._running is not None and self.error is None and ray.wait([self._running[1]], timeout=0)[0]:
            try:
                self._finish()
            except (UserError, MachineFault) as error:
                self.error = error

    def wait(self, say: Callable[[str], None]) -> None:
        """Report all baselines as soon as they are computed.

        Args:
            say: Prints a line before a wait.

        Raises:
            UserError: If they cannot be computed.
            MachineFault: If a file cannot be read or written because of the machine.
        """
        if self.error is not None:
            raise self.error
        if self._running is not None:
            say(f"{self._running[0]}: waiting for the baselines")
        while self._running is not None:
            self._finish()

    def _start_next(self) -> None:
        self._running = None
        if not self._waiting:
            return
        plan = self._waiting.pop(0)
        on_this_node: Any = NodeAffinitySchedulingStrategy(self._node_id, soft=False)
        compute: Any = ray.remote(
            num_cpus=self._slots.cpus if self._takes_slot else 0,
            num_gpus=self._slots.gpus if self._takes_slot else 0,
            max_retries=2,
            scheduling_strategy=on_this_node,
        )(_compute)
        cache_dir = self._config.cache_dir.absolute()
        running = compute.remote(
            self.datasets[plan.dataset], self._config.seed, plan.max_epochs, cache_dir, self._slots.cpus
        )
        self._running = plan.dataset, running

    def _finish(self) -> None:
        assert self._running is not None
        dataset, running = self._running
        try:
            baselines: Any = ray.get(running)
        except RayTaskError as error:  # its text is a traceback; its cause was raised by the task
            if isinstance(error.cause, UserError):
                raise error.cause from error
            raise (find_machine_fault(error.cause) or error) from error
        except RayError as error:
            raise UserError(
                f"{dataset}: the process that computed the baselines ended ({type(error).__name__}); give the same "
                "command again with --resume."
            ) from error
        self._start_next()
        self._done(dataset, baselines)


@deterministic_arithmetic()
def _compute(
    prepared: PreparedDataset, seed: int, max_epochs: int, cache_dir: Path, num_threads: int
) -> dict[str, QuestionLists]:
    with computing_threads(num_threads):
        return validation_baselines(
            prepared, seed=seed, max_epochs=max_epochs, cache_dir=cache_dir, show=lambda _make: None
        )
