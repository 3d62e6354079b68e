"""Studies side by side: their winners' metrics, paired differences from the first study, and why there are none."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pan_model.command_line import counted
from pan_model.errors import UserError
from pan_model.flat import Scalar
from pan_model.objective import Objective
from pan_model.scores import Interval
from study.analysis.comparison.paired import Difference, correct, paired_by_question, paired_by_seed
from study.analysis.comparison.same_questions import (
    differing_parameters,
    find_other_seed,
    find_other_test_questions,
    find_other_val_questions,
    find_refusal,
    val_questions,
)
from study.analysis.comparison.study_differences import StudyDifference, find_study_differences
from study.analysis.study_data import DatasetData, StudyData
from study.reporting.final_metrics import FinalScores, read_final, read_test_questions
from study.storage.location import absolute
from study.trials.ledger import Status
from study.trials.question_scores import interval_of


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one study has on one dataset, compared with the reference: the first study that has the dataset.

    Attributes:
        label: The name of the study.
        data: The dataset of the study.
        refusal: Why the study cannot be compared on this dataset; empty if it can.
        value: The metric of the best completed trial on val; None without a completed trial.
        val: The value with its interval over questions; None if the scores of questions were not kept.
        val_ahead: The lead over the reference on the same questions of val.
        val_unpaired: Why there is no such lead; empty for the reference.
        test: The metric on test in a final training of the winner.
        num_seeds: The number of seeds of the final training.
        test_ahead: The lead over the reference on the same questions of test, averaged over the seeds.
        test_unpaired: Why there is no such lead; empty for the reference.
        seeds_ahead: The lead of the means on test over the reference, seed by seed, where questions are the same.
        notes: What else limits the comparison, such as trials that are running.
    """

    label: str
    data: DatasetData
    refusal: str = ""
    value: float | None = None
    val: Interval | None = None
    val_ahead: Difference | None = None
    val_unpaired: str = ""
    test: Interval | None = None
    num_seeds: int = 0
    test_ahead: Difference | None = None
    test_unpaired: str = ""
    seeds_ahead: Difference | None = None
    notes: tuple[str, ...] = ()

    @property
    def epochs_spent(self) -> int:
        """The number of epochs of all trials."""
        return self.data.summary.epochs_spent

    @property
    def wall_s(self) -> float:
        """Seconds of all trials, one after another."""
        return math.fsum(record.wall_s for record in self.data.records)


@dataclass(frozen=True, kw_only=True)
class DatasetComparison:
    """Studies compared on one dataset.

    Attributes:
        dataset: The name of the dataset.
        objective: The reference's metric.
        results: The result of each study that has the dataset, the reference first.
        parameters: The parameters in which the best configurations differ: the value in each result, None if absent.
        num_same: The number of parameters that are the same in all best configurations.
    """

    dataset: str
    objective: Objective
    results: tuple[Result, ...]
    parameters: dict[str, list[Scalar | None]]
    num_same: int

    @property
    def num_tested(self) -> int:
        """The number of leads that were tested."""
        tested = [ahead for result in self.results for ahead in (result.val_ahead, result.test_ahead)]
        return sum(ahead is not None and ahead.p_value is not None for ahead in tested)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Studies side by side.

    Attributes:
        labels: The name of each study, in the given order; unique.
        studies: The studies.
        datasets: The comparison on each dataset that at least two studies have.
        single: The datasets that only one study has, with its name.
        differences: What differs besides the results.
    """

    labels: tuple[str, ...]
    studies: tuple[StudyData, ...]
    datasets: tuple[DatasetComparison, ...]
    single: dict[str, str]
    differences: tuple[StudyDifference, ...]


def compare_studies(studies: Sequence[StudyData]) -> Comparison:
    """Compare studies on each dataset that at least two of them have.

    Args:
        studies: At least two studies. The first that has a dataset is the reference there.

    Raises:
        UserError: If there is nothing to compare, with the reasons, or a file of a study is damaged.
    """
    for study in studies:
        _check_recorded(study)
    labels = unique_labels(studies)
    by_dataset: dict[str, list[tuple[str, StudyData]]] = {}
    for label, study in zip(labels, studies, strict=True):
        for dataset in study.datasets:
            by_dataset.setdefault(dataset, []).append((label, study))
    compared = [_compare_dataset(dataset, having) for dataset, having in by_dataset.items() if len(having) > 1]
    single = {dataset: having[0][0] for dataset, having in by_dataset.items() if len(having) == 1}
    _check_comparable(compared, single)
    return Comparison(
        labels=labels,
        studies=tuple(studies),
        datasets=tuple(compared),
        single=single,
        differences=tuple(find_study_differences([study.content for study in studies])),
    )


def unique_labels(studies: Sequence[StudyData]) -> tuple[str, ...]:
    """Return the names of the studies' folders; their paths where two have the same name."""
    names = [absolute(study.paths.root).name or study.name for study in studies]
    return tuple(
        name if names.count(name) == 1 else str(study.paths.root) for name, study in zip(names, studies, strict=True)
    )


NEEDED = (("data", "fingerprint"), ("data", "splits"), ("features", "weights_sha256"))
"""What a dataset's entry in study.json must have to be compared."""


def _check_recorded(study: StudyData) -> None:
    """Raise UserError unless study.json says which data and weights the study had."""
    for dataset, data in study.datasets.items():
        for part, name in NEEDED:
            if name not in data.entry[part]:
                raise UserError(
                    f"{study.paths.study}: datasets.{dataset}.{part} must have {name}, got none; "
                    "bring the file back from a copy."
                )


