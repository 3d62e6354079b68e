"""The metric against one parameter: the full-length trials as points, medians with their intervals."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import plotly.graph_objects as go

from study.analysis.effects import Effect, Effects, Level, Series, TrialPoint
from study.analysis.uncertainty import CHANCE, MIN_TRIALS
from study.page.charts.focus import Focus, find_focus
from study.page.charts.style import GREY, INK, error_bars, gate_marker, make_figure, make_rows_figure, winner_marker
from study.page.formats import metric_name

MANY_DECADES = 1000.0
"""Ratio of the largest to the smallest number from which an axis has a tick for each decade only."""

MIN_CURVE = 2
"""Number of ranges with enough trials from which there is a curve."""

MEDIANS = "median of a range (interval from 6 trials up)"
"""The name of the curve of medians."""

MEDIAN_BELOW = 0.29
"""Distance of a median below its row of points, so that it hides none."""

SYMBOLS = {"lambda": "λ"}
"""Parameters whose name in words is a symbol."""


def lambda_chart(effects: Effects) -> go.Figure:
    """Draw the metric against λ on a log axis: a curve of medians for each gate, and one over all gates."""
    return _curves_chart(effects.lambda_, effects, "λ, weight of the attribute loss")


def conditions_chart(effects: Effects) -> go.Figure:
    """Draw the metric against the number of conditions on a log axis."""
    return _curves_chart(effects.num_conditions, effects, "number of conditions")


def gate_chart(effects: Effects) -> go.Figure:
    """Draw the metric for each gate f_a."""
    return _choices_chart(effects.gate, effects)


def encoder_chart(effects: Effects) -> go.Figure:
    """Draw the metric for each encoder."""
    return _choices_chart(effects.encoder, effects)


def batches_chart(effects: Effects) -> go.Figure:
    """Draw the metric for whole batches, mini-batches and class-balanced batches."""
    return _choices_chart(effects.batches, effects)


def supervision_chart(effects: Effects) -> go.Figure:
    """Draw the metric for unsupervised, hybrid and supervised conditions."""
    return _choices_chart(effects.supervision, effects)


def drawn_points(effect: Effect) -> list[TrialPoint]:
    """Return the trials in the chart of an effect; trials without a numeric parameter have no place in it."""
    levels = [level for series in effect.series[:1] for level in series.levels]
    levels += [effect.without] if effect.without is not None and not effect.log else []
    return [point for level in levels for point in level.points]


def effect_focus(effect: Effect, effects: Effects) -> Focus:
    """Return the range of values that the chart of an effect shows: that of its trials, and always the winner's."""
    focus = find_focus([point.value for point in drawn_points(effect)], effects.mode)
    aside = [point.value for point in _winners_aside(effect)]
    return replace(focus, low=min([focus.low, *aside]), high=max([focus.high, *aside]))


def differs(effect: Effect) -> bool:
    """Return whether the groups of an effect differ by more than chance."""
    return effect.chance is not None and effect.chance <= CHANCE


def _winners_aside(effect: Effect) -> list[TrialPoint]:
    """Return the winner if it has no place in the chart, since it lacks the parameter."""
    lacking = effect.without.points if effect.without is not None and effect.log else ()
    return [point for point in lacking if point.is_winner]


