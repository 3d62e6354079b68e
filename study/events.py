"""TensorBoard events of one trial: hyperparameters from the start, losses and metrics as they come."""

from pathlib import Path

from torch.utils.tensorboard.summary import hparams
from torch.utils.tensorboard.writer import SummaryWriter

from pan_model.flat import Scalar
from pan_model.train import EpochRecord


class TrialEvents:
    """Writes under tensorboard/<dataset>/<trial_id>; every epoch is on disk when `add_epoch` returns."""

    def __init__(self, folder: Path, config: dict[str, Scalar], metric: str, *, epochs_done: int) -> None:
        self._writer = SummaryWriter(str(folder), purge_step=epochs_done + 1 if epochs_done else None)
        if epochs_done == 0:
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
