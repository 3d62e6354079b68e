"""Charts of a study as plotly figures: pure functions of the numbers in `study/analysis`. Start at `style.py`."""

from study.page.charts.effects import (
    batches_chart,
    conditions_chart,
    encoder_chart,
    gate_chart,
    lambda_chart,
    supervision_chart,
)
from study.page.charts.methods import methods_chart
from study.page.charts.parameters import coordinates_chart, importance_chart
from study.page.charts.search import curves_chart, progress_chart

__all__ = [
    "batches_chart",
    "conditions_chart",
    "coordinates_chart",
    "curves_chart",
    "encoder_chart",
    "gate_chart",
    "importance_chart",
    "lambda_chart",
    "methods_chart",
    "progress_chart",
    "supervision_chart",
]
