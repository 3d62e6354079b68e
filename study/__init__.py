"""Hyperparameter studies of PAN: configure, prepare, search, collate, export and report, and final training.

Start at `app/commands.py`. In the order terminal, storage, config, trials, nodes, tuning, a folder imports only those
before it; reporting imports trials and those before it, app imports all. Importing this package has no effect on the
process.
"""
