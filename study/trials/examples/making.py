"""The examples of a dataset: examples.json and the pictures in TensorBoard, of the best trial on val.

The trial's checkpoint holds the weights after its last epoch, which need not be its best one. The epoch is stated.
"""

import json
from collections import Counter
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from pan_model.command_line import counted
from pan_model.data.splits import Split
from pan_model.errors import UserError
from pan_model.reproducibility import deterministic_arithmetic
from pan_model.scoring.explanation import Explanation, describe_limits, explain_embedded, read_labelled
from pan_model.training.trainer import Trainer
from study.storage.files import read_if_exists, write_text
from study.storage.paths import DatasetPaths
from study.trials.examples.choosing import Budget, Question, Slot, choose_pairs, choose_questions
from study.trials.examples.content import EXAMPLES_SCHEMA, Examples, ExplainedPair, describe_examples
from study.trials.examples.drawing import NUM_READINGS, draw_explanation, png_of
from study.trials.examples.panels import write_panels
from study.trials.examples.thumbnails import Thumbnails
from study.trials.ledger import TrialLedger, TrialRecord
from study.trials.preparation import PreparedDataset
from study.trials.tensorboard_events import events_folder
from study.trials.trial import TrialSpec

NUM_PICTURES = 6
"""The most pairs that are drawn for TensorBoard."""

ON_CPU = Budget(queries=24, gallery=60)
"""The sample of a trial that has trained its backbone, without a GPU: each image takes up to a tenth of a second."""


def is_made(files: DatasetPaths, record: TrialRecord) -> bool:
    """Return whether examples.json exists for the last epoch of a trial."""
    content = read_if_exists(files.examples, "remove it")
    try:
        made = json.loads(content or b"null")
    except ValueError:
        return False
    return isinstance(made, dict) and _key(made) == (EXAMPLES_SCHEMA, record.trial_id, _last_epoch(record))


def _key(content: dict[str, Any]) -> tuple[Any, ...]:
    return content.get("schema"), content.get("trial_id"), content.get("epoch")


def _last_epoch(record: TrialRecord) -> int:
    return int(record.history[-1]["epoch"])


class Made(NamedTuple):
    """What was made, in words, and the pairs and questions that were left out since an image cannot be read."""

    words: str
    num_left_out: int

    def __str__(self) -> str:
        return self.words


def make_examples(files: DatasetPaths, prepared: PreparedDataset, record: TrialRecord) -> Made:
    """Write examples.json and the pictures of the best trial.

    Args:
        files: The dataset's files.
        prepared: The dataset, with its images.
        record: The best completed trial.

    Returns:
        What was made.

    Raises:
        UserError: If the checkpoint or the images are not there.
    """
    if prepared.images is None:
        raise UserError("the items have no image files")
    with deterministic_arithmetic():
        trainer = _restore(files, prepared, record)
        try:
            return _make(files, prepared, record, trainer)
        finally:
            trainer.close()


def _restore(files: DatasetPaths, prepared: PreparedDataset, record: TrialRecord) -> Trainer:
    """Build the trainer of a trial as it was after its last epoch."""
    spec = TrialSpec.from_flat(
        trial_id=record.trial_id,
        number=record.number,
        dataset=prepared.dataset,
        config=record.config,
        task=prepared.options.get("task"),
        val_questions=prepared.val_questions,
    )
    state = TrialLedger(files.trials / record.trial_id).last_state()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    task = spec.row.make_task(prepared.featured, seed=spec.trial_config.train.seed)
    start = None if prepared.start is None else replace(prepared.start, num_workers=0)
    trainer = Trainer(task, spec.trial_config, device, start)
    trainer.load_state_dict(state)
    return trainer


