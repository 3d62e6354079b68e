"""TensorBoard events of one trial: hyperparameters at the start, then losses and metrics of each epoch."""

import shutil
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from torch.utils.tensorboard.summary import hparams
from torch.utils.tensorboard.writer import SummaryWriter

from pan_model.errors import faults_at
from pan_model.flat import Scalar
from pan_model.scores import EpochRecord
from study.storage.files import write_file
from study.storage.location import Location, in_store


class TrialEvents:
    """Write the event file of a trial. `add_epoch` returns once the epoch is in the file, or in the store.

    A trial that is continued writes its last epoch again, because it may have been killed between writing the ledger
    and writing the events. In a store, the event file, which is small, is replaced after each epoch.

    Args:
        folder: The folder of the events, tensorboard/<dataset>/<trial_id>.
        config: The hyperparameters of the trial.
        metric: The name of the objective.
        last: The last epoch in the ledger if the trial is continued; otherwise None.
    """

    def __init__(self, folder: Location, config: dict[str, Scalar], metric: str, *, last: EpochRecord | None) -> None:
        self._folder = folder
        self._local = TemporaryDirectory(prefix="pan-study-") if in_store(folder) else None
        log_dir = folder if self._local is None else self._local.name
        with self._faults():
            self._writer = SummaryWriter(str(log_dir), purge_step=int(last["epoch"]) if last else None)
            if last is None:
                self._add_start(config, metric)
        if last is not None:
            self.add_epoch(last)

    def add_epoch(self, record: EpochRecord) -> None:
        """Write each number of an epoch as a scalar of the same name."""
        with self._faults():
            for name, value in record.items():
                if name != "epoch":
                    self._writer.add_scalar(name, value, int(record["epoch"]))
            self._flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()
        if self._local is not None:
            self._local.cleanup()

    def _add_start(self, config: dict[str, Scalar], metric: str) -> None:
        experiment, start, _ = hparams(dict(config), {metric: 0.0})
        file_writer = self._writer.file_writer
        assert file_writer is not None
        file_writer.add_summary(experiment)
        file_writer.add_summary(start)
        self._flush()

    def _faults(self) -> AbstractContextManager[None]:
        """Return a context that names the folder of the events in faults of the machine."""
        return faults_at(Path(self._local.name if self._local else str(self._folder)) / "events")

    def _flush(self) -> None:
        self._writer.flush()
        for file in Path(self._local.name).iterdir() if self._local else ():
            write_file(self._folder / file.name, partial(shutil.copyfile, file))
