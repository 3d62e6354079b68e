"""PAN and the baselines, with intervals."""

from collections.abc import Sequence

import plotly.graph_objects as go

from pan_model.scores import Interval
from study.page.charts.style import BLUE, VERMILLION, make_figure


def methods_chart(
    metric: str, val: Sequence[tuple[str, Interval]], test: Sequence[tuple[str, Interval]] = ()
) -> go.Figure:
    """Draw each method's score with its 95% interval, one row a method.

    Args:
        metric: The metric in words.
        val: Methods and their scores on val.
        test: Methods and their scores on test; none without a final training.
    """
    order = [name for name, _ in sorted(test or val, key=lambda entry: entry[1].mean)]
    traces = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": split,
            "x": [interval.mean for _, interval in scores],
            "y": [name for name, _ in scores],
            "error_x": {
                "type": "data",
                "symmetric": False,
                "array": [interval.high - interval.mean for _, interval in scores],
                "arrayminus": [interval.mean - interval.low for _, interval in scores],
                "color": colour,
                "thickness": 2,
            },
            "marker": {"color": colour, "symbol": symbol, "size": 10},
            "hovertemplate": "%{y}: %{x:.4f}<extra>" + split + "</extra>",
        }
        for split, scores, colour, symbol in (("val", val, BLUE, "circle"), ("test", test, VERMILLION, "diamond"))
        if scores
    ]
    return make_figure(
        traces,
        x_title=f"{metric}, 95% interval over questions",
        y_title="",
        height=110 + 38 * len(order),
        yaxis={"categoryorder": "array", "categoryarray": order},
        xaxis={"nticks": 6},
    )
