"""The explanation of one pair of images by a trained model: study/explain.py."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pan_model.command_line import OneLineParser
from pan_model.errors import UserError
from pan_model.images.opening import check_image
from study.app.commands import run_with_terminal
from study.storage.files import storage_of, write_file, write_json
from study.storage.location import Location, in_store, locate
from study.terminal import Terminal

if TYPE_CHECKING:
    from pan_model.scoring.explanation import Explanation, Reading

EXPLANATION_SCHEMA = "pan-study/explanation/1"
JSON_FILE, IMAGE_FILE = "explanation.json", "explanation.png"

NUM_ROWS, NUM_READINGS = 8, 5
"""The most conditions and readings that are printed."""

BAR_LENGTH = 12

DRAWN_SIZE = 800
"""The longer side of a drawn image, px."""


def explain_command(words: Sequence[str]) -> int:
    """Run study/explain.py."""
    return run_with_terminal(lambda terminal: _explain(words, terminal), "run it again")


def find_model(text: str) -> Path:
    """Return the folder of a trained model, such as results/demo/demo/final.

    Raises:
        UserError: The folder holds no model. The message names those below it, as far as there are any.
    """
    if in_store(locate(text)):
        raise UserError(f"'{text}' is in an object store; copy the folder to this machine, and give the copy.")
    folder = Path(text)
    if (folder / "config.json").is_file() and (folder / "model.safetensors").is_file():
        return folder
    below = [path.parent for pattern in ("", "*/", "*/*/") for path in folder.glob(f"{pattern}final/config.json")]
    if below:
        raise UserError(f"{folder}: holds no model itself; give {' or '.join(map(str, sorted(below)))}.")
    holds = "must hold config.json and model.safetensors of a trained model" if folder.is_dir() else "no such folder"
    raise UserError(f"{folder}: {holds}; study/final.py trains one and writes it to a folder final/.")


def _parser() -> OneLineParser:
    parser = OneLineParser(
        prog="study/explain.py",
        description="Explain why a trained model finds two images similar: as a table, explanation.json and .png.",
        epilog="example:\n  uv run study/explain.py results/demo/demo/final a.jpg b.jpg --output why",
    )
    parser.add_argument(
        "model", metavar="FINAL", help="the folder that study/final.py wrote, results/NAME/<dataset>/final"
    )
    parser.add_argument("images", metavar="IMAGE", nargs=2, help="the two images")
    parser.add_argument(
        "--output", metavar="DIR", default=".", help="the folder of explanation.json and explanation.png"
    )
    parser.add_argument("--weights", metavar="W", help="the backbone's weights, if the file has moved since the study")
    return parser


def _explain(words: Sequence[str], terminal: Terminal) -> int:
    parsed = _parser().parse(words)
    folder, output = find_model(parsed.model), locate(parsed.output)
    images = (Path(parsed.images[0]), Path(parsed.images[1]))
    for image in images:
        check_image(image)
    storage_of(output).check_writable(output, "the explanation", "--output", probe=f".{JSON_FILE}.")

    from pan_model.scoring.explanation import describe_labelled, describe_limits, read_labelled
    from pan_model.trained import load_explainer

    explainer = load_explainer(folder, weights=parsed.weights)
    explanation = explainer.explain(*images)
    readings = read_labelled(explanation, NUM_READINGS)
    model = explainer.model
    notes = [*describe_labelled(explanation, is_measured=model.followed is not None), *describe_limits(model)]
    for line in [*table_lines(explanation), *_reading_lines(readings), *(f"note: {note}" for note in notes)]:
        terminal.say(line)
    write_json(output / JSON_FILE, _describe(folder, images, explanation, readings, notes))
    _draw(output / IMAGE_FILE, images, explanation, readings, notes)
    terminal.say("made:")
    for name in (JSON_FILE, IMAGE_FILE):
        terminal.say(f"  {output / name}")
    return 0


def table_lines(explanation: "Explanation", num_rows: int = NUM_ROWS) -> list[str]:
    """Return the lines of a table of the conditions with the largest contributions; names come last.

    Args:
        explanation: The explanation of a pair.
        num_rows: The most conditions.
    """
    from pan_model.scoring.explanation import short_number

    lines = [
        f"score p = {short_number(explanation.score)}, the sum over the conditions of relevance x similarity",
        f"{'contribution':<{BAR_LENGTH + 9}}  relevance  similarity  condition",
    ]
    for condition in explanation.top(num_rows):
        bar = _bar(condition.contribution, explanation.score)
        numbers = f"{short_number(condition.relevance):>9}  {short_number(condition.similarity):>10}"
        lines.append(f"{short_number(condition.contribution):<7}  {bar}  {numbers}  {condition.display}")
    if (rest := len(explanation.conditions) - num_rows) and rest > 0:
        others = explanation.rest(num_rows)
        lines.append(
            f"{short_number(others):<7}  {_bar(others, explanation.score)}  {'':9}  {'':10}  all others ({rest})"
        )
    return lines


def _reading_lines(readings: "Sequence[Reading]") -> list[str]:
    if not readings:
        return []
    lines = [f"{reading.value:.2f}   {_bar(reading.value, 1.0)}  {reading.text}" for reading in readings]
    return ["what the labelled conditions read on this pair, though they hardly contribute:", *lines]


def _bar(value: float, total: float) -> str:
    return ("#" * round(BAR_LENGTH * (value / total if total else 0.0))).ljust(BAR_LENGTH)


def _describe(
    folder: Path,
    images: tuple[Path, Path],
    explanation: "Explanation",
    readings: "Sequence[Reading]",
    notes: list[str],
) -> dict[str, Any]:
    """Return the content of explanation.json."""
    return {
        "schema": EXPLANATION_SCHEMA,
        "model": str(folder),
        "images": [str(image) for image in images],
        "score": explanation.score,
        "labelled": {
            "contribution": explanation.labelled_contribution,
            "relevance": explanation.labelled_relevance,
        },
        "conditions": [
            {
                "name": condition.name,
                "display": condition.display,
                "labelled": condition.labelled,
                "follows": None if condition.follows is None else asdict(condition.follows),
                "similarity": condition.similarity,
                "relevance": condition.relevance,
                "contribution": condition.contribution,
            }
            for condition in explanation.conditions
        ],
        "readings": [{"text": reading.text, "value": reading.value} for reading in readings],
        "notes": notes,
    }


def _draw(
    file: Location,
    images: tuple[Path, Path],
    explanation: "Explanation",
    readings: "Sequence[Reading]",
    notes: list[str],
) -> None:
    from PIL import Image

    from pan_model.images.colours import to_rgb
    from study.trials.examples.drawing import draw_explanation, png_of

    with Image.open(images[0]) as first, Image.open(images[1]) as second:
        pair = to_rgb(first), to_rgb(second)
    for image in pair:
        image.thumbnail((DRAWN_SIZE, DRAWN_SIZE))
    captions = (str(images[0]), str(images[1]))
    figure = draw_explanation(pair, captions, explanation, readings=readings, notes=notes)
    write_file(file, lambda path: path.write_bytes(png_of(figure)))
