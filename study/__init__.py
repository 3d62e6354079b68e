"""Hyperparameter studies of PAN: plan, prepare, tune, collate, export, final training."""

import os

# Ray reads these when it is imported or when a search begins.
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # the trials write their own events
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new output engine prints even when told to be silent
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # an interrupt ends the study at once, the ledger is whole
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # `uv run` here means this environment, nothing to pack
# An autoscaler sees only trials that wait; how many there may be, study/tuning/searcher.py says.
os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", "1000000")
