"""Restricted search spaces: suggest from a space whose parameters have other distributions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import BaseTrial, FixedTrial

from search_spaces.pan import Scalar


class ForwardingTrial(FixedTrial):
    """Forward suggestions to another trial.

    Args:
        trial: The trial that suggests.
    """

    def __init__(self, trial: BaseTrial) -> None:
        super().__init__({})
        self._trial = trial

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Suggest a float."""
        return self._trial.suggest_float(name, low, high, step=step, log=log)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Suggest an integer."""
        return self._trial.suggest_int(name, low, high, step=step, log=log)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Suggest one of some choices."""
        return self._trial.suggest_categorical(name, choices)


class _ReplacedTrial(ForwardingTrial):
    """Forward suggestions to another trial, for some parameters from other distributions."""

    def __init__(self, trial: BaseTrial, replaced: Mapping[str, BaseDistribution]) -> None:
        super().__init__(trial)
        self._replaced = replaced

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Suggest a float."""
        if name in self._replaced:
            return self._suggest_from(name)
        return super().suggest_float(name, low, high, step=step, log=log)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Suggest an integer."""
        if name in self._replaced:
            return self._suggest_from(name)
        return super().suggest_int(name, low, high, step=step, log=log)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Suggest one of some choices."""
        return self._suggest_from(name) if name in self._replaced else super().suggest_categorical(name, choices)

    def _suggest_from(self, name: str) -> Any:
        match self._replaced[name]:
            case CategoricalDistribution(choices=choices):
                return self._trial.suggest_categorical(name, choices)
            case FloatDistribution(low=low, high=high, step=step, log=log):
                return self._trial.suggest_float(name, low, high, step=step, log=log)
            case IntDistribution(low=low, high=high, step=step, log=log):
                return self._trial.suggest_int(name, low, high, step=step, log=log)
            case other:
                raise TypeError(f"{name}: unsupported distribution {type(other).__name__}")


@dataclass(frozen=True)
class RestrictedSuggest:
    """Suggest from a space in which some parameters have other distributions.

    Attributes:
        suggest: The `suggest` of the space.
        replaced: The parameters with their distributions, in the order of their names.
    """

    suggest: Callable[..., dict[str, Scalar]]
    replaced: tuple[tuple[str, BaseDistribution], ...]

    def __call__(self, trial: BaseTrial, encoders: Sequence[str] | None = None) -> dict[str, Scalar]:
        """Suggest the configuration of a trial; `encoders` restricts the encoders further."""
        replacing = _ReplacedTrial(trial, dict(self.replaced))
        return self.suggest(replacing) if encoders is None else self.suggest(replacing, encoders=encoders)


def replace_distributions(
    suggest: Callable[..., dict[str, Scalar]], distributions: Mapping[str, BaseDistribution]
) -> RestrictedSuggest:
    """Return the `suggest` of a space with some of its distributions replaced."""
    return RestrictedSuggest(suggest, tuple(sorted(distributions.items(), key=lambda item: item[0])))
