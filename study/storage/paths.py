"""Paths of a study's files below results/NAME."""

from dataclasses import dataclass

from study.storage.location import Location

BACKBONE = "backbone.safetensors"
"""Name of the file, in a dataset's folder, with the weights of a backbone trained before the search."""


@dataclass(frozen=True)
class DatasetPaths:
    """The files of one dataset of a study."""

    root: Location
    dataset: str

    @property
    def folder(self) -> Location:
        """The dataset's folder, results/NAME/<dataset>."""
        return self.root / self.dataset

    @property
    def trials(self) -> Location:
        """The ledger, one folder a trial."""
        return self.folder / "trials"

    @property
    def confirmation(self) -> Location:
        """The ledger of the confirmation: the best trials, trained again from other seeds, one folder a run."""
        return self.folder / "confirmation"

    @property
    def journal(self) -> Location:
        """Optuna's journal."""
        return self.folder / "optuna.log"

    @property
    def trials_table(self) -> Location:
        """trials.csv, one row a trial."""
        return self.folder / "trials.csv"

    @property
    def history_table(self) -> Location:
        """history.csv, one row a trial and epoch."""
        return self.folder / "history.csv"

    @property
    def baselines(self) -> Location:
        """Scores of the baselines that all trials share, for every validation question."""
        return self.folder / "baselines.json"

    @property
    def backbone(self) -> Location:
        """The weights of a backbone trained before the search."""
        return self.folder / BACKBONE

    @property
    def final_metrics(self) -> Location:
        """The test scores of a final training in its default folder."""
        return self.folder / "final" / "metrics.json"

    @property
    def final_questions(self) -> Location:
        """The score of every test question in a final training, averaged over the seeds."""
        return self.folder / "final" / "questions.json"

    @property
    def examples(self) -> Location:
        """Explained pairs of validation images, of the best trial, with small copies of the images."""
        return self.folder / "examples.json"

    @property
    def ablation(self) -> Location:
        """The default folder of a controlled comparison: ablation.json, and a ledger of its trials."""
        return self.folder / "ablation"

    @property
    def best_config(self) -> Location:
        """The configuration of the best completed trial."""
        return self.folder / "best_config.json"

    @property
    def tensorboard(self) -> Location:
        """The events of the dataset's trials, one folder a trial: `events_folder` of study/trials names them."""
        return self.root / "tensorboard" / self.dataset


@dataclass(frozen=True)
class StudyPaths:
    """The files of a study."""

    root: Location

    @property
    def study(self) -> Location:
        """The resolved configuration, signature, versions and data fingerprints."""
        return self.root / "study.json"

    @property
    def driver(self) -> Location:
        """The process that runs the study, and how it ended."""
        return self.root / "driver.json"

    @property
    def summary(self) -> Location:
        """summary.md, for reading."""
        return self.root / "summary.md"

    @property
    def summary_table(self) -> Location:
        """summary.csv, one row a dataset."""
        return self.root / "summary.csv"

    @property
    def report(self) -> Location:
        """report.html, one self-contained page."""
        return self.root / "report.html"

    @property
    def tensorboard(self) -> Location:
        """The folder for `tensorboard --logdir`."""
        return self.root / "tensorboard"

    def dataset(self, dataset: str) -> DatasetPaths:
        """Return the files of one dataset."""
        return DatasetPaths(self.root, dataset)


@dataclass(frozen=True)
class _ConfirmedDatasetPaths(DatasetPaths):
    """The files of a dataset, with the runs of the confirmation as its trials."""

    @property
    def trials(self) -> Location:
        """The ledger of the confirmation."""
        return self.confirmation


@dataclass(frozen=True)
class ConfirmationPaths(StudyPaths):
    """The files of a study, with the runs of the confirmation as the trials of each dataset."""

    def dataset(self, dataset: str) -> DatasetPaths:
        """Return the files of one dataset."""
        return _ConfirmedDatasetPaths(self.root, dataset)


@dataclass(frozen=True)
class _OneDatasetPaths(DatasetPaths):
    """The files of the only dataset below a root, without a folder for the dataset."""

    @property
    def folder(self) -> Location:
        """The root."""
        return self.root


@dataclass(frozen=True)
class AblationPaths(StudyPaths):
    """The files of a controlled comparison on one dataset: as those of a study, without a folder for the dataset."""

    @property
    def ablation(self) -> Location:
        """ablation.json, the rows with their intervals."""
        return self.root / "ablation.json"

    @property
    def table(self) -> Location:
        """ablation.csv, one line a row."""
        return self.root / "ablation.csv"

    @property
    def page(self) -> Location:
        """ablation.md, for reading."""
        return self.root / "ablation.md"

    def dataset(self, dataset: str) -> DatasetPaths:
        """Return the files of the dataset."""
        return _OneDatasetPaths(self.root, dataset)
