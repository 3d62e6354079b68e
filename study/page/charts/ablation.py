"""A controlled comparison: the winner trained again with one parameter varied at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from study.page.charts.style import BLUE, GREY, make_figure


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A value of the varied parameter: the mean difference to the winner over seeds, with its interval if known."""

    label: str
    difference: float
    ci95: tuple[float, float] | None


def ablation_chart(metric: str, variants: Sequence[Variant]) -> go.Figure:
    """Draw each variant's paired difference to the winner; the line at 0 is the winner itself."""
    ends = [variant.ci95 or (variant.difference, variant.difference) for variant in variants]
    labels = [variant.label for variant in variants]
    trace = {
        "type": "scatter",
        "mode": "markers",
        "name": "difference to the winner",
        "x": [variant.difference for variant in variants],
        "y": labels,
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [high - variant.difference for (_, high), variant in zip(ends, variants, strict=True)],
            "arrayminus": [variant.difference - low for (low, _), variant in zip(ends, variants, strict=True)],
            "color": BLUE,
            "thickness": 2,
        },
        "marker": {"color": BLUE, "size": 10},
        "hovertemplate": "%{y}: %{x:+.4f}<extra></extra>",
    }
    return make_figure(
        [trace],
        x_title=f"difference in {metric} to the winner, same seeds and questions",
        y_title="",
        height=110 + 34 * len(labels),
        yaxis={"categoryorder": "array", "categoryarray": labels[::-1]},
        shapes=[
            {
                "type": "line",
                "x0": 0,
                "x1": 0,
                "yref": "paper",
                "y0": 0,
                "y1": 1,
                "line": {"color": GREY, "width": 2, "dash": "dash"},
            }
        ],
    )
