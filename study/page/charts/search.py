"""The course of a search: the best value over the epochs spent, and the learning curves with the rungs."""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from study.analysis.progress import LearningCurve, SearchProgress
from study.page.charts.style import BACKGROUND, BLUE, GREY, INK, ORANGE, VERMILLION, make_figure
from study.page.formats import metric_name
from study.trials.ledger import Status

LOOKS: dict[Status, tuple[str, str, str, str]] = {
    Status.COMPLETED: (BLUE, "solid", "completed", "circle"),
    Status.STOPPED: (ORANGE, "dot", "stopped early", "x"),
    Status.FAILED: (VERMILLION, "dashdot", "failed", "triangle-up"),
    Status.RUNNING: (GREY, "dash", "running or interrupted", "circle-open"),
}
"""The colour, the dash, the name and the marker at the last epoch of the trials of a status."""


CHANCE_SCORES = {"few_shot_accuracy": 0.2}
"""The score of random answers where it is known beforehand: questions are of 5 classes."""

SMALL_GAIN = 0.25
"""Share of the whole gain below which the second half of the steps is drawn enlarged."""

MIN_ENLARGED, SMALL_RANGE = 8, 0.3
"""Completed trials, and share of the whole range, from and below which the best learning curves are drawn enlarged."""


def first_drawn(progress: SearchProgress) -> int:
    """Return the place of the first step that the chart of the best so far shows.

    It is that in the middle of the steps if the gains after it would be too small to see beside those before it.
    """
    values = [point.value for point in progress.points]
    middle = len(values) // 2
    is_small = bool(values) and abs(values[-1] - values[middle]) < SMALL_GAIN * abs(values[-1] - values[0])
    return middle if is_small and values[middle] != values[-1] else 0


def progress_chart(progress: SearchProgress) -> go.Figure:
    """Draw the best value of a completed trial over the epochs that all trials had run."""
    points = progress.points
    x = [point.epochs_spent for point in points] + ([progress.epochs_spent] if points else [])
    y = [point.value for point in points] + ([points[-1].value] if points else [])
    text = [f"trial {point.number} ({point.trial_id}), epoch {point.epoch}" for point in points]
    trace = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": "best so far",
        "x": x,
        "y": y,
        "text": [*text, "end of the search"],
        "line": {"color": BLUE, "width": 2.5, "shape": "hv"},
        "marker": {"color": BLUE, "size": [7] * len(points) + [0]},  # the end of the search is no step
        "hovertemplate": "%{y:.4f} after %{x} epochs<br>%{text}<extra></extra>",
    }
    label = {"showarrow": False, "xanchor": "right", "yanchor": "bottom", "yshift": 5}
    low, high = sorted((y[first_drawn(progress)], y[-1])) if y else (0.0, 1.0)
    pad = max(0.12 * (high - low), 1e-4)
    return make_figure(
        [trace],
        x_title="epochs spent by all trials",
        y_title=metric_name(progress.metric),
        annotations=[{**label, "x": x[-2], "y": y[-1], "text": f"trial {point.number}"} for point in points[-1:]],
        yaxis={"range": [low - pad, high + pad]},
    )


