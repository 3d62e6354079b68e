"""How the search went: learning curves, what early stopping saved, and what it may have missed."""

from collections.abc import Sequence

from study.analysis.study_data import DatasetData, StudyData
from study.page.blocks import Block, Chart, Part, Section, Table, Text, Tone
from study.page.charts.curves import curves_chart
from study.page.formats import metric_name
from study.trials.ledger import TrialRecord, count_by_status

MOST_CURVES = 300
"""Number of learning curves in a chart; more would cover each other."""


def search_section(study: StudyData) -> Section:
    """Return the section about the course of the search."""
    return Section(
        id="search",
        heading="How the search went",
        lead="Whether the search had settled when it ended, and whether early stopping can have missed a better trial.",
        parts=[
            Part(heading=name if len(study.datasets) > 1 else "", blocks=_search(study, data))
            for name, data in study.datasets.items()
        ],
    )


def _search(study: StudyData, data: DatasetData) -> list[Block]:
    if not any(record.history for record in data.records):
        return [Text(tone=Tone.MISSING, text="learning curves. No trial has finished an epoch yet.")]
    return [_curves(study, data, ())]


def _curves(study: StudyData, data: DatasetData, rungs: Sequence[int]) -> Chart:
    begun = [record for record in data.records if record.history]
    drawn = _thin_out(begun, data.winner)
    counts = count_by_status(data.records, over=study.over)
    some = f" {len(drawn)} of {len(begun)} curves are drawn, evenly chosen." if len(drawn) < len(begun) else ""
    return Chart(
        title="Learning curves",
        figure=curves_chart(
            drawn,
            data.objective,
            metric_name(data.objective.name),
            winner=data.winner.trial_id if data.winner else None,
            rungs=rungs,
        ),
        finding=f"Each line is a trial's value on val over its epochs ({counts}).{some} Stopped trials end at a rung "
        "with a cross; they are not comparable with completed ones, which had more epochs.",
        table=Table(
            caption="Trials: status, epochs and best value",
            heads=("trial", "id", "status", "epochs", "best value", "in epoch"),
            rows=[_trial_row(record, data) for record in begun[:MOST_CURVES]],
            folded=True,
        ),
        wide=True,
    )


def _thin_out(records: Sequence[TrialRecord], winner: TrialRecord | None) -> list[TrialRecord]:
    step = max(1, -(-len(records) // MOST_CURVES))
    return [
        record
        for place, record in enumerate(records)
        if place % step == 0 or (winner is not None and record.trial_id == winner.trial_id)
    ]


def _trial_row(record: TrialRecord, data: DatasetData) -> list[object]:
    best = record.best_epoch(data.objective) or {}
    value = best.get(data.objective.name)
    return [
        record.number,
        record.trial_id,
        record.status.value,
        len(record.history),
        None if value is None else f"{value:.4f}",
        best.get("epoch"),
    ]
