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
from study.page.charts.effects import SYMBOLS, drawn_points, effect_focus
from study.page.sections.ablation import ablation_blocks

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
    return [Text(tone=Tone.NOTE, text=effects.confounding), *charts, *ablation_blocks(study, data)]


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
