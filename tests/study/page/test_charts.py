"""Charts: the traces hold the numbers of the analyses, and stay apart without colours."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pan_model.model.gates import Gate
from pan_model.scores import Interval
from study.analysis.coordinates import find_coordinates
from study.analysis.effects import find_effects
from study.analysis.importance import Importance, ParameterImportance
from study.analysis.progress import best_so_far
from study.analysis.study_data import DatasetData, read_study_data
from study.page.charts import (
    conditions_chart,
    coordinates_chart,
    curves_chart,
    gate_chart,
    importance_chart,
    lambda_chart,
    methods_chart,
    progress_chart,
)
from study.page.charts.ablation import Variant, ablation_chart
from study.page.charts.effects import MEDIANS
from study.page.charts.focus import find_focus
from study.page.charts.search import first_drawn, top_range
from study.page.charts.style import COLOURS, DARK, GATE_MARKERS, channels
from study.storage.paths import StudyPaths
from study.trials.ledger import Status, TrialRecord

Trace = dict[str, Any]


@pytest.fixture
def data(
    tmp_path: Any,
    write_study: Callable[..., StudyPaths],
    write_trial: Callable[..., None],
    record: Callable[..., TrialRecord],
) -> DatasetData:
    """A study with 12 completed trials on two gates, λ from 1e-4 to 1e-1, and one that learnt nothing."""
    paths = write_study(tmp_path / "birds")
    for number in range(3, 15):
        config = {**record(number, Status.COMPLETED).config, "supervision": "supervised", "encoder": "siamese"}
        config |= {"gate": "XNOR" if number % 2 else "OR", "lambda": 10.0 ** (-1 - number % 4)}
        value = 0.1 if number == 14 else 0.8 + number / 100
        write_trial(paths.dataset("demo").trials, record(number, Status.COMPLETED, value - 0.1, value, config=config))
    return read_study_data(paths).datasets["demo"]


def traces(figure: Any) -> list[Trace]:
    return [trace.to_plotly_json() for trace in figure.data]


def test_each_gate_has_its_points_its_symbol_and_its_colour(data: DatasetData):
    effects = find_effects(data)
    figure = lambda_chart(effects)
    points = {trace["name"]: trace for trace in traces(figure) if trace["mode"] == "markers"}
    gates = [name for name in points if name != "winner"]
    assert sum(len(points[name]["x"]) for name in gates) == effects.lambda_.num_full
    assert len({points[name]["marker"]["color"] for name in gates}) == len(gates)
    assert figure.layout["xaxis"]["type"] == "log"
    assert {round(float(x), 9) for x in points["winner"]["x"]} <= {1e-1, 1e-2, 1e-3, 1e-4}


def test_a_gate_looks_the_same_in_every_chart_and_a_trial_that_learnt_nothing_is_hollow(data: DatasetData):
    effects = find_effects(data)
    figure = gate_chart(effects)
    symbols = {trace["name"]: {*trace["marker"]["symbol"]} for trace in traces(figure) if trace["name"] in GATE_MARKERS}
    assert symbols["OR"] == {"bowtie", "bowtie-open"}
    assert symbols["XNOR"] == {"x"}
    against_lambda = {
        trace["name"].split(" ")[0]: trace["marker"] for trace in traces(lambda_chart(effects)) if "marker" in trace
    }
    for gate in ("OR", "XNOR"):
        assert {*against_lambda[gate]["symbol"]} == symbols[gate]
        assert against_lambda[gate]["color"] == GATE_MARKERS[gate][0]
    low, high = figure.layout["xaxis"]["range"]
    assert low > 0.5
    assert high > 0.93
    assert GATE_MARKERS.keys() == {*Gate, "no gate"}
    assert len({symbol for _, symbol in GATE_MARKERS.values()}) == len(GATE_MARKERS)


def test_the_winner_has_its_star_and_is_in_the_range_of_every_chart(
    data: DatasetData, tmp_path: Any, write_trial: Callable[..., None], record: Callable[..., TrialRecord]
):
    config = {"encoder": "siamese", "supervision": "unsupervised", "num_conditions": 1}
    write_trial(data.files.trials, record(20, Status.COMPLETED, 0.9, 0.99, config=config))
    effects = find_effects(read_study_data(StudyPaths(tmp_path / "birds")).datasets["demo"])
    for draw, axis in ((lambda_chart, "yaxis"), (gate_chart, "xaxis"), (conditions_chart, "yaxis")):
        figure = draw(effects)
        [star] = [trace for trace in traces(figure) if trace["name"].startswith("winner")]
        assert star[axis[0]][0] == 0.99
        assert figure.layout[axis]["range"][1] > 0.99


def test_medians_have_a_curve_only_where_the_ranges_differ(data: DatasetData):
    effect = find_effects(data)
    for chance, expected in ((0.5, "median of a range"), (0.001, MEDIANS)):
        effects = replace(effect, lambda_=replace(effect.lambda_, chance=chance))
        names = [trace["name"] for trace in traces(lambda_chart(effects)) if trace["name"].startswith("median")]
        assert names == [expected]


def test_focus_keeps_the_best_and_counts_what_is_outside():
    focus = find_focus([0.1, 0.2, 0.21, 0.22, 5.0], "min")
    assert (focus.low, focus.num_outside) == (0.1, 1)
    assert focus.is_outside(5.0)
    assert focus.clip(5.0) == focus.high
    assert find_focus([]).padded == pytest.approx([-0.06, 1.06])


def test_curves_have_every_epoch_and_the_state_at_the_end(data: DatasetData):
    figure = curves_chart(best_so_far(data))
    by_name = {trace["name"]: trace for trace in traces(figure)}
    completed = sum(record.status is Status.COMPLETED for record in data.records)
    epochs = sum(len(record.history) for record in data.completed)
    assert sum(x is not None for x in by_name[f"completed ({completed})"]["x"]) == epochs
    assert by_name["stopped early"]["marker"]["symbol"] == "x"
    assert by_name[f"completed ({completed})"]["line"]["dash"] != by_name["stopped early (1)"]["line"]["dash"]


def test_the_best_so_far_ends_with_the_winner(data: DatasetData):
    progress = best_so_far(data)
    [trace] = traces(progress_chart(progress))
    assert data.winner is not None
    assert trace["y"][-1] == data.best_value(data.winner)
    assert trace["x"][-1] == progress.epochs_spent
    assert trace["marker"]["size"][-1] == 0


def test_small_gains_at_the_end_are_drawn_enlarged(data: DatasetData):
    progress = best_so_far(data)
    steps = [replace(progress.points[0], value=value) for value in (0.2, 0.5, 0.9, 0.91)]
    progress = replace(progress, points=tuple(steps))
    assert first_drawn(progress) == 2
    low, high = progress_chart(progress).layout["yaxis"]["range"]
    assert [low, high] == pytest.approx([0.8988, 0.9112])
    assert first_drawn(replace(progress, points=progress.points[:2])) == 0


def test_the_best_curves_have_a_panel_of_their_own(data: DatasetData):
    progress = best_so_far(data)
    assert top_range(replace(progress, curves=progress.curves[:5])) is None
    best = [0.9 + place / 1000 for place in range(9)]
    curve = next(curve for curve in progress.curves if curve.status is Status.COMPLETED)
    curves = [
        replace(curve, values=(0.1, value), best=value, is_winner=value == best[-1], epochs=(1, 2)) for value in best
    ]
    progress = replace(progress, curves=tuple(curves))
    assert top_range(progress) == (0.903, 0.908)
    figure = curves_chart(progress)
    assert [trace.yaxis for trace in figure.data].count("y2") * 2 == len(figure.data)
    assert [note.text for note in figure.layout.annotations if "chance" in note.text] == ["chance, 0.2"]


def test_lines_pass_below_an_axis_whose_parameter_they_lack(data: DatasetData):
    coordinates = find_coordinates(data)
    lines = [trace for trace in traces(coordinates_chart(coordinates)) if trace["name"] != "winner"]
    heights = [y for trace in lines for y in trace["y"] if y is not None]
    assert sum(y is None for trace in lines for y in trace["y"]) == len(coordinates.lines)
    assert max(heights) == 1
    assert all(y == -0.12 or 0 <= y <= 1 for y in heights)


def test_importance_separates_what_chance_explains():
    def parameter(name: str, share: float, *, stands_out: bool) -> ParameterImportance:
        return ParameterImportance(
            name=name, share=share, low=share / 2, high=1.0, by_chance=0.1, stands_out=stands_out, num_trials=9
        )

    importance = Importance(
        parameters=(parameter("lambda", 0.9, stands_out=True), parameter("gate", 0.1, stands_out=False)),
        num_completed=20,
        num_stopped=5,
        num_top=5,
        num_left_out=0,
        num_resamples=80,
        verdict="",
        too_few="",
    )
    chance, beyond, others = traces(importance_chart(importance))
    assert [chance["x"], beyond["x"], others["x"]] == [[0.1, 0.1], [0.9], [0.1]]
    assert beyond["error_x"]["arrayminus"] == [0.45]
    assert beyond["marker"]["symbol"] != others["marker"]["symbol"]


def test_methods_are_ranked_by_test_where_there_is_one():
    val = [("PAN", Interval(0.9, 0.8, 1.0)), ("nearest_class_mean", Interval(0.5, 0.4, 0.6))]
    test = [("PAN", Interval(0.3, 0.2, 0.4)), ("nearest_class_mean", Interval(0.6, 0.5, 0.7))]
    assert [entry["text"] for entry in methods_chart("recall@1", val).layout["annotations"]] == [
        "PAN",
        "nearest_class_mean",
    ]
    figure = methods_chart("recall@1", val, test)
    assert figure.layout["annotations"][0]["text"] == "nearest_class_mean"
    assert [trace["name"] for trace in traces(figure)] == ["val", "test"]


def test_an_ablation_without_an_interval_has_a_bar_of_no_width():
    variants = [Variant(label="gate = OR", difference=-0.1, ci95=None)]
    [trace] = traces(ablation_chart("recall@1", variants))
    assert (trace["x"], trace["error_x"]["array"]) == ([-0.1], [0.0])


def test_an_ablation_row_without_any_other_answer_says_so():
    figure = ablation_chart("recall@1", [Variant(label="lambda = 1", difference=0.0, ci95=(0.0, 0.0))])
    assert [*figure.data[0]["x"]] == []
    assert [note["text"] for note in figure.layout["annotations"]] == ["lambda = 1", "identical answers"]


def test_every_colour_has_contrast_in_both_modes():
    def luminance(colour: str) -> float:
        linear = [
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (x / 255 for x in channels(colour))
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(a: str, b: str) -> float:
        high, low = sorted((luminance(a), luminance(b)), reverse=True)
        return (high + 0.05) / (low + 0.05)

    assert DARK.keys() == {*COLOURS}
    for light, dark in DARK.items():
        assert contrast(light, "#f5f6f8") >= 3
        assert contrast(dark, "#212327") >= 3
