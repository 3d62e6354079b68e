"""What TensorBoard reads of a trial."""

import re
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pan_model.objective import Objective
from study.storage.files import copy_all, storage_of
from study.storage.location import Location
from study.storage.paths import DatasetPaths
from study.trials.ledger import Status, TrialRecord
from study.trials.tensorboard_events import HparamsColumns, TrialEvents, events_folder

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of tensorboard's own imports
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
    from tensorboard.plugins.hparams import api_pb2
    from tensorboard.plugins.hparams.backend_context import Context as HParamsContext
    from tensorboard.plugins.hparams.list_session_groups import Handler
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
    from tensorboard.summary.writer import event_file_writer

ACCURACY = Objective("accuracy", "max")
CONFIG: dict[str, Any] = {"encoder": "siamese", "lambda": 1e-5, "num_conditions": 96}
EPOCHS: list[dict[str, Any]] = [
    {"epoch": e, "accuracy": accuracy, "loss/total": 1 / e, "time/train_s": 0.5}
    for e, accuracy in enumerate((0.25, 0.75, 0.5, 1.0), 1)
]


@pytest.fixture(autouse=True)
def first_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Number event files from 0: files of one second are read in the order of their names, and "10" is before "9"."""
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(0))


def trial(number: int = 0, trial_id: str = "abc", **config: Any) -> TrialRecord:
    return TrialRecord(trial_id=trial_id, number=number, config=CONFIG | config, status=Status.RUNNING)


def events(folder: Location, history: Sequence[dict[str, Any]] = (), *, number: int = 0) -> TrialEvents:
    return TrialEvents(folder, trial(number), ACCURACY, history=history)


def reload(folder: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return accumulator


def hparams_of(folder: Path) -> dict[str, HParamsPluginData]:
    return {
        tag: HParamsPluginData.FromString(content)
        for tag, content in reload(folder).PluginTagToContent("hparams").items()
    }


def read(folder: Path) -> dict[str, dict[int, float]]:
    accumulator = reload(folder)
    return {
        tag: {event.step: event.value for event in accumulator.Scalars(tag)} for tag in accumulator.Tags()["scalars"]
    }


def expected(num_epochs: int) -> dict[str, dict[int, Any]]:
    names = [name for name in EPOCHS[0] if name != "epoch"]
    best = {e["epoch"]: max(earlier["accuracy"] for earlier in EPOCHS[:n]) for n, e in enumerate(EPOCHS, 1)}
    scalars = {n: {e["epoch"]: pytest.approx(e[n], rel=1e-6) for e in EPOCHS[:num_epochs]} for n in names}
    return scalars | {"best/accuracy": {epoch: best[epoch] for epoch in range(1, num_epochs + 1)}}


def test_every_number_is_there_when_its_epoch_is_over(tmp_path: Path):
    writer = events(tmp_path)
    for number, epoch in enumerate(EPOCHS, 1):
        writer.add_epoch(epoch)
        assert read(tmp_path) == expected(number)
    writer.close()


def test_hyperparameters_are_there_from_the_start(tmp_path: Path):
    writer = events(tmp_path)
    told = hparams_of(tmp_path)
    writer.close()
    start = told.pop("_hparams_/session_start_info").session_start_info
    assert {key: value.WhichOneof("kind") for key, value in start.hparams.items()} == {
        "encoder": "string_value",
        "lambda": "number_value",
        "num_conditions": "number_value",
    }
    assert start.hparams["lambda"].number_value == 1e-5
    experiment = told.pop("_hparams_/experiment").experiment
    assert {info.name for info in experiment.hparam_infos} == CONFIG.keys()
    assert [info.name.tag for info in experiment.metric_infos] == ["best/accuracy"]


@pytest.mark.parametrize(
    ("status", "session"),
    [
        (Status.COMPLETED, api_pb2.STATUS_SUCCESS),
        (Status.STOPPED, api_pb2.STATUS_SUCCESS),
        (Status.FAILED, api_pb2.STATUS_FAILURE),
        (Status.RUNNING, None),
    ],
)
def test_a_trial_that_has_ended_says_how(tmp_path: Path, status: Status, session: Any):
    writer = events(tmp_path)
    for epoch in EPOCHS:
        writer.add_epoch(epoch)
    writer.close(status)
    end = hparams_of(tmp_path).get("_hparams_/session_end_info")
    assert (end.session_end_info.status if end else None) == session
    assert read(tmp_path) == expected(4)


def test_the_tab_of_hyperparameters_sorts_all_trials_by_their_best_epoch(tmp_path: Path):
    """TensorBoard reads the columns from one of the runs, whichever comes first."""
    objective = "best/accuracy"
    columns = HparamsColumns(parameters={"graph_layers": 2, "gate": "OR"}, metrics=("accuracy", "score"))
    for number, (accuracies, config) in enumerate([((0.5, 0.9, 0.1), {}), ((0.6, 0.7), {"graph_layers": 2})]):
        one = trial(number, f"id{number}", **config)
        writer = TrialEvents(tmp_path / f"id{number}", one, ACCURACY, columns=columns)
        for epoch, accuracy in enumerate(accuracies, 1):
            writer.add_epoch({"epoch": epoch, "accuracy": accuracy})
        writer.close(Status.COMPLETED)
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(tmp_path))
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, str(tmp_path))
    backend = HParamsContext(TBContext(data_provider=provider))
    context, metadata = RequestContext(), backend.hparams_metadata(RequestContext(), "")
    experiment = backend.experiment_from_metadata(context, "", True, metadata, [])
    shown = ["encoder", "gate", "lambda", "num_conditions"]
    assert [info.name for info in experiment.hparam_infos] == [*shown, "graph_layers"]
    assert [info.name.tag for info in experiment.metric_infos] == [objective, "best/score"]
    request = api_pb2.ListSessionGroupsRequest(
        slice_size=10,
        allowed_statuses=[api_pb2.STATUS_SUCCESS],
        col_params=[api_pb2.ColParams(metric=api_pb2.MetricName(tag=objective), order=api_pb2.ORDER_DESC)],
    )
    groups = Handler(context, backend, "", request).run().session_groups
    best = [
        (group.name, value.value) for group in groups for value in group.metric_values if value.name.tag == objective
    ]
    assert best == [("id0", pytest.approx(0.9)), ("id1", pytest.approx(0.7))]


def test_only_the_first_trial_of_a_dataset_writes_the_layout(tmp_path: Path):
    for number in (0, 1):
        events(tmp_path / str(number), number=number).close()
    assert "tensors" not in reload(tmp_path / "1").Tags() or not layout_of(tmp_path / "1")
    (content,) = layout_of(tmp_path / "0")
    names = ["accuracy", "auc", "train/accuracy", "best/accuracy", "loss/total", "loss/pairs", "time/train_s"]
    drawn = {
        f"{category.title}: {chart.title}": [
            name for name in names if any(re.match(tag, name) for tag in chart.multiline.tag)
        ]
        for category in Layout.FromString(content).category
        for chart in category.chart
    }
    assert drawn == {
        "accuracy: accuracy: val and train": ["accuracy", "train/accuracy"],
        "accuracy: accuracy: best so far": ["best/accuracy"],
        "losses: total": ["loss/total"],
        "losses: terms": ["loss/pairs"],
        "all metrics: val": ["accuracy", "auc"],
        "all metrics: train": ["train/accuracy"],
        "seconds per epoch: training": ["time/train_s"],
        "seconds per epoch: evaluation": [],
    }


def layout_of(folder: Path) -> list[bytes]:
    accumulator = reload(folder)
    tags = [tag for tag in accumulator.Tags()["tensors"] if tag == "custom_scalars__config__"]
    return [content for tag in tags for event in accumulator.Tensors(tag) for content in event.tensor_proto.string_val]


def test_a_run_is_named_by_what_tells_trials_apart_and_ends_with_the_trial_id(tmp_path: Path):
    paths = DatasetPaths(tmp_path, "cub")
    named = trial(7, supervision="hybrid", gate="XNOR")
    assert events_folder(paths, named) == tmp_path / "tensorboard" / "cub" / "007-siamese-hybrid-XNOR-abc"
    assert events_folder(paths, trial(1234)).name == "1234-siamese-abc"
    (tmp_path / "tensorboard" / "cub" / "abc").mkdir(parents=True)
    assert events_folder(paths, named).name == "abc", "a trial of an earlier study keeps its run"


def test_no_event_file_stays_open(tmp_path: Path):
    before = threading.enumerate()
    writer = events(tmp_path)
    assert len(threading.enumerate()) == len(before) + 1, "a thread writes the file"
    writer.close(Status.COMPLETED)
    assert threading.enumerate() == before
    opened = Path("/proc/self/fd")  # on Linux
    assert not any(tmp_path in file.resolve().parents for file in (opened.iterdir() if opened.exists() else ()))


@pytest.mark.parametrize("epochs_done", [1, 2, 3])
def test_a_trial_that_goes_on_writes_over_what_was_lost(tmp_path: Path, epochs_done: int):
    before = events(tmp_path)
    for epoch in EPOCHS[:3]:
        before.add_epoch({**epoch, "accuracy": epoch["accuracy"] + (9 if epoch["epoch"] > epochs_done else 0)})
    before.close()
    after = events(tmp_path, EPOCHS[:epochs_done])
    for epoch in EPOCHS[epochs_done:]:
        after.add_epoch(epoch)
    after.close()
    assert read(tmp_path) == expected(4)


@pytest.mark.parametrize("epochs_done", [1, 2, 3])
def test_the_last_epoch_of_the_ledger_is_there_though_its_events_were_not(tmp_path: Path, epochs_done: int):
    before = events(tmp_path)
    for epoch in EPOCHS[: epochs_done - 1]:
        before.add_epoch(epoch)
    before.close()
    after = events(tmp_path, EPOCHS[:epochs_done])
    assert read(tmp_path) == expected(epochs_done)
    after.close()


def test_events_of_another_trial_are_another_folder(tmp_path: Path):
    writer = events(tmp_path / "a")
    writer.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_events_in_a_store_are_there_after_each_epoch(store: Any, bucket: Location, tmp_path: Path, share: float):
    with store.failing(share):
        before = events(bucket / "abc")
        for number, epoch in enumerate(EPOCHS[:2], 1):
            before.add_epoch(epoch)
            copy_all({file: tmp_path / file.name for file in storage_of(bucket).list_below(bucket)})
            assert read(tmp_path) == expected(number)
        before.close()
        after = events(bucket / "abc", EPOCHS[:2])
        after.add_epoch(EPOCHS[2])
        after.close()
    copy_all({file: tmp_path / file.name for file in storage_of(bucket).list_below(bucket)})
    assert read(tmp_path) == expected(3)
