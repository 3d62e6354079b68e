"""How the winner was selected: its values at selection, at confirmation and on test, the candidates, and cautions."""

from typing import NamedTuple

from pan_model.command_line import counted
from pan_model.scores import Interval
from study.reporting.tables import markdown_table
from study.trials.selection.confirmation import Candidate, Selection

SELECTION_NOTE = (
    "Val at selection is the value by which a trial was chosen among many, which is optimistic. Val at confirmation is "
    "the mean of runs from other seeds on fresh questions, with other classes of train and val held out where items "
    "have classes. These are easier or harder than those of val, so values at confirmation compare with each other "
    "only. The winner is the best there; its lead over each other candidate is that question by question."
)


def describe_confirmation(selection: Selection) -> str:
    """Return the confirmed value of the winner, or why it is not confirmed."""
    chosen = selection.chosen
    if chosen is None:
        return f"not confirmed ({selection.why_not})"
    asked = f"{counted(chosen.num_questions, 'fresh question')}, {counted(len(chosen.judged), 'run')} from other seeds"
    gain = describe_gain(selection)
    return f"at confirmation {chosen.confirmed} ({asked}{'; ' if gain else ''}{gain})"


def describe_gain(selection: Selection) -> str:
    """Return what the search has gained over the search space's first trials; empty if that is not known."""
    chosen, first = selection.chosen, selection.best_first
    if chosen is None or first is None:
        return ""
    if chosen is first:
        return "the search found nothing better than this first trial of its space"
    lead = chosen.ahead_of(first)
    if lead is None:
        return "not compared with the best first trial: no run from the same seed completed"
    return f"ahead of the best first trial of its space, {first.record.number}, by {lead}"


def describe_values(selection: Selection, test: Interval | None) -> str:
    """Return the winner's values at selection, at confirmation and on test, or why they are not known.

    Args:
        selection: The candidates and their confirmation, with a winner.
        test: The value of the final training on test, if there was one.
    """
    winner = selection.candidate
    assert winner is not None
    tested = "not tested yet" if test is None else f"on test {test}"
    return f"val at selection {selected_text(winner)}, {describe_confirmation(selection)}, {tested}"


def selected_text(candidate: Candidate) -> str:
    """Return a candidate's value on val at selection, with its interval if it is known."""
    return f"{candidate.value:.4f}" if candidate.selected is None else str(candidate.selected)


class CandidateRow(NamedTuple):
    """A row of the table of candidates, as texts.

    Attributes:
        trial: The number and the id of the trial, and whether it is a first trial or the winner.
        selected: Its value on val at selection.
        confirmed: Its value at confirmation; empty without a completed run.
        lead: How far the winner is ahead of it at confirmation; empty for the winner, and where it is not known.
        each_run: The value of each completed run.
        runs: The number of runs, and how they ended.
    """

    trial: str
    selected: str
    confirmed: str
    lead: str
    each_run: str
    runs: str


def candidate_rows(selection: Selection) -> list[CandidateRow]:
    """Return a row for each candidate."""
    return [
        CandidateRow(
            _name(candidate)
            + (", a first trial" if candidate.is_first else "")
            + (", winner" if candidate is selection.candidate else ""),
            selected_text(candidate),
            "" if candidate.confirmed is None else str(candidate.confirmed),
            _lead_of_winner(selection.chosen, candidate),
            ", ".join(f"{value:.4f}" for value in candidate.per_seed),
            _describe_runs(candidate),
        )
        for candidate in selection.candidates
    ]


CANDIDATE_HEADS = ("trial", "val at selection", "val at confirmation", "the winner's lead", "each run", "runs")
"""The heads of the columns of `candidate_rows`."""


def _lead_of_winner(winner: Candidate | None, candidate: Candidate) -> str:
    lead = None if winner is None or winner is candidate else winner.ahead_of(candidate)
    return "" if lead is None else str(lead)


def _name(candidate: Candidate) -> str:
    return f"{candidate.record.number} ({candidate.trial_id})"


def _describe_runs(candidate: Candidate) -> str:
    epochs = f"{counted(len(candidate.judged), 'run')} of {counted(candidate.epoch, 'epoch')}"
    failed = [f"{len(candidate.failed)} failed ({candidate.failed[0].error})"] if candidate.failed else []
    return ", ".join([epochs, *failed, *([f"{candidate.num_missing} missing"] if candidate.num_missing else [])])


def describe_selection(selection: Selection, test: Interval | None) -> list[str]:
    """Return lines of Markdown with the winner's values, and the table of candidates."""
    values = describe_values(selection, test)
    lines = ["", f"{values[:1].upper()}{values[1:]}.", ""]
    if not selection.planned:
        return lines
    return [*lines, SELECTION_NOTE, "", *markdown_table(CANDIDATE_HEADS, candidate_rows(selection)), ""]


def find_selection_cautions(selection: Selection) -> list[str]:
    """Return facts about the confirmation that a reader should know: runs that failed, a winner other than val's."""
    chosen = selection.chosen
    lines = [
        f"{counted(len(candidate.failed), 'run')} that should confirm trial {candidate.trial_id} failed: "
        f"{candidate.failed[0].error.removesuffix('.')}"
        for candidate in selection.candidates
        if candidate.failed
    ]
    if chosen is None or chosen.confirmed is None:
        return lines
    first = selection.candidates[0]
    if chosen is not first and first.confirmed is not None:
        lines.append(
            f"the best trial on val, {first.trial_id} ({first.value:.4f}), is not the winner: at confirmation it has "
            f"{first.confirmed}, the winner {chosen.confirmed}"
        )
    return lines
