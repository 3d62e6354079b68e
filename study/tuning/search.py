"""Search: trials of all datasets of a study at once, on slots that they share, until there are enough."""

from pan_model.datasets import find_dataset
from study.config.identity import trial_id
from study.config.study_config import DatasetPlan, StudyConfig
from study.nodes.slots import Slots, loading_processes
from study.storage.location import absolute
from study.terminal import Terminal
from study.trials.ledger import read_ledger
from study.trials.preparation import PreparedDataset
from study.trials.trial import TrialPlace
from study.tuning.budget import Budget
from study.tuning.search_progress import SearchProgress, progress_line
from study.tuning.tune_request import TuneRequest


def search_datasets(
    config: StudyConfig, prepared: list[PreparedDataset], slots: Slots, budget: Budget, screen: Terminal
) -> None:
    """Run what the ledgers lack."""
    from study.tuning.tuner import (
        tune_datasets,  # importing Ray takes seconds, which a finished study need not wait for
    )

    requests = [(_request(config, plan, part, slots), part) for plan, part in zip(config.plans, prepared, strict=True)]
    progress_of = {request.place.dataset: _tally(request) for request, _ in requests}
    lines = [progress_line(plan.dataset, plan.num_trials, progress_of[plan.dataset]) for plan in config.plans]
    with screen.live(at_once=True) as show:

        def tell() -> None:
            show(lambda: "; ".join(line() for line in lines))

        tell()
        tune_datasets(requests, config, slots, budget=budget, progress_of=progress_of, tell=tell)


def _tally(request: TuneRequest) -> SearchProgress:
    return SearchProgress(read_ledger(request.place.results.trials, best=False), request.objective)


def _request(config: StudyConfig, plan: DatasetPlan, prepared: PreparedDataset, slots: Slots) -> TuneRequest:
    task = find_dataset(plan.dataset).task
    return TuneRequest(
        place=TrialPlace(
            root=absolute(config.results.root),
            dataset=plan.dataset,
            num_threads=slots.cpus,
            device="cuda" if slots.gpus else "cpu",
            data_workers=loading_processes(config.data_workers, cpus=slots.cpus, on_gpu=slots.gpus > 0),
        ),
        objective=task.objective,
        space=plan.space,
        complete=lambda suggested: {**suggested, "max_epochs": plan.max_epochs, "seed": config.seed},
        identify=lambda complete: trial_id(prepared.fingerprint, prepared.features, complete),
        num_trials=plan.num_trials,
        max_epochs=plan.max_epochs,
        grace_epochs=plan.grace_epochs,
    )
