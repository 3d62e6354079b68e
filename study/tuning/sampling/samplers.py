"""The samplers of `--sampler`."""

import warnings

import numpy as np
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from search_spaces import SearchSpace
from study.config.choices import Sampler
from study.tuning.sampling.prior_sampler import PriorSampler


def make_sampler(kind: Sampler, seed: int, num_tried: int, space: SearchSpace) -> BaseSampler:
    """Build a sampler.

    Args:
        kind: The rule of `--sampler`.
        seed: The study's seed.
        num_tried: The number of trials of the ledger: a resumed study draws other random numbers than before.
        space: The search space, with the first trials of `--try` and `--warm-start`.
    """
    drawn = int(np.random.SeedSequence([seed, num_tried]).generate_state(1)[0])
    match kind:
        case Sampler.TPE:
            return TPESampler(seed=drawn)
        case Sampler.TPE_GROUPED:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                return TPESampler(seed=drawn, multivariate=True, group=True, constant_liar=True)
        case Sampler.PRIOR:
            return PriorSampler(space.first_trials, seed=drawn)
        case Sampler.RANDOM:
            return RandomSampler(seed=drawn)
