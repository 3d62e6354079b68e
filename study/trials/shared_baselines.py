"""The baselines that all trials of a study share: scored on val, printed, and kept in baselines.json.

Quick ones are scored before the trials. paper_setting is a first trial of most studies, and its scores are those of the
trial. The others, and paper_setting if the search space leaves it out, are computed while the first trials run.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from optuna.trial import FixedTrial

from pan_model.config import TrialConfig
from pan_model.scoring.baselines.choice import PAPER_SETTING, names_of
from pan_model.scoring.baselines.untrained import normalised_features
from pan_model.tasks.task import Task
from study.config.dataset_plan import DatasetPlan
from study.config.study_config import StudyConfig
from study.terminal import Show, Terminal
from study.trials.baselines import (
    CACHE_FOLDER,
    BaselineScores,
    own_names,
    own_on_val,
    paper_setting_on_val,
    quick_on_val,
    slow_names,
    slow_on_val,
    write_scores,
)
from study.trials.data_cautions import find_chance
from study.trials.ledger import Status, TrialLedger, TrialRecord, read_ledger
from study.trials.paper_setting import is_setting, setting_of_search
from study.trials.preparation import PreparedDataset
from study.trials.question_scores import interval_of, read_baselines
from study.trials.selection.confirmation import select_in_study


class BaselineJob(NamedTuple):
    """A baseline of a dataset to compute.

    Attributes:
        dataset: The name of the dataset.
        name: The name of the baseline.
        max_epochs: The epochs of the study's trials, which paper_setting has as well.
    """

    dataset: str
    name: str
    max_epochs: int

    @property
    def cache_folder(self) -> str:
        """The name of the folder of the cache that keeps it."""
        return PAPER_SETTING if self.name == PAPER_SETTING else CACHE_FOLDER

    def compute(self, prepared: PreparedDataset, *, seed: int, cache_dir: Path, show: Show) -> BaselineScores:
        """Return the scores on the validation questions, from the cache if they are there.

        Args:
            prepared: The dataset.
            seed: The seed of the study, with which the questions are drawn.
            cache_dir: The cache folder.
            show: Shows the progress.

        Raises:
            UserError: If the cache cannot be written, or paper_setting has no finite value.
        """
        if self.name == PAPER_SETTING:
            return paper_setting_on_val(prepared, seed=seed, max_epochs=self.max_epochs, cache_dir=cache_dir, show=show)
        return slow_on_val(prepared, self.name, seed=seed, cache_dir=cache_dir, show=show)


class SharedBaselines:
    """The baselines of each dataset of a study.

    Args:
        config: The study.
        prepared: The datasets, in the order of the study's plans.
        content: The content of study.json, which gets the names of the baselines, and a caution if no quick one is
            better than chance.
        terminal: Prints the values.
    """

    def __init__(
        self,
        config: StudyConfig,
        prepared: Sequence[PreparedDataset],
        content: Mapping[str, Any],
        terminal: Terminal,
    ) -> None:
        self._config, self._content, self._terminal = config, content, terminal
        self._prepared = {dataset.dataset: dataset for dataset in prepared}
        self._settings = {plan.dataset: setting_of_search(plan.dataset, plan.max_epochs) for plan in config.plans}
        self._tasks: dict[str, Task] = {}
        self._scores: dict[str, dict[str, BaselineScores]] = {}
        self._writes = False

    def score(self) -> None:
        """Score the quick baselines and print the best, and paper_setting if its trial completed in another run.

        Nothing is written before `write`.
        """
        for name, prepared in self._prepared.items():
            task = self._tasks[name] = prepared.row.make_task(prepared.featured, seed=self._config.seed)
            scores = self._scores[name] = quick_on_val(task)
            self._content["datasets"][name]["baselines"] = list(names_of(task))
            self._print_best(name)
            if cautions := find_chance(task, {baseline: of_val.questions for baseline, of_val in scores.items()}):
                self._content["datasets"][name]["data"]["cautions"] = [*prepared.cautions, *cautions]
            for caution in cautions:
                self._terminal.say(f"{name}: caution: {caution}")
            for record in self._records(name):
                self.trial_ended(name, record)

    def write(self) -> None:
        """Write what is known, and from now on what becomes known."""
        self._writes = True
        for dataset in self._prepared:
            self._write(dataset)

    def to_compute(self) -> list[BaselineJob]:
        """Return the baselines that are not known and that no trial answers which is still to end."""
        awaited = {plan.dataset for plan in self._config.plans if self._is_trial(plan)}
        return [job for job in self.unknown() if job.name != PAPER_SETTING or job.dataset not in awaited]

    def unknown(self) -> list[BaselineJob]:
        """Return the baselines that are not known, each dataset's paper_setting first."""
        return [
            BaselineJob(plan.dataset, name, plan.max_epochs)
            for plan in self._config.plans
            for name in (PAPER_SETTING, *slow_names(self._tasks[plan.dataset]))
            if name not in self._scores[plan.dataset]
        ]

    def compute(self, jobs: Sequence[BaselineJob]) -> None:
        """Compute baselines in this process, one after another, and print and write each."""
        for job in jobs:
            with self._terminal.live() as show:
                scores = job.compute(
                    self._prepared[job.dataset],
                    seed=self._config.seed,
                    cache_dir=self._config.cache_dir,
                    show=show,
                )
            self.add(job.dataset, job.name, scores)

    def add(self, dataset: str, name: str, scores: BaselineScores, source: str = "") -> None:
        """Print and write the scores of a baseline.

        Args:
            dataset: The name of the dataset.
            name: The name of the baseline.
            scores: The scores of the validation questions.
            source: Added to the line.
        """
        self._scores[dataset][name] = scores
        value = self._mean(dataset, scores)
        self._terminal.say(f"{dataset}: baseline {name}'s {self._objective(dataset)} on val: {value:.4f}{source}")
        self._write(dataset)

    def trial_ended(self, dataset: str, record: TrialRecord) -> None:
        """Take the scores of paper_setting from a trial, if it is that and has completed."""
        is_paper = is_setting(record.config, self._settings[dataset])
        if record.status is Status.COMPLETED and is_paper and PAPER_SETTING not in self._scores[dataset]:
            best = self._ledger(dataset, record).read().best
            if best is not None:
                scores = BaselineScores(best.questions, {})
                self.add(dataset, PAPER_SETTING, scores, f", trial {record.trial_id}")

    def complete_winners(self) -> None:
        """Score what depends on the winner's normalisation if the winner is of a version that did not."""
        for dataset, task in self._tasks.items():
            files = self._config.results.dataset(dataset)
            winner = select_in_study(files, self._content["datasets"][dataset], self._records(dataset)).winner
            if winner is None:
                continue
            file = self._ledger(dataset, winner[0]).baselines_file
            if set(own_names(task)) - read_baselines(file).keys():
                normalisation = TrialConfig.from_flat(winner[0].config).normalisation
                write_scores(file, own_on_val(task, normalised_features(task, normalisation)))

    def _is_trial(self, plan: DatasetPlan) -> bool:
        """Return whether a trial that runs or is yet to start is paper_setting."""
        setting = self._settings[plan.dataset]
        records = self._records(plan.dataset)
        for record in records:
            if is_setting(record.config, setting):
                return record.status is Status.RUNNING
        points = plan.space.first_trials[: max(plan.num_trials - len(records), 0)]
        values = (plan.space.suggest(FixedTrial(point)) for point in points)
        return any(is_setting({**suggested, "max_epochs": plan.max_epochs}, setting) for suggested in values)

    def _records(self, dataset: str) -> list[TrialRecord]:
        return read_ledger(self._config.results.dataset(dataset).trials, best=False)

    def _ledger(self, dataset: str, record: TrialRecord) -> TrialLedger:
        return TrialLedger(self._config.results.dataset(dataset).trials / record.trial_id)

    def _write(self, dataset: str) -> None:
        if self._writes:
            write_scores(self._config.results.dataset(dataset).baselines, self._scores[dataset])

    def _print_best(self, dataset: str) -> None:
        values = {name: self._mean(dataset, scores) for name, scores in self._scores[dataset].items()}
        best = max(values, key=lambda name: values[name])
        others = f", the best of {', '.join(values)}" if len(values) > 1 else ""
        self._terminal.say(
            f"{dataset}: baseline {best}'s {self._objective(dataset)} on val: {values[best]:.4f}{others}"
        )

    def _objective(self, dataset: str) -> str:
        return self._tasks[dataset].objective.name

    def _mean(self, dataset: str, scores: BaselineScores) -> float:
        return interval_of(scores.questions[self._objective(dataset)]).mean
