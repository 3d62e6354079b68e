"""What TensorBoard reads of a trial."""

import warnings
from pathlib import Path
from typing import Any

import pytest

from study.storage.files import copy_all, storage_of
from study.storage.location import Location
from study.trials.tensorboard_events import TrialEvents

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of tensorboard's own imports
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
    from tensorboard.summary.writer import event_file_writer

CONFIG = {"encoder": "siamese", "lambda": 1e-5, "num_conditions": 96}
EPOCHS: list[dict[str, Any]] = [
    {"epoch": e, "accuracy": e / 4, "loss/total": 1 / e, "time/train_s": 0.5} for e in range(1, 5)
]


@pytest.fixture(autouse=True)
def first_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Number event files from 0: files of one second are read in the order of their names, and "10" is before "9"."""
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(0))


def events(folder: Path, last: dict[str, Any] | None = None) -> TrialEvents:
    return TrialEvents(folder, CONFIG, "accuracy", last=last)


def read(folder: Path) -> dict[str, dict[int, float]]:
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return {
        tag: {event.step: event.value for event in accumulator.Scalars(tag)} for tag in accumulator.Tags()["scalars"]
    }


def expected(num_epochs: int) -> dict[str, dict[int, Any]]:
    names = [name for name in EPOCHS[0] if name != "epoch"]
    return {n: {e["epoch"]: pytest.approx(e[n], rel=1e-6) for e in EPOCHS[:num_epochs]} for n in names}


def test_every_number_is_there_when_its_epoch_is_over(tmp_path: Path):
    writer = events(tmp_path)
    for number, epoch in enumerate(EPOCHS, 1):
        writer.add_epoch(epoch)
        assert read(tmp_path) == expected(number)
    writer.close()


def test_hyperparameters_are_there_from_the_start(tmp_path: Path):
    writer = events(tmp_path)
    accumulator = EventAccumulator(str(tmp_path))
    accumulator.Reload()
    writer.close()
    metadata = {tag: accumulator.SummaryMetadata(tag) for tag in accumulator.PluginTagToContent("hparams")}
    start = HParamsPluginData.FromString(metadata["_hparams_/session_start_info"].plugin_data.content)
    told = {key: value.WhichOneof("kind") for key, value in start.session_start_info.hparams.items()}
    assert told == {
        "encoder": "string_value",
        "lambda": "number_value",
        "num_conditions": "number_value",
    }
    assert start.session_start_info.hparams["lambda"].number_value == 1e-5
    experiment = HParamsPluginData.FromString(metadata["_hparams_/experiment"].plugin_data.content)
    assert [metric.name.tag for metric in experiment.experiment.metric_infos] == ["accuracy"]


@pytest.mark.parametrize("epochs_done", [1, 2, 3])
def test_a_trial_that_goes_on_writes_over_what_was_lost(tmp_path: Path, epochs_done: int):
    before = events(tmp_path)
    for epoch in EPOCHS[:3]:
        before.add_epoch({**epoch, "accuracy": epoch["accuracy"] + (9 if epoch["epoch"] > epochs_done else 0)})
    before.close()
    after = events(tmp_path, EPOCHS[epochs_done - 1])
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
    after = events(tmp_path, EPOCHS[epochs_done - 1])
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
        after = events(bucket / "abc", EPOCHS[1])
        after.add_epoch(EPOCHS[2])
        after.close()
    copy_all({file: tmp_path / file.name for file in storage_of(bucket).list_below(bucket)})
    assert read(tmp_path) == expected(3)
