"""A controlled comparison: the winner trained again with one parameter varied at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from study.page.charts.style import BLUE, GREY, error_bars, make_rows_figure
from study.page.formats import metric_name


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A changed winner: the mean difference to the winner over seeds, with its interval if it is known."""

    label: str
    difference: float
    ci95: tuple[float, float] | None


def ablation_chart(metric: str, variants: Sequence[Variant]) -> go.Figure:
    """Draw each variant's paired difference to the winner; the line at 0 is the winner itself."""
    differences = [variant.difference for variant in variants]
    ends = [variant.ci95 or (variant.difference, variant.difference) for variant in variants]
    trace = {
        "type": "scatter",
        "mode": "markers",
        "name": "difference to the winner",
        "x": differences,
        "y": [len(variants) - 1 - place for place in range(len(variants))],
        "text": [variant.label for variant in variants],
        "error_x": error_bars(differences, ends, BLUE),
        "marker": {"color": BLUE, "size": 10},
        "hovertemplate": "%{text}: %{x:+.4f}<extra></extra>",
    }
    winner = {"type": "line", "x0": 0, "x1": 0, "yref": "paper", "y0": 0, "y1": 1}
    return make_rows_figure(
        [trace],
        [variant.label for variant in variants],
        x_title=f"difference in {metric_name(metric)} to the winner",
        shapes=[{**winner, "line": {"color": GREY, "width": 2, "dash": "dash"}}],
    )
