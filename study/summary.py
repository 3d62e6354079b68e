"""The summary: one row a dataset, to be read (summary.md) and to be computed with (summary.csv)."""

from collections.abc import Mapping
from typing import Any

from study.files import write_text
from study.ledger import Status, TrialRecord, best_completed
from study.markdown_table import table
from study.results import Results
from study.tables import to_csv

BASELINES = ("nearest_class_mean", "nearest_class_mean_normalised", "siamese_distance")


def write_summary(results: Results, study: dict[str, Any], ledger: Mapping[str, list[TrialRecord]]) -> None:
    """Write both files for all datasets of a study."""
    rows = [summary_row(dataset, part, ledger[dataset]) for dataset, part in study["datasets"].items()]
    write_text(results.summary_table, to_csv((), rows))
    write_text(results.summary, "\n".join(_page(study, rows)) + "\n")


def summary_row(dataset: str, part: dict[str, Any], records: list[TrialRecord]) -> dict[str, Any]:
    """Trials by status, the winner, the baselines on the same validation questions, epochs spent and saved."""
    name, mode = part["objective"]["name"], part["objective"]["mode"]
    best = best_completed(records, name, mode)
    ended = [record for record in records if record.status in (Status.COMPLETED, Status.STOPPED)]
    normalisation = str(best[0].config["normalisation"]) if best else "none"
    return {
        "dataset": dataset,
        "planned": part["num_trials"],
        **{status.value: sum(record.status is status for record in records) for status in Status},
        "metric": name,
        "split": "val",
        "best_value": best[1] if best else None,
        "best_epoch": best[2] if best else None,
        "best_trial": best[0].trial_id if best else None,
        **{f"baseline.{baseline}": part["baselines"][normalisation][baseline] for baseline in BASELINES},
        "epochs_spent": sum(len(record.history) for record in records),
        "epochs_saved": sum(part["max_epochs"] - len(record.history) for record in ended),
        **{f"config.{key}": value for key, value in (best[0].config if best else {}).items()},
    }


def _page(study: dict[str, Any], rows: list[dict[str, Any]]) -> list[str]:
    statuses = [status.value for status in Status]
    heads = ("dataset", "metric (val)", "best", *BASELINES, *statuses, "epochs spent", "saved")
    cells = [
        [
            row["dataset"],
            row["metric"],
            _number(row["best_value"]),
            *(_number(row[f"baseline.{baseline}"]) for baseline in BASELINES),
            *(row[key] for key in (*statuses, "epochs_spent", "epochs_saved")),
        ]
        for row in rows
    ]
    lines = [f"# Study {study['name']}", "", *table(heads, cells), ""]
    lines += ["The baselines answer the same validation questions; the best trial was chosen on them, so its value"]
    lines += ["is optimistic. The test split is read once, by `study/final.py`."]
    for row in rows:
        lines += ["", f"## Best configuration on {row['dataset']}", "", *_best(row)]
    return lines


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


def _best(row: dict[str, Any]) -> list[str]:
    if row["best_trial"] is None:
        return ["No trial has completed."]
    values = [(key.removeprefix("config."), value) for key, value in row.items() if key.startswith("config.")]
    return [f"Trial {row['best_trial']}, epoch {row['best_epoch']}.", "", *table(("parameter", "value"), values)]
