"""PAN and the baselines, with intervals."""

from collections.abc import Sequence

import plotly.graph_objects as go

from pan_model.scores import Interval
from study.page.charts.style import BLUE, VERMILLION, error_bars, make_rows_figure
from study.page.formats import metric_name


def methods_chart(
    metric: str, val: Sequence[tuple[str, Interval]], test: Sequence[tuple[str, Interval]] = ()
) -> go.Figure:
    """Draw each method's score with its 95% interval, one row a method, the best at the top.

    Args:
        metric: The name of the objective.
        val: Methods and their scores on val.
        test: Methods and their scores on test; none without a final training.
    """
    ranked = (
        sorted([*test, *val], key=lambda entry: -entry[1].mean)
        if not test
        else [
            *sorted(test, key=lambda entry: -entry[1].mean),
            *val,
        ]
    )
    names = [*dict.fromkeys(name for name, _ in ranked)]
    traces = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": split,
            "x": [interval.mean for _, interval in scores],
            "y": [len(names) - 1 - names.index(name) + shift for name, _ in scores],
            "text": [f"{name}: {interval} on {split}" for name, interval in scores],
            "error_x": error_bars(
                [interval.mean for _, interval in scores], [(entry.low, entry.high) for _, entry in scores], colour
            ),
            "marker": {"color": colour, "symbol": symbol, "size": 10},
            "hovertemplate": "%{text}<extra></extra>",
        }
        for split, scores, colour, symbol, shift in (
            ("val", val, BLUE, "circle", 0.1 if test else 0.0),
            ("test", test, VERMILLION, "diamond", -0.15),
        )
        if scores
    ]
    return make_rows_figure(traces, names, x_title=f"{metric_name(metric)}, 95% interval")
