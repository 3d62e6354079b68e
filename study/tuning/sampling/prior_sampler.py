"""Suggestions around the first trials and the best trials so far, mixed with those of TPE."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from pan_model.flat import Scalar
from study.config.identity import has_params
from study.tuning.sampling.perturbation import draw, holds, perturb
from study.tuning.sampling.sampler_memory import LEARNED_FROM, order


@dataclass(frozen=True, kw_only=True)
class Annealed:
    """A quantity that changes with the number of suggested trials that have ended.

    Attributes:
        start: The quantity before any suggested trial has ended.
        end: The limit.
        half_life: The number of suggested trials after which half of the way is done.
    """

    start: float
    end: float
    half_life: float = 16.0

    def after(self, num_ended: int) -> float:
        """Return the quantity after a number of suggested trials."""
        return self.end + (self.start - self.end) * 0.5 ** (num_ended / self.half_life)


@dataclass(frozen=True, kw_only=True)
class PriorRules:
    """How far suggestions of `PriorSampler` lie from what has been tried.

    Attributes:
        tpe_share: The share of trials that TPE suggests; it draws from the whole space until ten trials have ended.
        choice_change: The probability that a choice of the centre changes.
        number_change: The probability that a number of the centre changes.
        scale: The median length of a number's change, in parts of its range.
        mean_place: The mean place of the centre among many trials, the best of which has place 0.
        adopt: The probability that a parameter that the centre lacks starts from another trial's value.
    """

    tpe_share: Annealed = Annealed(start=0.1, end=0.5)
    choice_change: Annealed = Annealed(start=0.1, end=0.05)
    number_change: float = 0.3
    scale: Annealed = Annealed(start=0.15, end=0.1)
    mean_place: float = 1.5
    adopt: float = 0.5


class _Centre(NamedTuple):
    """What one trial is drawn around.

    Attributes:
        values: The parameters of the centre; empty if TPE suggests the trial.
        known: The parameters of all possible centres, the best first.
        choice_change: The probability that a choice changes.
        scale: The median length of a number's change, in parts of its range.
    """

    values: Mapping[str, Scalar]
    known: Sequence[Mapping[str, Scalar]]
    choice_change: float
    scale: float


class PriorSampler(BaseSampler):
    """Draw trials around the first trials and the best so far, and let TPE suggest the others.

    It follows PriorBand (Mallik et al., NeurIPS 2023), a mixture of draws around an expert's prior, around the
    incumbent, and from the whole space. Here the prior is the first trials. Centres are all trials so far, and better
    ones are more likely, so a first trial is a centre until suggested trials are better than it. The distance from the
    centre shrinks with the number of suggested trials that have ended. Draws from the whole space are TPE's, which are
    uniform at first and become more frequent.

    Parameters are drawn in the order in which the space suggests them. If a changed choice opens another branch of the
    space, the parameters there start from the most similar trial that has them, or are drawn from their range.

    Args:
        first_trials: Parameters of the trials that run before any suggestion.
        seed: The seed of the random numbers.
        rules: The distances and shares.
    """

    def __init__(
        self, first_trials: Sequence[Mapping[str, Scalar]], *, seed: int, rules: PriorRules | None = None
    ) -> None:
        self._first_trials = [dict(trial) for trial in first_trials]
        self._generator = np.random.default_rng(seed)
        self._tpe = TPESampler(seed=seed)
        self._rules = rules or PriorRules()
        self._centres: dict[int, _Centre] = {}

    def reseed_rng(self) -> None:
        """Draw other random numbers than the samplers of other processes."""
        self._generator = np.random.default_rng()
        self._tpe.reseed_rng()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the parameters that TPE suggests together; none near a centre, where each is drawn in turn."""
        centre = self._centres[trial.number] = self._choose_centre(study)
        return {} if centre.values else self._tpe.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the parameters that TPE suggests together."""
        return self._tpe.sample_relative(study, trial, search_space) if search_space else {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draw one parameter of a trial near its centre."""
        centre, generator = self._centres[trial.number], self._generator
        if not centre.values:
            return self._tpe.sample_independent(study, trial, param_name, param_distribution)
        if param_name in centre.values:
            is_choice = isinstance(param_distribution, CategoricalDistribution)
            probability = centre.choice_change if is_choice else self._rules.number_change
            value, changes = centre.values[param_name], generator.random() < probability
        else:
            having = [values for values in centre.known if param_name in values]
            if not having or generator.random() >= self._rules.adopt:
                return draw(param_distribution, generator)
            value, changes = max(having, key=lambda values: _num_shared(values, trial.params))[param_name], True
        if changes or not holds(param_distribution, value):
            return perturb(value, param_distribution, generator, scale=centre.scale)
        return value

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Forget the centre of a trial that has ended."""
        self._centres.pop(trial.number, None)

    def _choose_centre(self, study: Study) -> _Centre:
        ended = study.get_trials(deepcopy=False, states=LEARNED_FROM)
        known = _params_best_first(ended, study.direction)
        num_suggested = sum(not any(has_params(first, params) for first in self._first_trials) for params in known)
        known += [first for first in self._first_trials if not any(has_params(first, trial.params) for trial in ended)]
        rules, generator = self._rules, self._generator
        from_tpe = not known or generator.random() < rules.tpe_share.after(num_suggested)
        return _Centre(
            values={} if from_tpe else known[_draw_place(len(known), rules.mean_place, generator)],
            known=known,
            choice_change=rules.choice_change.after(num_suggested),
            scale=rules.scale.after(num_suggested),
        )


def _draw_place(num_known: int, mean_place: float, generator: np.random.Generator) -> int:
    """Draw a place; each is less likely than the one before by the same factor, and none is beyond the last."""
    weights = (mean_place / (1 + mean_place)) ** np.arange(num_known)
    return int(generator.choice(num_known, p=weights / weights.sum()))


def _params_best_first(ended: Sequence[FrozenTrial], direction: StudyDirection) -> list[Mapping[str, Scalar]]:
    """Return the parameters of ended trials, the best first, without failed ones."""
    sign = 1.0 if direction is StudyDirection.MAXIMIZE else -1.0
    values = [(value, trial) for trial in ended if (value := _best_value(trial, sign)) is not None]
    return [trial.params for _, trial in sorted(values, key=lambda valued: (-valued[0], order(valued[1])))]


def _best_value(trial: FrozenTrial, sign: float) -> float | None:
    """Return the value of a trial by which more is better: the best of its epochs; None for a failed trial."""
    if trial.state is TrialState.COMPLETE:
        return sign * trial.values[0]
    return max((sign * value for value in trial.intermediate_values.values()), default=None)


def _num_shared(values: Mapping[str, Scalar], others: Mapping[str, Scalar]) -> int:
    return sum(name in values and values[name] == value for name, value in others.items())
