"""One trial, and what it needs: data preparation, ledger, events, baselines. Start at `trial.py`."""
