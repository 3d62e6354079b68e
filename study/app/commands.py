"""The commands behind the scripts: words in, exit code out, and one line on stderr for whatever the user can mend."""

import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from pan_model.command_line import OneLineParser
from pan_model.errors import UserError
from study.app.flags import name_flags, read_final_config, read_study_config
from study.nodes.deployment import check_code, check_output_stays, is_submitted, use_all_threads
from study.storage.object_store import StoreError
from study.terminal import Terminal

INTERRUPTED = 130
BAD_INPUT = 2


def run_command(words: Sequence[str], script: Path | None = None) -> int:
    """study/run.py; script is the file that was typed, which `ray submit` copies away from the package."""
    again = shlex.join([*words, *(() if "--resume" in words else ("--resume",))])
    command = "the same command and --resume" if is_submitted(script) else f"uv run study/run.py {again}"
    go_on = f"the study is whole; go on with: {command}"
    return run_with_exit_code(lambda screen: _run(words, screen, script), go_on)


def collate_command(words: Sequence[str]) -> int:
    """study/collate.py."""
    return run_with_exit_code(lambda screen: _collate(words, screen), "run it again")


def status_command(words: Sequence[str]) -> int:
    """study/status.py."""
    return run_with_exit_code(lambda screen: _status(words, screen), "run it again")


def final_command(words: Sequence[str]) -> int:
    """study/final.py."""
    go_on = "run it again; where the folder final/ is there already, it is whole"
    return run_with_exit_code(lambda screen: _final(words, screen), go_on)


def _run(words: Sequence[str], screen: Terminal, script: Path | None) -> int:
    from study.app.dry_run import describe_plan
    from study.app.run_study import conduct_study

    check_code(script)
    config = read_study_config(words)
    check_output_stays(config.output)
    use_all_threads(script)
    if config.dry_run:
        for line in describe_plan(config):
            screen.say(line)
        return 0
    return conduct_study(config, screen)


def _collate(words: Sequence[str], screen: Terminal) -> int:
    from study.reporting.collation import collate, copy_results
    from study.storage.location import locate
    from study.storage.paths import StudyPaths
    from study.trials.ledger import count_by_status

    parser = OneLineParser(
        prog="study/collate.py", description="Rebuild the tables of a finished, cut or running study."
    )
    parser.add_argument("folder", metavar="results/NAME", help="the study's folder, or its s3:// URL")
    parser.add_argument(
        "--copy",
        metavar="DIR",
        help="also copy what people look at there, to be viewed without the store: all but the trials' ledger",
    )
    parsed = parser.parse(words)
    results = StudyPaths(locate(parsed.folder))
    for dataset, (records, _) in collate(results).items():
        screen.say(f"{dataset}: {len(records)} trials, {count_by_status(records)}")
        screen.say(f"  {results.dataset(dataset).trials_table}")
    screen.say(f"  {results.summary}")
    if parsed.copy is not None:
        screen.say(f"{copy_results(results, locate(parsed.copy))} files copied to {parsed.copy}")
    return 0


def _status(words: Sequence[str], screen: Terminal) -> int:
    from study.reporting.status import describe_status
    from study.storage.location import locate
    from study.storage.paths import StudyPaths

    parser = OneLineParser(prog="study/status.py", description="Say where a study is: running, cut or done.")
    parser.add_argument("folder", metavar="results/NAME", help="the study's folder, or its s3:// URL")
    for line in describe_status(StudyPaths(locate(parser.parse(words).folder))):
        screen.say(line)
    return 0


def _final(words: Sequence[str], screen: Terminal) -> int:
    from study.app.train_final import train_final

    return train_final(read_final_config(words), screen)


def run_with_exit_code(command: Callable[[Terminal], int], how_to_go_on: str) -> int:
    """Run a command; UserError is one line and exit code 2, a store's error that and how to go on, an interrupt 130.

    A library that is interrupted in the middle of its own cleaning up may raise an error of its own: after a signal
    every error counts as the interrupt's.
    """
    signals = _Signals()
    try:
        return command(Terminal())
    except KeyboardInterrupt:
        signals.came = True
    except (UserError, PermissionError) as error:
        if not signals.came:
            print(f"error: {name_flags(' '.join(str(error).split()))}", file=sys.stderr)
            return BAD_INPUT
    except StoreError as error:
        if not signals.came:
            print(f"error: {error}; {how_to_go_on}", file=sys.stderr)
            return BAD_INPUT
    except Exception:
        if not signals.came:
            raise
    print(f"interrupted; {how_to_go_on}", file=sys.stderr)
    return INTERRUPTED


class _Signals:
    """Turns SIGTERM and Ctrl-C into KeyboardInterrupt, from now on, and remembers whether one came."""

    def __init__(self) -> None:
        self.came = False
        signal.signal(signal.SIGTERM, self._interrupt)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # in the background a shell has it ignored
            signal.signal(signal.SIGINT, self._interrupt)

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self.came = True
        raise KeyboardInterrupt
