"""The cheapest configuration that this study does not tell from the best one.

A completed trial is within noise of the winner if the 95% interval of the winner's lead, paired question by question
on val, contains 0. Not told apart does not mean equal: more questions may show a difference.

The cost is that of scoring one pair of embedded items, in multiply-adds, estimated from the configuration: E for the
joint representation and 2 M E for the similarities and the relevances of M conditions; with the joint representation
concat, products are taken once an item and 2 M additions remain. Embedding an image, once an image, is not counted:
the backbone takes most of it, and all trials share it.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from pan_model.command_line import counted
from pan_model.flat import Scalar
from pan_model.scores import Interval
from study.analysis.study_data import DatasetData
from study.trials.ledger import BestEpoch, TrialLedger, TrialRecord
from study.trials.question_scores import interval_ahead

MAX_READ = 40
"""The most trials whose scores of single questions are read."""

FEATURE_DIMS = {
    "resnet18": 512,
    "resnet34": 512,
    "resnet50": 2048,
    "resnet101": 2048,
    "resnet152": 2048,
    "wide_resnet50_2": 2048,
    "mobilenet_v2": 1280,
    "mobilenet_v3_small": 576,
    "mobilenet_v3_large": 960,
    "shufflenet_v2_x0_5": 1024,
    "shufflenet_v2_x1_0": 1024,
    "efficientnet_b0": 1280,
    "densenet121": 1024,
    "convnext_tiny": 768,
    "convnext_base": 1024,
    "vit_b_16": 768,
    "swin_t": 768,
}
"""Number of features D of backbones, which is the embedding width of the siamese encoder."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A configuration and what it costs.

    Attributes:
        trial_id: The trial.
        number: Its position in the order of suggestions.
        config: Its flat configuration.
        value: Its best value on val.
        num_conditions: M.
        embedding_dim: E, the length of an embedding; None for a siamese encoder on a backbone of unknown width.
        operations_per_pair: Estimated multiply-adds to score a pair of embedded items; None if E is unknown.
        evaluate_s: Measured seconds to embed and score the validation questions, the median over epochs; None if no
            epoch was measured alone. It depends on what else the machine did.
    """

    trial_id: str
    number: int
    config: dict[str, Scalar]
    value: float
    num_conditions: int
    embedding_dim: int | None
    operations_per_pair: int | None
    evaluate_s: float | None


@dataclass(frozen=True, kw_only=True)
class Cheapest:
    """The cheapest configuration within noise of the best.

    Attributes:
        winner: The best trial.
        cheapest: The cheapest one within noise; the winner itself if none is cheaper.
        lead: The winner's lead over it on the same questions of val, with its 95% interval; 0 for the winner.
        num_cheaper: The completed trials that are cheaper than the winner.
        num_compared: The completed trials that were compared with the winner question by question, until the
            first one within noise; trials that are beyond it whatever their scores are need no comparison.
        num_not_compared: Cheaper completed trials whose scores are missing or were not read.
        sentence: The result in words.
    """

    winner: Candidate
    cheapest: Candidate
    lead: Interval
    num_cheaper: int
    num_compared: int
    num_not_compared: int
    sentence: str

    @property
    def is_winner(self) -> bool:
        """Whether nothing cheaper is within noise."""
        return self.cheapest.trial_id == self.winner.trial_id


def find_cheapest(data: DatasetData) -> Cheapest | None:
    """Return the cheapest completed configuration within noise of the best; None if no trial has completed.

    Trials are compared in the order of their cost, until the first one within noise. The scores of single questions
    are read only for trials that can be within noise, whatever their scores are.
    """
    if data.winner is None:
        return None
    questions = _questions(data, data.winner, data.winner.best)
    winner = describe_cost(data, data.winner)
    cheaper = sorted(
        (
            (_cost(candidate), record.number, candidate, record)
            for record, _ in data.full_length
            if _cost(candidate := describe_cost(data, record)) < _cost(winner)
        ),
        key=lambda entry: entry[:2],
    )
    num_compared = num_not_compared = 0
    within: tuple[Candidate, Interval] | None = None
    for _, _, candidate, record in cheaper:
        if questions and _is_surely_worse(questions, candidate.value):
            continue
        theirs = _read_questions(data, record) if questions and num_compared < MAX_READ else []
        if len(theirs) != len(questions) or not questions:
            num_not_compared += 1
            continue
        num_compared += 1
        lead = interval_ahead(questions, theirs)
        if lead.low <= 0 <= lead.high:
            within = candidate, lead
            break
    cheapest, lead = within or (winner, Interval(0.0, 0.0, 0.0))
    return Cheapest(
        winner=winner,
        cheapest=cheapest,
        lead=lead,
        num_cheaper=len(cheaper),
        num_compared=num_compared,
        num_not_compared=num_not_compared,
        sentence=_describe(
            winner, cheapest, lead, [candidate.value for _, _, candidate, _ in cheaper], num_not_compared
        ),
    )


def describe_cost(data: DatasetData, record: TrialRecord) -> Candidate:
    """Return a trial's configuration with its cost."""
    config, width = record.config, embedding_width(data, record.config)
    num_conditions = int(config["num_conditions"])
    operations = None
    if config.get("joint") == "concat":
        operations = 2 * num_conditions
    elif width is not None:
        operations = width + 2 * num_conditions * width
    alone = [
        float(epoch["time/evaluate_s"])
        for epoch in record.history
        if "time/evaluate_s" in epoch and not any(key.startswith("train/") for key in epoch)
    ]
    return Candidate(
        trial_id=record.trial_id,
        number=record.number,
        config=config,
        value=data.best_value(record) or 0.0,
        num_conditions=num_conditions,
        embedding_dim=width,
        operations_per_pair=operations,
        evaluate_s=statistics.median(alone) if alone else None,
    )


