"""What the model sees: explained pairs of images, and questions about outfits with their candidates."""

import math
import re

from study.analysis.study_data import DatasetData, StudyData
from study.page.blocks import Block, Custom, Part, Section, Text, Tone
from study.page.files import ExamplePair, ExamplesFile, Rest, read_examples
from study.page.sections.verdict import final_scores

GROUPS = {
    "right": "Right answers",
    "wrong": "Wrong answers",
    "hardest": "Hardest cases",
}
"""The heading of each group of examples, in the order of the page."""

WEIGHTS = "the weights are those after the last epoch"
"""The begin of a note that the page replaces with more words."""

UNNAMED = "unsupervised_1"
"""The display of a first unsupervised condition that follows no attribute."""

SHOWN = 0.0005
"""Contribution from which a condition has a row of its own: less is 0.000 in three decimals."""

PLACES = ("", "second", "third", "fourth")


def examples_section(study: StudyData) -> Section:
    """Return the section with explained pairs and questions."""
    return Section(
        id="examples",
        heading="What the model sees",
        lead="Pairs of val images with the score p of the best trial, which orders pairs but is no calibrated "
        "probability. It is a sum over the conditions: relevance r times similarity s is what a condition contributes. "
        "A condition named by an attribute was trained on it; an unsupervised one has the name of an attribute only if "
        "it follows it.",
        parts=[
            Part(heading=name if len(study.datasets) > 1 else "", blocks=_examples(data))
            for name, data in study.datasets.items()
        ],
    )


def _examples(data: DatasetData) -> list[Block]:
    if data.winner is None:
        return [Text(tone=Tone.MISSING, text="explained pairs of images. They need a completed trial.")]
    examples = read_examples(data.files)
    if isinstance(examples, Text):
        return [examples]
    stale = examples.trial_id != data.winner.trial_id
    caution = f"these examples are of trial {examples.trial_id}, not of the present winner {data.winner.trial_id}."
    notes = [f"{note[:1].upper()}{note[1:]}." for note in examples.notes if not note.startswith(WEIGHTS)]
    if _is_unnamed(examples):
        notes.insert(0, "This model has one unnamed condition, so it cannot say why two images are similar.")
    return [
        *([Text(tone=Tone.CAUTION, text=caution)] if stale else []),
        Text(tone=Tone.NOTE, text="\n".join([_weights(data, examples), *notes])),
        *_groups(examples),
    ]


def _weights(data: DatasetData, examples: ExamplesFile) -> str:
    """Return with which weights the pairs were scored, and with which the values of the other sections."""
    text = f"Scored by trial {examples.trial_id} with its last weights, after epoch {examples.epoch}."
    if examples.best_epoch is not None and examples.best_epoch != examples.epoch:
        text += f" Its val value is that of its best epoch, {examples.best_epoch}, whose weights are not kept."
    if final_scores(data) is not None:
        text += (
            " Its test score is that of the final training, which trained other weights for as many epochs as the best."
        )
    return text


def _is_unnamed(examples: ExamplesFile) -> bool:
    """Return whether the model has a single condition that is named by no attribute."""
    shares = [pair.conditions for pair in examples.pairs]
    counts = [pair.rest.count for pair in examples.pairs]
    return bool(shares) and not any(counts) and all(len(of) == 1 and of[0].display == UNNAMED for of in shares)


def _fold(pair: ExamplePair) -> ExamplePair:
    """Return a pair with the conditions that contribute 0.000 counted among the rest."""
    shown = [share for share in pair.conditions if share.contribution >= SHOWN] or pair.conditions[:1]
    folded = pair.conditions[len(shown) :]  # the largest contributions come first
    rest = Rest(
        count=pair.rest.count + len(folded),
        contribution=pair.rest.contribution + math.fsum(share.contribution for share in folded),
    )
    return pair.model_copy(update={"conditions": shown, "rest": rest})


def _titles(pairs: list[ExamplePair]) -> list[str]:
    """Return the titles of pairs; the second of the same lowest or highest scores says so."""
    titles: list[str] = []
    for pair in pairs:
        before = sum(other.title == pair.title for other in pairs[: len(titles)])
        place = f"{PLACES[before]} " if 0 < before < len(PLACES) else ""
        titles.append(re.sub(r"\b(lowest|highest) of", rf"{place}\1 of", pair.title))
    return titles


def _groups(examples: ExamplesFile) -> list[Block]:
    # Outfits have pairs of items that share one, whatever their categories.
    if examples.questions:
        words = {"same": "share an outfit", "different": "share no outfit", "label": "category "}
    else:
        words = {"same": "same class", "different": "different classes", "label": ""}
    blocks: list[Block] = []
    for group, heading in GROUPS.items():
        pairs = [_fold(pair) for pair in examples.pairs if pair.group == group]
        questions = [question for question in examples.questions if question.group == group]
        if pairs or questions:
            values: dict[str, object] = {
                "heading": heading,
                "pairs": list(zip(_titles(pairs), pairs, strict=True)),
                "questions": questions,
                "explained": not _is_unnamed(examples),
                **words,
            }
            blocks.append(Custom(template="examples.html.j2", values=values))
    return blocks or [Text(tone=Tone.MISSING, text="explained pairs of images. examples.json has none.")]
