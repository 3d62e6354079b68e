"""Run the confirmation: the candidates of each dataset from other seeds, on the executor that ran the trials."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from pan_model.command_line import counted
from study.config.choices import Executor
from study.config.study_config import StudyConfig
from study.nodes.slots import Slots
from study.storage.paths import ConfirmationPaths
from study.terminal import Terminal, duration
from study.trials.ledger import Status, TrialRecord, read_ledger
from study.trials.preparation import PreparedDataset
from study.trials.selection.confirmation import (
    NUM_SEEDS,
    Candidate,
    Selection,
    question_seed,
    run_config,
    run_id,
    seeds_of,
    select_winner,
)
from study.trials.trial import FreshVal, TrialEnvironment, TrialSpec
from study.tuning.budget import Budget
from study.tuning.dataset_search import DatasetSearch
from study.tuning.progress import SearchProgress, progress_row


def confirm_best(
    config: StudyConfig,
    searches: Sequence[DatasetSearch],
    environment: TrialEnvironment,
    datasets: Mapping[str, PreparedDataset],
    slots: Slots,
    budget: Budget,
    terminal: Terminal,
) -> None:
    """Run what the confirmation of the candidates lacks, and show the progress.

    Args:
        config: The study.
        searches: The search of each dataset, whose trials have ended.
        environment: The paths of the results, and the threads and the device of a trial.
        datasets: The prepared datasets, by name.
        slots: The CPUs and GPUs of one run, and the number of runs at a time.
        budget: The limits of the study, which count the confirmation as well.
        terminal: Shows the progress.

    Raises:
        UserError: If a file of the ledger is damaged, or a node that joined later must not run trials.
    """
    selections = {search.dataset: read_selection(search, config.num_confirmed) for search in searches}
    missing = [
        replace(search, paths=ConfirmationPaths(search.paths.root).dataset(search.dataset), given=runs)
        for search in searches
        if (runs := missing_runs(search, selections[search.dataset]))
    ]
    if not missing or budget.used_up:
        return
    planned = {name: NUM_SEEDS * len(selection.candidates) for name, selection in selections.items()}

    def report(dataset: str, run: TrialRecord) -> None:
        terminal.log(lambda: _describe_run(dataset, planned[dataset], progress[dataset], run))

    progress: dict[str, SearchProgress] = {}
    for search in missing:
        name = search.dataset
        runs = [run for candidate in selections[name].candidates for run in candidate.runs]
        progress[name] = SearchProgress(runs, search.objective, partial(report, name))
        terminal.say(
            f"{name}: confirmation of {counted(len(selections[name].candidates), 'trial')}, by "
            f"{counted(planned[name], 'run')} from other seeds, on fresh questions"
        )
    rows = [
        progress_row(f"{name} confirmation", planned[name], progress_of_name)
        for name, progress_of_name in progress.items()
    ]
    environment = replace(environment, results=ConfirmationPaths(environment.results.root))
    with terminal.live(at_once=True) as show:

        def update() -> None:
            show(lambda: [row() for row in rows])

        update()
        if config.executor is Executor.SERIAL:
            from study.tuning.serial_executor import run_serially  # importing ray.tune takes seconds

            run_serially(missing, environment, datasets, config, budget=budget, progress=progress, update=update)
        else:
            from study.tuning.ray_executor import run_on_ray

            run_on_ray(missing, environment, datasets, config, slots, budget=budget, progress=progress, update=update)


def read_selection(search: DatasetSearch, confirm: int) -> Selection:
    """Read the candidates of a dataset, and their runs so far."""
    records = read_ledger(search.paths.trials, best=False)
    return select_winner(search.paths, search.objective, records, confirm, search.first_trials)


def missing_runs(search: DatasetSearch, selection: Selection) -> tuple[TrialSpec, ...]:
    """Return the runs that have not ended: first one of each candidate, so that a kill leaves all about equally far."""
    if not selection.planned:
        return ()
    ended = {
        run.trial_id for candidate in selection.candidates for run in candidate.runs if run.status is not Status.RUNNING
    }
    specs = [_specify(search, candidate, place) for place in range(NUM_SEEDS) for candidate in selection.candidates]
    return tuple(spec for spec in specs if spec.trial_id not in ended)


def _specify(search: DatasetSearch, candidate: Candidate, place: int) -> TrialSpec:
    record, epoch = candidate.record, candidate.epoch
    seed = seeds_of(record)[place]
    return TrialSpec.from_flat(
        trial_id=run_id(record.trial_id, epoch, seed),
        number=record.number,
        dataset=search.dataset,
        config=run_config(record, epoch, seed),
        task=search.task,
        val_questions=search.val_questions,
        question_seed=question_seed(record),
        fresh_val=FreshVal(part=place, keeps_classes="backbone_training" in search.features),
    )


def _describe_run(dataset: str, planned: int, progress: SearchProgress, run: TrialRecord) -> str:
    """Return one line about a run that has ended."""
    trial = f"trial {run.number}, seed {run.config['seed']}"
    line = f"{dataset} confirmation {progress.ended}/{planned}: {trial} {run.status}"
    judged = run.best_epoch(progress.objective)
    if judged is not None:
        name, epochs = progress.objective.name, counted(len(run.history), "epoch")
        line += f", {name} {judged[name]:.4f} on fresh questions after {epochs}"
    return f"{line}{f', {run.error}' if run.error else ''}, {duration(run.wall_s)}"
