"""TensorBoard events of one trial: hyperparameters from the start, losses and metrics as they come."""

import shutil
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from torch.utils.tensorboard.summary import hparams
from torch.utils.tensorboard.writer import SummaryWriter

from pan_model.flat import Scalar
from pan_model.scores import EpochRecord
from study.storage.files import write_whole
from study.storage.location import Location, in_store


class TrialEvents:
    """Writes under tensorboard/<dataset>/<trial_id>; every epoch is there when `add_epoch` returns.

    A trial that goes on writes its last epoch again: a kill may have come between the ledger and the events. To a
    store the event file, which is small, goes whole after each epoch.
    """

    def __init__(self, folder: Location, config: dict[str, Scalar], metric: str, *, last: EpochRecord | None) -> None:
        self._folder = folder
        self._local = TemporaryDirectory(prefix="pan-study-") if in_store(folder) else None
        place = folder if self._local is None else self._local.name
        self._writer = SummaryWriter(str(place), purge_step=int(last["epoch"]) if last else None)
        if last is not None:
            self.add_epoch(last)
        else:
            experiment, start, _ = hparams(dict(config), {metric: 0.0})
            file_writer = self._writer.file_writer
            assert file_writer is not None
            file_writer.add_summary(experiment)
            file_writer.add_summary(start)
            self._keep()

    def add_epoch(self, record: EpochRecord) -> None:
        """Write every number of an epoch under its own name."""
        for name, value in record.items():
            if name != "epoch":
                self._writer.add_scalar(name, value, int(record["epoch"]))
        self._keep()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()
        if self._local is not None:
            self._local.cleanup()

    def _keep(self) -> None:
        self._writer.flush()
        for file in Path(self._local.name).iterdir() if self._local else ():
            write_whole(self._folder / file.name, partial(shutil.copyfile, file))
