"""The commands of image search: study/index.py embeds a folder of images, study/query.py searches the index."""

import json
import shlex
import time
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pan_model.command_line import OneLineParser, counted
from pan_model.data.folder.reader import list_images
from pan_model.errors import UserError
from pan_model.files import atomic_folder, atomic_write, check_writable, refuse_existing
from pan_model.images.opening import check_image
from study.app.commands import run_with_terminal
from study.app.explain_pair import find_model
from study.storage.location import local_path, locate
from study.terminal import Terminal, duration, show_work

if TYPE_CHECKING:
    from pan_model.scoring.explanation import Explanation
    from pan_model.scoring.image_index import ImageIndex, QueryResult

QUERY_SCHEMA = "pan-study/query/1"
SHEET, RESULT = "query.png", "query.json"
NUM_LISTED = 8
"""Conditions of a hit in query.json; the others are summed."""

NUM_SHOWN = 2
"""Conditions of a hit in the table."""


def index_command(words: Sequence[str]) -> int:
    """Run study/index.py."""
    return run_with_terminal(lambda terminal: _index(words, terminal), "run it again; nothing was written")


def query_command(words: Sequence[str]) -> int:
    """Run study/query.py."""
    return run_with_terminal(lambda terminal: _query(words, terminal), "run it again")


def _index_parser() -> OneLineParser:
    parser = OneLineParser(
        prog="study/index.py",
        description="Embed all images in a folder by a final model, so that study/query.py finds similar ones.",
        epilog="example:\n  uv run study/index.py results/birds/cub/final photos --output photos.index",
    )
    parser.add_argument("final", metavar="FINAL", help="the folder final/ that study/final.py has made")
    parser.add_argument("images", metavar="IMAGES", help="a folder with images, also in subfolders")
    parser.add_argument("--output", metavar="INDEX", required=True, help="the folder to make")
    parser.add_argument(
        "--weights", metavar="FILE", help="the current place of the backbone's weights, if the study's file has moved"
    )
    parser.add_argument("--skip-bad-images", action="store_true", help="leave unreadable images out and list them")
    return parser


def _query_parser() -> OneLineParser:
    parser = OneLineParser(
        prog="study/query.py",
        description="Find the images of an index that are most similar to an image, and why.",
        epilog="example:\n  uv run study/query.py photos.index bird.jpg --top 10",
    )
    parser.add_argument("index", metavar="INDEX", help="the folder that study/index.py has made")
    parser.add_argument("image", metavar="IMAGE", type=Path, help="the image to compare with those of the index")
    parser.add_argument("--top", metavar="N", type=int, help="number of images to find (default: 10, or all of fewer)")
    parser.add_argument("--json", action="store_true", help="print only JSON, and make no files without --output")
    parser.add_argument(
        "--output", metavar="DIR", help=f"the folder of {SHEET} and {RESULT} (default: queries/, by the image's name)"
    )
    parser.add_argument("--images", metavar="DIR", help="the current place of the indexed images, if they have moved")
    return parser


def _index(words: Sequence[str], terminal: Terminal) -> int:
    parsed = _index_parser().parse(words)
    final, images, output = (_folder(text) for text in (parsed.final, parsed.images, parsed.output))
    refuse_existing([output])
    list_images(images)  # a folder without images is refused before torch is imported and the model loaded
    find_model(parsed.final)
    check_writable(output.parent, "the index", "--output")
    terminal.say(f"loading the model in {final}")

    from pan_model.scoring.explanation import describe_limits  # importing torch takes seconds
    from pan_model.scoring.image_index import embed_images
    from pan_model.trained import load_backbone, load_model, save_index

    model, backbone = load_model(final), load_backbone(final, weights=parsed.weights)
    started_s = time.monotonic()
    with terminal.live(at_once=True) as show:
        work = show_work(str(images), show)
        indexed = embed_images(
            model,
            backbone,
            images,
            skip_bad_images=parsed.skip_bad_images,
            progress=lambda done, total: work("images embedded", done, total),
        )
    elapsed_s = time.monotonic() - started_s
    with atomic_folder(output) as temporary:
        save_index(indexed, final, backbone, temporary)
    pace = f"{len(indexed) / elapsed_s:.0f} a second"
    terminal.say(f"{images}: {counted(len(indexed), 'image')} embedded in {duration(elapsed_s)}, {pace}")
    for reason, number in indexed.left_out.items():
        terminal.say(f"{images}: {number} left out ({reason})")
    if indexed.unreadable:
        terminal.say(f"{images}: {counted(len(indexed.unreadable), 'unreadable image')} left out:")
    for file, reason in indexed.unreadable.items():
        terminal.say(f"  {file}: {reason}")
    for note in describe_limits(model):
        terminal.say(f"note: {note}")
    terminal.say("made:")
    for path in sorted(output.rglob("*")):
        if path.is_file():
            terminal.say(f"  {path}")
    command = ["uv", "run", "study/query.py", str(output), str(images / indexed.files[0]), "--top", "10"]
    terminal.say("next:")
    terminal.say(f"  {shlex.join(command if len(indexed) > 10 else command[:-2])}")
    return 0


