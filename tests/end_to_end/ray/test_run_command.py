# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""study/run.py from end to end, by either executor: what a finished study leaves on the disk and on the screen."""

import csv
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from jsonschema import Draft202012Validator
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from pan_model.objective import Objective
from search_spaces import SPACES
from study.reporting.best_config import SCHEMA_FILE, read_best_config
from study.trials.ledger import Status, read_ledger
from study.trials.question_scores import read_baselines
from study.trials.tensorboard_events import events_folder

NUM_TRIALS = 5
MAX_EPOCHS = 3
METRIC = "few_shot_accuracy"


@pytest.fixture(scope="module", params=["serial", pytest.param("ray", marks=pytest.mark.ray)])
def done(request: pytest.FixtureRequest, done: Any) -> Any:
    """The finished study by either executor."""
    return done if request.param == "serial" else request.getfixturevalue("done_on_ray")


@pytest.fixture(scope="module")
def records(done: Any) -> list[Any]:
    return read_ledger(done.files.trials)


@pytest.fixture(scope="module")
def rows(done: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(done.files.trials_table.read_text().splitlines()))


@pytest.fixture(scope="module")
def journal(done: Any) -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(str(done.files.journal)))
    return optuna.load_study(study_name=None, storage=storage)


def test_study_ends_with_exit_code_0(done: Any) -> None:
    assert (done.finished.code, done.finished.err) == (0, "")


def test_both_executors_leave_the_same_trials(
    done: Any, run_study: Callable[..., Any], timeless: Callable[[Any], list[dict[str, Any]]]
) -> None:
    """The same seed again, in another folder and in the tests' own process."""
    first = read_ledger(done.files.trials)
    again = read_ledger(run_study("--num-trials=5", "--max-epochs=3", "--grace-epochs=1").files.trials)
    assert [record.trial_id for record in again] == [record.trial_id for record in first]
    assert [record.status for record in again] == [record.status for record in first]
    assert [timeless(record) for record in again] == [timeless(record) for record in first]
    assert [record.best for record in again] == [record.best for record in first]


def test_every_trial_repeats_exactly_outside_of_its_study(
    records: list[Any], train_alone: Callable[[Any], Any], timeless: Callable[[Any], list[dict[str, Any]]]
) -> None:
    for record in records:
        assert timeless(record) == timeless(train_alone(record))[: len(record.history)]


def test_study_leaves_these_files_and_no_others(
    done: Any, records: list[Any], snapshot: Callable[[Path], dict[str, bytes]]
) -> None:
    paths = {re.sub(r"events\.out\.tfevents\..*", "events", path) for path in snapshot(done.output)}
    trials = [folder.name for folder in done.files.trials.iterdir()]
    per_epoch = ("history.jsonl", "val_questions.jsonl", "checkpoint/state.pt")
    ledger = ("config.json", "best_epoch.json", "status.json", "host.json", *per_epoch)
    assert len(trials) == NUM_TRIALS
    assert paths - {"demo/report.html"} == {
        *(f"demo/{name}" for name in ("study.json", "driver.json", "summary.md", "summary.csv")),
        *(
            f"demo/demo/{name}"
            for name in (
                "baselines.json",
                "best_config.json",
                "examples.json",
                "trials.csv",
                "history.csv",
                "optuna.log",
            )
        ),
        *(f"demo/demo/trials/{trial}/{name}" for trial in trials for name in ledger),
        *(f"demo/demo/trials/{one.trial_id}/baselines.json" for one in records if one.status is Status.COMPLETED),
        *(f"demo/tensorboard/demo/{events_folder(done.files, record).name}/events" for record in records),
    }


def test_screen_names_files_that_exist_and_commands_to_go_on_with(done: Any) -> None:
    lines = done.finished.out.splitlines()
    made, following = lines.index("made:"), lines.index("next:")
    assert made < following
    for line in lines[made + 1 : following]:
        assert Path(line.strip()).exists()
    commands = [line.strip() for line in lines[following + 1 :]]
    assert commands[0] == f"uv run python -m webbrowser {done.results.report.absolute().as_uri()}"
    assert commands[1].startswith(f"uv run study/final.py {done.files.best_config} --data-root ")
    assert commands[2] == f"uv run tensorboard --logdir {done.results.tensorboard}"
    assert len(commands) == 3


def test_screen_tells_progress_where_nobody_watches_and_little_else(done: Any) -> None:
    lines = done.finished.out.splitlines()
    assert f"demo 0/{NUM_TRIALS} | starting" in lines
    about_ray = [line for line in lines if "Ray" in line]
    assert about_ray == [] or about_ray[0] == "starting Ray on this machine"
    assert all(re.fullmatch(r"Ray has started in (\d+ min )?\d+ s", line) for line in about_ray[1:])
    ended = [line for line in lines if re.match(rf"demo \d/{NUM_TRIALS}: trial \d \(\w+\) (completed|stopped), ", line)]
    assert len(ended) == NUM_TRIALS
    assert all(re.search(rf", {METRIC} 0\.\d{{4}} in epoch \d, \d+ s; best so far 0\.\d{{4}}$", line) for line in ended)
    assert len(lines) < 40
    assert "\x1b" not in done.finished.out
    assert "\r" not in done.finished.out
    assert not re.search(r"(?i)traceback|warning|raylet|\bpid=|== status ==|optuna/", done.finished.out)


