"""The paper's figures from the study's own trials, with a controlled comparison beside them if there was one."""

from collections.abc import Callable

import plotly.graph_objects as go

from pan_model.command_line import counted
from study.analysis.effects import Effect, Effects, Level, find_effects
from study.analysis.study_data import DatasetData, StudyData
from study.page.blocks import Block, Chart, Part, Section, Table, Text, Tone
from study.page.charts import (
    batches_chart,
    conditions_chart,
    encoder_chart,
    gate_chart,
    lambda_chart,
    supervision_chart,
)
from study.page.charts.ablation import Variant, ablation_chart
from study.page.charts.effects import SYMBOLS, drawn_points, effect_focus
from study.page.commands import ablate_command
from study.page.files import AblationFile, AblationRow, read_ablation
from study.page.formats import describe_config, join_words, metric_name, number, trial_name

FIGURES: tuple[tuple[str, Callable[[Effects], Effect], Callable[[Effects], go.Figure]], ...] = (
    ("Metric against λ, by gate", lambda effects: effects.lambda_, lambda_chart),
    ("Gates f_a", lambda effects: effects.gate, gate_chart),
    ("Number of conditions", lambda effects: effects.num_conditions, conditions_chart),
    ("Encoders", lambda effects: effects.encoder, encoder_chart),
    ("Whole batch and mini-batches", lambda effects: effects.batches, batches_chart),
    ("Supervision", lambda effects: effects.supervision, supervision_chart),
)
"""The title of each figure, its numbers and its chart."""


def figures_section(study: StudyData) -> Section:
    """Return the section with the paper's figures."""
    return Section(
        id="figures",
        heading="The paper's figures",
        lead="How the metric goes with λ, the gate, the number of conditions and the rest in this study's own trials. "
        "Each point is a full-length trial: one that ended by itself, with its last epoch or after epochs without "
        "gain. Stopped trials are counted but have no value here, since theirs is of an earlier epoch. Medians have "
        "95% intervals where there are enough trials.",
        parts=[
            Part(heading=name if len(study.datasets) > 1 else "", blocks=_figures(study, data))
            for name, data in study.datasets.items()
        ],
    )


def _figures(study: StudyData, data: DatasetData) -> list[Block]:
    effects = find_effects(data)
    charts = [_figure(title, effect_of(effects), effects, draw) for title, effect_of, draw in FIGURES]
    return [Text(tone=Tone.NOTE, text=effects.confounding), *charts, *_ablation(study, data)]


def _figure(title: str, effect: Effect, effects: Effects, draw: Callable[[Effects], go.Figure]) -> Block:
    if effect.missing:
        return Text(tone=Tone.MISSING, text=f"{title}. {effect.missing}")
    return Chart(
        title=title,
        figure=draw(effects),
        finding=f"{effect.verdict} {_describe_points(effect, effects)}",
        table=Table(
            caption=f"{title}: numbers",
            heads=("group", "full-length trials", "stopped", "failed", "median [95% interval]", "best"),
            rows=[
                [f"{series.name}: {level.label}" if len(effect.series) > 1 else level.label, *_cells(level)]
                for series in effect.series
                for level in series.levels
                if level.num_full or level.num_stopped or level.num_failed
            ]
            + ([[effect.without.label, *_cells(effect.without)]] if effect.without else []),
            folded=True,
        ),
    )


def _describe_points(effect: Effect, effects: Effects) -> str:
    """Return what is drawn, such as "25 full-length trials, 13 with a gate; 7 are far worse than most: ..."."""
    points, outside = drawn_points(effect), effect_focus(effect, effects).num_outside
    lacking = len(effect.without.points) if effect.without is not None else 0
    parts = counted(len(points), "full-length trial")
    if lacking and effect.log:
        name, verb = SYMBOLS.get(effect.parameter, effect.parameter), "is" if lacking == 1 else "are"
        parts += f" with {name}, {lacking} without {verb} not drawn"
    elif lacking:
        parts += f", {effect.num_full} with a {effect.parameter}"
    if outside:
        parts += (
            f"; {outside} {'is' if outside == 1 else 'are'} far worse than most: hollow marks at the edge, not at "
            "their value"
        )
    return f"{parts}.{' The star is the winner.' if any(point.is_winner for point in points) else ''}"


