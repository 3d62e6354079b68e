"""The results of a final training: all metrics of its metrics.json."""

from dataclasses import dataclass

import pandas as pd

from pan_model.errors import UserError
from pan_model.scores import Interval
from study.analysis.frames import table_of
from study.reporting.final_metrics import PAN, FinalMetricsFile
from study.storage.json_models import read_model
from study.storage.location import Location


@dataclass(frozen=True, kw_only=True)
class FinalResult:
    """The scores of a final training on test.

    Attributes:
        folder: The folder with the model; `pan_model.load_model` reads it.
        trial_id: The trial that was trained again.
        seeds: The seeds of the trainings.
        metrics: PAN's mean over questions, each averaged over the seeds, with its 95% interval, by metric.
        per_seed: PAN's mean of each seed, by metric.
        baselines: The same as `metrics` for each baseline.
        ahead: PAN's lead over each baseline on the same questions, by metric.
    """

    folder: Location
    trial_id: str
    seeds: tuple[int, ...]
    metrics: dict[str, Interval]
    per_seed: dict[str, tuple[float, ...]]
    baselines: dict[str, dict[str, Interval]]
    ahead: dict[str, dict[str, Interval]]

    @property
    def table(self) -> pd.DataFrame:
        """One row for each method and metric: method, metric, mean, low, high, and PAN's lead with low and high."""
        rows = [
            {"method": method, "metric": metric, **_cells("", score), **_cells("ahead", self._lead(method, metric))}
            for method, scores in {PAN: self.metrics, **self.baselines}.items()
            for metric, score in scores.items()
        ]
        return table_of(rows, ("method", "metric", "mean", "low", "high", "ahead", "ahead_low", "ahead_high"))

    def _lead(self, method: str, metric: str) -> Interval | None:
        return self.ahead.get(method, {}).get(metric)


def read_final_result(folder: Location) -> FinalResult:
    """Read the metrics.json of a final training.

    Args:
        folder: The folder of the final training.

    Raises:
        UserError: If the file is missing or damaged.
    """
    path = folder / "metrics.json"
    file = read_model(path, FinalMetricsFile, "move the folder away and run study/final.py again")
    if not file.metrics:
        raise UserError(f"{path}: metrics must have at least one metric; move the folder away.")
    return FinalResult(
        folder=folder,
        trial_id=file.trial_id,
        seeds=tuple(file.seeds),
        metrics={name: entry.interval for name, entry in file.metrics.items()},
        per_seed={name: tuple(entry.per_seed) for name, entry in file.metrics.items()},
        baselines={
            method: {name: entry.interval for name, entry in entries.items()}
            for method, entries in file.baselines.items()
        },
        ahead={
            method: {name: entry.interval for name, entry in entries.items()} for method, entries in file.paired.items()
        },
    )


def _cells(name: str, interval: Interval | None) -> dict[str, float | None]:
    mean, low, high = interval or (None, None, None)
    prefix = f"{name}_" if name else ""
    return {name or "mean": mean, f"{prefix}low": low, f"{prefix}high": high}
