import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pan_model.errors import UserError
from study.config.choices import BASELINES, BASELINES_OF_0_1
from study.reporting.summary import DatasetSummary, summarise_dataset, summary_row, write_summary
from study.storage.files import write_json
from study.storage.paths import StudyPaths
from study.trials.ledger import BestEpoch, Status, TrialRecord
from study.trials.question_scores import write_baselines

METRIC = "few_shot_accuracy"
Make = Callable[..., TrialRecord]
PART: dict[str, Any] = {
    "num_trials": 8,
    "max_epochs": 9,
    "objective": {"name": METRIC, "mode": "max"},
    "features": {"regime": "frozen"},
}
STUDY: dict[str, Any] = {"name": "mine", "datasets": {"demo": PART, "cub": PART}}
NORMALISED = "nearest_class_mean_normalised"
INSIDE = {
    "learning_rate": 1e-3,
    "num_conditions": 16,
    "lambda": 0.1,
    "temperature": 0.1,
    "whitening_shrinkage": 0.5,
    "max_epochs": 12,
}
"""Far from the ends of what is searched, and its best epoch far from the last."""

BEST = BestEpoch(epoch=9, questions={METRIC: [0.7, 0.7]}, baselines={NORMALISED: {METRIC: [0.6, 0.6]}})
SHARED = {name: {METRIC: [0.1 + 0.2, 0.1 + 0.2]} for name in BASELINES if name != NORMALISED}
OF_TRIAL = "logistic_regression"
OWN = {OF_TRIAL: SHARED[OF_TRIAL]}
"""What depends on the winner's normalisation is in the winner's folder."""

SHARED_IN_FILE = {name: lists for name, lists in SHARED.items() if name != OF_TRIAL}
FINAL: dict[str, Any] = {
    "trial_id": "trial0",
    "metrics": {METRIC: {"mean": 0.5, "ci95": [0.4, 0.6]}},
    "baselines": {name: {METRIC: {"mean": 1 / 3, "ci95": [0.25, 0.4]}} for name in BASELINES},
    "paired": {name: {METRIC: {"difference": 1 / 6, "ci95": [0.125, 0.2]}} for name in BASELINES},
}
CAUTION = (
    "val and test disagree by more than their intervals, 0.7000 [0.7000, 0.7000] and 0.5000 [0.4000, 0.6000] "
    "(nearest_class_mean moves from 0.3000 to 0.3333)"
)


@pytest.fixture
def records(record: Make) -> list[TrialRecord]:
    best = record(0, Status.COMPLETED, *[0.5] * 8, 0.7, best=BEST)
    best.history[-1][f"train/{METRIC}"] = 0.95
    return [
        replace(best, config={key: INSIDE.get(key, value) for key, value in best.config.items()}),
        record(1, Status.STOPPED, 0.6, 0.9, 0.4),
        record(2, Status.FAILED, 0.3, error="it broke"),
        record(3, Status.FAILED, error="it broke"),
        record(4, Status.RUNNING, 0.2, 0.3),
    ]


@pytest.fixture
def results(tmp_path: Path) -> StudyPaths:
    """A study that has its baselines on both datasets, and a final training on the first."""
    results = StudyPaths(tmp_path / "mine")
    for dataset in ("demo", "cub"):
        write_baselines(results.dataset(dataset).baselines, SHARED_IN_FILE, {"lda": {"shrinkage": 0.5}})
    write_baselines(results.dataset("demo").trials / "trial0" / "baselines.json", OWN, {OF_TRIAL: {"c": 1.0}})
    write_json(results.dataset("demo").final_metrics, FINAL)
    return results


@pytest.fixture
def summarise(results: StudyPaths, records: list[TrialRecord]) -> Callable[..., DatasetSummary]:
    return lambda of=records: summarise_dataset(results.dataset("demo"), PART, of)


def test_trials_and_epochs_are_counted(summarise: Callable[..., DatasetSummary]):
    summary = summarise()
    assert summary.by_status == {"completed": 1, "stopped": 1, "failed": 2, "running": 1}
    assert (summary.dataset, summary.metric, summary.planned) == ("demo", METRIC, 8)
    assert summary.epochs_spent == 9 + 3 + 1 + 0 + 2
    assert summary.epochs_saved == 0 + 6  # what stopping saved; failures and cuts save nothing


