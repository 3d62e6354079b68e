"""A comparison of studies as tables and sentences, and these as Markdown, as lines for a terminal and as CSV."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pan_model.command_line import counted
from pan_model.scores import Interval
from study.analysis.comparison.compare_studies import Comparison, DatasetComparison, Result
from study.analysis.comparison.paired import Difference
from study.reporting.tables import markdown_table, to_csv
from study.terminal import duration
from study.trials.ledger import Status

TITLE = "Comparison of studies"

HOW_TO_READ = (
    "Brackets are 95% intervals over questions. A difference is question by question, on the same questions, and above "
    "0 if the study is better than the reference.",
    "Its interval is not corrected for the number of comparisons; p is, by Holm's method over all differences of the "
    "dataset. The verdict follows p, at 0.05.",
    "Every winner was chosen on val, so its value there is optimistic, the more so the more trials a study had. A "
    "difference covers the questions, not that the same search may find another winner when it is repeated.",
)


@dataclass(frozen=True, kw_only=True)
class TableOfText:
    """A table, and the sentences below it."""

    title: str
    heads: tuple[str, ...]
    rows: list[tuple[str, ...]]
    notes: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, kw_only=True)
class SectionOfTables:
    """A heading with its tables and sentences."""

    title: str
    tables: list[TableOfText]
    notes: list[str] = field(default_factory=list[str])


def comparison_sections(comparison: Comparison) -> list[SectionOfTables]:
    """Return a section for each dataset, then what differs between the studies."""
    sections = [_dataset_section(compared) for compared in comparison.datasets]
    rows = [
        (difference.topic.value, difference.name, *(value or "-" for value in difference.values))
        for difference in comparison.differences
    ]
    differing = TableOfText(title="Differences", heads=("kind", "what", *comparison.labels), rows=rows)
    notes = [f"{dataset}: only {label} has this dataset." for dataset, label in comparison.single.items()]
    if not rows:
        notes.insert(0, "Search space, data, backbone, flags and code are the same.")
    sections.append(
        SectionOfTables(title="What differs besides the results", tables=[differing] if rows else [], notes=notes)
    )
    return sections


def _dataset_section(compared: DatasetComparison) -> SectionOfTables:
    objective, results = compared.objective, compared.results
    better = "higher" if objective.mode == "max" else "lower"
    reference = results[0].label
    usable = [result for result in results if not result.refusal]
    tables = [_val_table(compared, usable)]
    if any(result.test is not None for result in usable):
        tables.append(_test_table(compared, usable))
    tables.append(_spent_table(results))
    if compared.parameters:
        tables.append(_parameter_table(compared))
    notes = [f"{result.label} is not compared: {result.refusal}." for result in results if result.refusal]
    notes += [f"{result.label}: {note}." for result in results for note in result.notes]
    return SectionOfTables(
        title=f"{compared.dataset}: {objective.name} ({better} is better), compared with {reference}",
        tables=tables,
        notes=notes,
    )


def _val_table(compared: DatasetComparison, usable: Sequence[Result]) -> TableOfText:
    heads, cells = _difference_columns(compared, [result.val_ahead for result in usable])
    return TableOfText(
        title="Best trial on val",
        heads=("study", "val", *heads),
        rows=[(one.label, _val_text(one), *difference) for one, difference in zip(usable, cells, strict=True)],
        notes=[
            *_count_note(usable, "val"),
            *(f"{one.label}: no paired difference, {one.val_unpaired}." for one in usable if one.val_unpaired),
        ],
    )


def _test_table(compared: DatasetComparison, usable: Sequence[Result]) -> TableOfText:
    heads, cells = _difference_columns(compared, [result.test_ahead for result in usable])
    rows = [
        (
            result.label,
            "none" if result.test is None else str(result.test),
            str(result.num_seeds or ""),
            *difference,
            "" if result.seeds_ahead is None else _signed(result.seeds_ahead.interval),
        )
        for result, difference in zip(usable, cells, strict=True)
    ]
    notes = [f"{one.label}: no paired difference, {one.test_unpaired}." for one in usable if one.test_unpaired]
    by_seed = [result.seeds_ahead.count for result in usable if result.seeds_ahead is not None]
    if by_seed:
        counts = " or ".join(map(str, sorted(set(by_seed))))
        notes.append(
            f"By seed: the difference of the means on the same questions, over {counts} seeds. Its interval, "
            "Student's, covers the randomness of training alone; it is not tested."
        )
    heads = ("study", "test", "seeds", *heads, *(["by seed"] if by_seed else []))
    return TableOfText(
        title="Final training on test",
        heads=heads,
        rows=[row[: len(heads)] for row in rows],
        notes=[*_count_note(usable, "test"), *notes],
    )


def _spent_table(results: Sequence[Result]) -> TableOfText:
    statuses = [status.value for status in Status]
    rows = [
        (
            result.label,
            str(result.data.summary.planned),
            *(str(result.data.summary.by_status[status]) for status in statuses),
            str(result.epochs_spent),
            str(result.data.summary.epochs_saved),
            duration(result.wall_s),
        )
        for result in results
    ]
    heads = ("study", "planned", *statuses, "epochs", "saved", "time of trials")
    return TableOfText(title="Trials and epochs", heads=heads, rows=rows)


def _parameter_table(compared: DatasetComparison) -> TableOfText:
    rows = [
        (name, *("-" if value is None else _value_text(value) for value in values))
        for name, values in compared.parameters.items()
    ]
    more = counted(compared.num_same, "more parameter is", "more parameters are")
    same = f"{more} the same in all." if compared.num_same else ""
    heads = ("parameter", *(result.label for result in compared.results))
    return TableOfText(title="Best configurations", heads=heads, rows=rows, notes=[same] if same else [])


def _count_note(usable: Sequence[Result], split: str) -> list[str]:
    leads = [result.val_ahead if split == "val" else result.test_ahead for result in usable]
    counts = sorted({lead.count for lead in leads if lead is not None})
    return [f"Differences are over the same {count} questions." for count in counts]


def _difference_columns(
    compared: DatasetComparison, leads: Sequence[Difference | None]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the heads of the columns of leads, and the cells of each row; none if there is no lead."""
    if not any(leads):
        return (), [()] * len(leads)
    heads = (f"minus {compared.results[0].label}", "p", "verdict")
    return heads, [("", "", "") if lead is None else _difference_cells(lead) for lead in leads]


