"""Fetch a dataset and check its folder: `python -m pan_model.data.download`. Start at `command.py`."""
