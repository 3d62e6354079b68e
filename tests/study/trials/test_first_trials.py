"""Trials that a user asks for: completed from part of a configuration, taken from another study, or refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pan_model.errors import UserError
from search_spaces import SPACES
from study.config.search_space import replay
from study.config.study_config import StudyConfig
from study.config.try_file import OF_THE_STUDY, fit, read_try_file
from study.storage.files import write_json
from study.trials.first_trials import FirstTrials, choose_first_trials
from study.trials.ledger import Status, TrialRecord

Make = Callable[..., StudyConfig]
Record = Callable[..., TrialRecord]
Write = Callable[[Path, TrialRecord], None]
SPACE = SPACES["demo"]


@pytest.fixture
def chosen(study_config: Make, tmp_path: Path) -> Callable[..., FirstTrials]:
    """Choose the first trials of a study of the demo with a file of that text."""

    def choose(text: str, name: str = "try.toml", earlier: dict[str, Any] | None = None, **changes: Any) -> FirstTrials:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return choose_first_trials(study_config(try_file=tmp_path / name, **changes), earlier)["demo"]

    return choose


@pytest.fixture
def other(tmp_path: Path, record: Record, write_trial: Write) -> Path:
    """Another study of the demo: four completed trials, of which the last is the best, and a failed one."""
    folder = tmp_path / "results" / "other"
    entry = {
        "num_trials": 5,
        "max_epochs": 9,
        "objective": {"name": "few_shot_accuracy", "mode": "max"},
        "features": {},
        "data": {},
    }
    content = {"schema": "pan-study/study/1", "name": "other", "signature": "", "signed": {}, "provenance": {}}
    write_json(folder / "study.json", content | {"datasets": {"demo": entry}})
    for number in range(4):
        write_trial(folder / "demo" / "trials", record(number, Status.COMPLETED, number / 10))
    write_trial(folder / "demo" / "trials", record(4, Status.FAILED, 0.9, error="bad"))
    return folder


def test_a_part_is_completed_by_the_first_trial_of_its_encoder(chosen: Callable[..., FirstTrials]):
    [first, second] = chosen(
        "[[trial]]\nnum_conditions = 7\n[[trial]]\nencoder = 'proxynca'\nlearning_rate = 2e-3"
    ).trials
    expected = SPACE.suggest(_fixed(SPACE.first_trials[0] | {"num_conditions": 7}))
    assert first["config"] == expected
    assert (second["config"]["encoder"], second["config"]["learning_rate"]) == ("proxynca", 2e-3)
    assert second["config"]["temperature"] == pytest.approx((0.03 * 1.0) ** 0.5)
    assert second["config"]["embedding_dim"] == 128
    for trial in (first, second):
        replay(SPACE, trial["config"])
    assert [trial["source"].rsplit(", ")[-1] for trial in (first, second)] == ["trial 1", "trial 2"]


def _fixed(values: dict[str, Any]) -> Any:
    from optuna.trial import FixedTrial

    return FixedTrial(values)


@pytest.mark.parametrize("number", range(6))
def test_what_the_space_suggests_is_tried_as_it_is(suggested: Callable[[int], dict[str, Any]], number: int):
    values = {key: value for key, value in suggested(number).items() if key not in OF_THE_STUDY}
    fitted = fit(values, SPACE)
    assert fitted.changes == []
    assert values.items() <= fitted.config.items()


def test_a_best_config_is_tried_without_its_epochs_and_seed(
    chosen: Callable[..., FirstTrials], suggested: Callable[[int], dict[str, Any]]
):
    best = {"schema": "pan-study/best-config/1", "dataset": "cub", "config": suggested(3) | {"pairs_per_epoch": 5}}
    one, many = chosen(json.dumps(best), "best.json"), chosen(json.dumps([best, {"num_conditions": 3}]), "list.json")
    assert one.trials[0]["config"] == {k: v for k, v in suggested(3).items() if k not in ("max_epochs", "seed")}
    assert many.trials[0]["config"] == one.trials[0]["config"]
    assert many.trials[1]["config"]["num_conditions"] == 3


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("learning_rate = 0.5", "t.toml", r"t\.toml: demo: learning_rate must be in 1e-05 to 0\.01, got 0\.5; --range"),
        ("learning_rate = nan", "t.toml", r"learning_rate must be in 1e-05 to 0\.01, got nan"),
        ("learning_rate = '1e-3'", "t.toml", r"learning_rate must be in 1e-05 to 0\.01, got '1e-3'"),
        ("num_conditions = 2.5", "t.toml", r"num_conditions must be a whole number in 1 to 512, got 2\.5"),
        ("dropout = true", "t.toml", r"dropout must be in 0 to 0\.7, got True"),
        ("gate = 'FOO'", "t.toml", r"gate must be one of AND, OR, .*, got 'FOO'; --choices"),
        ("encoder = 'graph'", "t.toml", r"encoder must be one of siamese, proxynca, got 'graph'; --encoders"),
        ("lamda = 1.0", "t.toml", r"lamda is no parameter .* perhaps lambda is meant\.$"),
        ("supervision = 'unsupervised'\ngate = 'AND'", "t.toml", r"gate is no parameter .* unsupervised; leave it out"),
        ("max_epochs = 3", "t.toml", "max_epochs is no parameter"),
        ("pairs_per_epoch = 3", "t.toml", "pairs_per_epoch is 2048 in every such trial, got 3; leave it out"),
        ("gate = ['AND']", "t.toml", r"t\.toml: gate must be a single value, got \['AND'\]"),
        ("", "t.toml", r"t\.toml: must be a table of parameters, got {}"),
        ("gate = ", "t.toml", r"t\.toml: is not TOML: Invalid value"),
        ("gate = 'AND'\n[[trial]]\ngate = 'OR'", "t.toml", r"either parameters or tables \[\[trial\]\], got both"),
        ("gate = 'AND'", "t.txt", r"t\.txt: is not JSON \(a TOML file must be named \.toml\)"),
        ("[]", "t.json", r"must hold the parameters of at least one trial, got \[\]"),
        ("3", "t.json", "must hold the parameters of at least one trial, got 3"),
        ("[{\"gate\": \"AND\"}, 3]", "t.json", "t.json, trial 2: must be a table of parameters, got 3"),
    ],
)  # fmt: skip
def test_what_cannot_be_tried_is_refused_in_one_line(
    chosen: Callable[..., FirstTrials], text: str, name: str, message: str
):
    with pytest.raises(UserError, match=message) as error:
        chosen(text, name)
    assert "\n" not in str(error.value)


def test_a_trial_is_described_by_its_differences_from_a_first_trial(chosen: Callable[..., FirstTrials]):
    [line] = chosen("num_conditions = 7\nlearning_rate = 0.00123456789").lines()
    assert line.endswith("try.toml: first trial 1, but num_conditions 7, learning_rate 0.001235")


def test_a_trial_with_many_differences_is_described_in_one_short_line(
    chosen: Callable[..., FirstTrials], suggested: Callable[[int], dict[str, Any]]
):
    values = [{k: v for k, v in suggested(n).items() if k not in OF_THE_STUDY} for n in range(6)]
    for line in chosen(json.dumps(values), "t.json").lines():
        source, _, description = line.removeprefix("tried first: ").partition(": ")
        assert len(line) <= max(120, len(source) + 100)
        assert "first trial " in description
    assert any(" more" in line for line in chosen(json.dumps(values), "t.json").lines())


def test_a_missing_file_and_too_many_trials_are_refused(chosen: Callable[..., FirstTrials], tmp_path: Path):
    with pytest.raises(UserError, match=r"none\.toml: cannot be read \(No such file"):
        read_try_file(tmp_path / "none.toml")
    two = "[[trial]]\nnum_conditions = 7\n[[trial]]\nnum_conditions = 8"
    with pytest.raises(UserError, match=r"demo has 1 of --num-trials 1 left, but 2 trials are given.* 2 or more"):
        chosen(two, num_trials=1)
    assert len(chosen(two, num_trials=2).trials) == 2


def test_the_best_completed_of_another_study_come_first(study_config: Make, other: Path, record: Record):
    first = choose_first_trials(study_config(warm_start=other), None)["demo"]
    assert [trial["source"].split()[-1] for trial in first.trials] == ["trial3", "trial2", "trial1"]
    for trial, number in zip(first.trials, (3, 2, 1), strict=True):
        assert trial["config"].items() <= record(number, Status.COMPLETED).config.items()
    assert first.notes == []
    few = choose_first_trials(study_config(warm_start=other, num_trials=2), None)["demo"]
    assert (len(few.trials), len(few.notes)) == (2, 1)
    assert "no more of --num-trials 2 are left" in few.notes[0]


def test_a_warm_start_is_fitted_to_the_space_with_a_line_for_each_change(
    study_config: Make, other: Path, record: Record, write_trial: Write
):
    config = record(0, Status.COMPLETED).config | {"dropout": 0.9, "scoring": "unknown", "extra": 1}
    write_trial(other / "demo" / "trials", record(9, Status.COMPLETED, 0.99, config=config))
    first = choose_first_trials(study_config(warm_start=other), None)["demo"]
    assert first.trials[0]["config"]["dropout"] == 0.7
    assert [any(key in note for note in first.notes) for key in ("dropout", "scoring", "extra")] == [True] * 3
    narrow = choose_first_trials(study_config(warm_start=other, encoders=("graph",)), None)["demo"]
    assert narrow.trials == []
    assert all("is not searched on demo" in note for note in narrow.notes)
    elsewhere = choose_first_trials(study_config(warm_start=other, datasets=("cub",)), None)["cub"]
    assert len(elsewhere.trials) == 3


def test_no_study_this_study_and_one_without_completed_trials_are_refused(
    study_config: Make, other: Path, tmp_path: Path
):
    with pytest.raises(UserError, match=r"--warm-start .*: holds no study\.json; give the folder of a study"):
        choose_first_trials(study_config(warm_start=tmp_path / "none"), None)
    with pytest.raises(UserError, match="must be another study, got this study's folder"):
        choose_first_trials(study_config(warm_start=other, name="other"), None)
    for status in (other / "demo" / "trials").glob("*/status.json"):
        status.unlink()
    with pytest.raises(UserError, match="has no completed trial yet"):
        choose_first_trials(study_config(warm_start=other), None)


def test_resumed_the_same_change_nothing_and_those_that_never_started_remain(
    chosen: Callable[..., FirstTrials], study_config: Make, record: Record, write_trial: Write
):
    first = chosen("num_conditions = 7", num_trials=2)
    earlier = {"datasets": {"demo": {"first_trials": first.trials}}}
    assert chosen("num_conditions = 7", num_trials=2, earlier=earlier).trials == first.trials
    assert choose_first_trials(study_config(num_trials=2), earlier)["demo"].trials == first.trials
    more = chosen("num_conditions = 8", num_trials=2, earlier=earlier)
    assert [trial["config"]["num_conditions"] for trial in more.trials] == [7, 8]
    for number, trial in enumerate(more.trials):
        config = trial["config"] | {"max_epochs": 9, "seed": 0}
        write_trial(study_config().results.dataset("demo").trials, record(number, Status.FAILED, config=config))
    earlier = {"datasets": {"demo": {"first_trials": more.trials}}}
    assert chosen("num_conditions = 8", num_trials=2, earlier=earlier).trials == more.trials
    with pytest.raises(UserError, match="0 of --num-trials 2 left, but 1 trial is given; give --num-trials 3"):
        chosen("num_conditions = 9", num_trials=2, earlier=earlier)


def test_recorded_trials_outside_a_new_space_are_left_out_with_a_line(
    chosen: Callable[..., FirstTrials], study_config: Make
):
    earlier = {"datasets": {"demo": {"first_trials": chosen("gate = 'AND'").trials}}}
    first = choose_first_trials(study_config(fix=("gate=XNOR",)), earlier)["demo"]
    assert first.trials == []
    assert "left out, since it is not in the new search space: gate is AND" in first.notes[0]


def test_a_byte_order_mark_and_a_huge_number_are_read(chosen: Callable[..., FirstTrials]):
    assert chosen('\ufeff{"num_conditions": 7}', "t.json").trials[0]["config"]["num_conditions"] == 7
    with pytest.raises(UserError, match=r"learning_rate must be in 1e-05 to 0\.01, got 1000"):
        chosen(f"learning_rate = 1{'0' * 400}")