def _curves_chart(effect: Effect, effects: Effects, x_title: str) -> go.Figure:
    """Draw points against a numeric parameter, and the median of each range: a curve if the ranges differ."""
    focus = effect_focus(effect, effects)
    everything, *parts = effect.series
    traces: list[dict[str, Any]] = []
    for series in parts or [everything]:
        marker = gate_marker(series.name)
        points = [point for level in series.levels for point in level.points]
        points.sort(key=lambda point: focus.is_outside(point.value))  # the legend has the symbol of the first
        if not points:
            continue
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": f"{series.name} ({len(points)})",
                "legendgroup": series.name,
                "x": [point.x for point in points],
                **_values(points, focus),
                "marker": {**marker, "opacity": 0.8, "symbol": _symbols(points, focus, marker)},
            }
        )
        if parts and differs(effect) and len(_firm(series)) >= MIN_CURVE:
            traces.append(_medians(series, focus, {"color": marker["color"], "width": 1.5}, legend=False))
    if differs(effect) and len(_firm(everything)) >= MIN_CURVE:
        traces.append(_medians(everything, focus, {"color": INK, "width": 3}, legend=True))
    elif _firm(everything):
        traces.append(_ticks(everything, focus))
    traces += [
        _star([point.x], [focus.clip(point.value)], point) for point in drawn_points(effect) if point.is_winner
    ] + [_winner_aside(everything, point, effect.parameter) for point in _winners_aside(effect)]
    return make_figure(
        traces,
        x_title=f"{x_title} (log)",
        y_title=metric_name(effects.metric),
        height=460 if parts else 400,  # the legend of the gates takes lines of a narrow screen
        xaxis={"type": "log", **_log_ticks(everything), "exponentformat": "power", "tickangle": 0},
        yaxis={"range": focus.padded},
    )


def _log_ticks(series: Series) -> dict[str, Any]:
    """Return plotly's ticks: every decade or every other one, or 1, 2 and 5 in each if the points cover few decades."""
    places = [point.x for level in series.levels for point in level.points if point.x]
    low, high = (min(places), max(places)) if places else (1.0, 1.0)
    if high / low >= MANY_DECADES:
        return {"dtick": 1 if high / low < MANY_DECADES * 100 else 2}
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
    return {"tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}


def _firm(series: Series) -> list[Level]:
    """Return the ranges with enough full-length trials for a median that says something."""
    return [level for level in series.levels if level.num_full >= MIN_TRIALS and level.centre is not None]


def _medians(series: Series, focus: Focus, line: dict[str, Any], *, legend: bool) -> dict[str, Any]:
    """Return the curve of medians at the centres of the ranges; intervals only for the curve in the legend."""
    levels = _firm(series)
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": MEDIANS if legend else series.name,
        "legendgroup": "median" if legend else series.name,
        "showlegend": legend,
        "x": [level.centre for level in levels],
        "y": [focus.clip(level.median or 0.0) for level in levels],
        "line": line,
        "marker": {"color": line["color"], "symbol": "diamond", "size": 9 if legend else 1},
        "text": [_describe_level(level) for level in levels],
        "hovertemplate": "%{text}<extra>" + series.name + "</extra>",
    }
    if legend:
        trace["error_y"] = _median_bars(levels, focus, line["color"])
    return trace


def _ticks(series: Series, focus: Focus) -> dict[str, Any]:
    """Return a faint line at the median over each range: no curve, which would suggest a trend."""
    levels = [level for level in _firm(series) if not focus.is_outside(level.median or 0.0)]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "median of a range",
        "x": [x for level in levels for x in (level.low, level.high, None)],
        "y": [y for level in levels for y in (level.median, level.median, None)],
        "line": {"color": GREY, "width": 1},
        "text": [_describe_level(level) for level in levels for _ in range(3)],
        "hovertemplate": "%{text}<extra></extra>",
    }


