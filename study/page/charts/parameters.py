"""What mattered: the importance of parameters, and parallel coordinates of the trials."""

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from pan_model.flat import Scalar
from study.analysis.coordinates import Axis, Coordinates, Line
from study.analysis.importance import Importance, ParameterImportance
from study.page.charts.style import BACKGROUND, BLUE, GREY, INK, ORANGE, SKY, error_bars, make_figure, make_rows_figure
from study.page.formats import number

MOST_PARAMETERS = 12
"""Number of parameters in the chart of importance; the table has all."""

LEAST_SHARE = 0.02
"""Share of importance below which a parameter is in the table only."""

MOST_TOP = 20
"""Largest number of lines that stand out; at most a quarter does."""

LACKING = -0.12
"""The height at which a line passes an axis whose parameter the trial lacks."""


def shown_parameters(importance: Importance) -> tuple[ParameterImportance, ...]:
    """Return the parameters in the chart of importance, without those whose share is next to nothing."""
    shown = [parameter for parameter in importance.parameters if parameter.share >= LEAST_SHARE or parameter.stands_out]
    return tuple(shown[:MOST_PARAMETERS])


def importance_chart(importance: Importance) -> go.Figure:
    """Draw the share of each parameter with its bootstrap interval, and the share that it has by chance below it."""
    shown = shown_parameters(importance)
    names = [parameter.name for parameter in shown]
    heights = {name: len(names) - 1 - place for place, name in enumerate(names)}
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "share by chance",
            "x": [parameter.by_chance for parameter in shown],
            "y": [heights[name] - 0.27 for name in names],
            "text": names,
            "marker": {"color": GREY, "symbol": "x", "size": 7},
            "hovertemplate": "%{text}: %{x:.3f} by chance<extra></extra>",
        }
    ]
    for stands_out, name, colour, symbol in (
        (True, "beyond chance", BLUE, "circle"),
        (False, "not told from chance", ORANGE, "circle-open"),
    ):
        chosen = [parameter for parameter in shown if parameter.stands_out is stands_out]
        if chosen:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": name,
                    "x": [parameter.share for parameter in chosen],
                    "y": [heights[parameter.name] for parameter in chosen],
                    "text": [parameter.name for parameter in chosen],
                    "error_x": error_bars(
                        [parameter.share for parameter in chosen],
                        [(parameter.low, parameter.high) for parameter in chosen],
                        colour,
                    ),
                    "marker": {"color": colour, "symbol": symbol, "size": 10, "line": {"color": colour, "width": 2}},
                    "hovertemplate": "%{text}: %{x:.3f}<extra></extra>",
                }
            )
    return make_rows_figure(
        traces, names, x_title="share of importance", xaxis={"rangemode": "tozero"}, showlegend=True
    )


def coordinates_chart(coordinates: Coordinates, num_top: int | None = None) -> go.Figure:
    """Draw a line for each full-length trial through its parameters to its value.

    The best trials are thick and dark, the others thin and light. A line passes below an axis if the trial lacks the
    parameter. plotly's own parallel coordinates need WebGL, and have no place for a parameter that a trial lacks.

    Args:
        coordinates: The lines.
        num_top: The number of trials that count as the best; by default a quarter, and 20 at most.
    """
    values = [line.value for line in coordinates.lines]  # the worst first
    num_top = min(MOST_TOP, math.ceil(len(values) / 4)) if num_top is None else num_top
    axes = coordinates.axes
    groups: list[tuple[str, str, float, str, float, Sequence[Line]]] = [
        ("other trials", SKY, 1.0, "solid", 0.5, coordinates.lines[: len(values) - num_top]),
        (f"the best {num_top}", BLUE, 2.0, "solid", 0.9, coordinates.lines[len(values) - num_top :]),
        ("winner", INK, 3.5, "dash", 1.0, [line for line in coordinates.lines if line.is_winner]),
    ]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    ranges = [_range(coordinates, index) for index in range(len(axes))]
    traces: list[dict[str, Any]] = []
    for name, colour, width, dash, opacity, lines in groups:
        x: list[float | None] = []
        y: list[float | None] = []
        for line in lines:
            crossed = zip(axes, ranges, line.parameters, strict=True)
            places = [_place(axis, ends, value) for axis, ends, value in crossed]
            places.append((line.value - low) / (high - low) if high > low else 0.5)
            x += [*range(len(places)), None]
            y += [*(round(place, 4) for place in places), None]
        if lines:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "name": name,
                    "x": x,
                    "y": y,
                    "line": {"color": colour, "width": width, "dash": dash},
                    "opacity": opacity,
                    "hoverinfo": "skip",
                }
            )
    heads = [*(axis.name for axis in axes), f"<b>{coordinates.metric}</b>"]
    annotations = [
        {"x": index, "y": y, "text": text, "showarrow": False, "yanchor": "middle", "font": {"size": 11}, **BACKGROUND}
        for index, axis in enumerate(axes)
        for y, text in _labels(
            axis, ranges[index], lacking=any(line.parameters[index] is None for line in coordinates.lines)
        )
    ]
    annotations += [
        {"x": len(axes), "y": y, "text": f"{value:.3f}", "showarrow": False, "font": {"size": 11}, **BACKGROUND}
        for y, value in ((0.0, low), (1.0, high))
    ]
    return make_figure(
        traces,
        x_title="",
        y_title="",
        height=460,
        margin={"l": 20, "r": 90, "t": 10, "b": 10},  # the last name, which leans to the right
        annotations=annotations,
        xaxis={
            "tickvals": [*range(len(heads))],
            "ticktext": heads,
            "range": [-0.4, len(heads) - 0.6],
            "tickangle": 30,
            "ticklabeloverflow": "allow",
        },
        yaxis={"visible": False, "range": [LACKING - 0.05, 1.06]},
    )


def _range(coordinates: Coordinates, index: int) -> tuple[float, float]:
    """Return the smallest and the largest number on an axis; zeros for one of choices."""
    values = (line.parameters[index] for line in coordinates.lines)
    numbers = [float(value) for value in values if isinstance(value, int | float)]
    return (min(numbers), max(numbers)) if numbers else (0.0, 0.0)


def _place(axis: Axis, ends: tuple[float, float], value: Scalar | None) -> float:
    """Return the height, 0 to 1, at which a line crosses an axis; `LACKING` if it lacks the parameter."""
    if value is None:
        return LACKING
    if axis.choices:
        return axis.choices.index(str(value)) / max(1, len(axis.choices) - 1)
    return _share(float(value), *ends, log=axis.log)


def _share(value: float, low: float, high: float, *, log: bool) -> float:
    """Return where a number is between two others, on a log scale if all are positive.

    >>> _share(1e-3, 1e-5, 1e-1, log=True)
    0.5
    """
    if log and low > 0:
        value, low, high = math.log(value), math.log(low), math.log(high)
    return (value - low) / (high - low) if high > low else 0.5


def _labels(axis: Axis, ends: tuple[float, float], *, lacking: bool) -> list[tuple[float, str]]:
    """Return the labels of an axis with their heights."""
    labels = [(LACKING, "none")] if lacking else []
    if axis.choices:
        last = max(1, len(axis.choices) - 1)
        return [*labels, *((place / last, choice) for place, choice in enumerate(axis.choices))]
    return [*labels, (0.0, number(ends[0], 3)), (1.0, number(ends[1], 3))]
