"""The command study/compare.py: studies side by side, on the terminal and as files."""

import time
from collections.abc import Callable, Sequence

from pan_model.command_line import OneLineParser
from pan_model.errors import UserError
from study.analysis.comparison.compare_studies import Comparison, compare_studies
from study.analysis.study_data import StudyData, read_study_data
from study.app.commands import run_with_terminal
from study.page.comparison_tables import CSV_COLUMNS, TITLE, to_lines, to_markdown, to_table
from study.storage.files import read_if_exists, storage_of, write_text
from study.storage.location import Location, absolute, in_store, locate
from study.storage.paths import StudyPaths
from study.terminal import Terminal

DESCRIPTION = (
    "Compare studies: results with intervals, differences paired by question from the first study, and what else "
    "differs. Without --output nothing is written."
)


def _page(comparison: Comparison) -> str:
    from study.page.comparison_page import comparison_page  # here: importing plotly takes a third of a second

    return comparison_page(comparison, time.time())


FILES: dict[str, tuple[str, Callable[[Comparison], str]]] = {
    "comparison.md": (f"# {TITLE}", to_markdown),
    "comparison.csv": (",".join(CSV_COLUMNS), to_table),
    "comparison.html": (f"<title>{TITLE}", _page),
}
"""The files that are written: a text near the beginning, which tells them from other files, and their content."""

BEGINNING = 1000
"""Number of bytes that have the text that tells a comparison from another file."""


def compare_command(words: Sequence[str]) -> int:
    """Run study/compare.py."""
    return run_with_terminal(lambda terminal: _compare(words, terminal), "run it again")


def _compare(words: Sequence[str], terminal: Terminal) -> int:
    parser = OneLineParser(
        prog="study/compare.py",
        description=DESCRIPTION,
        epilog="example:\n  uv run study/compare.py results/before results/after --output comparison",
    )
    parser.add_argument(
        "folders", metavar="results/NAME", nargs="+", help="folders of two or more studies, or s3:// URLs"
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        help="write comparison.md, comparison.csv and comparison.html there; a comparison is replaced",
    )
    parsed = parser.parse(words)
    comparison = compare_studies(read_studies(parsed.folders))
    output = None if parsed.output is None else locate(parsed.output)
    if output is not None:
        check_output(output)
    contents = (
        {} if output is None else {output / name: content_of(comparison) for name, (_, content_of) in FILES.items()}
    )
    for line in to_lines(comparison):
        terminal.say(line)
    if contents:
        terminal.say("made:")
    for file, content in contents.items():
        write_text(file, content)
        terminal.say(f"  {file}")
    return 0


def read_studies(folders: Sequence[str]) -> list[StudyData]:
    """Read the studies to compare.

    Args:
        folders: Their folders or URLs.

    Raises:
        UserError: If there are fewer than two, one is given twice, or a study cannot be read.
    """
    if len(folders) < 2:
        raise UserError(f"two or more studies are needed, got {folders[0]} alone; the first is the reference.")
    places: dict[str, str] = {}
    for folder in folders:
        place = absolute(locate(folder))
        name = str(place) if in_store(place) else str(place.resolve())
        if name in places:
            raise UserError(f"{folder}: is given twice, also as {places[name]}; give different studies.")
        places[name] = folder
    return [read_study_data(StudyPaths(locate(folder))) for folder in folders]


def check_output(folder: Location) -> None:
    """Check that the files of a comparison can be written to a folder, and replace nothing but a comparison.

    Raises:
        UserError: If a file is in the way, or the folder cannot be written.
    """
    if not in_store(folder) and folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file; give --output a folder.")
    for name, (mark, _) in FILES.items():
        content = read_if_exists(folder / name, "move it")
        if content is not None and mark.encode() not in content[:BEGINNING]:
            raise UserError(f"{folder / name}: exists and is not a comparison; move it, or give another --output.")
    storage_of(folder).check_writable(folder, "the comparison", "--output", probe=".comparison.")