def _query(words: Sequence[str], terminal: Terminal) -> int:
    parsed = _query_parser().parse(words)
    folder = _folder(parsed.index)
    given = None if parsed.output is None else _folder(parsed.output)
    if parsed.top is not None and parsed.top < 1:
        raise UserError(f"--top must be at least 1, got {parsed.top}.")
    if given is not None:
        refuse_existing([given / SHEET, given / RESULT])
    check_image(parsed.image)
    output = given if given is not None or parsed.json else _free_folder(parsed.image.stem)
    if output is not None:
        check_writable(output, "the result", "--output")

    from pan_model.trained import load_index  # importing torch takes seconds

    index = load_index(folder)
    try:
        result = index.query(parsed.image, top=parsed.top)
    except UserError as error:
        raise UserError(f"--{error}" if str(error).startswith("top must be") else str(error)) from error
    root = index.images.root if parsed.images is None else _folder(parsed.images)
    content = _describe(result, index, folder, root)
    missing = [] if output is None else _write(output, result, content, root)
    if parsed.json:
        print(json.dumps(content, indent=2))
        return 0
    for line in _lines_before(result, index):
        terminal.say(line)
    terminal.table(("rank", "score", "log-odds", "image", "because of"), [_row(hit) for hit in content["hits"]])
    if missing:
        where = "" if parsed.images is None else "now "
        terminal.say(
            f"{counted(len(missing), 'image')} not in {root} {where}any more, the first is {missing[0]}; "
            "give the place of the images by --images DIR"
        )
    if output is not None:
        terminal.say("made:")
        for name in (SHEET, RESULT):
            terminal.say(f"  {output / name}")
    return 0


def _folder(text: str) -> Path:
    """Return a folder of this machine.

    Raises:
        UserError: It is in an object store.
    """
    path = local_path(locate(text))
    if path is None:
        raise UserError(f"{text}: must be a folder of this machine; copy it here first.")
    return path


def _free_folder(stem: str) -> Path:
    """Return the first folder for results of a query that does not exist yet: queries/a, queries/a-2, .."""
    names = (stem if number == 1 else f"{stem}-{number}" for number in count(1))
    return next(folder for folder in (Path("queries") / name for name in names) if not folder.exists())


def _describe(result: "QueryResult", index: "ImageIndex", folder: Path, root: Path) -> dict[str, Any]:
    """Return the content of query.json."""
    return {
        "schema": QUERY_SCHEMA,
        "index": str(folder),
        "num_images": result.num_images,
        "query": str(result.image),
        "same_file": list(result.same),
        "notes": index.notes,
        "root": str(root),
        "hits": [
            {"rank": rank, "file": hit.file, "log_odds": hit.log_odds, **_describe_explanation(hit.explanation)}
            for rank, hit in enumerate(result.hits, start=1)
        ],
    }


def _describe_explanation(explanation: "Explanation") -> dict[str, Any]:
    keys = ("name", "display", "similarity", "relevance", "contribution")
    return {
        "score": explanation.score,
        "conditions": [{key: getattr(part, key) for key in keys} for part in explanation.top(NUM_LISTED)],
        "rest": {
            "count": max(0, len(explanation.conditions) - NUM_LISTED),
            "contribution": explanation.rest(NUM_LISTED),
        },
    }


def _write(output: Path, result: "QueryResult", content: dict[str, Any], root: Path) -> list[str]:
    """Write the contact sheet and query.json; return the images that are not there any more."""
    from study.page.contact_sheet import SheetImage, draw_sheet  # importing matplotlib takes a second

    cells = [SheetImage(path=result.image, lines=("query", result.image.name))]
    for hit in content["hits"]:
        score = f"{hit['rank']}: score {hit['score']:.4f}, log-odds {hit['log_odds']:.1f}"
        lines = (score, hit["file"], describe_condition(hit["conditions"][0]))
        cells.append(SheetImage(path=root / hit["file"], lines=lines))
    with atomic_write(output / SHEET) as temporary:
        draw_sheet(cells, temporary)
    with atomic_write(output / RESULT) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return [hit["file"] for hit in content["hits"] if not (root / hit["file"]).is_file()]


def _lines_before(result: "QueryResult", index: "ImageIndex") -> Iterator[str]:
    found = counted(len(result.hits), "image")
    yield f"{result.image}: the {found} most similar to it, of {counted(result.num_images, 'image')}"
    if result.same:
        yield f"left out: {', '.join(result.same)}, the same file as the query"
    for note in index.notes:
        yield f"note: {note}"


def _row(hit: dict[str, Any]) -> tuple[str, ...]:
    shown = "; ".join(describe_condition(condition) for condition in hit["conditions"][:NUM_SHOWN])
    return str(hit["rank"]), f"{hit['score']:.4f}", f"{hit['log_odds']:.2f}", hit["file"], shown


def describe_condition(condition: dict[str, Any]) -> str:
    """Return a condition with its contribution to a score.

    >>> describe_condition({"display": "XNOR(red)", "contribution": 0.25})
    'XNOR(red) 0.25'
    """
    return f"{condition['display']} {condition['contribution']:.2f}"
