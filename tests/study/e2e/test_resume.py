"""Going on with a study: finished, extended, under a name that is taken, killed, interrupted, with dead workers."""

import csv
import json
import os
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from study.collation import collate
from study.ledger import Status, read_ledger
from study.results import Results

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1200)]

LONG = ("--scheduler=none", "--max-epochs=30", "--num-trials=3")
METRIC = "few_shot_accuracy"


def states(results: Results) -> dict[str, TrialState]:
    """Optuna's word on every trial; a trial that is in the journal twice is an error."""
    storage = JournalStorage(JournalFileBackend(str(results.of("demo").journal)))
    trials = optuna.load_study(study_name="demo", storage=storage).trials
    by_id = {trial.user_attrs["trial_id"]: trial.state for trial in trials}
    assert len(by_id) == len(trials)
    return by_id


def trial_folders(results: Results) -> list[Path]:
    return sorted(path.parent for path in results.of("demo").trials.glob("*/config.json"))


def has_ended(folder: Path) -> bool:
    return (folder / "status.json").exists()


def test_finished_study_says_so_and_stays_as_it_is(
    done: Any, commands: Any, tmp_path: Path, snapshot: Callable[[Path], dict[str, bytes]]
) -> None:
    study = done.copied(tmp_path / "results")
    before = snapshot(study.output)
    again = commands.run("run", *study.words, "--resume")
    assert (again.code, again.err) == (0, "")
    assert again.out.startswith("study demo is done: every trial has run.\n")
    after = snapshot(study.output)
    changed = {path for path in after if before.get(path) != after[path]}
    assert after.keys() - {"demo/report.html"} == before.keys() - {"demo/report.html"}
    assert changed <= {"demo/demo/best_config.json", "demo/report.html"}  # only when it was made may differ
    old, new = (json.loads(files["demo/demo/best_config.json"]) for files in (before, after))
    assert old | {"provenance": None} == new | {"provenance": None}


def test_name_that_is_taken_is_refused(
    done: Any, run_here: Callable[..., Any], snapshot: Callable[[Path], dict[str, bytes]]
) -> None:
    before = snapshot(done.output)
    again = run_here(*done.words)
    assert again.code == 2
    assert again.err == (
        f"error: {done.results.root}: this study exists; go on with it by --resume, or give another --name or "
        "--output.\n"
    )
    assert snapshot(done.output) == before


@pytest.mark.parametrize(
    ("flag", "difference"),
    [
        ("--seed=1", "seed was 0, now 1"),
        ("--max-epochs=4", "datasets.demo.max_epochs was 3, now 4"),
        ("--grace-epochs=2", "datasets.demo.grace_epochs was 1, now 2"),
        ("--scheduler=none", 'scheduler was "asha", now "none"'),
        ("--sampler=random", 'sampler was "tpe", now "random"'),
        ("--reduction-factor=2", "reduction_factor was 3.0, now 2.0"),
        ("--image-size=48", "datasets.demo.image_size was 32, now 48"),
        ("--backbone=resnet34", 'datasets.demo.backbone was "resnet18", now "resnet34"'),
    ],
)
def test_another_signature_is_shown_and_refused(
    done: Any, run_here: Callable[..., Any], snapshot: Callable[[Path], dict[str, bytes]], flag: str, difference: str
) -> None:
    before = snapshot(done.output)
    again = run_here(*done.words, "--resume", flag)
    assert again.code == 2
    assert again.err.count("\n") == 1
    assert f"is another study ({difference})" in again.err
    assert snapshot(done.output) == before


def test_other_data_are_shown_and_refused(
    done: Any,
    run_here: Callable[..., Any],
    new_data: Callable[[], Path],
    snapshot: Callable[[Path], dict[str, bytes]],
) -> None:
    data, before = new_data(), snapshot(done.output)
    labels = data / "demo" / "attributes" / "image_attribute_labels.txt"
    labels.write_text("".join(labels.read_text().splitlines(keepends=True)[:-1]))
    fingerprint = json.loads(done.results.study.read_text())["datasets"]["demo"]["data"]["fingerprint"]
    again = run_here(*done.words, "--resume", "--num-trials=6", "--data-root", data)
    assert again.code == 2
    assert f'datasets.demo.fingerprint was "{fingerprint}", now "sha256:' in again.err
    assert snapshot(done.output) == before


def test_more_trials_extend_a_study(
    done: Any, commands: Any, tmp_path: Path, snapshot: Callable[[Path], dict[str, bytes]]
) -> None:
    study = done.copied(tmp_path / "results")
    before = snapshot(study.files.trials)
    longer = commands.run("run", *study.words, "--resume", "--num-trials=8")
    assert (longer.code, longer.err) == (0, "")
    assert "going on with study demo" in longer.out
    after = snapshot(study.files.trials)
    assert after.items() >= before.items()
    records = read_ledger(study.files.trials)
    assert [record.number for record in records] == list(range(8))
    assert len({json.dumps(record.config, sort_keys=True) for record in records}) == 8
    assert {record.status for record in records} <= {Status.COMPLETED, Status.STOPPED}
    assert states(study.results).keys() == {record.trial_id for record in records}
    assert TrialState.RUNNING not in states(study.results).values()
    assert len(list(csv.DictReader(study.files.trials_table.read_text().splitlines()))) == 8


