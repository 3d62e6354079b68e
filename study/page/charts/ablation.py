"""A controlled comparison: the winner trained again with one parameter varied at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from study.page.charts.style import BACKGROUND, BLUE, GREY, error_bars, make_rows_figure
from study.page.formats import metric_name


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A changed winner: the mean difference to the winner over seeds, with its interval if it is known."""

    label: str
    difference: float
    ci95: tuple[float, float] | None

    @property
    def is_identical(self) -> bool:
        """Whether the variant scores as the winner in every question: an interval around 0 without any width."""
        return self.difference == 0 and self.ci95 == (0, 0)


def ablation_chart(metric: str, variants: Sequence[Variant], start: str = "the winner") -> go.Figure:
    """Draw each variant's paired difference to the start, usually the winner; the line at 0 is the start itself."""
    heights = [len(variants) - 1 - place for place in range(len(variants))]
    drawn = [(y, variant) for y, variant in zip(heights, variants, strict=True) if not variant.is_identical]
    differences = [variant.difference for _, variant in drawn]
    ends = [variant.ci95 or (variant.difference, variant.difference) for _, variant in drawn]
    trace = {
        "type": "scatter",
        "mode": "markers",
        "name": f"difference to {start}",
        "x": differences,
        "y": [y for y, _ in drawn],
        "text": [variant.label for _, variant in drawn],
        "error_x": error_bars(differences, ends, BLUE),
        "marker": {"color": BLUE, "size": 10},
        "hovertemplate": "%{text}: %{x:+.4f}<extra></extra>",
    }
    winner = {"type": "line", "x0": 0, "x1": 0, "yref": "paper", "y0": 0, "y1": 1}
    return make_rows_figure(
        [trace],
        [variant.label for variant in variants],
        x_title=f"difference in {metric_name(metric)} to {start}",
        xaxis={} if drawn else {"range": [-0.01, 0.01]},
        annotations=[
            {"x": 0, "y": y, "text": "identical answers", "showarrow": False, "font": {"size": 12}, **BACKGROUND}
            for y, variant in zip(heights, variants, strict=True)
            if variant.is_identical
        ],
        shapes=[{**winner, "line": {"color": GREY, "width": 2, "dash": "dash"}}],
    )
