"""A controlled comparison: the winner trained again with one parameter varied at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from study.page.charts.style import BACKGROUND, BLUE, GREY, error_bars, gate_marker, make_figure, make_rows_figure
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


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Variants along one parameter.

    Attributes:
        name: The changes that they share, such as "gate = OR"; empty if the parameter alone is changed.
        gate: The gate f_a that they share; "None" without one.
        points: The value of the parameter and the variant, in ascending order.
    """

    name: str
    gate: str
    points: tuple[tuple[float, Variant], ...]


def ablation_curves(metric: str, parameter: str, curves: Sequence[Curve], start: str = "the winner") -> go.Figure:
    """Draw paired differences to the start along a parameter on a log axis, a curve for each choice of the others."""
    traces = [_curve(curve, parameter, start, spread=0.02 * place) for place, curve in enumerate(curves)]
    places = [x for curve in curves for x, _ in curve.points]
    decades = {"dtick": 1} if max(places) / min(places) >= 100 else {}
    zero = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 0, "y1": 0}
    return make_figure(
        traces,
        x_title=f"{parameter} (log)",
        y_title=f"difference in {metric_name(metric)} to {start}",
        xaxis={"type": "log", "exponentformat": "power", "tickangle": 0, **decades},
        shapes=[{**zero, "line": {"color": GREY, "width": 2, "dash": "dash"}}],
    )


def _curve(curve: Curve, parameter: str, start: str, *, spread: float) -> dict[str, Any]:
    """Return a curve; it is moved by a share of its values, so that the intervals of several curves stay apart."""
    marker = gate_marker(curve.gate)
    differences = [variant.difference for _, variant in curve.points]
    ends = [variant.ci95 or (variant.difference, variant.difference) for _, variant in curve.points]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": curve.name or f"only {parameter} changed",
        "x": [x * (1 + spread) for x, _ in curve.points],
        "y": differences,
        "text": [variant.label for _, variant in curve.points],
        "error_y": error_bars(differences, ends, marker["color"]),
        "line": {"color": marker["color"], "width": 1.5},
        "marker": {**marker, "size": 9},
        "hovertemplate": "%{text}: %{y:+.4f} to " + start + "<extra></extra>",
    }


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
