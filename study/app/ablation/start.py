"""The trial that a controlled comparison starts from: the winner of the study, or the trial of --trial."""

from collections.abc import Mapping, Sequence
from typing import Any

from pan_model.errors import UserError
from pan_model.objective import Objective
from study.app.ablation.config import AblationConfig
from study.trials.ledger import Status, best_completed, read_ledger


def start_from(best: Mapping[str, Any], config: AblationConfig) -> Mapping[str, Any]:
    """Return the content of best_config.json with the trial of --trial, if it is given, in place of the winner.

    Raises:
        UserError: If the study has no such trial, or it has not completed.
    """
    if config.trial is None:
        return best
    trials, objective = config.best_config.parent / "trials", best["metric"]["name"]
    records = {record.trial_id: record for record in read_ledger(trials, best=False)}
    way_out = f"choose a completed one, such as {best['trial_id']}, the winner"
    if config.trial not in records:
        raise UserError(f"--trial {config.trial}: no such trial in {trials}; {way_out}.")
    record = records[config.trial]
    epoch = record.best_epoch(Objective(objective, best["metric"]["mode"]))
    if record.status is not Status.COMPLETED or epoch is None:
        raise UserError(
            f"--trial {config.trial}: must be a completed trial, got one that is {record.status}; {way_out}."
        )
    metric = {**best["metric"], "value": epoch[objective], "epoch": epoch["epoch"]}
    return {**best, "metric": metric, "config": record.config, "trial_id": record.trial_id}


def best_with(names: Sequence[str], best: Mapping[str, Any], config: AblationConfig) -> str | None:
    """Return the best completed trial of the study that has some parameters."""
    records = read_ledger(config.best_config.parent / "trials", best=False)
    objective = Objective(best["metric"]["name"], best["metric"]["mode"])
    found = best_completed([record for record in records if record.config.keys() >= set(names)], objective)
    return None if found is None else found[0].trial_id


def start_name(best: Mapping[str, Any], config: AblationConfig) -> str:
    """Return what the rows are compared with: the winner, or the trial of --trial."""
    return "winner" if config.trial is None else f"trial {best['trial_id']}"