@pytest.fixture(scope="module")
def killed(
    commands: Any,
    flags: Callable[..., list[str]],
    tmp_path_factory: pytest.TempPathFactory,
    snapshot: Callable[[Path], dict[str, bytes]],
    epochs_of: Callable[[Path], list[int]],
) -> dict[str, Any]:
    """A study killed when one trial had ended and another had not, and the same after --resume."""
    output = tmp_path_factory.mktemp("killed")
    results = Results(output / "demo")
    words = flags(output, *LONG, "--max-concurrent=2")

    def in_the_middle() -> bool:
        folders = trial_folders(results)
        return any(map(has_ended, folders)) and any(
            2 <= len(epochs_of(folder)) < 25 and not has_ended(folder) for folder in folders
        )

    started = commands.start("run", *words)
    started.wait_until(in_the_middle)
    started.kill()
    before = {folder.name: snapshot(folder) for folder in trial_folders(results)}
    epochs = {folder.name: epochs_of(folder) for folder in trial_folders(results)}
    collated = {dataset: list(records) for dataset, records in collate(results).items()}
    rows = list(csv.DictReader(results.of("demo").trials_table.read_text().splitlines()))
    finished = commands.run("run", *words, "--resume")
    return {
        "results": results,
        "before": before,
        "epochs": epochs,
        "collated": collated,
        "rows": rows,
        "finished": finished,
    }


def test_killed_study_can_be_collated_as_it_stands(killed: dict[str, Any]) -> None:
    [records] = killed["collated"].values()
    assert {record.trial_id: [epoch["epoch"] for epoch in record.history] for record in records} == killed["epochs"]
    assert {row["trial_id"]: row["status"] for row in killed["rows"]} == {
        record.trial_id: record.status for record in records
    }
    assert {"completed", "running"} == {row["status"] for row in killed["rows"]}


def test_killed_study_goes_on_to_its_end(killed: dict[str, Any]) -> None:
    finished = killed["finished"]
    assert (finished.code, finished.err) == (0, "")
    assert "going on with study demo" in finished.out
    records = read_ledger(killed["results"].of("demo").trials)
    assert [record.status for record in records] == [Status.COMPLETED] * 3


def test_killed_study_keeps_ended_trials_byte_for_byte(
    killed: dict[str, Any], snapshot: Callable[[Path], dict[str, bytes]]
) -> None:
    ended = {name: files for name, files in killed["before"].items() if "status.json" in files}
    assert ended
    for name, files in ended.items():
        assert snapshot(killed["results"].of("demo").trials / name) == files


def test_killed_study_neither_repeats_nor_loses_an_epoch(
    killed: dict[str, Any], epochs_of: Callable[[Path], list[int]]
) -> None:
    trials = killed["results"].of("demo").trials
    cut = [name for name, files in killed["before"].items() if "status.json" not in files]
    assert cut
    for name in cut:
        assert (trials / name / "history.jsonl").read_bytes().startswith(killed["before"][name]["history.jsonl"])
    for folder in trial_folders(killed["results"]):
        assert epochs_of(folder) == list(range(1, 31))


def test_killed_study_has_no_zombies_in_its_journal(killed: dict[str, Any]) -> None:
    assert states(killed["results"]) == {
        folder.name: TrialState.COMPLETE for folder in trial_folders(killed["results"])
    }


def test_killed_and_resumed_trial_equals_one_that_ran_alone(
    killed: dict[str, Any],
    train_alone: Callable[[Any], Any],
    timeless: Callable[[Any], list[dict[str, Any]]],
) -> None:
    cut = [name for name, files in killed["before"].items() if "status.json" not in files]
    for record in read_ledger(killed["results"].of("demo").trials):
        if record.trial_id in cut:
            assert timeless(record) == timeless(train_alone(record))


@pytest.fixture(scope="module")
def interrupted(
    commands: Any,
    flags: Callable[..., list[str]],
    tmp_path_factory: pytest.TempPathFactory,
    epochs_of: Callable[[Path], list[int]],
) -> dict[str, Any]:
    """A study after Ctrl-C, then SIGTERM, then a time budget that is too short, then to its end."""
    output = tmp_path_factory.mktemp("interrupted")
    results = Results(output / "demo")

    def epochs() -> dict[str, list[int]]:
        return {folder.name: epochs_of(folder) for folder in trial_folders(results)}

    def count() -> int:
        return sum(map(len, epochs().values()))

    first = commands.start("run", *flags(output, *LONG, "--max-concurrent=1"), "--resume")
    first.wait_until(lambda: count() >= 3)
    os.killpg(first.process.pid, signal.SIGINT)  # as a terminal does: to all processes of the foreground
    seen: dict[str, Any] = {"results": results, "SIGINT": first.finish(), "epochs": [epochs()]}
    left = seen["SIGINT"].err.strip().splitlines()[-1]
    words = shlex.split(left.partition("study/run.py ")[2])
    second = commands.start("run", *words)
    before = count()
    second.wait_until(lambda: count() >= before + 3)
    second.process.send_signal(signal.SIGTERM)
    seen["SIGTERM"] = second.finish()
    seen["epochs"].append(epochs())
    seen["tables"] = list(csv.DictReader(results.of("demo").trials_table.read_text().splitlines()))
    seen["budget"] = commands.run("run", *words, "--time-budget=4s")
    seen["epochs"].append(epochs())
    seen["end"] = commands.run("run", *words)
    seen["epochs"].append(epochs())
    return seen