def test_a_trial_that_ended_by_its_patience_has_saved_epochs(summarise: Callable[..., DatasetSummary], record: Make):
    early = record(0, Status.COMPLETED, 0.5, 0.4, 0.4)
    assert summarise([early]).epochs_saved == 6
    assert summarise([early]).best == (early, 0.5, 1)


def test_a_row_holds_the_winner(summarise: Callable[..., DatasetSummary], records: list[TrialRecord]):
    row = summary_row(summarise())
    winner = (row["metric"], row["split"], row["best_value"], row["best_epoch"], row["best_trial"])
    assert winner == (METRIC, "val", 0.7, 9, "trial0")
    assert json.loads(row["config"]) == records[0].config  # numbers exactly


def test_a_row_holds_every_method_on_every_split(summarise: Callable[..., DatasetSummary]):
    row = summary_row(summarise())
    assert row["train.PAN"] == 0.95
    assert [row[f"{name}.PAN"] for name in ("val", "val_low", "val_high")] == [0.7, 0.7, 0.7]
    assert [row[f"{name}.PAN"] for name in ("test", "test_low", "test_high")] == [0.5, 0.4, 0.6]
    assert not {"val_ahead.PAN", "test_ahead.PAN"} & row.keys()
    for name in BASELINES:
        level = 0.6 if name == NORMALISED else 0.1 + 0.2
        assert f"train.{name}" not in row
        assert row[f"val.{name}"] == level
        assert row[f"val_ahead.{name}"] == pytest.approx(0.7 - level, rel=1e-12)
        assert [row[f"test{part}.{name}"] for part in ("", "_low", "_high")] == [1 / 3, 0.25, 0.4]
        assert [row[f"test_ahead{part}.{name}"] for part in ("", "_low", "_high")] == [1 / 6, 0.125, 0.2]
    assert row["cautions"] == CAUTION
    assert (row["val_best_baseline"], row["test_best_baseline"]) == (NORMALISED, "nearest_class_mean")
    assert row["val_ahead_of_best"] == pytest.approx(0.1, rel=1e-12)
    assert [row[f"test_ahead_of_best{part}"] for part in ("", "_low", "_high")] == [1 / 6, 0.125, 0.2]


def test_without_a_winner_the_shared_baselines_are_known(
    summarise: Callable[..., DatasetSummary], records: list[TrialRecord]
):
    summary = summarise(records[1:])
    assert (summary.best, summary.cautions) == (None, [])
    row = summary_row(summary)
    assert (row["best_value"], row["best_epoch"], row["best_trial"], row["cautions"]) == (None, None, None, "")
    known = {key for key, value in row.items() if "." in key and value is not None}
    assert known == {f"{column}.{name}" for column in ("val", "val_low", "val_high") for name in SHARED_IN_FILE}


def test_test_columns_are_those_of_the_winner_or_empty(summarise: Callable[..., DatasetSummary], results: StudyPaths):
    final = results.dataset("demo").final_metrics
    assert all(one.test is not None for one in summarise().scores)
    write_json(final, FINAL | {"trial_id": "trial1"})
    of_another = summarise()
    final.unlink()
    for summary in (of_another, summarise()):
        assert all(one.test is None and one.test_ahead is None for one in summary.scores)
        assert summary.scores[0].val is not None
    assert summarise().cautions == []
    assert of_another.cautions == [
        "demo/final is of trial trial1, not of the winner trial0; move it away and run study/final.py again"
    ]


def test_a_baseline_of_another_number_of_questions_is_refused_by_its_file(
    summarise: Callable[..., DatasetSummary], results: StudyPaths, records: list[TrialRecord]
):
    file = results.dataset("demo").baselines
    write_baselines(file, SHARED | {"paper_setting": {METRIC: [0.5]}})
    for of in (records, records[1:]):  # with a winner and without
        with pytest.raises(UserError, match=re.escape(f"{file}: must hold 2 scores of {METRIC} for each method, as ")):
            summarise(of)


def test_a_winner_without_scores_of_the_objective_is_refused_by_its_file(
    summarise: Callable[..., DatasetSummary], results: StudyPaths, records: list[TrialRecord]
):
    other = replace(records[0], best=BEST.model_copy(update={"questions": {"other": [0.5, 0.5]}}))
    file = results.dataset("demo").trials / "trial0" / "best_epoch.json"
    with pytest.raises(UserError, match=re.escape(f"{file}: must hold scores of {METRIC} for each method; remove it.")):
        summarise([other])