def test_every_trial_has_ended_and_the_best_ones_are_whole(records: list[Any]) -> None:
    assert {record.status for record in records} <= {Status.COMPLETED, Status.STOPPED}
    for record in records:
        assert [epoch["epoch"] for epoch in record.history] == list(range(1, len(record.history) + 1))
        assert (len(record.history) == MAX_EPOCHS) or record.status is Status.STOPPED
    assert any(record.status is Status.COMPLETED for record in records)


def test_first_trials_are_the_papers_settings(records: list[Any]) -> None:
    for record, point in zip(records, SPACES["demo"].first_trials, strict=False):
        assert record.config.items() >= point.items()


def test_trials_table_agrees_with_the_ledger(rows: list[dict[str, str]], records: list[Any]) -> None:
    assert [row["trial_id"] for row in rows] == [record.trial_id for record in records]
    first = ["trial_id", "status", "metric", "epoch", "wall_s", "error", "number", "started", "ended"]
    assert list(rows[0])[:9] == first
    assert all(column.startswith("config.") for column in list(rows[0])[9:])
    for row, record in zip(rows, records, strict=True):
        best = max(record.history, key=lambda epoch: epoch[METRIC])
        assert row["status"] == record.status
        assert (float(row["metric"]), int(row["epoch"])) == (best[METRIC], best["epoch"])
        assert float(row["wall_s"]) == record.wall_s > 0
        assert row["error"] == ""
        written = {key.removeprefix("config."): value for key, value in row.items() if key.startswith("config.")}
        assert {key: value for key, value in written.items() if value} == {
            key: str(value) for key, value in record.config.items()
        }


def test_history_table_agrees_with_the_ledger(done: Any, records: list[Any]) -> None:
    rows = list(csv.DictReader(done.files.history_table.read_text().splitlines()))
    assert list(rows[0])[:3] == ["trial_id", "epoch", METRIC]
    read = [
        (row["trial_id"], {key: float(value) for key, value in row.items() if key != "trial_id" and value})
        for row in rows
    ]
    assert read == [(record.trial_id, epoch) for record in records for epoch in record.history]


def test_best_config_is_the_best_completed_trial_and_fits_its_schema(done: Any, records: list[Any]) -> None:
    content = read_best_config(done.files.best_config)
    Draft202012Validator(json.loads(SCHEMA_FILE.read_text())).validate(content)
    completed = [record for record in records if record.status is Status.COMPLETED]
    value, winner = max(
        ((max(epoch[METRIC] for epoch in record.history), record) for record in completed), key=lambda pair: pair[0]
    )
    assert content["trial_id"] == winner.trial_id
    assert content["config"] == winner.config
    assert content["metric"]["value"] == value
    assert content["metric"]["epoch"] in {epoch["epoch"] for epoch in winner.history if epoch[METRIC] == value}
    counts = {key: content["study"][key] for key in ("num_trials", "completed", "stopped", "failed")}
    assert counts == {
        "num_trials": NUM_TRIALS,
        "completed": len(completed),
        "stopped": NUM_TRIALS - len(completed),
        "failed": 0,
    }
    assert content["data"]["splits"] == {"train": 144, "val": 72}


def test_study_json_and_best_config_agree(done: Any) -> None:
    study = json.loads(done.results.study.read_text())
    best = json.loads(done.files.best_config.read_text())
    assert study["signature"] == best["study"]["signature"]
    assert study["datasets"]["demo"]["data"]["fingerprint"] == best["data"]["fingerprint"]
    assert study["datasets"]["demo"]["features"] == best["features"]


def test_summary_counts_trials_and_epochs(done: Any, records: list[Any]) -> None:
    [row] = csv.DictReader(done.results.summary_table.read_text().splitlines())
    best = json.loads(done.files.best_config.read_text())
    spent = sum(len(record.history) for record in records)
    assert (row["dataset"], row["metric"], row["best_trial"]) == ("demo", METRIC, best["trial_id"])
    assert float(row["best_value"]) == best["metric"]["value"]
    assert (int(row["epochs_spent"]), int(row["epochs_saved"])) == (spent, NUM_TRIALS * MAX_EPOCHS - spent)
    assert int(row["completed"]) + int(row["stopped"]) == NUM_TRIALS
    page = done.results.summary.read_text()
    assert best["trial_id"] in page
    assert f"{best['metric']['value']:.4f}" in page


