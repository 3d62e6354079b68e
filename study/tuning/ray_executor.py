"""Run trials on Ray: Tune starts and restarts workers, and drives the searchers and schedulers."""

import logging
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import ray
from ray import tune
from ray.tune.progress_reporter import TrialProgressCallback

from pan_model.errors import MachineFault, UserError, fault_of_text, find_machine_fault
from study.config.study_config import StudyConfig
from study.nodes.file_server import file_server
from study.nodes.ray_address import configure_ray_environment
from study.nodes.requirements import REQUIREMENT_FAILURE, node_requirements
from study.nodes.slots import Slots, current_slots
from study.storage.object_store import StoreError
from study.trials.preparation import PreparedDataset
from study.trials.shared_baselines import SharedBaselines
from study.trials.trial import TrialEnvironment, spec_of
from study.tuning.budget import Budget
from study.tuning.dataset_search import DatasetSearch
from study.tuning.executor import open_search
from study.tuning.progress import SearchProgress, describe_trial
from study.tuning.ray_baselines import RayBaselines
from study.tuning.ray_trial import MACHINE_FAULT, RayTrial, SharedByWorkers

CONNECT_TIMEOUT_S = 5.0
"""Time that a node has to accept a connection before it counts as lost."""


def run_on_ray(  # noqa: PLR0913
    searches: Sequence[DatasetSearch],
    environment: TrialEnvironment,
    datasets: Mapping[str, PreparedDataset],
    study: StudyConfig,
    slots: Slots,
    *,
    budget: Budget,
    progress: Mapping[str, SearchProgress],
    update: Callable[[], None],
    baselines: SharedBaselines | None = None,
) -> None:
    """Run the trials that searches lack, of all datasets concurrently; see `run_trials`.

    Args:
        searches: The searches that lack trials.
        environment: The paths of the results, and the threads and the device of a trial.
        datasets: The prepared datasets, by name.
        study: The study; `ray_address` is set when it runs on a cluster.
        slots: The CPUs and GPUs of one trial, and the number of trials that run at a time.
        budget: The time and the GPU hours after which the search ends.
        progress: The counts of each dataset.
        update: Called whenever the counts have changed.
        baselines: Those that no trial answers are computed meanwhile; None if none are wanted.
    """
    datasets = {search.dataset: datasets[search.dataset] for search in searches}
    has_images = any(dataset.start is not None for dataset in datasets.values())
    with file_server() if has_images and study.ray_address is not None else nullcontext() as server:
        stored: dict[str, Any] = {name: ray.put(data) for name, data in datasets.items()}
        shared = SharedByWorkers(
            environment=environment,
            datasets=stored,
            gpu_share=slots.gpus,
            file_server=server,
            requirements=node_requirements(environment.results, gpu=slots.gpus > 0) if study.ray_address else None,
        )
        trainable = tune.with_parameters(RayTrial, shared=shared)
        trained: RayBaselines | None = None
        if baselines is not None:
            apart = [job for job in baselines.to_compute() if job.dataset in stored]
            trained = RayBaselines(apart, stored, study, baselines.add)
        run_trials(
            trainable, searches, study, slots, budget=budget, progress=progress, update=update, baselines=trained
        )
        if trained is not None:
            if budget.used_up:
                trained.leave_waiting()
            trained.wait()


def run_trials(
    trainable: Any,
    searches: Sequence[DatasetSearch],
    study: StudyConfig,
    slots: Slots,
    *,
    budget: Budget,
    progress: Mapping[str, SearchProgress],
    update: Callable[[], None],
    baselines: RayBaselines | None = None,
) -> None:
    """Run the trials that searches lack, each by a trainable, until all have ended or the budget is used up.

    Args:
        trainable: A class of `tune.Trainable` whose configuration holds a TrialSpec as "spec".
        searches: The searches that lack trials.
        study: The study.
        slots: The CPUs and GPUs of one trial, and the number of trials that run at a time.
        budget: The time and the GPU hours after which the search ends.
        progress: The counts of each dataset.
        update: Called whenever the counts have changed.
        baselines: The baselines that are computed meanwhile, if any.

    Raises:
        UserError: If the search space suggests an invalid trial, a node that joined later must not run trials, or a
            baseline cannot be computed.
        StoreError: If the object store that holds the results fails.
        MachineFault: If a file cannot be read or written because of this machine or a node. Trials are never failed by
            it.
    """
    configure_ray_environment()
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # errors of trials are in the ledger
    stopper = SearchStopper(budget, baselines)
    count_slots = current_slots(study, slots)
    with (
        tempfile.TemporaryDirectory(prefix="pan-study-") as folder,
        open_search(searches, study, progress, count_slots=count_slots, node_is_alive=node_is_alive) as search,
    ):
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": slots.cpus, "gpu": slots.gpus}),
            tune_config=tune.TuneConfig(
                search_alg=search.searcher,
                scheduler=search.scheduler,
                num_samples=search.num_missing,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                storage_path=folder,
                name="trials",
                stop=stopper,
                callbacks=[ProgressCallback(progress, update, search.copy_journals)],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # checkpoints are in the ledger
                failure_config=tune.FailureConfig(max_failures=1),  # the schedulers count failures
                verbose=0,
            ),
        )
        try:
            tuner.fit()
        except Exception as error:
            if stopper.fault is not None:  # Tune may meet the full disk as well
                raise stopper.fault from error
            if cause := _known_cause(error):
                raise cause from error
            raise
        if stopper.fault is not None:
            raise stopper.fault
        if baselines is not None and baselines.error is not None:
            raise baselines.error
    if stopper.requirement_failure:
        raise UserError(f"{stopper.requirement_failure}. All finished epochs are saved; resume with --resume.")


