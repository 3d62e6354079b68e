"""Search: run the missing trials of all datasets of a study, on slots that the datasets share; confirm the best."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import chain

from pan_model.flat import Scalar
from study.config.choices import Executor
from study.config.dataset_plan import DatasetPlan
from study.config.search_space import replay
from study.config.space_description import explore_space
from study.config.study_config import StudyConfig
from study.nodes.slots import Slots, loading_processes
from study.storage.location import absolute
from study.storage.paths import StudyPaths
from study.terminal import Terminal
from study.trials.first_trials import FirstTrials
from study.trials.ledger import TrialRecord
from study.trials.more_epochs import count_missing
from study.trials.preparation import PreparedDataset
from study.trials.shared_baselines import SharedBaselines
from study.trials.tensorboard_events import HparamsColumns
from study.trials.trial import TrialEnvironment
from study.tuning.budget import Budget
from study.tuning.confirmation import confirm_best
from study.tuning.dataset_search import DatasetSearch
from study.tuning.progress import SearchProgress, ended_line, progress_row


def search_datasets(
    config: StudyConfig,
    prepared: list[PreparedDataset],
    first_trials: Mapping[str, FirstTrials],
    slots: Slots,
    budget: Budget,
    terminal: Terminal,
    baselines: SharedBaselines,
) -> None:
    """Run the trials that the ledgers lack, then what the confirmation of the best lacks, and show the progress.

    Args:
        config: The study.
        prepared: The datasets, in the order of the study's plans.
        first_trials: The first trials of --try and --warm-start, by dataset.
        slots: The CPUs and GPUs of one trial, and the number of trials that run at a time.
        budget: The time and the GPU hours after which the search ends.
        terminal: Shows the progress.
        baselines: Told of the trials that end. What no trial answers is trained on Ray meanwhile.

    Raises:
        UserError: If the search space suggests an invalid trial, a node that joined later must not run trials, or a
            baseline cannot be computed. The ledgers are consistent then.
    """
    environment = TrialEnvironment(
        results=StudyPaths(absolute(config.results.root)),
        num_threads=slots.cpus,
        device="cuda" if slots.gpus else "cpu",
        data_workers=loading_processes(config.data_workers, cpus=slots.cpus, on_gpu=slots.gpus > 0),
        columns=HparamsColumns(
            parameters=dict(chain.from_iterable(_searched_values(plan) for plan in config.plans)),
            metrics=tuple(plan.row.task.objective.name for plan in config.plans),
        ),
    )
    searches = [
        _dataset_search(config, plan, dataset, first_trials[plan.dataset], environment.results)
        for plan, dataset in zip(config.plans, prepared, strict=True)
    ]

    def report(search: DatasetSearch, record: TrialRecord) -> None:
        counts = progress[search.dataset]
        terminal.log(lambda: ended_line(search.dataset, search.num_trials, counts, record))
        baselines.trial_ended(search.dataset, record)

    records = {search.dataset: search.records() for search in searches}
    progress = {
        search.dataset: SearchProgress(records[search.dataset], search.objective, partial(report, search))
        for search in searches
    }
    rows = [progress_row(search.dataset, search.num_trials, progress[search.dataset]) for search in searches]
    missing = [search for search in searches if count_missing(records[search.dataset], search.num_trials)]
    datasets = {dataset.dataset: dataset for dataset in prepared}
    with terminal.live(at_once=True) as show:

        def update() -> None:
            show(lambda: [row() for row in rows])

        update()
        if not missing:
            pass
        elif config.executor is Executor.SERIAL:
            from study.tuning.serial_executor import run_serially  # importing ray.tune takes seconds

            run_serially(missing, environment, datasets, config, budget=budget, progress=progress, update=update)
        else:
            from study.tuning.ray_executor import run_on_ray

            run_on_ray(
                missing,
                environment,
                datasets,
                config,
                slots,
                budget=budget,
                progress=progress,
                update=update,
                baselines=baselines,
            )
    confirm_best(config, searches, environment, datasets, slots, budget, terminal)


def _searched_values(plan: DatasetPlan) -> Iterator[tuple[str, Scalar]]:
    """Yield each parameter of a dataset's space with values that it takes."""
    for branch in explore_space(plan.space.suggest):
        yield from branch.values.items()


def _dataset_search(
    config: StudyConfig, plan: DatasetPlan, prepared: PreparedDataset, first_trials: FirstTrials, results: StudyPaths
) -> DatasetSearch:
    given = [replay(plan.space, trial["config"]).values for trial in first_trials.trials]
    return DatasetSearch(
        paths=results.dataset(plan.dataset),
        objective=plan.row.task.objective,
        space=replace(plan.space, first_trials=(*given, *plan.space.first_trials)) if given else plan.space,
        num_trials=plan.num_trials,
        max_epochs=plan.max_epochs,
        grace_epochs=plan.grace_epochs,
        seed=config.seed,
        fingerprint=prepared.fingerprint,
        features=prepared.features,
        first_trials=plan.space.first_trials,
        task=plan.options.task,
        val_questions=prepared.val_questions,
        precision=config.precision,
    )
