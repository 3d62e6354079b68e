"""Studies side by side, from ledgers written by hand."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pan_model.errors import UserError
from study.analysis.comparison.compare_studies import Comparison, compare_studies, unique_labels
from study.analysis.study_data import read_study_data
from study.storage.paths import StudyPaths
from study.trials.ledger import Status

Write = Callable[..., StudyPaths]
RECORDED = Path(__file__).parents[3] / "recorded" / "0.1" / "recorded"
WEAK, STRONG = [0.5, 0.25, 0.5, 0.75, 0.5, 0.25], [0.75, 0.5, 0.75, 1.0, 0.75, 0.75]


def compare(*studies: StudyPaths) -> Comparison:
    return compare_studies([read_study_data(paths) for paths in studies])


def test_the_first_study_is_the_reference(tmp_path: Path, write_study: Write):
    comparison = compare(write_study(tmp_path / "a", WEAK), write_study(tmp_path / "b", STRONG))
    (demo,) = comparison.datasets
    first, second = demo.results
    assert comparison.labels == ("a", "b")
    assert (first.val_ahead, first.val_unpaired) == (None, "")
    assert second.val_ahead is not None
    assert second.val_ahead.interval.mean == pytest.approx(sum(STRONG) / 6 - sum(WEAK) / 6)
    assert (second.val_ahead.count, second.val_ahead.verdict) == (6, "better")
    assert first.val is not None
    assert first.value == first.val.mean == pytest.approx(sum(WEAK) / 6)
    assert (first.epochs_spent, first.wall_s) == (3, 4.5)


def test_less_is_better_for_a_metric_to_minimise(tmp_path: Path, write_study: Write):
    less = {"objective": {"name": "few_shot_accuracy", "mode": "min"}}
    a = write_study(tmp_path / "a", [*WEAK[:-1], 1.0], **less)
    b = write_study(tmp_path / "b", [score / 2 for score in WEAK], **less)
    ahead = compare(a, b).datasets[0].results[1].val_ahead
    assert ahead is not None
    assert ahead.interval.mean > 0


def test_p_values_are_corrected_over_the_studies_of_a_dataset(tmp_path: Path, write_study: Write):
    studies = [write_study(tmp_path / name, scores) for name, scores in (("a", WEAK), ("b", STRONG), ("c", STRONG))]
    (demo,) = compare(*studies).datasets
    leads = [result.val_ahead for result in demo.results[1:]]
    assert [lead.corrected for lead in leads if lead] == [
        pytest.approx(2 * (lead.p_value or 0)) for lead in leads if lead
    ]


def test_best_configurations_are_compared(tmp_path: Path, write_study: Write, record: Callable[..., Any]):
    a, b = write_study(tmp_path / "a", WEAK), write_study(tmp_path / "b", STRONG)
    file = b.dataset("demo").trials / "b0" / "config.json"
    file.write_text(file.read_text().replace('"max_epochs": 9', '"max_epochs": 12, "extra": "x"'))
    (demo,) = compare(a, b).datasets
    assert demo.parameters == {"max_epochs": [9, 12], "extra": [None, "x"]}
    assert demo.num_same == len(record(0, Status.COMPLETED).config) - 1


def test_a_copy_of_a_study_has_the_same_winner(tmp_path: Path, write_study: Write):
    a = write_study(tmp_path / "a", WEAK)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    comparison = compare(a, StudyPaths(tmp_path / "b"))
    assert comparison.labels == ("a", "b")
    copy = comparison.datasets[0].results[1]
    assert copy.val_ahead is not None
    assert (copy.val_ahead.interval, copy.val_ahead.p_value) == ((0.0, 0.0, 0.0), 1.0)
    assert copy.notes == (
        "its winner is the same trial as the reference's, a0; a difference on val is the code's or the machine's",
    )


def test_a_dataset_of_other_data_is_refused_beside_one_that_is_compared(tmp_path: Path, write_study: Write):
    a = write_study(tmp_path / "a", WEAK, ("demo", "cub", "inshop"))
    b = write_study(tmp_path / "b", STRONG, ("demo", "cub"))
    content = b.study.read_text().replace("ef" * 32, "01" * 32, 1)
    b.study.write_text(content)
    comparison = compare(a, b)
    assert [compared.dataset for compared in comparison.datasets] == ["demo", "cub"]
    refused, compared = (of_dataset.results[1] for of_dataset in comparison.datasets)
    assert refused.refusal == "the data differ: their fingerprint is 010101010101, not efefefefefef"
    assert (refused.val_ahead, compared.refusal) == (None, "")
    assert compared.val_ahead is not None
    assert comparison.single == {"inshop": "a"}


def test_nothing_to_compare_is_refused_with_the_reasons(tmp_path: Path, write_study: Write):
    a, b = write_study(tmp_path / "a", WEAK), write_study(tmp_path / "b", WEAK, ("cub",))
    with pytest.raises(UserError, match=r"nothing to compare \(demo: only a has it; cub: only b has it\); give"):
        compare(a, b)
    c = write_study(tmp_path / "c", WEAK, data={"splits": {"train": 1, "val": 2}})
    with pytest.raises(UserError, match=r"\(demo: c: the splits differ: train 1, val 2, not train 48, val 24\)"):
        compare(a, c)
    with pytest.raises(UserError, match=r"\(demo: d: no trial has completed\)"):
        compare(a, write_study(tmp_path / "d", []))


def test_a_study_without_completed_trials_stands_beside_others(tmp_path: Path, write_study: Write):
    studies = [write_study(tmp_path / name, scores) for name, scores in (("a", WEAK), ("b", []), ("c", STRONG))]
    _, without, other = compare(*studies).datasets[0].results
    assert (without.value, without.val_unpaired) == (None, "it has no completed trial")
    assert other.val_ahead is not None
    first = compare(studies[1], studies[0], studies[2]).datasets[0].results[1]
    assert first.val_unpaired == "the reference has no completed trial"


def test_an_unfinished_study_says_so(tmp_path: Path, write_study: Write):
    a, b = write_study(tmp_path / "a", WEAK), write_study(tmp_path / "b", STRONG, num_trials=8)
    assert compare(a, b).datasets[0].results[1].notes == ("the study is not finished: 3 of 8 trials have ended",)


def test_final_trainings_are_paired_by_question_and_by_seed(
    tmp_path: Path, write_study: Write, write_final: Callable[..., None]
):
    a, b = write_study(tmp_path / "a", WEAK), write_study(tmp_path / "b", STRONG)
    write_final(a, "a0", [WEAK, [*WEAK[:-1], 0.5], WEAK])
    write_final(b, "b0", [STRONG, STRONG])
    first, second = compare(a, b).datasets[0].results
    assert (first.num_seeds, second.num_seeds) == (3, 2)
    assert second.test is not None
    assert second.test.mean == pytest.approx(0.75)
    assert second.test_ahead is not None
    assert second.test_ahead.count == 6
    assert second.test_ahead.interval.mean == pytest.approx(0.75 - (sum(WEAK) + 0.25 / 3) / 6)
    assert second.seeds_ahead is not None
    assert second.seeds_ahead.count == 2
    assert second.seeds_ahead.interval.mean == pytest.approx(0.75 - (sum(WEAK) + 0.125) / 6)


def test_what_cannot_be_paired_on_test_is_said(tmp_path: Path, write_study: Write, write_final: Callable[..., None]):
    a, b, c, d, e = (write_study(tmp_path / name, STRONG, seed=int(name == "e")) for name in ("a", "b", "c", "d", "e"))
    write_final(a, "a0", [WEAK, WEAK])
    write_final(b, "b0", [STRONG, STRONG], keep=False)
    write_final(c, "c0", [STRONG[:-1]])
    write_final(d, "another", [STRONG])
    write_final(e, "e0", [STRONG])
    _, *others = compare(a, b, c, d, e).datasets[0].results
    assert [result.test_unpaired for result in others] == [
        "its final training did not keep the scores of single questions",
        "it has 5 questions on test, not 6",
        "it has no final training of its winner",
        "its questions are others: they were drawn with seed 1, not 0",
    ]
    assert others[0].seeds_ahead is not None
    assert others[2].notes == ("final/ is of trial another, not of the winner d0, and is left out",)


def test_a_baseline_proves_whether_questions_on_test_are_the_same(
    tmp_path: Path, write_study: Write, write_final: Callable[..., None]
):
    studies = [write_study(tmp_path / name, STRONG) for name in "abc"]
    for paths, mean in zip(studies, (0.5, 0.5001, 0.51), strict=True):
        write_final(paths, f"{paths.root.name}0", [STRONG])
        file = paths.dataset("demo").final_metrics
        entry = {"few_shot_accuracy": {"mean": mean, "ci95": [mean - 0.1, mean + 0.1]}}
        file.write_text(json.dumps(json.loads(file.read_text()) | {"baselines": {"nearest_class_mean": entry}}))
    _, same, other = compare(*studies).datasets[0].results
    assert same.test_ahead is not None
    reason = "its questions are others: nearest_class_mean on the same features has another score"
    assert (other.test_ahead, other.test_unpaired) == (None, reason)


def test_without_a_number_of_questions_nothing_is_paired(
    tmp_path: Path, write_study: Write, write_final: Callable[..., None]
):
    a, b = write_study(tmp_path / "a", WEAK), write_study(tmp_path / "b", STRONG)
    for paths, trial_id in ((a, "a0"), (b, "b0")):
        write_final(paths, trial_id, [WEAK])
    file = b.dataset("demo").final_metrics
    file.write_text(file.read_text().replace('"questions"', '"asked"'))
    result = compare(a, b).datasets[0].results[1]
    assert result.test_unpaired == "the number of questions on test was not recorded"


def test_questions_of_another_final_training_are_refused(
    tmp_path: Path, write_study: Write, write_final: Callable[..., None]
):
    a, b = write_study(tmp_path / "a", WEAK), write_study(tmp_path / "b", STRONG)
    for paths, trial_id in ((a, "a0"), (b, "b0")):
        write_final(paths, trial_id, [WEAK])
    file = b.dataset("demo").final_questions
    file.write_text(file.read_text().replace("b0", "c0"))
    with pytest.raises(UserError, match=r"questions.json: trial_id must be b0, as in metrics.json, got c0; remove it"):
        compare(a, b)


def test_a_study_json_without_a_fingerprint_is_refused(tmp_path: Path, write_study: Write):
    a, b = write_study(tmp_path / "a", WEAK), write_study(tmp_path / "b", STRONG)
    b.study.write_text(b.study.read_text().replace('"fingerprint"', '"print"'))
    with pytest.raises(UserError, match=r"b/study.json: datasets.demo.data must have fingerprint, got none; bring"):
        compare(a, b)


def test_a_study_of_version_0_1_is_compared(tmp_path: Path):
    shutil.copytree(RECORDED, tmp_path / "copy")
    result = compare(StudyPaths(RECORDED), StudyPaths(tmp_path / "copy")).datasets[0].results[1]
    assert result.val_ahead is not None
    assert result.val_ahead.count == 100


def test_labels_are_names_or_folders_where_names_are_equal(tmp_path: Path, write_study: Write):
    for folder in (tmp_path / "x" / "a", tmp_path / "y" / "a", tmp_path / "b"):
        write_study(folder, WEAK)
    folders = [tmp_path / "x" / "a", tmp_path / "b", tmp_path / "y" / "a"]
    studies = [read_study_data(StudyPaths(folder)) for folder in folders]
    assert unique_labels(studies) == (str(folders[0]), "b", str(folders[2]))
