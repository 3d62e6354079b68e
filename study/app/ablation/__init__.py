"""Controlled comparison: train a study's winner with one parameter changed at a time. Start at `ablate.py`.

`variations.py` finds the configurations, `plan.py` the trials and which of them have ended, `training.py` trains the
others, and `results.py` compares them with the winner. `config.py` has the flags.
"""
