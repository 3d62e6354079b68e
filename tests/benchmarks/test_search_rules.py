"""Test the study of studies: studies cut in the order of their epochs, winners, intervals over seeds, tables, arms."""

import argparse
import doctest
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pan_model.flat import Scalar
from pan_model.objective import Objective
from study.trials.ledger import Status, TrialRecord

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
ACCURACY = Objective("accuracy", "max")
Import = Callable[[str], Any]
"""Imports a module of the benchmarks by its name."""

FIRST: list[dict[str, Scalar]] = [{"encoder": "siamese", "gate": "OR"}]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Import:
    """Return a function that imports a module of the benchmarks."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return __import__


def record(
    number: int,
    values: list[float],
    *,
    start_s: float = 0.0,
    seconds: float = 10.0,
    wait_s: float = 0.0,
    status: Status = Status.COMPLETED,
    gate: str = "XOR",
) -> TrialRecord:
    """Return a trial whose epochs take `seconds` each; it waits after its first epoch."""
    epochs: list[dict[str, int | float]] = [
        {"epoch": epoch, "accuracy": value, "time/train_s": seconds - 1, "time/evaluate_s": 1.0}
        for epoch, value in enumerate(values, 1)
    ]
    end_s = start_s + seconds * len(values) + wait_s
    return TrialRecord(
        trial_id=f"trial-{number}",
        number=number,
        config={"encoder": "siamese", "gate": gate, "seed": 0},
        status=status,
        history=epochs,
        started=_time(start_s),
        ended=None if status is Status.RUNNING else _time(end_s),
    )


def _time(seconds: float) -> str:
    return f"2026-01-01T00:{int(seconds) // 60:02d}:{seconds % 60:06.3f}+00:00"


def test_trials_of_a_serial_study_are_cut_one_after_another(module: Import):
    cuts = module("study_cuts")
    records = [record(0, [0.5, 0.6]), record(1, [0.7, 0.9], start_s=20), record(2, [0.8], start_s=40)]
    assert cuts.epochs_in_order(records) == [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1)]
    at_three = cuts.cut(records, cuts.Unit.EPOCHS, 3)
    assert [(r.trial_id, len(r.history), r.status) for r in at_three] == [
        ("trial-0", 2, Status.COMPLETED),
        ("trial-1", 1, Status.RUNNING),
    ]
    assert cuts.cut(records, cuts.Unit.EPOCHS, 99) == records
    assert cuts.spent_by(at_three) == cuts.Spent(epochs=3, seconds=30)


def test_seconds_count_the_epochs_that_had_ended(module: Import):
    cuts = module("study_cuts")
    records = [record(0, [0.5], seconds=7), record(1, [0.6, 0.7], start_s=7)]
    assert [len(r.history) for r in cuts.cut(records, cuts.Unit.SECONDS, 26.9)] == [1, 1]
    assert [len(r.history) for r in cuts.cut(records, cuts.Unit.SECONDS, 27)] == [1, 2]


def test_a_trial_that_waited_after_its_first_epoch_goes_on_after_the_others(module: Import):
    cuts = module("study_cuts")
    records = [record(0, [0.5, 0.6, 0.7], wait_s=25), record(1, [0.4], start_s=12), record(2, [0.3], start_s=23)]
    assert cuts.epochs_in_order(records) == [(0, 1), (1, 1), (2, 1), (0, 2), (0, 3)]
    assert [len(r.history) for r in cuts.cut(records, cuts.Unit.EPOCHS, 4)] == [2, 1, 1]


def test_an_interrupted_trial_has_the_epochs_that_followed_its_start(module: Import):
    cuts = module("study_cuts")
    records = [record(0, [0.5]), record(1, [0.4, 0.5], start_s=10, status=Status.RUNNING)]
    assert cuts.epochs_in_order(records) == [(0, 1), (1, 1), (1, 2)]


def test_a_trial_without_a_time_is_refused(module: Import):
    cuts = module("study_cuts")
    old = TrialRecord(trial_id="a", number=0, config={}, status=Status.COMPLETED, history=[{"epoch": 1}])
    with pytest.raises(SystemExit, match="trial a has no time of its start"):
        cuts.epochs_in_order([old])


def test_the_winner_is_a_completed_trial_or_the_best_begun(module: Import):
    cuts = module("study_cuts")
    first = record(0, [0.5, 0.6], gate="OR")
    stopped = record(1, [0.9], start_s=20, status=Status.STOPPED)
    winner = cuts.winner_of([first, stopped], ACCURACY, FIRST)
    assert (winner.trial_id, winner.epoch, winner.value, winner.suggested) == ("trial-0", 2, 0.6, False)
    begun = cuts.winner_of([stopped, record(2, [0.95], status=Status.FAILED)], ACCURACY, FIRST)
    assert (begun.trial_id, begun.suggested) == ("trial-1", True)
    assert cuts.winner_of([], ACCURACY, FIRST) is None
    assert cuts.best_first_of([first, stopped], ACCURACY, FIRST).trial_id == "trial-0"
    assert cuts.best_first_of([stopped], ACCURACY, FIRST) is None


def test_intervals_are_those_of_the_t_distribution(module: Import):
    intervals = module("seed_intervals")
    interval = intervals.interval_of([0.01, 0.02, 0.03])
    assert interval.half == pytest.approx(4.302653 * 0.01 / 3**0.5, rel=1e-6)  # t of a table, 2 degrees of freedom
    assert str(interval) == "+0.0200 [-0.0048, +0.0448]"
    assert str(intervals.interval_of([0.5])) == "+0.5000"
    assert str(intervals.interval_of([])) == ""
    assert doctest.testmod(intervals, optionflags=doctest.ELLIPSIS).failed == 0


def test_arms_are_compared_on_the_seeds_that_both_have(module: Import):
    paired = module("seed_intervals").paired({0: 0.5, 1: 0.7, 2: 0.9}, {1: 0.6, 2: 0.9, 5: 0.0})
    assert (paired.n, paired.mean) == (2, pytest.approx(0.05))


def study(
    outcomes: Any, arm: str, records: list[TrialRecord], best: tuple[str, int, float], seed: int = 0, **more: Any
) -> Any:
    """Return a finished study whose best_config.json names a trial and its epoch."""
    trial_id, epoch, value = best
    return outcomes.FinishedStudy(
        arm=arm,
        seed=seed,
        objective=ACCURACY,
        data={"fingerprint": "f", "features": {}},
        first_trials=FIRST,
        records=records,
        best={"trial_id": trial_id, "metric": {"epoch": epoch, "value": value}, **more},
        confirming=outcomes.Spent(epochs=4, seconds=40) if more else outcomes.Spent(epochs=0, seconds=0),
    )


def test_outcomes_at_equal_epochs_and_as_run(module: Import):
    outcomes = module("rule_outcomes")
    first, better = record(0, [0.5, 0.6], gate="OR"), record(1, [0.7, 0.8], start_s=20)
    small = study(outcomes, "small", [first], ("trial-0", 2, 0.6))
    large = study(outcomes, "large", [first, better], ("trial-0", 2, 0.6), confirmation={"value": 0.55})
    of_large = {o.cut: o for o in outcomes.outcomes_of([small, large], {}) if o.arm == "large"}
    equal, as_run = of_large[outcomes.Cut.EPOCHS], of_large[outcomes.Cut.RUN]
    assert (equal.spent.epochs, equal.winner.trial_id, equal.confirmed) == (2, "trial-0", None)
    assert (as_run.spent.epochs, as_run.winner.trial_id, as_run.confirmed) == (8, "trial-0", 0.55)
    later = outcomes.outcomes_of([small, large], {outcomes.Unit.EPOCHS: 4})
    winners = {o.arm: o.winner.trial_id for o in later if o.cut is outcomes.Cut.EPOCHS}
    assert winners == {"small": "trial-0", "large": "trial-1"}


def test_the_table_has_differences_over_seeds_and_counts_suggested_winners(module: Import):
    outcomes = module("rule_outcomes")
    judged: list[Any] = []
    for seed, (plain, clever) in enumerate([(0.70, 0.74), (0.72, 0.78)]):
        for arm, value, second in (("plain", plain, 0.4), ("clever", clever, 0.6)):
            records = [record(0, [0.5], gate="OR"), record(1, [second], start_s=10)]
            (outcome, *_) = outcomes.outcomes_of([study(outcomes, arm, records, ("trial-0", 1, 0.5), seed)], {})
            values = outcomes.Judged(val=[value - 0.01, value + 0.01], test=[value - 0.1])
            first = outcomes.Judged(val=[plain], test=[plain - 0.1])
            judged.append(outcomes.JudgedOutcome(outcome=outcome, winner=values, first=first))
    lines = outcomes.table(judged, ["plain"]).splitlines()
    assert lines[0].startswith("| arm | val at selection | val, fresh | ahead of plain | test | test, ahead of plain |")
    assert lines[2].startswith(
        "| plain | 0.5000 | 0.7100 |  | 0.6100 |  | 2 | 20 | 0 of 2 | +0.0000 [+0.0000, +0.0000] |"
    )
    assert lines[3].startswith("| clever | 0.6000 | 0.7600 | +0.0500 [-0.0771, +0.1771] | 0.6600 |")
    assert "| 2 of 2 | +0.0500 [-0.0771, +0.1771] |" in lines[3]
    json.dumps([outcome.to_json() for outcome in judged])
    worse = [outcomes.JudgedOutcome(outcome=o.outcome, winner=o.winner, first=o.first, sign=-1) for o in judged]
    assert "-0.0500 [-0.1771, +0.0771]" in outcomes.table(worse, ["plain"])  # of a metric whose lower values are better


def test_judged_values_belong_to_a_configuration_whatever_its_seed(module: Import, tmp_path: Path):
    outcomes = module("rule_outcomes")
    cuts = module("study_cuts")
    found = cuts.found_in(record(0, [0.5]), 1, 0.5, FIRST)
    other = cuts.Found(**{**found.__dict__, "config": {**found.config, "seed": 7}, "trial_id": "other"})
    later = cuts.Found(**{**found.__dict__, "epoch": 2})
    files = [outcomes.judged_file(tmp_path, {"fingerprint": "f"}, each) for each in (found, other, later)]
    assert files[0] == files[1] != files[2]
    assert outcomes.read_judged(files[0]) is None
    files[0].write_text('{"val": [0.5, 0.7], "test": [0.4], "epoch": 1}')
    assert outcomes.read_judged(files[0]).val_mean == pytest.approx(0.6)


def test_arms_are_a_sampler_and_a_rule_or_flags_with_a_name(module: Import):
    studies = module("rule_studies")
    assert studies.read_arm("tpe+asha").flags == ("--sampler", "tpe", "--scheduler", "asha")
    wide = studies.read_arm("wide=--scheduler none --num-trials 64")
    assert (wide.name, wide.flags) == ("wide", ("--scheduler", "none", "--num-trials", "64"))
    assert {"random+asha", "tpe+asha", "random+none"} <= {arm.name for arm in studies.default_arms()}
    with pytest.raises(argparse.ArgumentTypeError, match=r"SAMPLER\+RULE or NAME=FLAGS, got 'tpe\+ashes'"):
        studies.read_arm("tpe+ashes")
    with pytest.raises(argparse.ArgumentTypeError, match="plain file name, got 'a/b'"):
        studies.read_arm("a/b=--seed 1")


def test_what_the_command_refuses(module: Import, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rules = module("search_rules")
    words = ["--output", str(tmp_path), "--data-root", str(tmp_path)]
    with pytest.raises(SystemExit, match="2"):
        rules.parse([*words, "--arms", "tpe+asha", "tpe+asha"])
    assert "argument --arms: names must differ" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        rules.parse([*words, "--arms", "tpe+asha", "--reference", "random+none"])
    assert "argument --reference: must be among the arms tpe+asha, got random+none" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        rules.parse([*words, "--seeds", "0"])
    assert "argument --seeds: must be above 0, got 0" in capsys.readouterr().err
    assert rules.parse([*words, "--arms", "tpe+asha"]).reference == ["tpe+asha"]


def test_tables_without_any_ended_study(module: Import, tmp_path: Path):
    rules = module("search_rules")
    arguments = rules.parse(["--output", str(tmp_path), "--data-root", str(tmp_path), "--seeds", "1"])
    assert rules.write_tables(arguments).startswith("demo: no seed has the studies of all arms yet")
    assert json.loads((tmp_path / "demo.json").read_text())["outcomes"] == []
