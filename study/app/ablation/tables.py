"""Tables of a controlled comparison: ablation.md, ablation.csv and the lines on the terminal."""

from collections.abc import Mapping
from typing import Any

from pan_model.command_line import counted
from pan_model.flat import Scalar
from pan_model.scores import Interval
from study.app.ablation.results import AblationFile, Ends, RowEntry, Scores
from study.app.ablation.variations import describe_start, name_changes
from study.reporting.tables import markdown_table, to_csv
from study.storage.files import write_json, write_text
from study.storage.paths import AblationPaths
from study.trials.question_scores import describe_lead

DIFFERENCES = ("difference", "difference_new_seeds")


def write_ablation(paths: AblationPaths, content: AblationFile) -> None:
    """Write ablation.csv and ablation.md, then ablation.json."""
    write_text(paths.table, to_csv((), [_csv_row({}, content.winner, content), *_csv_rows(content)]))
    write_text(paths.page, "".join(f"{line}\n" for line in _page(content)))
    write_json(paths.ablation, content.model_dump(by_alias=True))


def describe_rows(content: AblationFile) -> list[str]:
    """Return the lines of the terminal: the winner's value, then each row's with its lead."""
    names = [name_winner(content), *(name_changes(row.changes) for row in content.rows)]
    width = max(map(len, names))
    leads = ["", *(_lead(row) for row in content.rows)]
    rows = zip(names, [content.winner, *content.rows], leads, strict=True)
    return [
        f"{content.dataset}: {content.metric.name} on val, mean over {counted(len(content.seeds), 'seed')}; all rows "
        "answer the same questions",
        *(f"  {name:{width}}  {_value(scores)}{f'  {lead}' if lead else ''}" for name, scores, lead in rows),
    ]


def name_winner(content: AblationFile) -> str:
    """Return the name of the winner's row, with its values of the varied parameters."""
    return describe_start(content.start, content.winner.config, content.varied)


def describe_verdict(lead: Interval) -> str:
    """Return a row's lead over the winner in words.

    >>> describe_verdict(Interval(-0.25, -0.5, 0.25))
    'behind by 0.2500 [-0.2500, 0.5000], within noise'
    """
    if lead == (0.0, 0.0, 0.0):
        return "no difference in any question"
    return describe_lead(lead) + (", within noise" if lead.low <= 0 <= lead.high else "")


def _value(scores: Scores) -> str:
    if scores.interval is not None:
        return str(scores.interval)
    if scores.errors:
        return f"failed ({scores.errors[0]})"
    done = sum(value is not None for value in scores.per_seed)
    return f"not done: {done} of {counted(len(scores.per_seed), 'seed')}"


def _lead(row: RowEntry) -> str:
    return "" if row.lead is None else describe_verdict(row.lead)


def _page(content: AblationFile) -> list[str]:
    has_new = len(content.seeds) > 1
    heads = [
        "",
        content.metric.name,
        f"compared with the {content.start}",
        *(["over new seeds"] if has_new else []),
        "each seed",
    ]
    new_leads = [describe_verdict(row.lead_new_seeds) if row.lead_new_seeds else "" for row in content.rows]
    rows = [
        [name_winner(content), _value(content.winner), "", *([""] if has_new else []), _seeds(content.winner)],
        *(
            [name_changes(row.changes), _value(row), _lead(row), *([new_lead] if has_new else []), _seeds(row)]
            for row, new_lead in zip(content.rows, new_leads, strict=True)
        ),
    ]
    seeds = ", ".join(map(str, content.seeds))
    changes = "changes" if content.grid else "one change at a time"
    return [
        f"# {content.start.capitalize()} on {content.dataset}, with {changes}",
        "",
        *markdown_table(heads, [[str(cell).replace("|", r"\|") for cell in row] for row in rows]),
        "",
        f"Trial {content.winner.trial_id} with changes, trained from each of the seeds {seeds} for up to "
        f"{counted(content.max_epochs, 'epoch')} on train; {content.epochs}.",
        f"Mean of {content.questions or 'the'} questions on val, each averaged over the seeds, with its 95% interval; "
        "differences are over the same questions. The test split was not read.",
        "",
        *_completions(content),
        *(f"**Caution**: {caution}.\n" for caution in content.cautions),
    ]


def _completions(content: AblationFile) -> list[str]:
    """Return a line for each row whose changes added or removed other parameters."""
    lines: list[str] = []
    for row in content.rows:
        ours = {name: value for name, value in row.config.items() if name not in row.changes}
        theirs = content.winner.config
        added = {name: value for name, value in ours.items() if theirs.get(name) != value}
        removed = [name for name in theirs if name not in row.config]
        parts = [f"with {name_changes(added)}"] if added else []
        parts += [f"without {', '.join(removed)}"] if removed else []
        if parts:
            lines += [f"{name_changes(row.changes)}: {', '.join(parts)}.", ""]
    return lines


def _seeds(scores: Scores) -> str:
    return ", ".join("-" if value is None else f"{value:.4f}" for value in scores.per_seed)


def _csv_rows(content: AblationFile) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for row in content.rows:
        cells = _csv_row(row.changes, row, content)
        for name in DIFFERENCES:
            cells |= {name: getattr(row, name)} | _csv_ends(name, getattr(row, f"{name}_ci95"))
        rows.append(cells)
    return rows


def _csv_row(changes: Mapping[str, Scalar], scores: Scores, content: AblationFile) -> dict[str, Any]:
    empty = {name: None for names in DIFFERENCES for name in (names, f"{names}_low", f"{names}_high")}
    return {
        "row": name_changes(changes) or content.start,
        "status": scores.status,
        "mean": scores.mean,
        **_csv_ends("mean", scores.ci95),
        **empty,
        "errors": "; ".join(scores.errors),
        **{f"seed.{seed}": value for seed, value in zip(content.seeds, scores.per_seed, strict=True)},
        **{f"config.{name}": value for name, value in scores.config.items() if name != "seed"},
    }


def _csv_ends(name: str, ends: Ends | None) -> dict[str, Any]:
    low, high = ends or (None, None)
    return {f"{name}_low": low, f"{name}_high": high}