def _make(files: DatasetPaths, prepared: PreparedDataset, record: TrialRecord, trainer: Trainer) -> Made:
    assert prepared.images is not None
    costly = trainer.backbone is not None and trainer.device.type == "cpu"
    trainer.model.followed = None if costly else trainer.find_followed((Split.TRAIN,))
    thumbnails = Thumbnails(prepared.images.root, prepared.images.files)
    examples = _choose(trainer, thumbnails, ON_CPU if costly else Budget())
    text = describe_examples(prepared, record, trainer, examples, thumbnails)
    write_text(files.examples, text)
    write_panels(events_folder(files, record), _draw(prepared, trainer, examples, thumbnails))
    made = counted(len(examples.pairs), "explained pair")
    made += f" and {counted(len(examples.questions), 'question')}" if examples.questions else ""
    left_out = f", {examples.num_left_out} left out (image cannot be read)" if examples.num_left_out else ""
    words = f"{made} of trial {record.trial_id} after epoch {trainer.epoch}{left_out}: {files.examples}"
    return Made(words, examples.num_left_out)


def _choose(trainer: Trainer, thumbnails: Thumbnails, budget: Budget) -> Examples:
    """Choose pairs and questions whose images can be read, and explain the pairs."""
    chosen: list[tuple[Slot, tuple[int, int]]] = []
    num_left_out = 0
    for slot in choose_pairs(trainer, budget):
        of_slot, skipped = _fill(slot, thumbnails, {frozenset(pair) for _, pair in chosen})
        chosen += [(slot, pair) for pair in of_slot]
        num_left_out += skipped
    questions: list[Question] = []
    for count, answered in choose_questions(trainer, budget):
        num_readable = 0
        for question in answered:
            if num_readable < count and question.outfit not in [shown.outfit for shown in questions]:
                has_all = thumbnails.has(*question.outfit, *question.candidates)
                num_readable, num_left_out = num_readable + has_all, num_left_out + (not has_all)
                questions += [question] if has_all else []
    explanations = _explain(trainer, [pair for _, pair in chosen])
    pairs = [
        ExplainedPair(slot, pair, explanation) for (slot, pair), explanation in zip(chosen, explanations, strict=True)
    ]
    return Examples(pairs=pairs, questions=questions, num_left_out=num_left_out)


def _draw(prepared: PreparedDataset, trainer: Trainer, examples: Examples, thumbnails: Thumbnails) -> list[bytes]:
    """Draw some of the pairs, by turns one of each kind, as PNG files."""
    assert prepared.images is not None
    turns: Counter[str] = Counter()
    ordered: list[tuple[int, int]] = []
    for place, explained in enumerate(examples.pairs):
        turns[explained.slot.title] += 1
        ordered.append((turns[explained.slot.title], place))
    pictures: list[bytes] = []
    for place in sorted(place for _, place in sorted(ordered)[:NUM_PICTURES]):
        slot, (first, second), explanation = examples.pairs[place]
        figure = draw_explanation(
            (thumbnails.image(first), thumbnails.image(second)),
            (thumbnails.file(first), thumbnails.file(second)),
            explanation,
            title=f"{slot.group}: {slot.title}",
            readings=read_labelled(explanation, NUM_READINGS),
            notes=describe_limits(trainer.model),
        )
        pictures.append(png_of(figure, dots_per_inch=80))
    return pictures


def _fill(slot: Slot, thumbnails: Thumbnails, used: set[frozenset[int]]) -> tuple[list[tuple[int, int]], int]:
    """Return the first pairs of a slot that are not shown yet and can be read, and the number that cannot."""
    chosen: list[tuple[int, int]] = []
    skipped = 0
    for pair in slot.pairs:
        if len(chosen) == slot.count:
            break
        if frozenset(pair) in used:
            continue
        used.add(frozenset(pair))
        if thumbnails.has(*pair):
            chosen.append(pair)
        else:
            skipped += 1
    return chosen, skipped


def _explain(trainer: Trainer, pairs: list[tuple[int, int]]) -> list[Explanation]:
    if not pairs:
        return []
    table = np.array(pairs, dtype=np.int64)
    items, places = np.unique(table, return_inverse=True)
    embeddings = trainer.embed(items)
    first, second = torch.from_numpy(places.reshape(table.shape).T).to(embeddings.device)
    return explain_embedded(trainer.model, embeddings[first], embeddings[second])
