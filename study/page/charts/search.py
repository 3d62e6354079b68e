"""The course of a search: the best value over the epochs spent, and the learning curves with the rungs."""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from study.analysis.progress import LearningCurve, SearchProgress
from study.page.charts.style import BLUE, GREY, INK, ORANGE, VERMILLION, make_figure
from study.page.formats import metric_name
from study.trials.ledger import Status

LOOKS: dict[Status, tuple[str, str, str, str]] = {
    Status.COMPLETED: (BLUE, "solid", "completed", "circle"),
    Status.STOPPED: (ORANGE, "dot", "stopped early", "x"),
    Status.FAILED: (VERMILLION, "dashdot", "failed", "triangle-up"),
    Status.RUNNING: (GREY, "dash", "running or interrupted", "circle-open"),
}
"""The colour, the dash, the name and the marker at the last epoch of the trials of a status."""


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
        "marker": {"color": BLUE, "size": 7},
        "hovertemplate": "%{y:.4f} after %{x} epochs<br>%{text}<extra></extra>",
    }
    return make_figure([trace], x_title="epochs spent by all trials", y_title=metric_name(progress.metric))


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
    line = {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "line": {"color": GREY, "width": 1, "dash": "dash"}}
    label = {"yref": "paper", "y": 0.02, "text": "rung", "showarrow": False, "xanchor": "left", "yanchor": "bottom"}
    return make_figure(
        traces,
        x_title="epoch",
        y_title=metric_name(progress.metric),
        height=420,
        shapes=[{**line, "x0": rung, "x1": rung} for rung in progress.rungs],
        annotations=[{**label, "x": rung} for rung in progress.rungs],
    )


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
