"""Files that other commands write for the page: examples.json and ablation.json."""

from typing import Literal, TypeVar

from pydantic import Field

from pan_model.errors import UserError
from study.page.blocks import Text, Tone
from study.storage.files import read_if_exists
from study.storage.json_models import JsonModel, parse_model
from study.storage.location import Location
from study.storage.paths import DatasetPaths

AGAIN = "make it again, or remove it to leave it out"

F = TypeVar("F", bound=JsonModel)


class ExampleImage(JsonModel):
    """A small copy of an image."""

    file: str
    class_: str = Field(alias="class")
    jpeg: str = Field(pattern=r"^[A-Za-z0-9+/]*={0,2}$")


class ConditionShare(JsonModel):
    """What a condition contributes to the score of a pair: relevance times similarity."""

    display: str
    similarity: float
    relevance: float
    contribution: float


class Rest(JsonModel):
    """The conditions that are not listed."""

    count: int
    contribution: float


class ExamplePair(JsonModel):
    """An explained pair of images."""

    group: Literal["right", "wrong", "hardest"]
    title: str
    images: tuple[ExampleImage, ExampleImage]
    same_class: bool
    score: float
    conditions: list[ConditionShare]
    rest: Rest


class Candidate(JsonModel):
    """An answer that a question offers."""

    image: ExampleImage
    score: float
    is_answer: bool
    is_chosen: bool


class ExampleQuestion(JsonModel):
    """A fill-in-the-blank question: an outfit, and the candidates for its missing item."""

    group: Literal["right", "wrong", "hardest"]
    title: str
    outfit: list[ExampleImage]
    candidates: list[Candidate]


class ExamplesFile(JsonModel):
    """The content of examples.json."""

    schema_: Literal["pan-study/examples/1"] = Field(alias="schema")
    trial_id: str
    epoch: int
    best_epoch: int | None = None
    notes: list[str] = Field(default_factory=list[str])
    pairs: list[ExamplePair]
    questions: list[ExampleQuestion] = Field(default_factory=list[ExampleQuestion])


class AblationRow(JsonModel):
    """A configuration that differs from the winner in some parameters."""

    changes: dict[str, str | int | float | bool]
    status: Literal["completed", "failed", "running"]
    mean: float | None = None
    ci95: tuple[float, float] | None = None
    difference: float | None = None
    difference_ci95: tuple[float, float] | None = None
    errors: list[str] = Field(default_factory=list[str])


class AblationWinner(JsonModel):
    """The winner, trained from the same seeds."""

    trial_id: str
    config: dict[str, str | int | float | bool]
    mean: float | None = None
    ci95: tuple[float, float] | None = None


class AblationFile(JsonModel):
    """The content of ablation.json."""

    schema_: Literal["pan-study/ablation/1"] = Field(alias="schema")
    seeds: list[int]
    winner: AblationWinner
    rows: list[AblationRow]


def read_examples(files: DatasetPaths) -> ExamplesFile | Text:
    """Return the examples, or what the page says in their place."""
    content = _read(files.examples, ExamplesFile)
    if content is not None:
        return content
    return Text(
        tone=Tone.MISSING,
        text="explained pairs of images. They are made at the end of a study that has its images at hand; this study "
        "was made by an earlier version, has not finished, or its images had moved away. With the images at hand, "
        f"study/report.py {files.root} --data-root DATA makes them.",
    )


def read_ablation(files: DatasetPaths) -> AblationFile | Text | None:
    """Return the controlled comparison, what the page says in its place if it is damaged, or None."""
    return _read(files.ablation / "ablation.json", AblationFile)


def _read(path: Location, model: type[F]) -> F | Text | None:
    try:
        content = read_if_exists(path, AGAIN)
        return None if content is None else parse_model(path, content, model, AGAIN)
    except UserError as error:
        return Text(tone=Tone.MISSING, text=str(error))
