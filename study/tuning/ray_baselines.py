"""Baselines on Ray: paper_setting of datasets whose search space leaves it out, trained while trials run."""

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
from study.trials.baselines import paper_setting_on_val
from study.trials.preparation import PreparedDataset
from study.trials.question_scores import QuestionLists


class RayBaselines:
    """The paper_setting of some datasets, one after another, on CPUs of the driver's node, where the cache is.

    It shares the CPUs with trials, and takes none of their slots.

    Args:
        plans: The plans of the datasets.
        datasets: The prepared datasets in Ray's object store, by name.
        config: The study.
        done: Called in `poll` and `wait` with the name of a dataset and the scores on its validation questions.

    Attributes:
        error: Why a baseline could not be computed; None if all could.
    """

    def __init__(
        self,
        plans: Sequence[DatasetPlan],
        datasets: Mapping[str, Any],
        config: StudyConfig,
        done: Callable[[str, QuestionLists], None],
    ) -> None:
        self.error: UserError | MachineFault | None = None
        self._datasets, self._config, self._done = datasets, config, done
        self._waiting = list(plans)
        self._node_id = ray.get_runtime_context().get_node_id()
        self._running: tuple[str, Any] | None = None
        self._start_next()

    def poll(self) -> None:
        """Report a baseline that is computed, and keep an error."""
        if self._running is not None and self.error is None and ray.wait([self._running[1]], timeout=0)[0]:
            try:
                self._finish()
            except (UserError, MachineFault) as error:
                self.error = error

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
        plan = self._waiting.pop(0)
        on_this_node: Any = NodeAffinitySchedulingStrategy(self._node_id, soft=False)
        compute: Any = ray.remote(num_cpus=0, max_retries=2, scheduling_strategy=on_this_node)(_compute)
        config = self._config
        running = compute.remote(
            self._datasets[plan.dataset],
            config.seed,
            plan.max_epochs,
            config.cache_dir.absolute(),
            config.cpus_per_trial,
        )
        self._running = plan.dataset, running

    def _finish(self) -> None:
        assert self._running is not None
        dataset, running = self._running
        try:
            scores: Any = ray.get(running)
        except RayTaskError as error:  # its text is a traceback; its cause was raised by the task
            if isinstance(error.cause, UserError):
                raise error.cause from error
            raise (find_machine_fault(error.cause) or error) from error
        except RayError as error:
            raise UserError(
                f"{dataset}: the process that computed the baseline paper_setting ended ({type(error).__name__}); give "
                "the same command again with --resume."
            ) from error
        self._start_next()
        self._done(dataset, scores)


@deterministic_arithmetic()
def _compute(prepared: PreparedDataset, seed: int, max_epochs: int, cache_dir: Path, num_threads: int) -> QuestionLists:
    with computing_threads(num_threads):
        return paper_setting_on_val(
            prepared, seed=seed, max_epochs=max_epochs, cache_dir=cache_dir, show=lambda _make: None
        )
