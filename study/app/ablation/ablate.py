"""A controlled comparison: train a study's winner with one parameter changed at a time, and compare on val."""

import shlex
import time
from collections.abc import Callable, Mapping, Sequence

from study.app.ablation.config import AblationConfig
from study.app.commands import run_with_terminal
from study.app.flags import read_ablation_config
from study.app.report_page import write_report
from study.config.provenance import provenance
from study.storage.files import exists, storage_of
from study.storage.location import absolute
from study.storage.paths import StudyPaths
from study.terminal import Terminal, duration

PROBE = ".ablation."
"""Prefix of the file that tests whether a store can be written."""


def ablate_command(words: Sequence[str]) -> int:
    """Run study/ablate.py.

    Args:
        words: The command line.

    Returns:
        The exit code.
    """
    resume_hint = f"all finished epochs are saved; go on with: uv run study/ablate.py {shlex.join(words)}"
    return run_with_terminal(lambda terminal: ablate(read_ablation_config(words), terminal), resume_hint)


def ablate(
    config: AblationConfig, terminal: Terminal, describe_code: Callable[[], Mapping[str, str]] = provenance
) -> int:
    """Train the trials that a comparison lacks, and write it. The test split is never read.

    Args:
        config: The flags.
        terminal: Shows progress and results.
        describe_code: Returns the code and the libraries that run.

    Returns:
        The exit code: 0, or 1 if no row has completed.

    Raises:
        UserError: If a flag, a file or the data are not those that the winner needs. Nothing is written then.
    """
    import torch  # after the flags are checked: it takes seconds

    from pan_model.reproducibility import deterministic_arithmetic
    from study.app.ablation.dry_run import describe_plan
    from study.app.ablation.plan import make_plan
    from study.app.ablation.start import start_from
    from study.app.ablation.tables import describe_rows, write_ablation
    from study.app.ablation.training import load_workers, plan_workers, train_trials
    from study.app.prepare_again import prepare_again
    from study.config.choices import Regime
    from study.reporting.best_config import read_best_config

    best = dict(start_from(read_best_config(config.best_config), config))
    plan = make_plan(best, config, describe_code())
    missing = plan.missing
    regime = Regime(best["features"]["regime"])
    workers = plan_workers(config, regime, num_trials=len(missing), num_gpus=torch.cuda.device_count())
    if config.dry_run:
        for line in describe_plan(plan):
            terminal.say(line)
        return 0
    storage_of(config.folder).check_writable(config.folder, "the comparison", "--output", probe=PROBE)
    started_s = time.monotonic()
    if missing:
        load_workers(workers)
        with deterministic_arithmetic():
            prepared = prepare_again(best, config, terminal)
            for line in describe_plan(plan):
                terminal.say(line)
            write_ablation(plan.paths, plan.compare())

            def trial_ended() -> None:
                plan.read_again()
                write_ablation(plan.paths, plan.compare())

            train_trials(missing, prepared, plan.paths, config, workers, terminal, trial_ended)
    content = plan.compare()
    write_ablation(plan.paths, content)
    for line in describe_rows(content):
        terminal.say(line)
    for caution in content.cautions:
        terminal.say(f"caution: {caution}")
    if missing:
        terminal.say(f"time: {duration(time.monotonic() - started_s)}")
    terminal.say("made:")
    for path in (plan.paths.page, plan.paths.table, plan.paths.ablation):
        terminal.say(f"  {path}")
    _redraw_report(config, terminal)
    return 0 if any(row.status == "completed" for row in content.rows) else 1


def _redraw_report(config: AblationConfig, terminal: Terminal) -> None:
    """Write the report of the study again, which draws the comparison, if it is in its default folder."""
    results = StudyPaths(absolute(config.best_config).parent.parent)
    is_default = config.folder == config.best_config.parent / "ablation"
    if is_default and exists(results.study) and write_report(results, terminal):
        terminal.say(f"  {config.best_config.parent.parent / 'report.html'}")
