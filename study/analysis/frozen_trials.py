"""The trials of a ledger as Optuna's, with the distributions of their parameters."""

from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from pan_model.flat import Scalar
from study.analysis.study_data import DatasetData
from study.config.choices import Regime
from study.config.search_space import full_space, replay
from study.trials.ledger import Status, TrialRecord


class _ById:
    """Compare by identity: comparing the distributions of every trial and parameter takes most of the time."""

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


class _Choices(_ById, CategoricalDistribution): ...


class _Floats(_ById, FloatDistribution): ...


class _Ints(_ById, IntDistribution): ...


def frozen_trials(data: DatasetData, records: Sequence[TrialRecord]) -> tuple[list[FrozenTrial], list[float | None]]:
    """Return the trials with the distributions of their parameters, and their signed values, None if stopped."""
    recorded = {
        name: _distribution(record) for name, record in data.entry.get("space", {}).get("parameters", {}).items()
    }
    space = full_space(data.dataset, Regime(data.entry["features"]["regime"]))
    trials: list[FrozenTrial] = []
    values: list[float | None] = []
    present: dict[BaseDistribution, BaseDistribution] = {}

    def shared(distribution: BaseDistribution) -> BaseDistribution:
        return present.setdefault(distribution, _by_identity(distribution))

    for record in records:
        try:
            suggested = replay(space, record.config).distributions
        except ValueError:  # the study was begun with another space
            suggested = {}
        names = [name for name in suggested or recorded if name in record.config]
        chosen = {name: recorded.get(name) or shared(suggested[name]) for name in names}
        if not chosen or not all(_holds(chosen[name], record.config[name]) for name in chosen):
            continue
        trials.append(
            FrozenTrial(
                number=len(trials),
                state=TrialState.COMPLETE,
                value=0.0,
                datetime_start=None,
                datetime_complete=None,
                params={name: record.config[name] for name in chosen},
                distributions=chosen,
                user_attrs={},
                system_attrs={},
                intermediate_values={},
                trial_id=len(trials),
            )
        )
        best = data.best_value(record) if record.status is Status.COMPLETED else None
        values.append(None if best is None else data.objective.signed(best))
    return trials, values


def _distribution(record: dict[str, Any]) -> BaseDistribution:
    """Return the distribution of a parameter that study.json records."""
    if "choices" in record:
        return _Choices(record["choices"])
    kind = _Ints if record["type"] == "int" else _Floats
    return kind(record["low"], record["high"], log=record["log"])


def _by_identity(distribution: BaseDistribution) -> BaseDistribution:
    if isinstance(distribution, CategoricalDistribution):
        return _Choices(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    kind = _Ints if isinstance(distribution, IntDistribution) else _Floats
    return kind(distribution.low, distribution.high, log=distribution.log)  # pyright: ignore[reportArgumentType]


def _holds(distribution: BaseDistribution, value: Scalar) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return isinstance(value, int | float) and distribution.low <= value <= distribution.high