def curves_chart(progress: SearchProgress, curves: Sequence[LearningCurve] | None = None) -> go.Figure:
    """Draw the metric of each trial over its epochs, one trace for the trials of a status, and the rungs.

    Args:
        progress: The course of the search.
        curves: The learning curves to draw; by default all.
    """
    curves = progress.curves if curves is None else curves
    traces = [trace for status in LOOKS for trace in _status_traces(status, curves)]
    for curve in curves:
        if curve.is_winner:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "name": f"winner, trial {curve.number}",
                    "x": curve.epochs,
                    "y": [_rounded(value) for value in curve.values],
                    "line": {"color": INK, "width": 3},
                    "marker": {"color": INK, "size": 6, "symbol": "diamond"},
                    "hovertemplate": "%{y:.4f} in epoch %{x}<extra>winner</extra>",
                }
            )
    chance, top = CHANCE_SCORES.get(progress.metric), top_range(progress)
    line: dict[str, Any] = {"type": "line", "line": {"color": GREY, "width": 1, "dash": "dash"}}
    text: dict[str, Any] = {"showarrow": False, "yanchor": "bottom", "font": {"size": 12}}
    shapes = [{**line, "yref": "paper", "y0": 0, "y1": 1, "x0": rung, "x1": rung} for rung in progress.rungs]
    notes = [{**text, "yref": "paper", "y": 0.01, "xanchor": "left", "x": x, "text": "rung"} for x in progress.rungs]
    if chance is not None:
        shapes.append({**line, "xref": "paper", "x0": 0, "x1": 1, "y0": chance, "y1": chance})
        notes.append({**text, "xref": "paper", "x": 1, "xanchor": "right", "y": chance, "text": f"chance, {chance:g}"})
    layout: dict[str, Any] = {}
    if top is not None:
        traces += [{**trace, "yaxis": "y2", "showlegend": False} for trace in traces]
        edge = 0.02 * (top[1] - top[0])
        panel = {"gridcolor": "rgba(128, 128, 128, 0.25)", "zeroline": False, "automargin": True, "ticks": "outside"}
        name = {**text, "xref": "paper", "yref": "paper", "x": 0, "xanchor": "left"}
        notes.append({**name, "y": 0.43, "text": "<b>enlarged: the best two thirds</b>", **BACKGROUND})
        layout = {
            "yaxis": {"domain": [0.54, 1]},
            "yaxis2": {
                **panel,
                "domain": [0, 0.42],
                "range": [top[0] - edge, top[1] + 4 * edge],
            },
            "xaxis": {"anchor": "y2"},
        }
    return make_figure(
        traces,
        x_title="epoch",
        y_title=metric_name(progress.metric),
        height=420 if top is None else 640,
        shapes=shapes,
        annotations=notes,
        **layout,
    )


def top_range(progress: SearchProgress) -> tuple[float, float] | None:
    """Return the range of the best values of the best two thirds of the completed trials.

    Return None if it needs no panel of its own: there are too few trials, or it is a good part of the whole range.
    """
    bests = [curve.best for curve in progress.curves if curve.status is Status.COMPLETED]
    winner = [curve.best for curve in progress.curves if curve.is_winner]
    values = [value for curve in progress.curves for value in curve.values]
    if len(bests) < MIN_ENLARGED or not winner:
        return None
    # Those nearest to the winner are the best, whether higher or lower is better.
    worst = sorted(bests, key=lambda value: abs(value - winner[0]))[2 * len(bests) // 3 - 1]
    low, high = sorted((worst, winner[0]))
    return (low, high) if 0 < high - low < SMALL_RANGE * (max(values) - min(values)) else None


def _status_traces(status: Status, curves: Sequence[LearningCurve]) -> list[dict[str, Any]]:
    """Return the curves of a status as one trace of lines with gaps, and a marker at the end of each."""
    colour, dash, name, symbol = LOOKS[status]
    chosen = [curve for curve in curves if curve.status is status]
    if not chosen:
        return []
    x: list[int | None] = []
    y: list[float | None] = []
    for curve in chosen:
        x += [*curve.epochs, None]
        y += [*map(_rounded, curve.values), None]
    lines = {
        "type": "scatter",
        "mode": "lines",
        "name": f"{name} ({len(chosen)})",
        "legendgroup": name,
        "x": x,
        "y": y,
        "line": {"color": colour, "width": 1.5, "dash": dash},
        "opacity": max(0.3, min(0.8, 15 / len(chosen))),
        "hoverinfo": "skip",
    }
    ends = {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "legendgroup": name,
        "showlegend": False,
        "x": [curve.epochs[-1] for curve in chosen],
        "y": [_rounded(curve.values[-1]) for curve in chosen],
        "text": [f"trial {curve.number} ({curve.trial_id}), {curve.label}" for curve in chosen],
        "marker": {"color": colour, "symbol": symbol, "size": 7},
        "hovertemplate": "%{text}<br>%{y:.4f} in epoch %{x}<extra>" + name + "</extra>",
    }
    return [lines, ends]


def _rounded(value: float) -> float:
    """Return a value with five digits: what a screen can show, in fewer bytes."""
    return float(f"{value:.5g}")
