"""The cheapest configuration within noise: read from the scores of single questions, question by question."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pan_model.backbones.architectures import build_backbone_shapes, measure_feature_dim
from study.analysis.cheapest import FEATURE_DIMS, describe_cost, find_cheapest
from study.analysis.study_data import DatasetData
from study.storage.location import Location
from study.trials.ledger import BestEpoch, Status, TrialRecord

Make = Callable[..., Any]
METRIC = "few_shot_accuracy"
SIAMESE = {"encoder": "siamese", "joint": "absdiff"}


@pytest.fixture
def study(
    make_data: Make, make_trial: Make, write_trial: Callable[[Location, TrialRecord], None]
) -> Callable[..., DatasetData]:
    """Make a study of trials of one epoch from their numbers of conditions and their scores of single questions.

    Scores of all trials are written, and the winner's are read, as from a real study.
    """

    def make(*trials: tuple[int, list[float]], **entry: Any) -> DatasetData:
        records = [
            make_trial(
                number,
                float(np.mean(questions)),
                config={**SIAMESE, "num_conditions": num_conditions},
                best=BestEpoch(epoch=1, questions={METRIC: questions}, baselines={}),
            )
            for number, (num_conditions, questions) in enumerate(trials)
        ]
        folder = make_data([]).files.trials
        for record in records:
            write_trial(folder, record)
        winner = max(records, key=lambda record: record.history[0][METRIC])
        read = [record if record is winner else TrialRecord(**{**vars(record), "best": None}) for record in records]
        return make_data(read, **entry)

    return make


QUESTIONS = np.random.default_rng(0).choice([0.6, 0.8, 1.0], 100).tolist()


def slightly_worse(questions: list[float]) -> list[float]:
    """Return scores that are lower in one question and vary in others."""
    return [questions[0] - 0.1, *questions[2:], questions[1]]


def test_the_cheapest_within_noise_is_found(study: Make) -> None:
    data = study((64, QUESTIONS), (8, slightly_worse(QUESTIONS)), (4, slightly_worse(QUESTIONS)), (1, [0.1] * 100))
    result = find_cheapest(data)
    assert (result.winner.num_conditions, result.cheapest.num_conditions) == (64, 4)
    assert result.lead.low < 0 < result.lead.mean < result.lead.high
    assert (result.num_cheaper, result.num_compared, result.num_not_compared) == (3, 1, 0)
    assert result.sentence.startswith(
        "Trial trial2 with 14.3 times fewer operations per pair is within noise: the winner"
    )


def test_a_small_but_steady_lead_is_no_noise(study: Make) -> None:
    """The means differ by far less than their own intervals, but the difference is the same in every question."""
    data = study((64, QUESTIONS), (8, [value - 0.01 for value in QUESTIONS]))
    result = find_cheapest(data)
    assert result.is_winner
    assert (result.num_compared, result.sentence) == (
        1,
        f"The winner is also the cheapest good one: the only cheaper trial is worse by more than noise (val "
        f"{sum(QUESTIONS) / 100 - 0.01:.4f}).",
    )


def test_the_winner_itself_can_be_the_cheapest(study: Make) -> None:
    result = find_cheapest(study((2, QUESTIONS), (8, slightly_worse(QUESTIONS))))
    assert result.is_winner
    assert (result.lead.low, result.lead.high) == (0, 0)
    assert result.sentence == "The winner is the cheapest of the completed trials."


def test_stopped_trials_are_no_candidates(study: Make, make_data: Make, make_trial: Make) -> None:
    data = study((64, QUESTIONS), (8, slightly_worse(QUESTIONS)))
    stopped = [data.records[0], TrialRecord(**{**vars(data.records[1]), "status": Status.STOPPED})]
    assert find_cheapest(make_data(stopped)).num_cheaper == 0


def test_lost_scores_are_said(study: Make) -> None:
    data = study((64, QUESTIONS), (8, slightly_worse(QUESTIONS)))
    (data.files.trials / "trial1" / "best_epoch.json").unlink()
    result = find_cheapest(data)
    assert (result.is_winner, result.num_not_compared) == (True, 1)
    assert result.sentence.startswith("Whether a cheaper configuration is as good is not known")


def test_scores_of_other_questions_are_not_compared(study: Make) -> None:
    result = find_cheapest(study((64, QUESTIONS), (8, QUESTIONS[:50]), (4, slightly_worse(QUESTIONS))))
    assert (result.cheapest.num_conditions, result.num_not_compared) == (4, 0)
    result = find_cheapest(study((64, QUESTIONS), (8, QUESTIONS[:50])))
    assert (result.is_winner, result.num_not_compared) == (True, 1)


def test_without_a_completed_trial_there_is_nothing(make_data: Make, make_trial: Make) -> None:
    assert find_cheapest(make_data([])) is None
    assert find_cheapest(make_data([make_trial(0, 0.5, status=Status.STOPPED)])) is None


@pytest.mark.parametrize(
    ("config", "width", "operations"),
    [
        ({"encoder": "siamese", "joint": "absdiff", "num_conditions": 3}, 512, 512 + 2 * 3 * 512),
        ({"encoder": "siamese", "joint": "concat", "num_conditions": 3}, 512, 6),
        ({"encoder": "proxynca", "embedding_dim": 128, "joint": "product", "num_conditions": 1}, 128, 3 * 128),
        ({"encoder": "graph", "graph_width": 200, "joint": "product", "num_conditions": 1}, 200, 600),
    ],
)
def test_the_cost_of_a_pair(
    make_data: Make, make_trial: Make, config: dict[str, Any], width: int, operations: int
) -> None:
    candidate = describe_cost(make_data([]), make_trial(0, 0.5, 0.6, config=config))
    assert (candidate.embedding_dim, candidate.operations_per_pair) == (width, operations)


def test_a_backbone_of_unknown_width_has_no_cost(make_data: Make, make_trial: Make) -> None:
    data = make_data([], features={"regime": "frozen", "backbone": "timm:convnext_nano"})
    candidate = describe_cost(data, make_trial(0, 0.5, config=SIAMESE))
    assert (candidate.embedding_dim, candidate.operations_per_pair) == (None, None)


def test_evaluation_is_timed_in_epochs_that_evaluate_val_alone(make_data: Make, make_trial: Make) -> None:
    record = make_trial(0, 0.5, 0.4, 0.4)
    record.history[0] |= {f"train/{METRIC}": 0.9, "time/evaluate_s": 7.0}
    assert describe_cost(make_data([]), record).evaluate_s == 0.5
    only = TrialRecord(**{**vars(record), "history": record.history[:1]})
    assert describe_cost(make_data([]), only).evaluate_s is None


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v2", "shufflenet_v2_x0_5"])
def test_widths_of_backbones_are_as_built(name: str) -> None:
    assert measure_feature_dim(build_backbone_shapes(name), 224) == FEATURE_DIMS[name]