def _cells(level: Level) -> list[object]:
    median = None if level.median is None else f"{level.median:.4f}"
    if median and level.median_ci95:
        median += f" [{level.median_ci95[0]:.4f}, {level.median_ci95[1]:.4f}]"
    best = None if level.best is None else f"{level.best:.4f}"
    return [level.num_full, level.num_stopped, level.num_failed, median, best]


def _ablation(study: StudyData, data: DatasetData) -> list[Block]:
    """Return the controlled comparison, or how to make one."""
    if data.winner is None:
        return []
    ablation = read_ablation(data.files)
    if isinstance(ablation, Text):
        return [ablation]
    if ablation is None:
        again = ablate_command(study, data)
        text = f"a controlled comparison, which varies one parameter of the winner and keeps the others: {again}"
        return [Text(tone=Tone.MISSING, text=text)]
    return _compared(data, ablation)


def _compared(data: DatasetData, ablation: AblationFile) -> list[Block]:
    metric, seeds = metric_name(data.objective.name), counted(len(ablation.seeds), "seed")
    start, described = _start(data, ablation)
    variants = [
        Variant(label=_label(row), difference=row.difference, ci95=row.difference_ci95)
        for row in ablation.rows
        if row.difference is not None
    ]
    table = Table(
        caption=f"Controlled comparison: {start} with one parameter varied, {seeds}",
        heads=("changed", "status", f"{metric} [95% interval]", f"difference to {start} [95% interval]", "errors"),
        rows=[
            [f"nothing: {start}", "", _with_interval(ablation.winner.mean, ablation.winner.ci95), None, None],
            *(_row(row) for row in ablation.rows),
        ],
        folded=bool(variants),
    )
    if not variants:
        text = "the chart of the controlled comparison. None of its trials has a value yet."
        return [Text(tone=Tone.MISSING, text=text), table]
    same = [variant.label for variant in variants if variant.is_identical]
    no_effect = (
        f" {join_words(same)}: identical answers, the same score in every question over all {seeds}, so the change had "
        "no effect."
        if same
        else ""
    )
    return [
        Chart(
            title="Controlled comparison",
            figure=ablation_chart(data.objective.name, variants, start),
            finding=f"Difference to {described}. Only the named parameter differs ({seeds}, the same questions): left "
            f"of 0 is worse. An interval that contains 0 may be noise.{no_effect}",
            table=table,
            wide=True,
        )
    ]


def _start(data: DatasetData, ablation: AblationFile) -> tuple[str, str]:
    """Return what the rows are compared with: its name, and a description if it is not the winner."""
    trial_id, config = ablation.winner.trial_id, ablation.winner.config
    if data.winner is not None and trial_id == data.winner.trial_id:
        return "the winner", "the winner"
    record = next((record for record in data.records if record.trial_id == trial_id), None)
    value = data.best_value(record) if record else None
    on_val = "" if value is None else f"; val {value:.4f}"
    name = f"trial {trial_id}" if record is None else trial_name(record)
    return name, f"{name}, which is not the winner ({describe_config(config)}{on_val})"


def _row(row: AblationRow) -> list[object]:
    return [
        _label(row),
        row.status,
        _with_interval(row.mean, row.ci95),
        "identical answers"
        if row.difference == 0 and row.difference_ci95 == (0, 0)
        else _with_interval(row.difference, row.difference_ci95, "+"),
        "; ".join(row.errors) or None,
    ]


def _label(row: AblationRow) -> str:
    return ", ".join(f"{name} = {number(value)}" for name, value in row.changes.items())


def _with_interval(mean: float | None, ci95: tuple[float, float] | None, sign: str = "") -> str | None:
    if mean is None:
        return None
    ends = f" [{ci95[0]:{sign}.4f}, {ci95[1]:{sign}.4f}]" if ci95 else ""
    return f"{mean:{sign}.4f}{ends}"
