"""Curves of a controlled comparison: which rows are on which curve."""

import json
from typing import Any

import pytest

from study.page.charts.ablation import ablation_curves
from study.page.files import AblationFile
from study.page.sections.ablation import find_curves

WINNER = {"gate": "XNOR", "lambda": 0.01, "num_conditions": 8}


def comparison(*changes: dict[str, Any], unfinished: dict[str, Any] | None = None) -> AblationFile:
    rows: list[dict[str, Any]] = [
        {"changes": change, "status": "completed", "difference": -0.1 * place, "difference_ci95": [-1.0, 1.0]}
        for place, change in enumerate(changes)
    ]
    if unfinished:
        rows.append({"changes": unfinished, "status": "running"})
    content = {
        "schema": "pan-study/ablation/1",
        "seeds": [0],
        "winner": {"trial_id": "a", "config": WINNER},
        "rows": rows,
    }
    return AblationFile.model_validate_json(json.dumps(content))


def test_the_start_is_a_point_of_its_curve_at_0():
    found = find_curves(comparison({"lambda": 1.0}, {"lambda": 1e-5}, unfinished={"lambda": 10.0}), "lambda")
    [curve] = found
    assert (curve.name, curve.gate) == ("", "XNOR")
    assert [(x, variant.difference) for x, variant in curve.points] == [(1e-5, -0.1), (0.01, 0.0), (1.0, 0.0)]


def test_a_grid_has_a_curve_for_each_gate():
    changes = [{"lambda": 1.0}, {"lambda": 1e-5}, {"gate": "OR"}]
    changes += [{"lambda": value, "gate": "OR"} for value in (1.0, 1e-5)]
    start, other = find_curves(comparison(*changes), "lambda")
    assert (start.name, start.gate, other.name, other.gate) == ("", "XNOR", "gate = OR", "OR")
    assert [x for x, _ in other.points] == [1e-5, 0.01, 1.0]  # the row with the start's own value is in the middle
    figure = ablation_curves("recall@1", "λ", [start, other])
    assert [trace.name for trace in figure.data] == ["only λ changed", "gate = OR"]
    assert [*figure.data[0].x] == [1e-5, 0.01, 1.0]
    assert figure.data[0].error_y.array[0] == pytest.approx(1.1)


def test_rows_of_another_parameter_and_two_points_are_no_curve():
    assert find_curves(comparison({"lambda": 1.0}, {"gate": "OR"}), "lambda") == []
    assert find_curves(comparison({"num_conditions": 16}, {"num_conditions": 32}), "lambda") == []