def _difference_cells(lead: Difference) -> tuple[str, str, str]:
    p_value = "" if lead.corrected is None else f"{lead.corrected:.2g}"
    return _signed(lead.interval), p_value, lead.verdict


def _signed(interval: Interval) -> str:
    return f"{interval.mean:+z.4f} [{interval.low:z.4f}, {interval.high:z.4f}]"


def _val_text(result: Result) -> str:
    if result.value is None:
        return "no completed trial"
    return str(result.val) if result.val is not None else f"{result.value:.4f}"


def _value_text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def to_markdown(comparison: Comparison) -> str:
    """Return the page comparison.md."""
    lines = [f"# {TITLE}", "", *(f"- {line}" for line in study_lines(comparison)), "", *HOW_TO_READ]
    for section in comparison_sections(comparison):
        lines += ["", f"## {section.title}"]
        for table in section.tables:
            rows = ((cell.replace("|", r"\|") for cell in row) for row in table.rows)
            lines += ["", f"{table.title}:", "", *markdown_table(table.heads, rows)]
            lines += [line for note in table.notes for line in ("", note)]
        lines += ["", *(f"- {note}" for note in section.notes)] if section.notes else []
    return "\n".join(lines) + "\n"


def to_lines(comparison: Comparison) -> list[str]:
    """Return the lines for a terminal. What differs is one line each, with the studies that have a value."""
    *datasets, differing = comparison_sections(comparison)
    lines = [TITLE, *(f"  {line}" for line in study_lines(comparison))]
    for section in datasets:
        lines += ["", section.title]
        for table in section.tables:
            lines += ["", f"  {table.title}:", *_aligned(table.heads, table.rows)]
            lines += [f"  {note}" for note in table.notes]
        lines += ["", *(f"  {note}" for note in section.notes)] if section.notes else []
    lines += ["", f"{differing.title}:"]
    lines += [
        f"  {difference.topic.value:8} {difference.name}: {difference.by_value(comparison.labels)}"
        for difference in comparison.differences
    ]
    return [*lines, *(f"  {note}" for note in differing.notes), "", *HOW_TO_READ]


def study_lines(comparison: Comparison) -> list[str]:
    """Return a line for each study: its name, its folder and when it was begun."""
    return [
        f"{label}: {study.paths.root}, begun {study.content['provenance'].get('created', 'at an unknown time')}"
        for label, study in zip(comparison.labels, comparison.studies, strict=True)
    ]


def _aligned(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table with columns of equal width."""
    table = [list(heads), *map(list, rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(heads))]
    return [
        "    " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
    ]


CSV_COLUMNS = ("dataset", "study", "folder", "reference", "comparable")


def to_table(comparison: Comparison) -> str:
    """Return comparison.csv: one row for each dataset and study; unknown values are empty."""
    folders = {label: str(study.paths.root) for label, study in zip(comparison.labels, comparison.studies, strict=True)}
    rows = [
        _csv_row(compared, result, folders[result.label])
        for compared in comparison.datasets
        for result in compared.results
    ]
    return to_csv(CSV_COLUMNS, rows)


def _csv_row(compared: DatasetComparison, result: Result, folder: str) -> dict[str, Any]:
    summary = result.data.summary
    best, _, epoch = summary.best or (None, None, None)
    return {
        "dataset": compared.dataset,
        "study": result.label,
        "folder": folder,
        "reference": compared.results[0].label,
        "comparable": not result.refusal,
        "refusal": result.refusal,
        "metric": result.data.objective.name,
        "mode": result.data.objective.mode,
        **_csv_interval("val", result.val),
        "val": result.value,
        **_csv_difference("val_difference", result.val_ahead),
        "val_unpaired": result.val_unpaired,
        "seeds": result.num_seeds or None,
        **_csv_interval("test", result.test),
        **_csv_difference("test_difference", result.test_ahead),
        "test_unpaired": result.test_unpaired,
        **_csv_interval("by_seed_difference", result.seeds_ahead.interval if result.seeds_ahead else None),
        "planned": summary.planned,
        **summary.by_status,
        "epochs_spent": result.epochs_spent,
        "epochs_saved": summary.epochs_saved,
        "wall_s": result.wall_s,
        "notes": "; ".join(result.notes),
        "best_trial": None if best is None else best.trial_id,
        "best_epoch": epoch,
        **{f"config.{name}": value for name, value in (best.config if best else {}).items()},
    }


def _csv_interval(name: str, interval: Interval | None) -> dict[str, float | None]:
    mean, low, high = interval or (None, None, None)
    return {name: mean, f"{name}_low": low, f"{name}_high": high}


def _csv_difference(name: str, difference: Difference | None) -> dict[str, Any]:
    return {
        **_csv_interval(name, difference.interval if difference else None),
        f"{name}_p": difference.p_value if difference else None,
        f"{name}_p_corrected": difference.corrected if difference else None,
        f"{name}_count": difference.count if difference else None,
        f"{name}_verdict": difference.verdict if difference else "",
    }