def _check_comparable(compared: Sequence[DatasetComparison], single: dict[str, str]) -> None:
    """Raise UserError unless at least two studies have a value that can be compared on a dataset."""
    for comparison in compared:
        if sum(result.value is not None and not result.refusal for result in comparison.results) > 1:
            return
    reasons = [
        f"{comparison.dataset}: {result.label}: {result.refusal or 'no trial has completed'}"
        for comparison in compared
        for result in comparison.results
        if result.refusal or result.value is None
    ]
    reasons += [f"{dataset}: only {label} has it" for dataset, label in single.items()]
    raise UserError(f"nothing to compare ({'; '.join(reasons)}); give studies of the same dataset and task.")


def _compare_dataset(dataset: str, having: Sequence[tuple[str, StudyData]]) -> DatasetComparison:
    (label, first), *others = having
    reference = first.datasets[dataset]
    results = [_describe_result(label, first, reference)]
    for other_label, other in others:
        data = other.datasets[dataset]
        described = _describe_result(other_label, other, data)
        refusal = find_refusal(reference, data)
        if refusal:
            results.append(replace(described, refusal=refusal))
            continue
        seeds = [study.content["signed"].get("seed") for study in (first, other)]
        results.append(_compare_test(_compare_val(described, reference, seeds), reference, seeds))
    corrected = correct([result.val_ahead for result in results] + [result.test_ahead for result in results])
    results = [
        replace(result, val_ahead=on_val, test_ahead=on_test)
        for result, on_val, on_test in zip(results, corrected[: len(results)], corrected[len(results) :], strict=True)
    ]
    configs = [None if result.data.winner is None else result.data.winner.config for result in results]
    parameters = differing_parameters(configs)
    num_all = len({name for config in configs if config for name in config})
    return DatasetComparison(
        dataset=dataset,
        objective=reference.objective,
        results=tuple(results),
        parameters=parameters,
        num_same=num_all - len(parameters),
    )


def _describe_result(label: str, study: StudyData, data: DatasetData) -> Result:
    questions, final = val_questions(data), _read_final(data)
    return Result(
        label=label,
        data=data,
        value=None if data.summary.best is None else data.summary.best[1],
        val=None if questions is None else interval_of(questions),
        test=None if final is None else final.test["PAN"],
        num_seeds=0 if final is None else len(final.per_seed),
        notes=tuple(_find_notes(study, data)),
    )


def _read_final(data: DatasetData) -> FinalScores | None:
    """Return the scores of a final training of the winner; None if there is none, or it was of another trial."""
    final = read_final(data.files.final_metrics, data.objective.name)
    return final if final is not None and data.winner is not None and final.trial_id == data.winner.trial_id else None


def _find_notes(study: StudyData, data: DatasetData) -> list[str]:
    summary = data.summary
    running = summary.by_status[Status.RUNNING]
    ended = sum(summary.by_status.values()) - running
    notes: list[str] = []
    if ended < summary.planned:
        state = "interrupted" if study.over else "not finished"
        notes.append(f"the study is {state}: {ended} of {counted(summary.planned, 'trial')} have ended")
    final = read_final(data.files.final_metrics, data.objective.name)
    if final is not None and data.winner is not None and final.trial_id != data.winner.trial_id:
        notes.append(f"final/ is of trial {final.trial_id}, not of the winner {data.winner.trial_id}, and is left out")
    return notes


def _compare_val(result: Result, reference: DatasetData, seeds: Sequence[Any]) -> Result:
    if reference.winner is None or result.data.winner is None:
        who = "the reference" if reference.winner is None else "it"
        return replace(result, val_unpaired=f"{who} has no completed trial")
    if reason := find_other_val_questions(reference, result.data, seeds):
        return replace(result, val_unpaired=reason)
    ahead = _lead(reference.objective, val_questions(result.data), val_questions(reference))
    trial_id = result.data.winner.trial_id
    if trial_id != reference.winner.trial_id:
        return replace(result, val_ahead=ahead)
    note = f"its winner is the same trial as the reference's, {trial_id}"
    cause = "a difference on val is the code's or the machine's"
    return replace(result, val_ahead=ahead, notes=(*result.notes, f"{note}; {cause}"))


def _compare_test(result: Result, reference: DatasetData, seeds: Sequence[Any]) -> Result:
    finals = [_read_final(data) for data in (reference, result.data)]
    first, second = finals
    if first is None or second is None:
        who = "the reference" if first is None else "it"
        return replace(result, test_unpaired=f"{who} has no final training of its winner")
    if reason := find_other_seed(reference, seeds):
        return replace(result, test_unpaired=reason)
    if reason := find_other_test_questions(reference, first, result.data, second):
        return replace(result, test_unpaired=reason)
    common = sorted(first.per_seed.keys() & second.per_seed.keys())
    sign = reference.objective.signed(1.0)
    if len(common) > 1:
        means = [[sign * final.per_seed[seed] for seed in common] for final in (second, first)]
        result = replace(result, seeds_ahead=paired_by_seed(*means))
    questions = [
        read_test_questions(data.files.final_questions, reference.objective.name, final.trial_id)
        for data, final in ((reference, first), (result.data, second))
    ]
    if questions[0] is None or questions[1] is None or len(questions[0]) != len(questions[1]):
        whose = "the reference's" if questions[0] is None else "its"
        return replace(result, test_unpaired=f"{whose} final training did not keep the scores of single questions")
    return replace(result, test_ahead=_lead(reference.objective, questions[1], questions[0]))


def _lead(objective: Objective, questions: list[float] | None, reference: list[float] | None) -> Difference:
    """Return the lead over a reference; above 0 is better, also for a metric of which less is better."""
    assert questions is not None
    assert reference is not None
    pair = (questions, reference) if objective.mode == "max" else (reference, questions)
    return paired_by_question(*pair)