def node_is_alive(node_id: str) -> bool:
    """Return whether a node accepts connections; Ray itself notices a lost node only some seconds later."""
    node = next((node for node in ray.nodes() if node["NodeID"] == node_id), None)
    if node is None or not node["Alive"]:
        return False
    try:
        address = (node["NodeManagerAddress"], int(node["NodeManagerPort"]))
        socket.create_connection(address, timeout=CONNECT_TIMEOUT_S).close()
    except OSError:
        return False
    return True


class SearchStopper(tune.Stopper):
    """End a search when its budget is used up, a node fails its requirements or has a fault, or a baseline fails."""

    def __init__(self, budget: Budget, baselines: RayBaselines | None = None) -> None:
        self._budget: Budget | None = budget
        self._baselines = baselines
        self.requirement_failure = ""
        self.fault: MachineFault | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave budget and baselines out: Tune pickles its stopper, and they hold a connection to a cluster."""
        return {"_budget": None, "_baselines": None, "requirement_failure": "", "fault": None}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Keep the first requirement failure and the first fault; return False: no single trial is stopped here."""
        self.fault = self.fault or result.get(MACHINE_FAULT)
        self.requirement_failure = self.requirement_failure or result.get(REQUIREMENT_FAILURE, "")
        return False

    def stop_all(self) -> bool:
        """Return whether the search ends."""
        if self._baselines is not None:
            self._baselines.poll()
            if self._baselines.error is not None:
                return True
        return bool(self.requirement_failure or self.fault) or (self._budget is not None and self._budget.used_up)


class ProgressCallback(TrialProgressCallback):
    """Count trials and epochs as Tune reports them.

    It replaces Tune's own callback of this class, which prints and keeps every trial in memory.

    Args:
        progress: The counts of each dataset. Trials that end are counted by the searcher.
        update: Called whenever the counts have changed.
        trial_ended: Called whenever a trial has ended.
    """

    def __init__(
        self,
        progress: Mapping[str, SearchProgress],
        update: Callable[[], None],
        trial_ended: Callable[[], None],
    ) -> None:
        self._progress = progress
        self._update = update
        self._trial_ended = trial_ended

    def __getstate__(self) -> dict[str, Any]:
        """Return no state: Tune pickles its callbacks, and a terminal cannot be pickled."""
        return {}

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Show the progress also while no trial reports an epoch: Tune takes several steps a second."""
        self._update()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Count a trial that has a worker."""
        spec = spec_of(trial.config)
        self._progress[spec.dataset].trial_started(spec.trial_id, describe_trial(spec))
        self._update()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Take an epoch into account."""
        spec = spec_of(trial.config)
        progress = self._progress[spec.dataset]
        progress.epoch_ended(spec, int(result["epoch"]), float(result[progress.objective.name]))
        self._update()

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Show a trial that has ended."""
        self._update()
        self._trial_ended()

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Show a trial that has failed for good."""
        self._update()
        self._trial_ended()


def _known_cause(error: BaseException) -> UserError | StoreError | MachineFault | None:
    """Return the error of the user, the store or the machine that ended Tune, or None.

    Tune converts errors of its callbacks to text.
    """
    *causes, last = _chain(error)
    for cause in (*causes, last):
        if isinstance(cause, UserError | StoreError | MachineFault):
            return cause
    name = f"{StoreError.__module__}.{StoreError.__qualname__}: "
    lines = str(last).strip().splitlines()
    if lines and lines[-1].startswith(name):
        return StoreError(lines[-1].removeprefix(name))
    return find_machine_fault(error) or (fault_of_text(lines[-1]) if lines else None)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
