"""The command `python -m pan_model.data.download`: download a dataset and check its folder. Start at `command.py`."""
