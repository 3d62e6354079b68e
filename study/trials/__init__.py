"""One trial: its data, training, ledger, events and baselines. Start at `trial.py`, which runs a trial epoch by epoch.

`preparation.py` reads a dataset and extracts its features, `ledger.py` stores trials, `more_epochs.py` chooses those
that continue with more epochs, `first_trials.py` those that a user gives, `host.py` records the node of a running
trial, `tensorboard_events.py` writes events. `selection/` chooses a trial's epoch and the winner. `baselines.py`,
`paper_setting.py` and `question_scores.py` score the baselines. May import `config`, `storage` and `terminal`; does not
import ray.
"""
