"""The content of examples.json: explained pairs and questions with small copies of their images."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from pan_model.data.splits import Split
from pan_model.scoring.explanation import ConditionShare, Explanation, describe_limits
from pan_model.training.trainer import Trainer
from study.trials.examples.choosing import Question, Slot
from study.trials.examples.thumbnails import Thumbnails
from study.trials.ledger import TrialRecord
from study.trials.preparation import PreparedDataset

EXAMPLES_SCHEMA = "pan-study/examples/1"

NUM_CONDITIONS = 8
"""The conditions of a pair that are listed."""

SIZES = (((160, 82), (96, 72)), ((160, 65), (88, 60)), ((128, 55), (72, 50)))
"""Longer side (px) and quality of the images of pairs and of questions: the first that keeps the file small enough."""

MAX_BYTES = 500_000

ImageOf = Callable[[int], dict[str, str]]
"""Return the entry of an item's image."""


class ExplainedPair(NamedTuple):
    """A pair of items that is shown, why it is shown, and its explanation."""

    slot: Slot
    items: tuple[int, int]
    explanation: Explanation


@dataclass(frozen=True, kw_only=True)
class Examples:
    """What is shown; `num_left_out` counts pairs and questions with an image that cannot be read."""

    pairs: list[ExplainedPair]
    questions: list[Question]
    num_left_out: int


def describe_examples(
    prepared: PreparedDataset, record: TrialRecord, trainer: Trainer, examples: Examples, thumbnails: Thumbnails
) -> str:
    """Return the content of examples.json, with images as large as MAX_BYTES allows.

    Args:
        prepared: The dataset.
        record: The trial.
        trainer: The trial after its last epoch.
        examples: What is shown.
        thumbnails: The images.
    """
    text = ""
    for of_pairs, of_questions in SIZES:
        content = _describe_trial(prepared, record, trainer, examples) | {
            "pairs": [_describe_pair(pair, _images(prepared, thumbnails, *of_pairs)) for pair in examples.pairs],
            "questions": [
                _describe_question(question, _images(prepared, thumbnails, *of_questions))
                for question in examples.questions
            ],
        }
        text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
        if len(text) <= MAX_BYTES:
            break
    return text


def _images(prepared: PreparedDataset, thumbnails: Thumbnails, size: int, quality: int) -> ImageOf:
    def describe(item: int) -> dict[str, str]:
        assert prepared.images is not None
        return {
            "file": thumbnails.file(item),
            "class": prepared.images.class_names[int(prepared.featured.classes[item])],
            "jpeg": thumbnails.jpeg(item, size=size, quality=quality),
        }

    return describe


def _describe_trial(
    prepared: PreparedDataset, record: TrialRecord, trainer: Trainer, examples: Examples
) -> dict[str, Any]:
    best = record.best_epoch(trainer.task.objective)
    notes = describe_limits(trainer.model)
    if best is not None and best["epoch"] != trainer.epoch:
        notes.append(f"the weights are those after the last epoch, {trainer.epoch}; the best one was {best['epoch']}")
    left_out = {"image cannot be read": examples.num_left_out} if examples.num_left_out else {}
    return {
        "schema": EXAMPLES_SCHEMA,
        "dataset": prepared.dataset,
        "trial_id": record.trial_id,
        "epoch": trainer.epoch,
        "best_epoch": None if best is None else int(best["epoch"]),
        "split": Split.VAL.value,
        "notes": notes,
        "left_out": left_out,
        "conditions": [
            {
                "name": condition.name,
                "display": condition.display,
                "labelled": condition.labelled,
                "follows": None if condition.follows is None else asdict(condition.follows),
            }
            for condition in _in_order(trainer, examples)
        ],
    }


def _in_order(trainer: Trainer, examples: Examples) -> list[ConditionShare]:
    """Return the conditions in the order of the model, as any explanation has them."""
    if not examples.pairs:
        return []
    by_name = {condition.name: condition for condition in examples.pairs[0].explanation.conditions}
    return [by_name[name] for name in trainer.model.condition_names]


def _describe_pair(pair: ExplainedPair, image_of: ImageOf) -> dict[str, Any]:
    slot, items, explanation = pair
    return {
        "group": slot.group,
        "title": slot.title,
        "images": [image_of(item) for item in items],
        "same_class": slot.same,
        "score": explanation.score,
        "conditions": [
            {
                "display": condition.display,
                "similarity": condition.similarity,
                "relevance": condition.relevance,
                "contribution": condition.contribution,
            }
            for condition in explanation.top(NUM_CONDITIONS)
        ],
        "rest": {
            "count": max(0, len(explanation.conditions) - NUM_CONDITIONS),
            "contribution": explanation.rest(NUM_CONDITIONS),
        },
    }


def _describe_question(question: Question, image_of: ImageOf) -> dict[str, Any]:
    candidates = zip(question.candidates, question.scores, strict=True)
    return {
        "group": question.group,
        "title": question.title,
        "outfit": [image_of(item) for item in question.outfit],
        "candidates": [
            {
                "image": image_of(item),
                "score": score,
                "is_answer": place == question.answer,
                "is_chosen": place == question.chosen,
            }
            for place, (item, score) in enumerate(candidates)
        ],
    }
