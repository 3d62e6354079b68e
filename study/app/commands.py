"""Commands behind the scripts: each takes a command line and returns an exit code.

Errors of the user are printed as one line on stderr.
"""

import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pan_model.command_line import OneLineParser, counted, run_with_exit_code
from study.app.flags import name_flags, read_final_config, read_study_config
from study.config.study_config import StudyConfig
from study.nodes.deployment import check_code, check_output_stays, is_submitted, use_all_threads
from study.storage.object_store import StoreError
from study.terminal import Terminal


def run_command(words: Sequence[str], script: Path | None = None) -> int:
    """Run study/run.py.

    Args:
        words: The command line.
        script: The file that runs, which `ray submit` copies out of the package.

    Returns:
        The exit code.
    """
    again = shlex.join([*words, *(() if "--resume" in words else ("--resume",))])
    command = f"submit study/run.py again with {again}" if is_submitted(script) else f"uv run study/run.py {again}"
    resume_hint = f"all finished epochs are saved; resume with: {command}"
    return run_with_terminal(lambda terminal: run_from_words(words, terminal, script, command), resume_hint)


def collate_command(words: Sequence[str]) -> int:
    """Run study/collate.py."""
    return run_with_terminal(lambda terminal: _collate(words, terminal), "run it again")


def status_command(words: Sequence[str]) -> int:
    """Run study/status.py."""
    return run_with_terminal(lambda terminal: _status(words, terminal), "run it again")


def final_command(words: Sequence[str]) -> int:
    """Run study/final.py."""
    resume_hint = "run it again; if the folder final/ exists already, it is complete"
    return run_with_terminal(lambda terminal: _final(words, terminal), resume_hint)


def run_from_words(words: Sequence[str], terminal: Terminal, script: Path | None, resume_command: str) -> int:
    """Run, resume or describe a study; errors are raised.

    Args:
        words: The command line of study/run.py.
        terminal: Shows progress and results.
        script: The file that runs, if it may be a copy.
        resume_command: The command that resumes the study, for driver.json.

    Returns:
        The exit code: 0, or 1 if no trial completed.

    Raises:
        UserError: If a flag or the data are wrong; nothing is written then.
    """
    from study.app.dry_run import describe_plan
    from study.app.report_page import write_report
    from study.config.resume import (
        check_same_flags,
        find_study,
        keep_choices,
        same_files,
        take_new_spaces,
    )
    from study.config.search_space import check_trials
    from study.config.space_description import describe_left_out
    from study.config.study_file import read_study
    from study.reporting.collation import collate, lacks_baselines
    from study.reporting.report import report_study
    from study.storage.driver_file import finish_driver
    from study.storage.files import exists
    from study.trials.first_trials import choose_first_trials
    from study.trials.ledger import read_ledger

    check_code(script)
    config = read_study_config(words)
    check_output_stays(config.output)
    use_all_threads(script)
    if config.dry_run:
        earlier = read_study(config.results.study) if config.resume and exists(config.results.study) else None
        config = config if earlier is None else keep_choices(config, earlier)
        for line in describe_plan(config, choose_first_trials(config, earlier)):
            terminal.say(line)
        return 0
    earlier = find_study(config)
    if earlier is not None:
        config = keep_choices(config, earlier)
        earlier, renewed = take_new_spaces(
            earlier, config, lambda dataset: bool(read_ledger(config.results.dataset(dataset).trials, best=False))
        )
        check_same_flags(earlier, config)
        for dataset in renewed:
            terminal.say(f"{dataset}: no trial has started yet, so the study takes the new search space")
    first_trials = choose_first_trials(config, earlier)
    if (
        earlier is not None
        and _is_finished(config)
        and same_files(earlier, config)
        and not lacks_baselines(config, earlier)
    ):
        terminal.say(f"study {config.study_name} is done: every trial has run.")
        collated = collate(config.results, over=True)
        if any(dataset.summary.best is not None for dataset in collated.values()):
            finish_driver(config.results, time.time())
        write_report(config.results, terminal)
        return report_study(config, collated, terminal)

    for plan in config.plans:
        check_trials(plan.space, plan.dataset)
        for line in describe_left_out(plan.space):
            terminal.say(f"{plan.dataset}: {line}")
    for plan in config.plans:
        up_to = f"{counted(plan.num_trials, 'trial')} of up to {counted(plan.max_epochs, 'epoch')}"
        terminal.say(f"{plan.dataset}: {up_to}; results go to {config.results.root}")

    from study.app.run_study import conduct_study  # after the checks: importing torch takes seconds

    return conduct_study(config, earlier, first_trials, terminal, resume_command=resume_command)


