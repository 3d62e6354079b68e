"""More epochs later: which trials of a ledger go on when a study's `--max-epochs` is raised.

A completed trial goes on from its checkpoint. It stays completed in the ledger until it starts again, so that its
result counts if the study is interrupted before. Trials that early stopping ended stay completed; stopped and failed
trials stay as they are.
"""

from collections.abc import Sequence
from dataclasses import replace

from pan_model.command_line import counted
from pan_model.objective import Objective
from study.config.identity import with_more_epochs
from study.storage.location import Location
from study.trials.ledger import Status, TrialLedger, TrialRecord, count_ended, read_ledger


def read_for_search(trials: Location, objective: Objective, max_epochs: int) -> list[TrialRecord]:
    """Read the trials of a dataset as a search sees them; see `as_searched`."""
    return as_searched(read_ledger(trials, best=False), trials, objective, max_epochs)


def as_searched(
    records: Sequence[TrialRecord], trials: Location, objective: Objective, max_epochs: int
) -> list[TrialRecord]:
    """Return trials as a search sees them: one that goes on is running, with the search's `max_epochs`.

    Args:
        records: The trials as the ledger has them.
        trials: The folder that contains one folder for each trial.
        objective: The metric that early stopping compares.
        max_epochs: The last epoch of a trial.
    """
    return [
        replace(record, status=Status.RUNNING, config=with_more_epochs(record.config, max_epochs))
        if record.status is Status.RUNNING
        or (lacks_epochs(record, objective, max_epochs) and TrialLedger(trials / record.trial_id).has_checkpoint())
        else record
        for record in records
    ]


def lacks_epochs(record: TrialRecord, objective: Objective, max_epochs: int) -> bool:
    """Return whether a trial completed with fewer epochs than the study has now, other than by early stopping."""
    best, has_more = record.best_epoch(objective), with_more_epochs(record.config, max_epochs)
    if record.status is not Status.COMPLETED or best is None or "schedule_epochs" not in has_more:
        return False
    last, patience = int(record.history[-1]["epoch"]), int(record.config.get("patience", 0))
    return last < max_epochs and not 0 < patience <= last - int(best["epoch"])


def describe_more_epochs(trials: Location, objective: Objective, before: int, max_epochs: int) -> str:
    """Return a line that says how many completed trials go on, and why others do not.

    Args:
        trials: The folder that contains one folder for each trial.
        objective: The metric that early stopping compares.
        before: The last epoch of a trial so far.
        max_epochs: The new last epoch of a trial.
    """
    completed = [record for record in read_ledger(trials, best=False) if record.status is Status.COMPLETED]
    lacking = [record for record in completed if lacks_epochs(record, objective, max_epochs)]
    without = sum(not TrialLedger(trials / record.trial_id).has_checkpoint() for record in lacking)
    going_on = len(lacking) - without
    continuing = f"{counted(going_on, 'completed trial')} {'continues' if going_on == 1 else 'continue'}"
    line = f"max_epochs from {before} to {max_epochs}: {continuing}"
    if len(completed) > len(lacking):
        line += f"; {len(completed) - len(lacking)} ended by early stopping stay as they are"
    return line + (f"; {without} without a checkpoint stay as they are" if without else "")


def count_missing(records: Sequence[TrialRecord], num_trials: int) -> int:
    """Return the number of trials that a search has to run.

    Trials that got more epochs go on whatever the number of trials is.

    Args:
        records: The trials as `as_searched` returns them.
        num_trials: The number of trials of the study.
    """
    continued = sum(record.status is Status.RUNNING and "schedule_epochs" in record.config for record in records)
    return max(num_trials - count_ended(records), continued)
