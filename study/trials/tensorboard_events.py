"""TensorBoard events of one trial: its hyperparameters, the losses and metrics of each epoch, and its status."""

import re
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol, runtime_checkable

from tensorboard.compat.proto.summary_pb2 import (
    Summary,  # pyright: ignore[reportAttributeAccessIssue]  # protobuf defines it at run time
    SummaryMetadata,  # pyright: ignore[reportAttributeAccessIssue]
)
from tensorboard.plugins.hparams.api_pb2 import (
    DATASET_VALIDATION as VALIDATION,  # pyright: ignore[reportAttributeAccessIssue]
)
from tensorboard.plugins.hparams.api_pb2 import (
    DataType,  # pyright: ignore[reportAttributeAccessIssue]
    Experiment,  # pyright: ignore[reportAttributeAccessIssue]
    HParamInfo,  # pyright: ignore[reportAttributeAccessIssue]
    MetricInfo,  # pyright: ignore[reportAttributeAccessIssue]
    MetricName,  # pyright: ignore[reportAttributeAccessIssue]
)
from tensorboard.plugins.hparams.api_pb2 import (
    Status as SessionStatus,  # pyright: ignore[reportAttributeAccessIssue]
)
from tensorboard.plugins.hparams.metadata import EXPERIMENT_TAG, PLUGIN_NAME, SESSION_END_INFO_TAG
from tensorboard.plugins.hparams.plugin_data_pb2 import (
    HParamsPluginData,  # pyright: ignore[reportAttributeAccessIssue]
    SessionEndInfo,  # pyright: ignore[reportAttributeAccessIssue]
)
from torch.utils.tensorboard.summary import hparams
from torch.utils.tensorboard.writer import SummaryWriter

from pan_model.errors import faults_at
from pan_model.flat import Scalar
from pan_model.objective import Objective
from pan_model.scores import EpochRecord
from study.storage.files import exists, write_file
from study.storage.location import Location, in_store
from study.storage.paths import DatasetPaths
from study.trials.ledger import Status

NAMED_PARAMETERS = ("encoder", "supervision", "gate")
"""The parameters whose values are part of the name of a run in TensorBoard."""

SESSION_STATUS = {
    Status.COMPLETED: "STATUS_SUCCESS",
    Status.STOPPED: "STATUS_SUCCESS",
    Status.FAILED: "STATUS_FAILURE",
}
"""The status that the tab "HParams" shows of a trial that has ended."""


SHOWN_PARAMETERS = ("encoder", "gate", "lambda", "num_conditions", "supervision")
"""The parameters that the tab "HParams" shows first: it has room for five, and all others can be ticked."""


@dataclass(frozen=True, kw_only=True)
class HparamsColumns:
    """The columns of the tab "HParams". TensorBoard reads them from an arbitrary run, so all runs of a study have them.

    Attributes:
        parameters: A value of each parameter that is searched on any dataset; it gives the type of the column.
        metrics: The objective of each dataset.
    """

    parameters: Mapping[str, Scalar] = field(default_factory=dict[str, Scalar])
    metrics: tuple[str, ...] = ()


@runtime_checkable  # for beartype, which checks types while tests run
class NumberedTrial(Protocol):
    """What names a run: a `TrialSpec` or a `TrialRecord`."""

    @property
    def trial_id(self) -> str: ...  # noqa: D102

    @property
    def number(self) -> int: ...  # noqa: D102

    @property
    def config(self) -> dict[str, Scalar]: ...  # noqa: D102


def run_name(trial: NumberedTrial) -> str:
    """Return the name of a trial's run in TensorBoard, which ends with the trial_id.

    >>> from study.trials.ledger import Status, TrialRecord
    >>> config = {"encoder": "siamese", "supervision": "hybrid", "gate": "XNOR"}
    >>> run_name(TrialRecord(trial_id="037d5dca92ec", number=7, config=config, status=Status.RUNNING))
    '007-siamese-hybrid-XNOR-037d5dca92ec'
    """
    named = [str(trial.config[name]) for name in NAMED_PARAMETERS if name in trial.config]
    return "-".join([f"{trial.number:03d}", *named, trial.trial_id])


def events_folder(paths: DatasetPaths, trial: NumberedTrial) -> Location:
    """Return the folder of a trial's events; trials of earlier studies keep theirs, whose name is the trial_id."""
    earlier = paths.tensorboard / trial.trial_id
    return earlier if exists(earlier) else paths.tensorboard / run_name(trial)


