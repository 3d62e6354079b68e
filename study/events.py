"""TensorBoard events of one trial: hyperparameters from the start, losses and metrics as they come."""

from pathlib import Path

from torch.utils.tensorboard.summary import hparams
from torch.utils.tensorboard.writer import SummaryWriter

from pan_model.flat import Scalar
from pan_model.train import EpochRecord


class TrialEvents:
    """Writes under tensorboard/<dataset>/<trial_id>; every epoch is on disk when `add_epoch` returns.

    A trial that goes on writes its last epoch again: a kill may have come between the ledger and the events.
    """

    def __init__(self, folder: Path, config: dict[str, Scalar], metric: str, *, last: EpochRecord | None) -> None:
        self._writer = SummaryWriter(str(folder), purge_step=int(last["epoch"]) if last else None)
        if last is not None:
            self.add_epoch(last)
        else:
            experiment, start, _ = hparams(dict(config), {metric: 0.0})
            file_writer = self._writer.file_writer
            assert file_writer is not None
            file_writer.add_summary(experiment)
            file_writer.add_summary(start)
            self._writer.flush()

    def add_epoch(self, record: EpochRecord) -> None:
        """Write every number of an epoch under its own name."""
        for name, value in record.items():
            if name != "epoch":
                self._writer.add_scalar(name, value, int(record["epoch"]))
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()
