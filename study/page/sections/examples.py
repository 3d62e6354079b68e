"""What the model sees: explained pairs of images, and questions about outfits with their candidates."""

from study.analysis.study_data import DatasetData, StudyData
from study.page.blocks import Block, Custom, Part, Section, Text, Tone
from study.page.files import ExamplesFile, read_examples

GROUPS = {
    "right": "Right answers",
    "wrong": "Wrong answers",
    "hardest": "Hardest cases",
}
"""The heading of each group of examples, in the order of the page."""


def examples_section(study: StudyData) -> Section:
    """Return the section with explained pairs and questions."""
    return Section(
        id="examples",
        heading="What the model sees",
        lead="Pairs of val images with the score of the best trial. The score p is a sum over the conditions: "
        "relevance times similarity is what a condition contributes. A condition named by an attribute was trained on "
        "it; an unsupervised one has the name of an attribute only if it follows it.",
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
    notes = [f"{note[:1].upper()}{note[1:]}." for note in examples.notes]
    return [
        *([Text(tone=Tone.CAUTION, text=caution)] if stale else []),
        Text(tone=Tone.NOTE, text="\n".join([f"Trial {examples.trial_id} after epoch {examples.epoch}.", *notes])),
        *_groups(examples),
    ]


def _groups(examples: ExamplesFile) -> list[Block]:
    # Outfits have pairs of items that share one, whatever their categories.
    if examples.questions:
        words = {"same": "share an outfit", "different": "share no outfit", "label": "category "}
    else:
        words = {"same": "same class", "different": "different classes", "label": ""}
    blocks: list[Block] = []
    for group, heading in GROUPS.items():
        pairs = [pair for pair in examples.pairs if pair.group == group]
        questions = [question for question in examples.questions if question.group == group]
        if pairs or questions:
            values: dict[str, object] = {"heading": heading, "pairs": pairs, "questions": questions, **words}
            blocks.append(Custom(template="examples.html.j2", values=values))
    return blocks or [Text(tone=Tone.MISSING, text="explained pairs of images. examples.json has none.")]
