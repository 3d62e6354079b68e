"""Parallel coordinates."""

from collections.abc import Callable
from typing import Any

from study.analysis.coordinates import find_coordinates
from study.trials.ledger import Status

Make = Callable[..., Any]


def test_full_length_trials_have_lines_the_best_last(make_data: Make, make_trial: Make) -> None:
    records = [make_trial(number, value) for number, value in enumerate((0.5, 0.9, 0.7))]
    records.append(make_trial(3, 0.99, status=Status.STOPPED))
    figure = find_coordinates(make_data(records))
    assert [line.number for line in figure.lines] == [0, 2, 1]
    assert [line.is_winner for line in figure.lines] == [False, False, True]
    for line in figure.lines:
        config = records[line.number].config
        assert line.parameters == tuple(config.get(axis.name) for axis in figure.axes)


def test_axes_are_those_asked_for_then_pans_own(make_data: Make, make_trial: Make) -> None:
    figure = find_coordinates(make_data([make_trial(number, 0.5) for number in range(30)]), ("dropout", "encoder"), 4)
    assert [axis.name for axis in figure.axes] == ["dropout", "encoder", "supervision", "gate"]
    assert figure.axes[1].choices == ("proxynca", "siamese")
    assert figure.axes[0].choices == ()
    assert not figure.axes[0].log


def test_axes_follow_the_scale_and_the_choices_of_the_space(make_data: Make, make_trial: Make) -> None:
    data = make_data([make_trial(number, 0.5) for number in range(30)])
    axes = {axis.name: axis for axis in find_coordinates(data, num_axes=99).axes}
    assert axes["lambda"].log
    assert axes["weight_decay"].choices == ("0.0", "0.01", "0.1", "1.0")
    assert not {"seed", "max_epochs", "pairs_per_epoch"} & axes.keys()


def test_one_trial_or_none_has_no_axes(make_data: Make, make_trial: Make) -> None:
    assert find_coordinates(make_data([])).lines == ()
    assert find_coordinates(make_data([make_trial(0, 0.5)])).axes == ()
