"""The report of a study as a page: study/report.py, and the page at the end of other commands."""

import time
from collections.abc import Sequence
from pathlib import Path

from pan_model.command_line import OneLineParser
from pan_model.errors import UserError
from study.app.commands import run_with_terminal
from study.storage.paths import StudyPaths
from study.terminal import Terminal


def report_command(words: Sequence[str]) -> int:
    """Run study/report.py."""
    return run_with_terminal(lambda terminal: _report(words, terminal), "run it again")


def write_report(results: StudyPaths, terminal: Terminal) -> bool:
    """Write report.html at the end of a command whose results are complete without it.

    Any error is printed as one line, so that it does not change the exit code.

    Args:
        results: The study's files.
        terminal: Prints the line.

    Returns:
        Whether the page was written.
    """
    try:
        _write(results)
    except Exception as error:  # also a fault of the program: the study is done and must be reported as such
        reason = str(error).strip().splitlines() or [""]
        terminal.say(
            f"{results.report} was not written ({type(error).__name__}: {reason[0]}); the study is whole, "
            f"and study/report.py {results.root} tries again"
        )
        return False
    return True


def _report(words: Sequence[str], terminal: Terminal) -> int:
    from study.config.study_config import DEFAULT_CACHE
    from study.storage.location import locate

    parser = OneLineParser(
        prog="study/report.py",
        description="Write the report of a finished, interrupted or running study as one page, report.html.",
        epilog="example:\n  uv run study/report.py results/birds",
    )
    parser.add_argument("folder", metavar="results/NAME", help="the study's folder, or its s3:// URL")
    parser.add_argument(
        "--data-root",
        metavar="DIR",
        help="also make the examples of the best trials again, examples.json, from the study's data below this folder",
    )
    parser.add_argument(
        "--cache-dir", metavar="DIR", help="with --data-root: the cache of features, by default that of study/run.py"
    )
    parser.add_argument(
        "--weights", metavar="W", help="with --data-root: the backbone's weights, if the file has moved"
    )
    parsed = parser.parse(words)
    results = StudyPaths(locate(parsed.folder))
    if parsed.data_root is not None:
        from study.app.make_examples import make_examples_again  # imports torch, which takes seconds

        cache_dir = DEFAULT_CACHE if parsed.cache_dir is None else Path(parsed.cache_dir)
        make_examples_again(results, Path(parsed.data_root), cache_dir, terminal, weights=parsed.weights)
    elif parsed.cache_dir is not None or parsed.weights is not None:
        flag = "--weights" if parsed.cache_dir is None else "--cache-dir"
        raise UserError(f"{flag} is for the examples only; give the study's data by --data-root, or leave it out.")
    _write(results)
    terminal.say(str(results.report))
    return 0


def _write(results: StudyPaths) -> None:
    from study.analysis.study_data import read_study_data
    from study.page.report_page import write_report_page  # here: importing plotly takes a third of a second

    write_report_page(read_study_data(results), time.time())
