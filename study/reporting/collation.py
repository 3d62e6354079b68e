"""Collation: write every file of a study that follows from study.json and the ledger."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pan_model.errors import UserError
from pan_model.objective import Objective
from study.config.study_config import StudyConfig
from study.config.study_file import read_study
from study.reporting.best_config import export_best_config
from study.reporting.summary import DatasetSummary, summarise_dataset, write_summary
from study.reporting.tables import write_tables
from study.storage.files import copy_all, exists, storage_of
from study.storage.location import Location, absolute, local_path
from study.storage.paths import DatasetPaths, StudyPaths
from study.trials.ledger import TrialRecord, read_ledger
from study.trials.selection.candidates import with_questions
from study.trials.selection.confirmation import select_in_study


class Collated(NamedTuple):
    """A dataset's trials and their summary."""

    records: list[TrialRecord]
    summary: DatasetSummary


def collate(results: StudyPaths, *, over: bool = False) -> dict[str, Collated]:
    """Write trials.csv, history.csv, best_config.json and the summary of a finished, interrupted or running study.

    Args:
        results: The study's files.
        over: Whether the study has ended: trials that are running in the ledger were then interrupted.

    Returns:
        The trials and the summary of each dataset.

    Raises:
        UserError: If the folder holds no study, or a file of the study is damaged.
    """
    study = read_begun_study(results)
    ledger: dict[str, list[TrialRecord]] = {}
    for dataset, entry in study["datasets"].items():
        files = results.dataset(dataset)
        objective = Objective(**entry["objective"])
        ledger[dataset] = read_with_winner(files, entry)
        write_tables(files, ledger[dataset], objective)
        export_best_config(files, study, ledger[dataset])
    summaries = write_summary(results, study, ledger, over=over)
    return {summary.dataset: Collated(ledger[summary.dataset], summary) for summary in summaries}


def read_begun_study(results: StudyPaths) -> dict[str, Any]:
    """Return the content of study.json; raise UserError if it does not exist."""
    if not exists(results.study):
        raise UserError(f"{results.root}: holds no study.json; give the folder of a study, such as results/demo.")
    return read_study(results.study)


def read_with_winner(files: DatasetPaths, entry: Mapping[str, Any]) -> list[TrialRecord]:
    """Read the trials. Only the candidates for the winner have scores of questions: those of all would fill the memory.

    Args:
        files: The dataset's files.
        entry: The dataset's entry in study.json.
    """
    records = read_ledger(files.trials, best=False)
    selection = select_in_study(files, entry, records)
    candidates = [with_questions(files.trials, candidate.record) for candidate in selection.candidates]
    by_id = {candidate.trial_id: candidate for candidate in candidates}
    return [by_id.get(record.trial_id, record) for record in records]


def lacks_baselines(config: StudyConfig, study: Mapping[str, Any]) -> bool:
    """Return whether a baseline that study.json names has no scores, such as after a limit of time.

    Studies of earlier versions name none. Those that depend on a winner are not expected without one.

    Args:
        config: The study.
        study: The content of its study.json.
    """
    for plan in config.plans:
        entry = study["datasets"][plan.dataset]
        if "baselines" not in entry:
            continue
        files = config.results.dataset(plan.dataset)
        summary = summarise_dataset(files, entry, read_with_winner(files, entry))
        if summary.best is not None and any(scores.val is None for scores in summary.scores[1:]):
            return True
    return False


def copy_results(results: StudyPaths, folder: Location) -> int:
    """Copy a study's results to a folder of this machine: all files but the trials' ledgers.

    Files of an earlier copy are replaced.

    Returns:
        The number of files copied.

    Raises:
        UserError: If `folder` is in a store, or is the study's own folder.
    """
    local_folder = local_path(folder)
    if local_folder is None:
        raise UserError(f"--copy must name a folder of this machine, got {folder}.")
    if local_folder.absolute() == absolute(results.root):
        raise UserError(f"--copy must name another folder than the study's, got {folder}.")
    depth = len(results.root.parts)
    names = {file: file.parts[depth:] for file in storage_of(results.root).list_below(results.root)}
    ledgers = (("trials",), ("confirmation",))
    copies = {file: local_folder.joinpath(*parts) for file, parts in names.items() if parts[1:2] not in ledgers}
    copy_all(copies)
    return len(copies)