class TrialEvents:
    """Write the event file of a trial. `add_epoch` returns once the epoch is in the file, or in the store.

    Each number of an epoch is a scalar of the same name. The scalar best/<metric> is the best value of the objective so
    far: the tab "HParams" shows the last value of a scalar, so that trials are sorted by their best epoch there. The
    first trial of a dataset also writes the layout of the tab "Custom Scalars".

    A trial that is continued writes its last epoch again, because it may have been killed between writing the ledger
    and writing the events. In a store, the event file, which is small, is replaced after each epoch.

    Args:
        folder: The folder of the events.
        trial: The trial.
        objective: The metric that trials are compared by, and its direction.
        history: The epochs in the ledger if the trial is continued; otherwise none.
        columns: The columns of the tab "HParams", besides the trial's own.
    """

    def __init__(
        self,
        folder: Location,
        trial: NumberedTrial,
        objective: Objective,
        *,
        history: Sequence[EpochRecord] = (),
        columns: HparamsColumns | None = None,
    ) -> None:
        self._folder, self._objective = folder, objective
        self._best: float | None = None
        self._epoch = 0
        self._local = TemporaryDirectory(prefix="pan-study-") if in_store(folder) else None
        log_dir = folder if self._local is None else self._local.name
        for record in history:
            self._take_best(record)
        with self._faults():
            self._writer = SummaryWriter(str(log_dir), purge_step=int(history[-1]["epoch"]) if history else None)
            if not history:
                self._add_start(trial, columns or HparamsColumns())
        if history:
            self.add_epoch(history[-1])

    def add_epoch(self, record: EpochRecord) -> None:
        """Write each number of an epoch as a scalar of the same name, and the best value of the objective so far."""
        self._epoch = int(record["epoch"])
        numbers = {name: value for name, value in record.items() if name != "epoch"}
        with self._faults():
            for name, value in (numbers | {f"best/{self._objective.name}": self._take_best(record)}).items():
                self._writer.add_scalar(name, value, self._epoch)
            self._flush()

    def close(self, status: Status = Status.RUNNING) -> None:
        """Close the event file; first, write the status if the trial has ended."""
        try:
            if status in SESSION_STATUS:
                with self._faults():
                    self._add_summary(_session_end(SESSION_STATUS[status]))
                    self._flush()
        finally:
            self._writer.close()
            if self._local is not None:
                self._local.cleanup()

    def _take_best(self, record: EpochRecord) -> float:
        value = float(record[self._objective.name])
        if self._best is None or self._objective.is_better(value, than=self._best):
            self._best = value
        return self._best

    def _add_start(self, trial: NumberedTrial, columns: HparamsColumns) -> None:
        _, start, _ = hparams(dict(trial.config), {})
        metrics = dict.fromkeys((*columns.metrics, self._objective.name))
        self._add_summary(_experiment({**columns.parameters, **trial.config}, [f"best/{name}" for name in metrics]))
        self._add_summary(start)
        if trial.number == 0:
            self._writer.add_custom_scalars(custom_scalars_layout(self._objective))
        self._flush()

    def _faults(self) -> AbstractContextManager[None]:
        """Return a context that names the folder of the events in faults of the machine."""
        return faults_at(Path(self._local.name if self._local else str(self._folder)) / "events")

    def _add_summary(self, summary: Any) -> None:
        file_writer = self._writer.file_writer
        assert file_writer is not None
        file_writer.add_summary(summary, self._epoch)

    def _flush(self) -> None:
        self._writer.flush()
        for file in Path(self._local.name).iterdir() if self._local else ():
            write_file(self._folder / file.name, partial(shutil.copyfile, file))


def custom_scalars_layout(objective: Objective) -> dict[str, dict[str, list[Any]]]:
    """Return the layout of the tab "Custom Scalars": charts by category, each with patterns of its scalars."""
    metric = re.escape(objective.name)
    return {
        objective.name: {
            f"{objective.name}: val and train": ["Multiline", [f"{metric}$", f"train/{metric}$"]],
            f"{objective.name}: best so far": ["Multiline", [f"best/{metric}$"]],
        },
        "losses": {
            "total": ["Multiline", ["loss/total$"]],
            "terms": ["Multiline", ["loss/(?!total$)"]],
        },
        "all metrics": {
            "val": ["Multiline", ["(?!(train|loss|time|best)/)"]],
            "train": ["Multiline", ["train/"]],
        },
        "seconds per epoch": {
            "training": ["Multiline", ["time/train_s$"]],
            "evaluation": ["Multiline", ["time/evaluate_s$"]],
        },
    }


def _experiment(parameters: Mapping[str, Scalar], metrics: Iterable[str]) -> Any:
    """Return the summary with the columns of the tab "HParams", those of SHOWN_PARAMETERS first."""
    infos = [
        # The columns that "differ" come first, in alphabetical order.
        HParamInfo(name=name, type=DataType.Value(_data_type(value)), differs=name in SHOWN_PARAMETERS)
        for name, value in parameters.items()
    ]
    best = [MetricInfo(name=MetricName(tag=tag), dataset_type=VALIDATION) for tag in metrics]
    experiment = Experiment(hparam_infos=infos, metric_infos=best, time_created_secs=time.time())
    return _hparams_summary(EXPERIMENT_TAG, HParamsPluginData(experiment=experiment))


def _data_type(value: Scalar) -> str:
    # torch writes a bool as a number
    return "DATA_TYPE_STRING" if isinstance(value, str) else "DATA_TYPE_FLOAT64"


def _session_end(status: str) -> Any:
    """Return the summary that ends a session of the tab "HParams"."""
    end = SessionEndInfo(status=SessionStatus.Value(status), end_time_secs=time.time())
    return _hparams_summary(SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=end))


def _hparams_summary(tag: str, data: Any) -> Any:
    plugin = SummaryMetadata.PluginData(plugin_name=PLUGIN_NAME, content=data.SerializeToString())
    return Summary(value=[Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=plugin))])
