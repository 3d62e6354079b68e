"""The command `python -m pan_model.data.download`: download a dataset and check its folder. Start at `command.py`.

May import data, datasets, fetch and command_line. Nothing else imports it.
"""
