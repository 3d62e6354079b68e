"""A controlled comparison on the page: study/ablate.py's rows against the trial that they start from."""

from collections.abc import Sequence

from pan_model.command_line import counted
from study.analysis.study_data import DatasetData, StudyData
from study.page.blocks import Block, Chart, Table, Text, Tone
from study.page.charts.ablation import Curve, Variant, ablation_chart, ablation_curves
from study.page.charts.effects import SYMBOLS
from study.page.commands import ablate_command
from study.page.files import AblationFile, AblationRow, read_ablation
from study.page.formats import describe_config, join_words, metric_name, number, trial_name

MIN_CURVE = 3
"""Points from which a curve is drawn, the start's included."""


def ablation_blocks(study: StudyData, data: DatasetData) -> list[Block]:
    """Return the controlled comparison, or how to make one."""
    if data.winner is None:
        return []
    ablation = read_ablation(data.files)
    if isinstance(ablation, Text):
        return [ablation]
    if ablation is None:
        again = ablate_command(study, data)
        text = f"a controlled comparison, which varies one parameter of the winner and keeps the others: {again}"
        return [Text(tone=Tone.MISSING, text=text)]
    return _compared(data, ablation)


def _compared(data: DatasetData, ablation: AblationFile) -> list[Block]:
    metric, seeds = metric_name(data.objective.name), counted(len(ablation.seeds), "seed")
    start, described = _start(data, ablation)
    variants = [
        Variant(label=_label(row), difference=row.difference, ci95=row.difference_ci95)
        for row in ablation.rows
        if row.difference is not None
    ]
    table = Table(
        caption=f"Controlled comparison: {start} with one parameter varied, {seeds}",
        heads=("changed", "status", f"{metric} [95% interval]", f"difference to {start} [95% interval]", "errors"),
        rows=[
            [f"nothing: {start}", "", _with_interval(ablation.winner.mean, ablation.winner.ci95), None, None],
            *(_row(row) for row in ablation.rows),
        ],
        folded=bool(variants),
    )
    if not variants:
        text = "the chart of the controlled comparison. None of its trials has a value yet."
        return [Text(tone=Tone.MISSING, text=text), table]
    same = [variant.label for variant in variants if variant.is_identical]
    no_effect = (
        f" {join_words(same)}: identical answers, the same score in every question over all {seeds}, so the change had "
        "no effect."
        if same
        else ""
    )
    curves = {name: find_curves(ablation, name) for name in _numeric(ablation)}
    return [
        *(_curves_chart(data, name, found, start, described) for name, found in curves.items() if found),
        Chart(
            title="Controlled comparison",
            figure=ablation_chart(data.objective.name, variants, start),
            finding=f"Difference to {described}. Only the named parameter differs ({seeds}, the same questions): left "
            f"of 0 is worse. An interval that contains 0 may be noise.{no_effect}",
            table=table,
            wide=True,
        ),
    ]


def find_curves(ablation: AblationFile, parameter: str) -> list[Curve]:
    """Return the differences along a positive numeric parameter: a curve for each choice of the other changes.

    Curves need `MIN_CURVE` points. The start is a point of the curve without other changes, at 0.

    Args:
        ablation: The controlled comparison.
        parameter: A parameter that is varied.
    """
    own = ablation.winner.config.get(parameter)
    rows: dict[str, list[tuple[float, Variant]]] = {}
    gates: dict[str, object] = {}
    if isinstance(own, int | float) and own > 0:
        rows[""] = [(float(own), Variant(label=f"{parameter} = {number(own)}", difference=0.0, ci95=None))]
    for row in ablation.rows:
        others = {name: value for name, value in row.changes.items() if name != parameter}
        value = row.changes.get(parameter, own)
        # Without the parameter among its changes a row has the start's own value: a point of the curve of a grid.
        if row.difference is None or not isinstance(value, int | float) or value <= 0:
            continue
        name = ", ".join(f"{other} = {number(choice)}" for other, choice in others.items())
        variant = Variant(label=_label(row), difference=row.difference, ci95=row.difference_ci95)
        rows.setdefault(name, []).append((float(value), variant))
        gates[name] = others.get("gate")
    gates[""] = ablation.winner.config.get("gate")
    return [
        Curve(name=name, gate=str(gates[name]), points=tuple(sorted(points, key=lambda point: point[0])))
        for name, points in rows.items()
        if len(points) >= MIN_CURVE
    ]


def _numeric(ablation: AblationFile) -> list[str]:
    """Return the parameters that are varied over numbers."""
    names = dict.fromkeys(name for row in ablation.rows for name in row.changes)
    return [name for name in names if not isinstance(ablation.winner.config.get(name), str | bool)]


def _curves_chart(data: DatasetData, parameter: str, curves: Sequence[Curve], start: str, described: str) -> Chart:
    name = SYMBOLS.get(parameter, parameter)
    return Chart(
        title=f"Controlled comparison: {name}",
        figure=ablation_curves(data.objective.name, name, curves, start),
        finding=f"Difference to {described}, at 0, with 95% intervals over the same questions; only {name} differs "
        "along a curve. A point whose interval contains 0 may be noise.",
        table=Table(
            caption=f"Controlled comparison: {name}, numbers",
            heads=(name, "other changes", f"difference to {start} [95% interval]"),
            rows=[
                [number(x), curve.name, _with_interval(variant.difference, variant.ci95, "+")]
                for curve in curves
                for x, variant in curve.points
            ],
            folded=True,
        ),
        wide=True,
    )


def _start(data: DatasetData, ablation: AblationFile) -> tuple[str, str]:
    """Return what the rows are compared with: its name, and a description if it is not the winner."""
    trial_id, config = ablation.winner.trial_id, ablation.winner.config
    if data.winner is not None and trial_id == data.winner.trial_id:
        return "the winner", "the winner"
    record = next((record for record in data.records if record.trial_id == trial_id), None)
    value = data.best_value(record) if record else None
    on_val = "" if value is None else f"; val {value:.4f}"
    name = f"trial {trial_id}" if record is None else trial_name(record)
    return name, f"{name}, which is not the winner ({describe_config(config)}{on_val})"


def _row(row: AblationRow) -> list[object]:
    return [
        _label(row),
        row.status,
        _with_interval(row.mean, row.ci95),
        "identical answers"
        if row.difference == 0 and row.difference_ci95 == (0, 0)
        else _with_interval(row.difference, row.difference_ci95, "+"),
        "; ".join(row.errors) or None,
    ]


def _label(row: AblationRow) -> str:
    return ", ".join(f"{name} = {number(value)}" for name, value in row.changes.items())


def _with_interval(mean: float | None, ci95: tuple[float, float] | None, sign: str = "") -> str | None:
    if mean is None:
        return None
    ends = f" [{ci95[0]:{sign}.4f}, {ci95[1]:{sign}.4f}]" if ci95 else ""
    return f"{mean:{sign}.4f}{ends}"