def embedding_width(data: DatasetData, config: dict[str, Scalar]) -> int | None:
    """Return the length of an embedding; None if it is that of the features of a backbone of unknown width."""
    match config.get("encoder"):
        case "proxynca":
            return int(config["embedding_dim"])
        case "graph":
            return int(config["graph_width"])
        case _:
            return FEATURE_DIMS.get(data.entry["features"]["backbone"])


def _cost(candidate: Candidate) -> tuple[float, int]:
    """Return the order of cost; trials of unknown width are ordered by their conditions, after the others."""
    operations = candidate.operations_per_pair
    return (math.inf if operations is None else operations, candidate.num_conditions)


def _read_questions(data: DatasetData, record: TrialRecord) -> list[float]:
    return _questions(data, record, TrialLedger(data.files.trials / record.trial_id).read().best)


def _questions(data: DatasetData, record: TrialRecord, best: BestEpoch | None) -> list[float]:
    """Return the scores of single questions in a trial's best epoch; empty if they were not kept."""
    epoch = record.best_epoch(data.objective)
    if best is None or epoch is None or best.epoch != epoch["epoch"]:
        return []
    return best.questions.get(data.objective.name, [])


def _is_surely_worse(questions: Sequence[float], value: float) -> bool:
    """Return whether a trial is beyond noise whatever its scores, in 0 to 1, with that mean are.

    The standard deviation of a difference is at most the sum of both.
    """
    n = len(questions)
    if n < 2:
        return False
    largest = math.sqrt(max(value * (1 - value), 0.0) * n / (n - 1))
    half = 1.96 * (statistics.stdev(questions) + largest) / math.sqrt(n)
    return abs(statistics.fmean(questions) - value) > half


def _describe(
    winner: Candidate, cheapest: Candidate, lead: Interval, cheaper: Sequence[float], num_not_compared: int
) -> str:
    left = f" {counted(num_not_compared, 'cheaper trial')} could not be compared." if num_not_compared else ""
    if cheapest.trial_id == winner.trial_id:
        if not cheaper:
            return "The winner is the cheapest of the completed trials."
        if num_not_compared == len(cheaper):
            return "Whether a cheaper configuration is as good is not known: scores of single questions are missing."
        if num_not_compared:
            compared = f"the {len(cheaper) - num_not_compared} of {len(cheaper)} cheaper trials that could be compared"
            return f"No cheaper trial is known to be as good: {compared} are worse by more than noise.{left}"
        if len(cheaper) == 1:
            others = f"the only cheaper trial is worse by more than noise (val {cheaper[0]:.4f})"
        else:
            values = f"val {min(cheaper):.4f} to {max(cheaper):.4f}"
            others = f"all {len(cheaper)} cheaper trials are worse by more than noise ({values})"
        return f"The winner is also the cheapest good one: {others}."
    if cheapest.operations_per_pair and winner.operations_per_pair:
        saving = f"{winner.operations_per_pair / cheapest.operations_per_pair:.3g} times fewer operations per pair"
    else:
        saving = f"{cheapest.num_conditions} conditions instead of {winner.num_conditions}"
    return (
        f"Trial {cheapest.trial_id} with {saving} is within noise: the winner leads by {lead} on the same questions of "
        f"val, an interval that contains 0.{left}"
    )