def read_rows(results: StudyPaths) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(results.summary_table.read_text(encoding="utf-8"), newline="")))


@pytest.fixture
def written(results: StudyPaths, records: list[TrialRecord]) -> StudyPaths:
    write_summary(results, STUDY, {"demo": records, "cub": records[1:]})
    return results


def test_the_table_reads_back_exactly(written: StudyPaths, records: list[TrialRecord]):
    rows = read_rows(written)
    assert [row["dataset"] for row in rows] == ["demo", "cub"]
    for row, of_dataset in zip(rows, (records, records[1:]), strict=True):
        expected = summary_row(summarise_dataset(written.dataset(row["dataset"]), PART, of_dataset))
        known = {key: value for key, value in expected.items() if value not in (None, "")}
        assert {key: type(known[key])(cell) for key, cell in row.items() if cell} == known


def test_the_page_shows_each_dataset_and_its_winner(written: StudyPaths, records: list[TrialRecord]):
    lines = written.summary.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# Study mine"
    assert (
        f"| demo | {METRIC} | 0.7000 | no | 1 | 1 | 2 | 1 (or interrupted: --resume continues) | 15 | 0 | 6 |" in lines
    )
    assert f"| cub | {METRIC} | none |  | 0 | 1 | 2 | 1 (or interrupted: --resume continues) | 6 | 0 | 6 |" in lines
    assert f"No trial has completed; {METRIC}:" in lines
    assert f"Trial trial0, epoch 9; {METRIC}:" in lines
    assert f"**Caution**: {CAUTION}." in lines
    for key, value in records[0].config.items():
        assert f"| {key} | {f'{value:.4g}' if isinstance(value, float) else value} |" in lines


def test_when_all_is_over_a_trial_that_runs_in_the_ledger_was_cut(results: StudyPaths, records: list[TrialRecord]):
    write_summary(results, STUDY, {"demo": records, "cub": records[:1]}, over=True)
    lines = results.summary.read_text(encoding="utf-8").splitlines()
    assert f"| demo | {METRIC} | 0.7000 | no | 1 | 1 | 2 | 1 (interrupted, --resume continues) | 15 | 0 | 6 |" in lines
    assert f"| cub | {METRIC} | 0.7000 | no | 1 | 0 | 0 | 0 | 9 | 0 | 0 |" in lines
    assert [row["running"] for row in read_rows(results)] == ["1", "0"]


def test_before_a_final_training_there_are_no_test_columns_but_how_to_get_them(
    results: StudyPaths, records: list[TrialRecord]
):
    write_summary(results, STUDY, {"demo": records, "cub": records})
    demo, cub = results.summary.read_text(encoding="utf-8").split("## Best on ")[1:]
    assert "| method | train | val | PAN is | test | PAN is |\n" in demo
    assert "No test scores yet" not in demo
    assert "| method | train | val | PAN is |\n" in cub
    assert "No test scores yet: `study/final.py` with `cub/best_config.json` adds them." in cub.splitlines()


@pytest.mark.parametrize(("trained", "told"), [(99, False), (100, True), (None, False), ("many", False)])
def test_a_paper_setting_that_may_have_been_cut_short_is_told(
    summarise: Callable[..., DatasetSummary], results: StudyPaths, trained: Any, told: bool
):
    paper = {} if trained is None else {"paper_setting": {"epochs": trained, "chosen_of_epochs": 100}}
    write_json(results.dataset("demo").final_metrics, FINAL | paper)
    caution = "the best epoch of paper_setting, 100, is the last of its epochs; with more it may be better"
    assert (caution in summarise().cautions) is told
    write_json(results.dataset("demo").final_metrics, FINAL | paper | {"trial_id": "trial1"})
    assert caution not in summarise().cautions