def test_summary_has_every_baseline_on_val_and_none_on_test(done: Any, records: list[Any]) -> None:
    [row] = csv.DictReader(done.results.summary_table.read_text().splitlines())
    [winner] = [record for record in records if record.trial_id == row["best_trial"]]
    of_winner = done.files.trials / winner.trial_id / "baselines.json"
    questions = read_baselines(done.files.baselines) | read_baselines(of_winner)
    names = json.loads(done.results.study.read_text())["datasets"]["demo"]["baselines"]
    assert questions.keys() == set(names)
    assert float(row["val.PAN"]) == pytest.approx(float(row["best_value"]), rel=1e-12)
    assert 0 < float(row["train.PAN"]) <= 1
    for name in names:
        scores = questions[name][METRIC]
        assert len(scores) == len(winner.best.questions[METRIC]) == 120
        assert 0.2 < float(row[f"val.{name}"]) == pytest.approx(math.fsum(scores) / 120, rel=1e-12)
        ahead = [own - other for own, other in zip(winner.best.questions[METRIC], scores, strict=True)]
        assert float(row[f"val_ahead.{name}"]) == pytest.approx(math.fsum(ahead) / 120, abs=1e-12)
        assert float(row[f"val_ahead_low.{name}"]) <= float(row[f"val_ahead.{name}"])
    assert not any(row[key] for key in row if key.startswith("test"))


def test_screen_has_the_best_baselines_of_the_summary(done: Any) -> None:
    lines = done.finished.out.splitlines()
    [row] = csv.DictReader(done.results.summary_table.read_text().splitlines())
    page = done.results.summary.read_text()
    names = json.loads(done.results.study.read_text())["datasets"]["demo"]["baselines"]
    best = sorted(names, key=lambda name: -float(row[f"val.{name}"]))
    assert row["val_best_baseline"] == best[0]
    shown = [line for line in lines if line.startswith("  ") and "; PAN " in line]
    assert [line.split(":")[0].strip() for line in shown] == best[:3]
    for line in shown:
        name, value, ahead = re.fullmatch(r"  (\w+): (\S+); PAN (.*)", line).groups()
        assert f"| {name} |  | {value} [" in page
        assert f"] | {ahead} |" in page
    [of_trial] = [line for line in lines if line.startswith(f"demo: baseline paper_setting's {METRIC} on val: ")]
    assert f": {float(row['val.paper_setting']):.4f}, trial " in of_trial
    for name in read_baselines(done.files.baselines):  # those of a trial are in the table at the end
        assert any(line.startswith("demo: baseline ") and name in line for line in lines)


def test_every_trial_keeps_the_questions_of_its_best_epoch(records: list[Any]) -> None:
    for record in records:
        best = record.best_epoch(Objective(METRIC, "max"))
        assert record.best.epoch == best["epoch"]
        assert math.fsum(record.best.questions[METRIC]) / 120 == pytest.approx(best[METRIC], rel=1e-12)
        assert 0 < best[f"train/{METRIC}"] <= 1


def test_events_hold_every_number_of_every_epoch(done: Any, records: list[Any]) -> None:
    for record in records:
        events = EventAccumulator(str(events_folder(done.files, record))).Reload()
        names = set(record.history[0]) - {"epoch"}
        assert names <= set(events.Tags()["scalars"])
        for name in names:
            read = {event.step: event.value for event in events.Scalars(name)}
            assert read.keys() == {epoch["epoch"] for epoch in record.history}
            for epoch in record.history:
                assert math.isclose(read[epoch["epoch"]], epoch[name], rel_tol=1e-6)  # events are float32


def test_events_hold_the_hyperparameters(done: Any, records: list[Any]) -> None:
    for record in records:
        events = EventAccumulator(str(events_folder(done.files, record))).Reload()
        content = events.PluginTagToContent(metadata.PLUGIN_NAME)[metadata.SESSION_START_INFO_TAG]
        hparams = HParamsPluginData.FromString(content).session_start_info.hparams
        read = {name: getattr(value, value.WhichOneof("kind")) for name, value in hparams.items()}
        assert read == record.config
    assert any({"lambda", "gate"} <= record.config.keys() for record in records)


def test_journal_tells_how_trials_ended(journal: optuna.Study, records: list[Any]) -> None:
    states = {Status.COMPLETED: TrialState.COMPLETE, Status.STOPPED: TrialState.PRUNED}
    assert {trial.user_attrs["trial_id"]: trial.state for trial in journal.trials} == {
        record.trial_id: states[record.status] for record in records
    }
    assert len(journal.trials) == NUM_TRIALS


def test_journal_holds_every_epoch_and_parameter(journal: optuna.Study, records: list[Any]) -> None:
    by_id = {record.trial_id: record for record in records}
    for trial in journal.trials:
        record = by_id[trial.user_attrs["trial_id"]]
        assert trial.intermediate_values == {epoch["epoch"]: epoch[METRIC] for epoch in record.history}
        assert record.config.items() >= trial.params.items()
        if trial.state is TrialState.COMPLETE:
            assert trial.value == max(trial.intermediate_values.values())
    assert journal.best_trial.value == max(
        trial.value or 0 for trial in journal.trials if trial.state.name == "COMPLETE"
    )


def test_journal_starts_with_the_papers_settings(journal: optuna.Study) -> None:
    for trial, point in zip(journal.trials, SPACES["demo"].first_trials, strict=False):
        assert trial.params.items() >= point.items()
