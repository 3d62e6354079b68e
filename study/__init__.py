"""Hyperparameter studies of PAN: configure, prepare, search, collate, export and report, and final training.

Start at `app/commands.py`. A folder imports only folders that precede it in this list:

- `terminal.py`, `storage`
- `config`
- `trials`
- `nodes`
- `tuning`
- `reporting`, which imports only `trials` and those before it
- `analysis`, which imports only `reporting` and what that may import
- `page`, which imports only `analysis` and what that may import
- `app`

Importing this package has no effect on the process.
"""
