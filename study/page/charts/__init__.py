"""Charts of a study as plotly figures: pure functions of the numbers in `study/analysis`. Start at `style.py`."""