def test_the_page_has_every_method_with_its_intervals(written: StudyPaths):
    lines = written.summary.read_text(encoding="utf-8").splitlines()
    start = lines.index("| method | train | val | PAN is | test | PAN is |")
    on_val, on_test = "0.3000 [0.3000, 0.3000] | ahead by 0.4000 [0.4000, 0.4000]", "0.3333 [0.2500, 0.4000]"
    shared = f"{on_val} | {on_test} | ahead by 0.1667 [0.1250, 0.2000]"
    own = shared.replace("0.3000", "0.6000").replace("0.4000 [0.4000, 0.4000] |", "0.1000 [0.1000, 0.1000] |")
    without_winner = lines[lines.index(f"No trial has completed; {METRIC}:") :]
    assert "| paper_setting |  | 0.3000 [0.3000, 0.3000] |  |" in without_winner
    num = len(BASELINES)
    assert [line for line in lines[start + 2 : start + 13 + num] if line] == [
        "| PAN | 0.9500 | 0.7000 [0.7000, 0.7000] |  | 0.5000 [0.4000, 0.6000] |  |",
        *(f"| {name} |  | {own if name == NORMALISED else shared} |" for name in BASELINES),
        f"PAN compared with nearest_class_mean, the best of {num} baselines on test: ahead by 0.1667 [0.1250, 0.2000].",
        f"PAN compared with {NORMALISED}, the best of {num} baselines on val: ahead by 0.1000 [0.1000, 0.1000].",
        "Settings chosen on val: lda (shrinkage 0.5); logistic_regression (c 1.0).",
        "Val at selection 0.7000 [0.7000, 0.7000], not confirmed (--confirm 0), on test 0.5000 [0.4000, 0.6000].",
        f"**Caution**: {CAUTION}.",
    ]


def test_a_study_of_a_version_that_names_no_baselines_has_rows_for_those_that_it_had(
    tmp_path: Path, records: list[TrialRecord]
):
    summary = summarise_dataset(StudyPaths(tmp_path / "cut").dataset("demo"), PART, records[1:])
    assert [scores.method for scores in summary.scores] == ["PAN", *BASELINES_OF_0_1]
    named = summarise_dataset(StudyPaths(tmp_path).dataset("demo"), PART | {"baselines": ["lda"]}, records[1:])
    assert [scores.method for scores in named.scores] == ["PAN", "lda"]


def test_the_page_says_what_was_left_out(results: StudyPaths):
    unreadable = {f"mug/{number}.jpg": "truncated." for number in range(5)}
    data = {"notes": ["a note"], "left_out": {"unreadable image": 5, "hidden file": 1}, "unreadable": unreadable}
    write_summary(results, {"name": "mine", "datasets": {"demo": PART | {"data": data}}}, {"demo": []})
    lines = results.summary.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("Data: ")] == [
        "Data: a note.",
        "Data: 5 left out (unreadable image).",
        "Data: 1 left out (hidden file).",
        "Data: not read: mug/0.jpg (truncated), mug/1.jpg (truncated), mug/2.jpg (truncated); 2 more in study.json.",
    ]


def test_a_study_that_was_cut_early_has_a_summary_with_less(tmp_path: Path, records: list[TrialRecord]):
    results = StudyPaths(tmp_path / "cut")
    summaries = write_summary(results, STUDY, {"demo": [replace(records[0], best=None)], "cub": []})
    assert [summary.dataset for summary in summaries] == ["demo", "cub"]
    lines = results.summary.read_text(encoding="utf-8").splitlines()
    assert "| PAN | 0.9500 |  |  |" in lines
    assert "| paper_setting |  |  |  |" in lines
    demo, cub = read_rows(results)
    assert (demo["best_value"], demo["train.PAN"]) == ("0.7", "0.95")
    assert (demo["val.PAN"], demo["val.paper_setting"], demo["test.PAN"]) == ("", "", "")
    assert (cub["planned"], cub["running"], cub["best_value"]) == ("8", "0", "")


def test_rows_of_the_page_are_as_wide_as_their_heads(written: StudyPaths):
    lines = written.summary.read_text(encoding="utf-8").splitlines()
    heads = [n for n, line in enumerate(lines) if line.startswith("| --- |")]
    assert len(heads) == 4
    for head in heads:
        table = lines[head - 1 : lines.index("", head)] if "" in lines[head:] else lines[head - 1 :]
        assert len({line.count("|") for line in table}) == 1


def test_the_summary_follows_from_the_files_alone(written: StudyPaths, records: list[TrialRecord]):
    before = written.summary.read_bytes(), written.summary_table.read_bytes()
    write_summary(written, json.loads(json.dumps(STUDY)), {"demo": records, "cub": records[1:]})
    assert (written.summary.read_bytes(), written.summary_table.read_bytes()) == before
