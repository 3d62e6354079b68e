"""The baselines that all trials of a study share: scored on val, printed, and kept in baselines.json.

Those without training are scored before the trials. paper_setting is a first trial of most studies, and its scores are
those of the trial. If the search space leaves it out, it is trained while the first trials run.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from optuna.trial import FixedTrial

from study.config.dataset_plan import DatasetPlan
from study.config.study_config import StudyConfig
from study.terminal import Terminal
from study.trials.baselines import PAPER_SETTING, paper_setting_on_val, untrained_on_val
from study.trials.data_cautions import find_chance
from study.trials.ledger import Status, TrialLedger, TrialRecord, read_ledger
from study.trials.paper_setting import is_setting, setting_of_search
from study.trials.preparation import PreparedDataset
from study.trials.question_scores import QuestionLists, interval_of, write_baselines


class SharedBaselines:
    """The baselines of each dataset of a study.

    Args:
        config: The study.
        prepared: The datasets, in the order of the study's plans.
        content: The content of study.json, which gets a caution if no untrained one is better than chance.
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
        self._scores: dict[str, dict[str, QuestionLists]] = {}
        self._writes = False

    def score(self) -> None:
        """Score and print the baselines that are not trained, and paper_setting if its trial completed in another run.

        Nothing is written before `write`.
        """
        seed = self._config.seed
        for name, prepared in self._prepared.items():
            scores = self._scores[name] = untrained_on_val(prepared, seed=seed)
            values = ", ".join(f"{baseline} {self._value(name, of_val)}" for baseline, of_val in scores.items())
            self._terminal.say(f"{name}: baselines' {prepared.row.task.objective.name} on val: {values}")
            if cautions := find_chance(prepared.row.make_task(prepared.featured, seed=seed), scores):
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

    def to_train(self) -> list[DatasetPlan]:
        """Return the plans whose paper_setting is neither known nor a trial that is still to end."""
        return [plan for plan in self._config.plans if not self._is_known(plan) and not self._is_trial(plan)]

    def trial_ended(self, dataset: str, record: TrialRecord) -> None:
        """Take the scores of paper_setting from a trial, if it is that and has completed."""
        is_paper = is_setting(record.config, self._settings[dataset])
        if record.status is Status.COMPLETED and is_paper and PAPER_SETTING not in self._scores[dataset]:
            ledger = TrialLedger(self._config.results.dataset(dataset).trials / record.trial_id)
            if (best := ledger.read().best) is not None:
                self.add(dataset, best.questions, f", trial {record.trial_id}")

    def add(self, dataset: str, scores: QuestionLists, source: str = "") -> None:
        """Print and write the scores of paper_setting.

        Args:
            dataset: The name of the dataset.
            scores: The scores of the validation questions.
            source: Added to the line.
        """
        self._scores[dataset][PAPER_SETTING] = scores
        objective = self._prepared[dataset].row.task.objective.name
        self._terminal.say(
            f"{dataset}: baseline {PAPER_SETTING}'s {objective} on val: {self._value(dataset, scores)}{source}"
        )
        self._write(dataset)

    def train(self, plans: Sequence[DatasetPlan]) -> None:
        """Train the paper_setting of some plans in this process, unless it is known."""
        for plan in plans:
            if not self._is_known(plan):
                with self._terminal.live() as show:
                    scores = paper_setting_on_val(
                        self._prepared[plan.dataset],
                        seed=self._config.seed,
                        max_epochs=plan.max_epochs,
                        cache_dir=self._config.cache_dir,
                        show=show,
                    )
                self.add(plan.dataset, scores)

    def _is_known(self, plan: DatasetPlan) -> bool:
        return PAPER_SETTING in self._scores[plan.dataset]

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

    def _write(self, dataset: str) -> None:
        if self._writes:
            write_baselines(self._config.results.dataset(dataset).baselines, self._scores[dataset])

    def _value(self, dataset: str, scores: QuestionLists) -> str:
        return f"{interval_of(scores[self._prepared[dataset].row.task.objective.name]).mean:.4f}"
