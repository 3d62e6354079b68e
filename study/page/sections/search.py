"""How the search went: the best so far, learning curves, what early stopping saved and what it may have missed."""

from pan_model.command_line import counted
from study.analysis.progress import LearningCurve, SearchProgress, best_so_far
from study.analysis.stopping import Stopping, find_stopping
from study.analysis.study_data import DatasetData, StudyData
from study.page.blocks import Block, Chart, Facts, Part, Section, Table, Text, Tone
from study.page.charts import curves_chart, progress_chart
from study.page.charts.search import CHANCE_SCORES, first_drawn
from study.page.commands import LATE
from study.trials.ledger import count_by_status

MOST_CURVES = 300
"""Number of learning curves in a chart, and of trials in its table; more would cover each other."""

RULES = {
    "asha": "ASHA compares a trial at each rung with the trials that reached it before. It continues if it is among "
    "the best 1 / reduction factor of them.",
    "paired": "The paired rule compares a trial after every epoch with the best completed trial, question by question. "
    "It stops if the upper end of the 95% interval, with what its curve may still rise, is below that trial's best "
    "value. The epochs at which it stopped a trial are listed as rungs.",
    "top-k": "After its first epoch a trial continued if it was among the best K trials up to then.",
}
"""What each stopping rule does, by the value of --scheduler."""


def search_section(study: StudyData) -> Section:
    """Return the section about the course of the search."""
    return Section(
        id="search",
        heading="How the search went",
        lead="Whether the search had settled when it ended, what stopping weak trials early saved, and whether it can "
        "have stopped a trial that would have won. First trials of the search space are never stopped.",
        parts=[
            Part(heading=name if len(study.datasets) > 1 else "", blocks=_search(study, data))
            for name, data in study.datasets.items()
        ],
    )


def _search(study: StudyData, data: DatasetData) -> list[Block]:
    progress, stopping = best_so_far(data), find_stopping(data)
    if not progress.curves:
        return [Text(tone=Tone.MISSING, text="learning curves. No trial has finished an epoch yet.")]
    return [
        _progress(data, progress),
        _curves(study, data, progress),
        Facts(facts=_facts(stopping)),
        *_rungs(stopping),
    ]


def _progress(data: DatasetData, progress: SearchProgress) -> Block:
    if not progress.points:
        return Text(tone=Tone.MISSING, text="the best value over time. No trial has completed.")
    last = progress.points[-1]
    share = last.epochs_spent / progress.epochs_spent
    start = first_drawn(progress)
    earlier = (
        f" The axis begins at the value after {progress.points[start].epochs_spent} epochs; "
        f"{counted(start, 'earlier step')} {'is' if start == 1 else 'are'} outside it."
        if start
        else ""
    )
    late = "late, so a longer search may well find more" if share > LATE else "and nothing better was found after it"
    order = "" if progress.in_order_of_time else " Trials are in the order of suggestions: this study has no times."
    return Chart(
        title="Best so far",
        figure=progress_chart(progress),
        finding=f"The best value on val was reached after {last.epochs_spent} of {progress.epochs_spent} epochs "
        f"({share:.0%}), {late}. Only completed trials count.{earlier}{order}",
        table=Table(
            caption=f"Best so far on {data.dataset}: numbers",
            heads=("epochs spent", progress.metric, "trial", "id", "epoch"),
            rows=[
                [point.epochs_spent, f"{point.value:.4f}", point.number, point.trial_id, point.epoch]
                for point in progress.points
            ],
            folded=True,
        ),
    )


def _curves(study: StudyData, data: DatasetData, progress: SearchProgress) -> Chart:
    drawn = _thin_out(progress.curves)
    counts = count_by_status(data.records, over=study.over)
    some = (
        f" {len(drawn)} of {len(progress.curves)} are drawn, evenly chosen."
        if len(drawn) < len(progress.curves)
        else ""
    )
    rungs = " Stopped trials end at a rung with a cross." if progress.rungs else ""
    return Chart(
        title="Learning curves",
        figure=curves_chart(progress, drawn),
        finding=f"Each line is a trial on val over its epochs ({counts}).{some}{rungs}"
        f"{_below_chance(progress)} Drag to enlarge a part, double-click to return.",
        table=Table(
            caption=f"Trials of {data.dataset}: last epoch and best value",
            heads=("trial", "id", "what", "status", "epochs", "best value"),
            rows=[_curve_row(curve) for curve in drawn],
            folded=True,
        ),
    )


def _below_chance(progress: SearchProgress) -> str:
    """Return what the trials that end below chance mean, where the score of random answers is known."""
    chance = CHANCE_SCORES.get(progress.metric)
    below = [] if chance is None else [curve for curve in progress.curves if curve.values[-1] < chance]
    if not below:
        return ""
    return (
        f" {counted(len(below), 'trial')} {'ends' if len(below) == 1 else 'end'} below chance (the dashed line at "
        f"{chance:g}): a little below is noise, far below means that a recipe ranks the right answer last."
    )


def _thin_out(curves: tuple[LearningCurve, ...]) -> list[LearningCurve]:
    step = max(1, -(-len(curves) // MOST_CURVES))
    return [curve for place, curve in enumerate(curves) if place % step == 0 or curve.is_winner]


def _curve_row(curve: LearningCurve) -> list[object]:
    return [
        curve.number,
        curve.trial_id,
        curve.label,
        curve.status.value,
        curve.epochs[-1],
        f"{curve.best:.4f}",
    ]


def _facts(stopping: Stopping) -> list[tuple[str, object]]:
    in_all = stopping.epochs_spent + stopping.epochs_saved + stopping.epochs_saved_by_patience
    share = stopping.epochs_saved / in_all if in_all else 0.0
    return [
        ("epochs spent", stopping.epochs_spent),
        ("saved by early stopping", f"{stopping.epochs_saved} epochs ({share:.0%})"),
        ("saved by trials that ended themselves", f"{stopping.epochs_saved_by_patience} epochs"),
        ("trials stopped early", stopping.num_stopped),
    ]


def _rungs(stopping: Stopping) -> list[Block]:
    """Return what happened at each rung, and the evidence on wrongly stopped trials."""
    if stopping.missing:
        return [Text(tone=Tone.MISSING, text=f"rungs. {stopping.missing}")]
    blocks: list[Block] = [
        Text(text=RULES[stopping.scheduler]),
        Table(
            caption="What happened at each rung, an epoch after which trials were stopped",
            heads=(
                "epoch",
                "trials that reached it",
                "stopped there",
                "ended there by themselves",
                "went on to the end",
                "rank correlation with the end",
            ),
            rows=[
                [
                    rung.epoch,
                    rung.num_reached,
                    rung.num_stopped,
                    rung.num_ended,
                    rung.num_went_on,
                    "too few trials to say"
                    if rung.spearman is None
                    else f"{rung.spearman.mean:.2f} [{rung.spearman.low:.2f}, {rung.spearman.high:.2f}]",
                ]
                for rung in stopping.rungs
            ],
        ),
    ]
    for rung in stopping.rungs:
        sentences = [rung.wrong_stops.sentence if rung.wrong_stops else "", rung.verdict]
        blocks.append(Text(text=f"Rung at epoch {rung.epoch}: {' '.join(filter(None, sentences))}"))
    if stopping.num_stopped_above:
        text = (
            f"{stopping.num_stopped_above} stopped trials had a better value before their stop than the winner ever "
            "has; look at them in the learning curves."
        )
        blocks.append(Text(tone=Tone.CAUTION, text=text))
    return blocks
