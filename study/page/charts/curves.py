"""Learning curves of the trials, with the rungs at which trials may be stopped."""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from pan_model.objective import Objective
from study.page.charts.style import BLUE, GREY, INK, ORANGE, VERMILLION, make_figure
from study.trials.ledger import Status, TrialRecord

LOOKS: dict[Status, tuple[str, str, str, str]] = {
    Status.COMPLETED: (BLUE, "solid", "completed", "circle"),
    Status.STOPPED: (ORANGE, "dot", "stopped early", "x"),
    Status.FAILED: (VERMILLION, "dashdot", "failed", "triangle-up"),
    Status.RUNNING: (GREY, "dash", "running or interrupted", "circle-open"),
}
"""The colour, the dash, the name and the marker at the last epoch of trials of a status."""


def curves_chart(
    records: Sequence[TrialRecord],
    objective: Objective,
    metric: str,
    *,
    winner: str | None = None,
    rungs: Sequence[int] = (),
) -> go.Figure:
    """Draw the metric of each trial over its epochs, one trace for the trials of a status.

    Args:
        records: The trials to draw.
        objective: The metric of the trials.
        metric: The metric in words.
        winner: The id of the trial that is drawn on top.
        rungs: The epochs at which trials may be stopped.
    """
    traces: list[dict[str, Any]] = []
    for status, (colour, dash, name, symbol) in LOOKS.items():
        chosen = [record for record in records if record.status is status and record.history]
        if not chosen:
            continue
        opacity = max(0.25, min(0.8, 12 / len(chosen)))
        lines = {"x": list[Any](), "y": list[Any]()}
        for record in chosen:
            lines["x"] += [*(epoch["epoch"] for epoch in record.history), None]
            lines["y"] += [*(_rounded(epoch[objective.name]) for epoch in record.history), None]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": f"{name} ({len(chosen)})",
                "legendgroup": name,
                **lines,
                "line": {"color": colour, "width": 1.5, "dash": dash},
                "opacity": opacity,
                "hoverinfo": "skip",
            }
        )
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "legendgroup": name,
                "showlegend": False,
                "x": [record.history[-1]["epoch"] for record in chosen],
                "y": [_rounded(record.history[-1][objective.name]) for record in chosen],
                "text": [f"trial {record.number} ({record.trial_id})" for record in chosen],
                "marker": {"color": colour, "symbol": symbol, "size": 7},
                "hovertemplate": "%{text}<br>%{y:.4f} in epoch %{x}<extra>" + name + "</extra>",
            }
        )
    for record in records:
        if record.trial_id == winner:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "name": f"winner, trial {record.number}",
                    "x": [epoch["epoch"] for epoch in record.history],
                    "y": [_rounded(epoch[objective.name]) for epoch in record.history],
                    "line": {"color": INK, "width": 3},
                    "marker": {"color": INK, "size": 5, "symbol": "star"},
                    "hovertemplate": "%{y:.4f} in epoch %{x}<extra>winner</extra>",
                }
            )
    shapes = [
        {
            "type": "line",
            "x0": rung,
            "x1": rung,
            "yref": "paper",
            "y0": 0,
            "y1": 1,
            "line": {"color": GREY, "width": 1, "dash": "dash"},
        }
        for rung in rungs
    ]
    annotations = [
        {
            "x": rung,
            "yref": "paper",
            "y": 0.02,
            "text": "rung",
            "showarrow": False,
            "xanchor": "left",
            "yanchor": "bottom",
        }
        for rung in rungs
    ]
    return make_figure(traces, x_title="epoch", y_title=metric, height=420, shapes=shapes, annotations=annotations)


def _rounded(value: float) -> float:
    """Return a value with five digits: what a screen can show, in fewer bytes."""
    return float(f"{value:.5g}")
