"""PAN and the baselines as scorers of a query against sets of items. Start at `pan_scorer.py`."""
