"""The report at the end of a study: results, files and the commands that may follow."""

from collections.abc import Mapping, Sequence

from pan_model.command_line import counted
from pan_model.data.splits import Split
from study.config.dataset_plan import DatasetPlan
from study.config.study_config import StudyConfig
from study.reporting.collation import Collated
from study.reporting.comparison import MethodScores, rank_baselines
from study.reporting.next_commands import next_commands
from study.reporting.selection import candidate_rows, describe_values
from study.reporting.summary import DatasetSummary
from study.storage.files import exists
from study.storage.location import Location
from study.terminal import Terminal
from study.trials.ledger import Status, count_by_status
from study.trials.more_epochs import as_searched, count_missing
from study.trials.question_scores import describe_lead

NUM_SHOWN = 3
"""Number of baselines that the terminal shows: the best ones."""


def report_study(config: StudyConfig, collated: Mapping[str, Collated], terminal: Terminal, ended_by: str = "") -> int:
    """Print the result of each dataset, the files of the study and the commands that may follow.

    Args:
        config: The study.
        collated: The trials and the summary of each dataset.
        terminal: Prints the lines.
        ended_by: Why the search ended early, if a limit of time or hardware ended it.

    Returns:
        The exit code: 0, or 1 if no trial completed on any dataset.
    """
    completed = [_report_dataset(config, plan, collated[plan.dataset], ended_by, terminal) for plan in config.plans]
    terminal.say("made:")
    for path in _files_made(config):
        terminal.say(f"  {path}")
    commands = next_commands(config, {plan.dataset: collated[plan.dataset].summary for plan in config.plans})
    print_next(commands, terminal)
    return 0 if any(completed) else 1


def print_next(commands: Sequence[str], terminal: Terminal) -> None:
    """Print the commands that may follow, if there are any."""
    for line in ("next:", *(f"  {command}" for command in commands)) if commands else ():
        terminal.say(line)


def _report_dataset(
    config: StudyConfig, plan: DatasetPlan, collated: Collated, ended_by: str, terminal: Terminal
) -> bool:
    """Print the result of one dataset; return whether a trial completed."""
    records, summary = collated
    terminal.say(f"{plan.dataset}: {counted(len(records), 'trial')}, {count_by_status(records, over=True)}")
    objective = plan.row.task.objective
    searched = as_searched(records, config.results.dataset(plan.dataset).trials, objective, plan.max_epochs)
    if count_missing(searched, plan.num_trials):
        reason = ended_by or "the space was used up"
        terminal.say(
            f"{plan.dataset}: {reason} before {counted(plan.num_trials, 'trial')} had ended; --resume continues"
        )
    elif summary.selection.missing and ended_by:
        terminal.say(f"{plan.dataset}: {ended_by} before the best were confirmed; --resume continues")
    if any(record.status is Status.FAILED for record in records):
        table = config.results.dataset(plan.dataset).trials_table
        terminal.say(f"{plan.dataset}: the column error of {table} says why trials failed")
    if summary.best is None:
        terminal.say(f"{plan.dataset}: no trial completed")
        return False
    record, value, epoch = summary.best
    terminal.say(f"{plan.dataset}: best {summary.metric} {value:.4f} (val), trial {record.trial_id}, epoch {epoch}")
    print_selection(summary, terminal)
    print_comparison(summary, terminal)
    return True


def print_selection(summary: DatasetSummary, terminal: Terminal) -> None:
    """Print the winner's values at selection, at confirmation and on test, and the candidates."""
    terminal.say(f"  {describe_values(summary.selection, summary.scores[0].test)}")
    if summary.selection.planned:
        for row in candidate_rows(summary.selection):
            lead = f", the winner ahead by {row.lead}" if row.lead else ""
            confirmed = row.confirmed or "not known"
            terminal.say(f"  trial {row.trial}: {row.selected}, at confirmation {confirmed}{lead}; {row.runs}")


def print_comparison(summary: DatasetSummary, terminal: Terminal) -> None:
    """Print the best baselines' scores on val with PAN's lead, and the cautions."""
    for line in best_lines(summary.scores, Split.VAL, "summary.md"):
        terminal.say(line)
    for caution in summary.cautions:
        terminal.say(f"  caution: {caution}")


def best_lines(scores: Sequence[MethodScores], split: Split, table: str) -> list[str]:
    """Return a line for each of the best baselines on a split, with PAN's lead, and one that counts the others.

    Args:
        scores: The scores of PAN and the baselines.
        split: Val or test.
        table: The file with the table of all baselines.
    """
    leads = rank_baselines(scores, split)
    lines = [f"  {lead.method}: {lead.score.mean:.4f}; PAN {describe_lead(lead.ahead)}" for lead in leads[:NUM_SHOWN]]
    others = len(leads) - NUM_SHOWN
    return [*lines, f"  {counted(others, 'baseline')} below these: see {table}"] if others > 0 else lines


def _files_made(config: StudyConfig) -> list[Location]:
    results = config.results
    paths = [results.report, results.summary, results.study, results.tensorboard]
    for plan in config.plans:
        files = results.dataset(plan.dataset)
        paths += [files.best_config, files.backbone, files.trials_table, files.history_table, files.journal]
        paths += [files.examples]
    return [path for path in paths if exists(path)]
