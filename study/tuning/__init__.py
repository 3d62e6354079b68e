"""The search: Ray Tune runs trials, Optuna suggests them, ASHA stops them. Start at `search.py`."""