def _choices_chart(effect: Effect, effects: Effects) -> go.Figure:
    """Draw a row for each choice, the best at the top: its trials, and the median with its interval below them."""
    focus = effect_focus(effect, effects)
    rows = [level for level in effect.series[0].levels if level.num_full or level.num_stopped or level.num_failed]
    rows = [*rows, effect.without] if effect.without is not None else rows
    traces: list[dict[str, Any]] = []
    stars: list[dict[str, Any]] = []
    for place, level in enumerate(rows):
        marker = gate_marker(level.label if effect.parameter == "gate" else "")
        values = _values(level.points, focus)
        heights = [len(rows) - 1 - place + spread for spread in _spreads(len(level.points))]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": level.label,
                **values,
                "x": values["y"],
                "y": heights,
                "hovertemplate": "%{text}<extra></extra>",
                "marker": {**marker, "opacity": 0.8, "symbol": _symbols(level.points, focus, marker)},
            }
        )
        stars += [
            _star([focus.clip(point.value)], [height], point)
            for point, height in zip(level.points, heights, strict=True)
            if point.is_winner
        ]
    known = [
        (len(rows) - 1 - place - MEDIAN_BELOW, level)
        for place, level in enumerate(rows)
        if level.num_full > 1 and level.median is not None and not focus.is_outside(level.median)
    ]
    traces.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "median, 95% interval",
            "x": [focus.clip(level.median or 0.0) for _, level in known],
            "y": [height for height, _ in known],
            "error_x": _median_bars([level for _, level in known], focus, INK),
            "marker": {"color": INK, "symbol": "line-ns", "size": 10, "line": {"color": INK, "width": 3}},
            "text": [_describe_level(level) for _, level in known],
            "hovertemplate": "%{text}<extra></extra>",
        }
    )
    return make_rows_figure(
        [*traces, *stars],
        [f"{level.label} ({_counts(level)})" for level in rows],
        x_title=metric_name(effects.metric),
        showlegend=False,
        xaxis={"range": focus.padded},
    )


def _counts(level: Level) -> str:
    """Return the numbers of trials of a level, such as "12, 3 stopped"."""
    return f"{level.num_full}, {level.num_stopped} stopped" if level.num_stopped else str(level.num_full)


def _values(points: Sequence[TrialPoint], focus: Focus) -> dict[str, Any]:
    """Return the y values of points, clipped to what is drawn, and the text that shows when a pointer is on them."""
    return {
        "y": [focus.clip(point.value) for point in points],
        "text": [f"trial {point.number} ({point.trial_id}): {point.value:.4f}" for point in points],
        "hovertemplate": "%{text}<br>at %{x:.3g}<extra></extra>",
    }


def _symbols(points: Sequence[TrialPoint], focus: Focus, marker: dict[str, Any]) -> list[str]:
    """Return the symbol of each point: hollow for those that are far worse and drawn at the edge."""
    return [marker["symbol"] + ("-open" if focus.is_outside(point.value) else "") for point in points]


def _star(x: Sequence[float | None], y: Sequence[float], winner: TrialPoint) -> dict[str, Any]:
    """Return the star around the winner."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "winner",
        "x": x,
        "y": y,
        "marker": winner_marker(),
        "hovertemplate": f"winner, trial {winner.number}: {winner.value:.4f}<extra></extra>",
    }


def _winner_aside(everything: Series, winner: TrialPoint, parameter: str) -> dict[str, Any]:
    """Return a dotted line at the value of a winner that lacks the parameter, with the star at its left end."""
    places = [point.x for level in everything.levels for point in level.points if point.x]
    star = winner_marker()
    return {
        **_star([min(places) / 1.5, max(places) * 1.5], [winner.value] * 2, winner),
        "mode": "lines+markers",
        "name": f"winner (it has no {SYMBOLS.get(parameter, parameter)})",
        "line": {"color": INK, "width": 1, "dash": "dot"},
        "marker": {**star, "size": [star["size"], 0]},
    }


def _median_bars(levels: Sequence[Level], focus: Focus, colour: str) -> dict[str, Any]:
    """Return the intervals of medians as plotly's error bars; none where there are too few trials."""
    medians = [level.median or 0.0 for level in levels]
    ends = [level.median_ci95 or (median, median) for level, median in zip(levels, medians, strict=True)]
    clipped = [(focus.clip(low), focus.clip(high)) for low, high in ends]
    return error_bars([*map(focus.clip, medians)], clipped, colour)


def _describe_level(level: Level) -> str:
    if level.median is None:
        return f"{level.label}: no full-length trial"
    interval = level.median_ci95
    bounds = f" [{interval[0]:.4f}, {interval[1]:.4f}]" if interval else ", too few trials for an interval"
    return f"{level.label}: median {level.median:.4f}{bounds}, {level.num_full} trials"


def _spreads(count: int) -> list[float]:
    """Return offsets that keep points of one row apart, the same in each run."""
    return [((place * 0.618034 + 0.5) % 1 - 0.5) * 0.4 for place in range(count)]
