"""The samplers of `--sampler`."""

import numpy as np
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from study.config.choices import Sampler


def make_sampler(kind: Sampler, seed: int, num_tried: int) -> BaseSampler:
    """Build a sampler.

    Args:
        kind: The rule of `--sampler`.
        seed: The study's seed.
        num_tried: The number of trials of the ledger: a resumed study draws other random numbers than before.
    """
    drawn = int(np.random.SeedSequence([seed, num_tried]).generate_state(1)[0])
    return TPESampler(seed=drawn) if kind is Sampler.TPE else RandomSampler(seed=drawn)
