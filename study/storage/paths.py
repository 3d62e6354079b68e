"""Where a study's files lie below results/NAME."""

from dataclasses import dataclass

from study.storage.location import Location

BACKBONE = "backbone.safetensors"
"""The weights of a backbone that was trained before the search, in a dataset's folder."""


@dataclass(frozen=True)
class DatasetPaths:
    """The files of one dataset of a study."""

    root: Location
    dataset: str

    @property
    def folder(self) -> Location:
        """results/NAME/<dataset>."""
        return self.root / self.dataset

    @property
    def trials(self) -> Location:
        """The ledger: a folder for each trial."""
        return self.folder / "trials"

    @property
    def journal(self) -> Location:
        """Optuna's journal."""
        return self.folder / "optuna.log"

    @property
    def trials_table(self) -> Location:
        """One row a trial."""
        return self.folder / "trials.csv"

    @property
    def history_table(self) -> Location:
        """One row a trial and epoch."""
        return self.folder / "history.csv"

    @property
    def baselines(self) -> Location:
        """Every validation question's score under the baselines that all trials share."""
        return self.folder / "baselines.json"

    @property
    def backbone(self) -> Location:
        """The weights of a backbone that was trained before the search."""
        return self.folder / BACKBONE

    @property
    def final_metrics(self) -> Location:
        """The test scores of the final training, where study/final.py puts them."""
        return self.folder / "final" / "metrics.json"

    @property
    def best_config(self) -> Location:
        """The best completed trial's configuration."""
        return self.folder / "best_config.json"

    def events(self, trial_id: str) -> Location:
        """A trial's TensorBoard folder."""
        return self.root / "tensorboard" / self.dataset / trial_id


@dataclass(frozen=True)
class StudyPaths:
    """The files of a study."""

    root: Location

    @property
    def study(self) -> Location:
        """The resolved configuration, signature, versions and data fingerprints."""
        return self.root / "study.json"

    @property
    def summary(self) -> Location:
        """One row a dataset, to be read."""
        return self.root / "summary.md"

    @property
    def summary_table(self) -> Location:
        """One row a dataset, to be computed with."""
        return self.root / "summary.csv"

    @property
    def tensorboard(self) -> Location:
        """What `tensorboard --logdir` takes."""
        return self.root / "tensorboard"

    def dataset(self, dataset: str) -> DatasetPaths:
        """The files of one dataset."""
        return DatasetPaths(self.root, dataset)
