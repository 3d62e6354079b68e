"""Datasets: readers from files to `Items`, splits, fingerprints, and commands to download and check data.

May import errors, shapes, objective, files, fetch and command_line. No module here imports torch. Start at `items.py`,
then read `cub.py` for a reader and `splits.py` for the splits. `pan_model.datasets` is the registry of all datasets.
"""
