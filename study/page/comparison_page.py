"""The page comparison.html: studies side by side, with charts of their values and of the paired differences."""

from datetime import UTC, datetime
from typing import Any

from pan_model.command_line import counted
from pan_model.scores import Interval
from study.analysis.comparison.compare_studies import Comparison, DatasetComparison
from study.page.blocks import Block, Chart, Page, Part, Section, Table, Text, Tone
from study.page.charts.methods import methods_chart
from study.page.charts.style import GREY
from study.page.comparison_tables import (
    HOW_TO_READ,
    TITLE,
    TableOfText,
    comparison_sections,
)
from study.page.formats import join_words, metric_name
from study.page.render import render_page


def comparison_page(comparison: Comparison, now_s: float) -> str:
    """Return a comparison as HTML.

    Args:
        comparison: The comparison.
        now_s: The time, in Unix seconds.
    """
    *of_datasets, differing = comparison_sections(comparison)
    sections = [
        Section(
            id=compared.dataset,
            heading=compared.dataset,
            lead=f"{section.title}. {_lead(compared)}",
            parts=[
                Part(
                    blocks=[
                        *_charts(compared),
                        *_notes(section.notes),
                        *(block for table in section.tables for block in _blocks(table)),
                    ]
                )
            ],
        )
        for compared, section in zip(comparison.datasets, of_datasets, strict=True)
    ]
    sections.append(
        Section(
            id="differences",
            heading=differing.title,
            lead="What the files of the studies record, where it is not the same in all. A result may come from any of "
            "it; a study that changes one thing at a time shows from which.",
            parts=[
                Part(
                    blocks=[
                        _studies(comparison),
                        *(block for table in differing.tables for block in _blocks(table)),
                        *_notes(differing.notes),
                    ]
                )
            ],
        )
    )
    reading = Section(
        id="reading",
        heading="How to read it",
        lead=HOW_TO_READ[0],
        parts=[Part(blocks=[Text(text=line) for line in HOW_TO_READ[1:]])],
    )
    return render_page(
        Page(
            title=f"{TITLE}: {join_words(comparison.labels)}",
            subtitle=f"{counted(len(comparison.studies), 'study', 'studies')}; the first that has a dataset is the "
            "reference there.",
            sections=[*sections, reading],
            footer=f"Written by PAN Study on {datetime.fromtimestamp(now_s, UTC):%Y-%m-%d %H:%M} UTC.",
        )
    )


def _lead(compared: DatasetComparison) -> str:
    """Return in words which studies are better or worse than the reference, on test and on val."""
    reference = compared.results[0].label
    tested = {
        split: [(one.label, lead) for one in compared.results if (lead := lead_of(one)) is not None and lead.verdict]
        for split, lead_of in (("test", lambda one: one.test_ahead), ("val", lambda one: one.val_ahead))
    }
    sentences: list[str] = []
    for split, leads in tested.items():
        for verdict in ("better", "worse"):
            labels = [label for label, lead in leads if lead.verdict == verdict]
            if labels:
                are = "is" if len(labels) == 1 else "are"
                sentences.append(f"{join_words(labels)} {are} {verdict} than {reference} on {split}.")
        unclear = [label for label, lead in leads if lead.verdict == "not shown"]
        if unclear:
            sentences.append(
                f"No difference from {reference} is shown on {split} for {join_words(unclear)}, which does not mean "
                "that there is none."
            )
    return " ".join(sentences) or f"No study could be paired with {reference}; the tables say why."


def _charts(compared: DatasetComparison) -> list[Block]:
    """Return the chart of all values, and that of the paired differences, where there are any."""
    usable = [result for result in compared.results if not result.refusal]
    metric = metric_name(compared.objective.name)
    reference = compared.results[0].label
    val = [(one.label, one.val) for one in usable if one.val is not None]
    test = [(one.label, one.test) for one in usable if one.test is not None]
    blocks: list[Block] = []
    if val:
        blocks.append(
            Chart(
                title="Best trial of each study",
                figure=methods_chart(metric, val, test),
                finding=f"{metric} with 95% intervals over questions. Intervals that overlap do not tell whether a "
                "paired difference is real.",
                table=_numbers("Values", val, test),
            )
        )
    val_leads = [(one.label, one.val_ahead.interval) for one in usable if one.val_ahead is not None]
    test_leads = [(one.label, one.test_ahead.interval) for one in usable if one.test_ahead is not None]
    if val_leads:
        blocks.append(
            Chart(
                title=f"Paired differences from {reference}",
                figure=_with_zero(methods_chart(f"minus {reference}", val_leads, test_leads)),
                finding="Question by question; above 0 is better. An interval that contains 0 shows no difference. The "
                "verdicts in the tables are corrected for the number of comparisons.",
                table=_numbers("Differences", val_leads, test_leads),
            )
        )
    return blocks or [Text(tone=Tone.MISSING, text="charts: no study kept the scores of single questions.")]


def _with_zero(figure: Any) -> Any:
    """Return the figure with a line at no difference."""
    figure.add_vline(x=0, line={"color": GREY, "width": 1, "dash": "dash"})
    return figure


def _studies(comparison: Comparison) -> Table:
    rows = [
        (label, study.paths.root, study.content["provenance"].get("created"))
        for label, study in zip(comparison.labels, comparison.studies, strict=True)
    ]
    return Table(caption="Studies", heads=("study", "folder", "begun"), rows=rows)


def _numbers(caption: str, val: list[tuple[str, Interval]], test: list[tuple[str, Interval]]) -> Table:
    on_test = dict(test)
    rows = [(label, str(interval), str(on_test[label]) if label in on_test else None) for label, interval in val]
    return Table(caption=caption, heads=("study", "val", "test"), rows=rows, folded=True)


def _blocks(table: TableOfText) -> list[Block]:
    blocks: list[Block] = [Table(caption=table.title, heads=table.heads, rows=table.rows)]
    return [*blocks, *_notes(table.notes)]


def _notes(notes: list[str]) -> list[Block]:
    return [Text(tone=Tone.NOTE, text=note) for note in notes]
