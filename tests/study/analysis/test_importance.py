"""Importance: planted parameters stand out, random ones do not, and too few trials say nothing."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from pan_model.flat import Scalar
from search_spaces import SPACES
from study.analysis.importance import Importance, find_importance, is_beyond_chance
from study.config.search_space import replay
from study.trials.ledger import Status, TrialRecord

Make = Callable[..., Any]
FEW = {"num_resamples": 6, "num_shuffles": 12}
ENOUGH = {"num_resamples": 10, "num_shuffles": 40}


def find(result: Importance, name: str) -> Any:
    return next(parameter for parameter in result.parameters if parameter.name == name)


@pytest.fixture
def plant(make_trial: Make, random_configs: list[dict[str, Scalar]]) -> Callable[..., list[TrialRecord]]:
    """Make trials whose value follows from their configuration, with some noise."""

    def make(count: int, value_of: Callable[[dict[str, Any]], float]) -> list[TrialRecord]:
        noise = np.random.default_rng(5).normal(0, 0.01, count)
        return [make_trial(number, 0.5 + value_of(random_configs[number]) + noise[number]) for number in range(count)]

    return make


def test_a_planted_conditional_parameter_stands_out(make_data: Make, plant: Make) -> None:
    """λ exists in two thirds of the trials only; Optuna's default evaluator would leave it out."""
    records = plant(80, lambda config: 0.2 * (config.get("lambda", 0.0) > 0.1))
    result = find_importance(make_data(records), **ENOUGH)
    found = find(result, "lambda")
    assert found is result.parameters[0]
    assert found.stands_out
    assert found.low <= found.share <= found.high
    assert found.share > 5 * found.by_chance
    assert found.num_trials == sum("lambda" in record.config for record in records) < 80
    assert result.verdict.startswith("Beyond chance: ")
    assert sum(parameter.share for parameter in result.parameters) == pytest.approx(1)


def test_a_planted_number_stands_out_alone(make_data: Make, plant: Make) -> None:
    records = plant(80, lambda config: -0.1 * abs(math.log10(config["learning_rate"] / 3e-4)))
    result = find_importance(make_data(records), **ENOUGH)
    assert [parameter.name for parameter in result.parameters if parameter.stands_out] == ["learning_rate"]


def test_chance_alone_makes_a_parameter_stand_out_in_5_of_100_studies() -> None:
    """Importances of 30 parameters have different scales and heavy tails; the actual study is one like the others."""
    generator = np.random.default_rng(0)
    scales = 10.0 ** generator.uniform(-4, 0, 30)
    drawn = scales * generator.exponential(size=(400, 41, 30)) ** 2
    found = np.array([is_beyond_chance(study[0], study[1:]).any() for study in drawn])
    assert found.mean() <= 0.08
    drawn[:, 0, 7] *= 400
    assert np.mean([is_beyond_chance(study[0], study[1:])[7] for study in drawn]) > 0.5


def test_of_random_values_no_parameter_stands_out(make_data: Make, plant: Make) -> None:
    result = find_importance(make_data(plant(60, lambda _config: 0.0)), **ENOUGH)
    assert len(result.parameters) > 20
    assert [parameter.name for parameter in result.parameters if parameter.stands_out] == []
    assert result.verdict == "No parameter stands out from chance: these trials do not say which one mattered."


def test_stopped_trials_count_as_not_among_the_best_whatever_their_value(make_data: Make, make_trial: Make) -> None:
    """Values of stopped trials, higher than all final ones, change nothing."""

    def records(of_stopped: float) -> list[TrialRecord]:
        completed = [make_trial(number, 0.5 + number / 100) for number in range(20)]
        stopped = [make_trial(number, of_stopped, status=Status.STOPPED) for number in range(20, 40)]
        return [*completed, *stopped, make_trial(41, 0.9, status=Status.FAILED)]

    high, low = (find_importance(make_data(records(value)), **FEW) for value in (0.99, 0.01))
    assert high == low
    assert (high.num_completed, high.num_stopped, high.num_top) == (20, 20, 5)


def test_shares_are_those_of_optuna(make_data: Make, plant: Make) -> None:
    """The trials of an ordinary study, with the distributions of the space, have the same importances."""
    records = plant(100, lambda config: 0.3 * config["dropout"])
    study = optuna.create_study(direction="maximize")
    for record in records:
        values, distributions = replay(SPACES["demo"], record.config)
        value = record.history[0]["few_shot_accuracy"]
        study.add_trial(optuna.create_trial(params=values, distributions=distributions, value=value))
    expected = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(target_quantile=0.095))
    result = find_importance(make_data(records), num_resamples=1, num_shuffles=1)
    assert {parameter.name: parameter.share for parameter in result.parameters} == pytest.approx(expected)


@pytest.mark.parametrize(("completed", "stopped"), [(0, 0), (1, 0), (2, 0), (9, 40), (12, 7)])
def test_few_trials_say_nothing(make_data: Make, make_trial: Make, completed: int, stopped: int) -> None:
    records = [make_trial(number, 0.5) for number in range(completed)]
    records += [make_trial(number + completed, 0.4, status=Status.STOPPED) for number in range(stopped)]
    result = find_importance(make_data(records))
    assert result.parameters == ()
    assert result.too_few.startswith("Too few trials to say: importance needs 10 full-length trials and 20 that")
    assert result.too_few.endswith(f"there are {completed} and {completed + stopped}.")


def test_the_same_seed_repeats_the_result(make_data: Make, plant: Make) -> None:
    data = make_data(plant(30, lambda config: config["dropout"]))
    assert find_importance(data, **FEW) == find_importance(data, **FEW)


def test_trials_outside_the_recorded_space_are_counted(make_data: Make, plant: Make, make_trial: Make) -> None:
    records = [*plant(30, lambda config: config["dropout"]), make_trial(40, 0.5, config={"num_conditions": 100_000})]
    assert find_importance(make_data(records), num_resamples=1, num_shuffles=1).num_left_out == 1


def test_a_study_without_a_recorded_space_uses_the_present_one(make_data: Make, plant: Make) -> None:
    records = plant(30, lambda config: config["dropout"])
    data = make_data(records)
    recorded = find_importance(data, num_resamples=1, num_shuffles=1)
    del data.entry["space"]
    present = find_importance(data, num_resamples=1, num_shuffles=1)
    assert {parameter.name for parameter in present.parameters} == {parameter.name for parameter in recorded.parameters}
    # The whole space has one more encoder, graph.
    assert find(present, "dropout").share == pytest.approx(find(recorded, "dropout").share, rel=0.01)
