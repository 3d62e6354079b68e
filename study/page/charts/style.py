"""The look of all charts: colours, markers and dashes that stay apart for colour-blind readers and in print.

The colours are those of Okabe and Ito, the light ones darkened to a contrast of 3:1 on white. On a page in dark mode,
CSS replaces each by its lighter form (`DARK`), so that a figure is the same object on a page and in a notebook.
"""

import textwrap
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY = "#0072b2", "#d55e00", "#008a64", "#b4558b", "#b97a00", "#2f8fc9"
INK, GREY = "#222222", "#767676"
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, INK, GREY)

DARK = {
    BLUE: "#5cb0ec",
    VERMILLION: "#ff8c4a",
    GREEN: "#3ccf9f",
    PURPLE: "#e79cc8",
    ORANGE: "#f0b93a",
    SKY: "#a5d8f7",
    INK: "#f0f0f0",
    GREY: "#a0a0a0",
}
"""The form of each colour on a dark background."""

GATE_MARKERS = {
    "AND": (VERMILLION, "square"),
    "OR": (ORANGE, "bowtie"),
    "XOR": (GREEN, "diamond"),
    "XNOR": (SKY, "x"),
    "NOR": (PURPLE, "triangle-up"),
    "NAND": (INK, "triangle-right"),
    "AND_XOR": (BLUE, "triangle-down"),
    "no gate": (GREY, "circle"),
}
"""The colour and the shape of each gate f_a, the same in all charts."""

BACKGROUND = {"bgcolor": "#ffffff", "borderpad": 1}
"""What keeps a label readable on lines."""

TITLE_CHARACTERS = 32
"""Length of a line of an axis' title that fits a narrow screen and a low chart."""

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def gate_marker(name: str) -> dict[str, Any]:
    """Return the marker of a gate; a circle for trials whose gates are not told apart."""
    colour, symbol = GATE_MARKERS.get(name, (BLUE, "circle"))
    return {"color": colour, "size": 8, "symbol": symbol}


def winner_marker() -> dict[str, Any]:
    """Return the marker around the winner."""
    return {"color": INK, "symbol": "star-open", "size": 18, "line": {"width": 2, "color": INK}}


def translucent(colour: str, opacity: float = 0.16) -> str:
    """Return a colour for a band of uncertainty.

    >>> translucent("#0072b2", 0.5)
    'rgba(0, 114, 178, 0.5)'
    """
    red, green, blue = channels(colour)
    return f"rgba({red}, {green}, {blue}, {opacity:g})"


def channels(colour: str) -> tuple[int, int, int]:
    """Return red, green and blue of a colour such as "#0072b2".

    >>> channels("#0072b2")
    (0, 114, 178)
    """
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def make_figure(
    traces: Sequence[dict[str, Any]], *, x_title: str, y_title: str, height: int = 340, **layout: Any
) -> go.Figure:
    """Build a figure in the look of all charts.

    Args:
        traces: The traces as plotly's dictionaries.
        x_title: The title of the x axis.
        y_title: The title of the y axis.
        height: The height in pixels.
        layout: More entries of the layout; entries of xaxis and yaxis are added to those of all charts.
    """
    axis = {"gridcolor": "rgba(128, 128, 128, 0.25)", "zeroline": False, "automargin": True, "ticks": "outside"}
    x_axis = {**axis, "title": {"text": x_title}, **layout.pop("xaxis", {})}
    y_axis = {**axis, "title": {"text": _wrap(y_title)}, **layout.pop("yaxis", {})}
    base = {
        "template": {},
        "font": {"family": FONT, "size": 13, "color": INK},
        "paper_bgcolor": "rgba(0, 0, 0, 0)",
        "plot_bgcolor": "rgba(0, 0, 0, 0)",
        "height": height,
        "margin": {"l": 20, "r": 28, "t": 10, "b": 10},  # room for the labels of the ticks at both ends
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
        "hovermode": "closest",
        "hoverlabel": {"bgcolor": "#ffffff", "font": {"color": INK}, "bordercolor": GREY},
        "showlegend": sum(trace.get("showlegend", True) for trace in traces) > 1,
    }
    return go.Figure(data=list(traces), layout={**base, **layout, "xaxis": x_axis, "yaxis": y_axis})


def _wrap(title: str) -> str:
    return "<br>".join(textwrap.wrap(title, TITLE_CHARACTERS))


ROW_LINE = {"color": "rgba(128, 128, 128, 0.35)", "width": 1}
ROW_HEIGHT = 54
"""Height in pixels of a row of a chart with a row for each name."""


def make_rows_figure(
    traces: Sequence[dict[str, Any]], labels: Sequence[str], *, x_title: str, **layout: Any
) -> go.Figure:
    """Build a figure with a row for each label, the first at the top, in the look of all charts.

    A label stands above its row, so that a narrow screen has its whole width for the values. The row of the first label
    is at y = len(labels) - 1, that of the last at 0.
    """
    label = {"xref": "paper", "x": 0, "xanchor": "left", "yanchor": "middle", "showarrow": False, "font": {"size": 12}}
    row_line = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "layer": "below", "line": ROW_LINE}
    last = len(labels) - 1
    return make_figure(
        traces,
        x_title=_wrap(x_title),
        y_title="",
        height=100 + ROW_HEIGHT * len(labels),
        annotations=[
            *({**label, "y": last - place + 0.42, "text": text} for place, text in enumerate(labels)),
            *layout.pop("annotations", ()),
        ],
        shapes=[*(row_line | {"y0": y, "y1": y} for y in range(len(labels))), *layout.pop("shapes", ())],
        xaxis={"nticks": 5, "tickangle": 0, **layout.pop("xaxis", {})},
        yaxis={"visible": False, "range": [-0.5, last + 0.75]},
        **layout,
    )


def error_bars(means: Sequence[float], ends: Sequence[tuple[float, float]], colour: str) -> dict[str, Any]:
    """Return intervals as plotly's error bars."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(0.0, high - mean) for mean, (_, high) in zip(means, ends, strict=True)],
        "arrayminus": [max(0.0, mean - low) for mean, (low, _) in zip(means, ends, strict=True)],
        "color": colour,
        "thickness": 2,
    }