def test_resume_without_a_study_starts_one_and_says_so(interrupted: dict[str, Any]) -> None:
    output = interrupted["results"].root.parent
    assert f"no study demo in {output} yet: starting it" in interrupted["SIGINT"].out


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_interrupt_ends_with_130_and_one_line(interrupted: dict[str, Any], name: str) -> None:
    assert interrupted[name].code == 130
    [line] = interrupted[name].err.splitlines()
    assert line.startswith("interrupted; the study is whole; go on with: uv run study/run.py ")
    assert line.endswith(" --resume")


def test_the_command_of_that_line_goes_on(interrupted: dict[str, Any]) -> None:
    assert "going on with study demo" in interrupted["SIGTERM"].out


def test_interrupted_study_has_its_tables(interrupted: dict[str, Any]) -> None:
    assert {row["trial_id"] for row in interrupted["tables"]} == set(interrupted["epochs"][1])


def test_time_budget_ends_in_good_order(interrupted: dict[str, Any]) -> None:
    budget = interrupted["budget"]
    completed = ", 1 completed" in budget.out or "2 completed" in budget.out
    assert (budget.code, budget.err) == (0 if completed else 1, "")
    assert "next:" in budget.out.splitlines()


def test_every_run_keeps_the_epochs_of_the_one_before(interrupted: dict[str, Any]) -> None:
    for before, after in zip(interrupted["epochs"], interrupted["epochs"][1:], strict=False):
        for name, epochs in before.items():
            assert after[name][: len(epochs)] == epochs


def test_study_interrupted_again_and_again_comes_to_its_end(interrupted: dict[str, Any]) -> None:
    assert (interrupted["end"].code, interrupted["end"].err) == (0, "")
    assert list(interrupted["epochs"][-1].values()) == [list(range(1, 31))] * 3
    assert set(states(interrupted["results"]).values()) == {TrialState.COMPLETE}


def kill_worker(started: Any, results: Results, epochs_of: Callable[[Path], list[int]]) -> list[int]:
    """SIGKILL to the worker of a trial that has done 3 epochs or more; gives the epochs there were."""
    started.wait_until(lambda: any(len(epochs_of(folder)) >= 3 for folder in trial_folders(results)))
    names = ("ray::RayTrial", "ray::ResourceTrainable")  # between epochs, and in one
    workers = [pid for pid, words in started.descendants().items() if words.startswith(names)]
    assert len(workers) == 1
    os.kill(workers[0], signal.SIGKILL)
    [folder] = trial_folders(results)
    return epochs_of(folder)


def test_trial_whose_worker_dies_goes_on_from_its_checkpoint(
    commands: Any,
    flags: Callable[..., list[str]],
    tmp_path: Path,
    epochs_of: Callable[[Path], list[int]],
    train_alone: Callable[[Any], Any],
    timeless: Callable[[Any], list[dict[str, Any]]],
) -> None:
    results = Results(tmp_path / "demo")
    words = flags(tmp_path, *LONG, "--num-trials=1", "--max-failures=1")
    started = commands.start("run", *words)
    before = kill_worker(started, results, epochs_of)
    assert len(before) < 30
    finished = started.finish()
    assert (finished.code, finished.err) == (0, "")
    [record] = read_ledger(results.of("demo").trials)
    assert record.status is Status.COMPLETED
    assert [epoch["epoch"] for epoch in record.history] == list(range(1, 31))
    assert timeless(record) == timeless(train_alone(record))
    assert list(states(results).values()) == [TrialState.COMPLETE]


def test_trial_whose_worker_dies_once_too_often_has_failed(
    commands: Any, flags: Callable[..., list[str]], tmp_path: Path, epochs_of: Callable[[Path], list[int]]
) -> None:
    results = Results(tmp_path / "demo")
    words = flags(tmp_path, *LONG, "--num-trials=1", "--max-failures=0")
    started = commands.start("run", *words)
    before = kill_worker(started, results, epochs_of)
    finished = started.finish()
    assert (finished.code, finished.err) == (1, "")  # the only trial
    assert "no trial completed" in finished.out
    assert not results.of("demo").best_config.exists()
    [row] = csv.DictReader(results.of("demo").trials_table.read_text().splitlines())
    assert (row["status"], len(row["error"].splitlines())) == ("failed", 1)
    assert "worker died" in row["error"]
    [record] = read_ledger(results.of("demo").trials)
    assert [epoch["epoch"] for epoch in record.history][: len(before)] == before
    assert list(states(results).values()) == [TrialState.FAIL]
