"""Hyperparameter studies of PAN: configure, prepare, search, collate, export and report, and final training.

Start at `app/commands.py`. Folders import only what is left of them: terminal, storage, config, trials, nodes, tuning;
reporting imports trials and below, app imports all. Importing this package has no effect on the process.
"""
