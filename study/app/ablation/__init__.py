"""Controlled comparison: train a study's winner with one parameter changed at a time. Start at `ablate.py`.

`start.py` finds the trial to start from, `variations.py` the configurations of the rows, `plan.py` the trials and which
of them have ended, `reuse.py` those of the study. `training.py` trains the others, `results.py` compares the rows, and
`tables.py` writes the files. `config.py` has the flags.
"""
