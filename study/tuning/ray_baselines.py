"""Baselines on Ray: those that are neither quick nor a trial, computed while trials run."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pan_model.errors import MachineFault, UserError, find_machine_fault
from pan_model.reproducibility import computing_threads, deterministic_arithmetic
from study.config.study_config import StudyConfig
from study.trials.baselines import BaselineScores
from study.trials.preparation import PreparedDataset
from study.trials.shared_baselines import BaselineJob


class RayBaselines:
    """Baselines of some datasets, one after another, on CPUs of the driver's node, where the cache is.

    It shares the CPUs with trials, and takes none of their slots.

    Args:
        jobs: The baselines to compute, the first of them first.
        datasets: The prepared datasets in Ray's object store, by name.
        config: The study.
        done: Called in `poll` and `wait` with the names of a dataset and of a baseline, and the scores on val.

    Attributes:
        error: Why a baseline could not be computed; None if all could.
    """

    def __init__(
        self,
        jobs: Sequence[BaselineJob],
        datasets: Mapping[str, Any],
        config: StudyConfig,
        done: Callable[[str, str, BaselineScores], None],
    ) -> None:
        self.error: UserError | MachineFault | None = None
        self._datasets, self._config, self._done = datasets, config, done
        self._waiting = list(jobs)
        self._node_id = ray.get_runtime_context().get_node_id()
        self._running: tuple[BaselineJob, Any] | None = None
        self._start_next()

    def poll(self) -> None:
        """Report a baseline that is computed, and keep an error."""
        if self._running is not None and self.error is None and ray.wait([self._running[1]], timeout=0)[0]:
            try:
                self._finish()
            except (UserError, MachineFault) as error:
                self.error = error

    def leave_waiting(self) -> None:
        """Start no further baseline; a resumed study computes those that are left."""
        self._waiting.clear()

    def wait(self) -> None:
        """Wait for all baselines, and report each as soon as it is computed.

        Raises:
            UserError: If one cannot be computed.
            MachineFault: If a file cannot be read or written because of the machine.
        """
        if self.error is not None:
            raise self.error
        while self._running is not None:
            self._finish()

    def _start_next(self) -> None:
        self._running = None
        if not self._waiting:
            return
        job = self._waiting.pop(0)
        on_this_node: Any = NodeAffinitySchedulingStrategy(self._node_id, soft=False)
        compute: Any = ray.remote(num_cpus=0, max_retries=2, scheduling_strategy=on_this_node)(_compute)
        config = self._config
        running = compute.remote(
            self._datasets[job.dataset], job, config.seed, config.cache_dir.absolute(), config.cpus_per_trial
        )
        self._running = job, running

    def _finish(self) -> None:
        assert self._running is not None
        job, running = self._running
        try:
            scores: Any = ray.get(running)
        except RayTaskError as error:  # its text is a traceback; its cause was raised by the task
            if isinstance(error.cause, UserError):
                raise error.cause from error
            raise (find_machine_fault(error.cause) or error) from error
        except RayError as error:
            raise UserError(
                f"{job.dataset}: the process that computed the baseline {job.name} ended ({type(error).__name__}); "
                "give the same command again with --resume."
            ) from error
        self._start_next()
        self._done(job.dataset, job.name, scores)


@deterministic_arithmetic()
def _compute(
    prepared: PreparedDataset, job: BaselineJob, seed: int, cache_dir: Path, num_threads: int
) -> BaselineScores:
    with computing_threads(num_threads):
        return job.compute(prepared, seed=seed, cache_dir=cache_dir, show=lambda _make: None)