def _is_finished(config: StudyConfig) -> bool:
    """Return whether every ledger has as many ended trials as the study requests, and the best are confirmed."""
    from study.trials.more_epochs import count_missing, read_for_search
    from study.trials.selection.confirmation import select_winner

    for plan in config.plans:
        files, objective = config.results.dataset(plan.dataset), plan.row.task.objective
        records = read_for_search(files.trials, objective, plan.max_epochs)
        if count_missing(records, plan.num_trials):
            return False
        if select_winner(files, objective, records, config.num_confirmed, plan.space.first_trials).missing:
            return False
    return True


def _collate(words: Sequence[str], terminal: Terminal) -> int:
    from study.reporting.collation import collate, copy_results
    from study.storage.driver_file import is_over, read_driver
    from study.storage.location import locate
    from study.storage.paths import StudyPaths
    from study.trials.ledger import count_by_status

    parser = OneLineParser(
        prog="study/collate.py",
        description="Rebuild the tables of a finished, interrupted or running study.",
        epilog="example:\n  uv run study/collate.py results/birds",
    )
    parser.add_argument("folder", metavar="results/NAME", help="the study's folder, or its s3:// URL")
    parser.add_argument(
        "--copy",
        metavar="DIR",
        help="also copy the results there, without the trials' ledger, to be viewed without the store",
    )
    parsed = parser.parse(words)
    results = StudyPaths(locate(parsed.folder))
    over = is_over(read_driver(results), time.time())
    for dataset, (records, _) in collate(results, over=over).items():
        terminal.say(f"{dataset}: {counted(len(records), 'trial')}, {count_by_status(records, over=over)}")
        terminal.say(f"  {results.dataset(dataset).trials_table}")
    terminal.say(f"  {results.summary}")
    if parsed.copy is not None:
        terminal.say(f"{counted(copy_results(results, locate(parsed.copy)), 'file')} copied to {parsed.copy}")
    return 0


def _status(words: Sequence[str], terminal: Terminal) -> int:
    from study.reporting.status import describe_status
    from study.storage.location import locate
    from study.storage.paths import StudyPaths

    parser = OneLineParser(
        prog="study/status.py",
        description="Show the state of a study: running, interrupted or done.",
        epilog="example:\n  uv run study/status.py results/birds",
    )
    parser.add_argument("folder", metavar="results/NAME", help="the study's folder, or its s3:// URL")
    for line in describe_status(StudyPaths(locate(parser.parse(words).folder))):
        terminal.say(line)
    return 0


def _final(words: Sequence[str], terminal: Terminal) -> int:
    config = read_final_config(words)

    from study.app.train_final import train_final  # after the checks: importing torch takes seconds

    return train_final(config, terminal)


def run_with_terminal(command: Callable[[Terminal], int], resume_hint: str) -> int:
    """Run a command of a study and return its exit code.

    Args:
        command: Prints to a terminal and returns an exit code. Rules in its errors are printed with the names of flags.
        resume_hint: How to continue after an interruption or a failure of a store.
    """
    return run_with_exit_code(lambda: command(Terminal()), resume_hint, resumable=(StoreError,), rephrase=name_flags)
