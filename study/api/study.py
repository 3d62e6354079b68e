"""A study in Python: its trials as data frames, its best configuration, its figures, and a final training."""

import os
import sys
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pan_model.errors import UserError
from study.analysis.study_data import DatasetData, StudyData, read_study_data
from study.api.best_config import BestConfig, find_best
from study.api.keyword_flags import to_words
from study.app.commands import run_from_words
from study.app.flags import read_final_config, read_study_config
from study.config.final_config import FinalConfig
from study.config.study_config import StudyConfig
from study.reporting.best_config import export_best_config
from study.storage.files import exists
from study.storage.location import Location, locate
from study.storage.paths import StudyPaths
from study.terminal import Terminal

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from study.analysis.effects import Effects
    from study.analysis.final_results import FinalResult
    from study.analysis.importance import Importance


class Study:
    """A study as it was when it was read; `refresh()` reads it again.

    Methods with an argument `dataset` need it only if the study has several datasets.

    Attributes:
        data: The study's trials, summaries and files, from which everything else follows.
    """

    def __init__(self, data: StudyData) -> None:
        self.data = data

    @classmethod
    def load(cls, results: "str | os.PathLike[str] | Location") -> "Study":
        """Read a finished, interrupted or running study. Nothing is written.

        Args:
            results: The study's folder, such as results/NAME, or its URL, such as s3://bucket/results/NAME.

        Raises:
            UserError: If it is no study, or one of its files is damaged.
        """
        return cls(
            read_study_data(StudyPaths(locate(os.fspath(results) if isinstance(results, str) else str(results))))
        )

    @classmethod
    def run(cls, **flags: Any) -> "Study":
        """Run a study as study/run.py does, and read it. The files are the same.

        Args:
            **flags: The flags of study/run.py, with `_` for `-`: `dataset="cub"` or `dataset=["cub", "inshop"]`,
                `num_trials=32`, `resume=True`, `executor="serial"`. `fix={"gate": "XNOR"}`,
                `range={"lambda": (1e-4, 1)}` and `choices={"gate": ["OR", "XNOR"]}` restrict the search space, `try_`
                stands for `--try`, and durations may be seconds. None is the default.

        Returns:
            The study, also if no trial completed; `best` then raises an error.

        Raises:
            UserError: As study/run.py refuses it. Nothing is written then.
        """
        words = to_words(StudyConfig, flags)
        config = read_study_config(words)
        if config.dry_run:
            raise UserError("dry_run prints a plan and makes no study; type study/run.py --dry-run instead.")
        run_from_words(words, _terminal(), None, "")
        return cls(read_study_data(config.results))

    def refresh(self) -> "Study":
        """Return the study as it is now."""
        return Study(read_study_data(self.data.paths))

    @property
    def name(self) -> str:
        """The name of the study."""
        return self.data.name

    @property
    def folder(self) -> Location:
        """The folder of the results, or their URL."""
        return self.data.paths.root

    @property
    def datasets(self) -> tuple[str, ...]:
        """The names of the datasets."""
        return tuple(self.data.datasets)

    @cached_property
    def trials(self) -> "pd.DataFrame":
        """One row for each trial of all datasets, see `study.analysis.frames.trials_frame`.

        Columns: dataset, trial_id, status, metric, epoch, wall_s, error, number, started, ended, config.<parameter>...
        """
        from study.analysis.frames import trials_frame

        return trials_frame(self.data)

    @cached_property
    def history(self) -> "pd.DataFrame":
        """One row for each trial and epoch of all datasets, see `study.analysis.frames.history_frame`.

        Columns: dataset, trial_id, epoch, the metric, losses, times in seconds.
        """
        from study.analysis.frames import history_frame

        return history_frame(self.data)

    @property
    def best(self) -> BestConfig:
        """The winner of a study with one dataset. `best_of(dataset)` is for several.

        Raises:
            UserError: If no trial has completed, or the study has several datasets.
        """
        return self.best_of()

    def best_of(self, dataset: str | None = None) -> BestConfig:
        """Return the winner of a dataset: the best completed trial, after a confirmation if there was one.

        Raises:
            UserError: If no trial has completed.
        """
        return find_best(self._dataset(dataset))

    def effects(self, dataset: str | None = None) -> "Effects":
        """Return the metric against lambda, gate, conditions and others, over the study's full-length trials."""
        from study.analysis.effects import find_effects

        return find_effects(self._dataset(dataset))

    def importance(self, dataset: str | None = None) -> "Importance":
        """Return how much each parameter mattered, with bootstrap intervals, or why trials are too few to say.

        It takes seconds.
        """
        from study.analysis.importance import find_importance

        return find_importance(self._dataset(dataset))

    def plot_lambda(self, dataset: str | None = None) -> "go.Figure":
        """Draw the metric against lambda: a mark for each full-length trial, curves if ranges differ beyond chance.

        Raises:
            UserError: If there is no such trial.
        """
        from study.page.charts.effects import lambda_chart

        effects = self.effects(dataset)
        self._check_there(effects.lambda_.missing)
        return lambda_chart(effects)

    def plot_gates(self, dataset: str | None = None) -> "go.Figure":
        """Draw the metric for each gate over the study's full-length trials.

        Raises:
            UserError: If there is no such trial.
        """
        from study.page.charts.effects import gate_chart

        effects = self.effects(dataset)
        self._check_there(effects.gate.missing)
        return gate_chart(effects)

    def final(self, dataset: str | None = None, **flags: Any) -> "FinalResult":
        """Return the test scores of the winner's final training; train it as study/final.py does if there is none.

        Args:
            dataset: The dataset.
            **flags: The flags of study/final.py, with `_` for `-`, such as `seeds=3` or `baselines=["none"]`. Data root
                and cache are those of the study unless they are given.

        Raises:
            UserError: If no trial has completed, the final training that exists is of another trial or other seeds, or
                study/final.py refuses the flags or the data.
        """
        from study.analysis.final_results import read_final_result

        best = self.best_of(dataset)
        files = self.data.paths.dataset(best.dataset)
        of_study = {name: self.data.content.get("config", {}).get(name) for name in FROM_STUDY}
        words = to_words(FinalConfig, {**of_study, **flags})
        config = read_final_config([str(files.best_config), *words])
        if not exists(config.folder / "metrics.json"):
            from study.app.train_final import train_final  # here: importing torch takes seconds

            export_best_config(files, self.data.content, self.data.datasets[best.dataset].records)
            train_final(config, _terminal())
        result = read_final_result(config.folder)
        if result.trial_id != best.trial_id:
            raise UserError(
                f"{config.folder}: is of trial {result.trial_id}, not of the winner {best.trial_id}; move it away to "
                "train the winner."
            )
        if "seeds" in flags and len(result.seeds) != config.seeds:
            raise UserError(
                f"{config.folder}: seeds must be {len(result.seeds)}, those of the final training that exists, got "
                f"{config.seeds}; leave them out, move the folder away, or give another output."
            )
        return result

    def report(self) -> Location:
        """Write report.html into the study's folder, and return its path."""
        from study.page.report_page import write_report_page

        write_report_page(self.data, time.time())
        return self.data.paths.report

    def __repr__(self) -> str:
        return f"Study({str(self.folder)!r}, {', '.join(self.datasets)})"

    def _dataset(self, dataset: str | None) -> DatasetData:
        names = ", ".join(self.datasets)
        if dataset is None and len(self.data.datasets) > 1:
            raise UserError(f"{self.folder}: has several datasets; give one of {names}, as in best_of('cub').")
        name = next(iter(self.data.datasets)) if dataset is None else dataset
        if name not in self.data.datasets:
            raise UserError(f"{self.folder}: dataset must be one of {names}, got '{name}'.")
        return self.data.datasets[name]

    def _check_there(self, missing: str) -> None:
        if missing:
            raise UserError(f"{self.folder}: {missing}")


FROM_STUDY = ("data_root", "cache_dir", "skip_bad_images")
"""Flags of study/final.py whose default here is the value that the study had."""


def _terminal() -> Terminal:
    """Return a terminal that prints plain lines in a notebook, where rich would make each line an element of HTML."""
    from rich.console import Console

    return Terminal(Console(highlight=False, soft_wrap=True, force_terminal=sys.stdout.isatty(), force_jupyter=False))
