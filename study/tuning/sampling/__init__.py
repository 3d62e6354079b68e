"""Samplers: how Optuna suggests the parameters of the next trial.

Start at `samplers.py`, which builds the sampler of `--sampler`. `sampler_memory.py` holds the trials that a sampler
learns from, built from the ledger. Does not import `ray.tune`.
"""
