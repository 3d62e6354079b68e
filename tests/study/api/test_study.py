"""The Python API, on ledgers written by hand."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import pytest

from pan_model.errors import UserError
from study.api import BestConfig, Confirmation, Study
from study.storage.files import exists
from study.storage.location import Location
from study.storage.paths import StudyPaths
from study.trials.ledger import BestEpoch, Status
from study.trials.question_scores import interval_of

Write = Callable[..., StudyPaths]
METRIC = "few_shot_accuracy"
RECORDED = Path(__file__).parents[2] / "recorded" / "0.1" / "recorded"
SCORES = [0.5, 0.75, 1.0, 0.75]


@pytest.fixture
def study(tmp_path: Path, write_study: Write) -> Study:
    return Study.load(write_study(tmp_path / "mine", SCORES).root)


@pytest.fixture
def two(tmp_path: Path, write_study: Write) -> Study:
    return Study.load(write_study(tmp_path / "two", SCORES, ("demo", "cub")).root)


def test_the_best_configuration_of_one_dataset(study: Study, tmp_path: Path):
    best = study.best
    assert isinstance(best, BestConfig)
    assert (best.dataset, best.metric, best.mode, best.value, best.epoch) == ("demo", METRIC, "max", 0.75, 2)
    assert best.interval is not None
    assert best.interval.mean == 0.75
    assert (best.trial_id, best.num_completed) == ("mine0", 1)
    assert best.config["max_epochs"] == 9
    assert best.confirmation is None
    assert (study.name, study.folder, study.datasets) == ("mine", tmp_path / "mine", ("demo",))
    assert repr(study) == f"Study('{tmp_path / 'mine'}', demo)"


def test_a_confirmed_winner_has_its_values_at_selection_and_at_confirmation(
    tmp_path: Path, write_study: Write, write_runs: Callable[..., None]
):
    paths = write_study(tmp_path / "mine", SCORES, confirm=2)
    unconfirmed = Study.load(paths.root)
    write_runs(paths.dataset("demo"), unconfirmed.data.datasets["demo"].records[0], 2, [0.5, 1.0], None, [0.0, 0.5])
    best = unconfirmed.refresh().best
    assert unconfirmed.best.confirmation is None
    assert (best.trial_id, best.value) == ("mine0", 0.75)
    assert best.confirmation == Confirmation(
        selected=best.interval,
        confirmed=interval_of([0.5, 1.0, 0.0, 0.5]),
        seeds=(1, 3),
        per_seed=(0.75, 0.25),
        num_questions=4,
        num_candidates=1,
    )


def test_of_several_datasets_one_is_named(two: Study):
    assert two.best_of("cub").dataset == "cub"
    with pytest.raises(UserError, match=r"two: has several datasets; give one of demo, cub, as in best_of\('cub'\)\."):
        _ = two.best
    with pytest.raises(UserError, match=r"two: dataset must be one of demo, cub, got 'birds'\."):
        two.plot_lambda("birds")


def test_a_study_without_completed_trials_has_no_best(tmp_path: Path, write_study: Write):
    study = Study.load(write_study(tmp_path / "mine", []).root)
    with pytest.raises(UserError, match="demo: no trial has completed, so there is no best configuration yet"):
        _ = study.best
    with pytest.raises(UserError, match="no trial has completed"):
        study.final()


def test_trials_are_typed(two: Study):
    trials = two.trials
    assert list(trials.columns[:4]) == ["dataset", "trial_id", "status", "metric"]
    assert trials["dataset"].tolist() == ["demo"] * 3 + ["cub"] * 3
    assert trials["status"].tolist()[:3] == ["completed", "stopped", "failed"]
    assert isinstance(trials["status"].dtype, pd.CategoricalDtype)
    assert trials["metric"].tolist()[:2] == [0.75, 0.25]
    assert trials["metric"].isna().tolist()[:3] == [False, False, True]
    types = {
        "epoch": "Int64",
        "number": "int64",
        "wall_s": "float64",
        "config.learning_rate": "float64",
        "config.encoder": "string",
        "config.num_conditions": "Int64",
    }
    assert {column: str(trials[column].dtype) for column in types} == types
    assert isinstance(trials["started"].dtype, pd.DatetimeTZDtype)
    assert trials["error"].tolist()[:3] == ["", "", "it broke"]


def test_trials_are_those_of_trials_csv(study: Study):
    winner = study.trials.set_index("trial_id").loc["mine0"]
    for name, value in study.best.config.items():
        assert winner[f"config.{name}"] == value
    assert not set(study.trials["config.num_conditions"].isna()) - {False}


def test_history_has_every_epoch(two: Study):
    history = two.history
    assert history["epoch"].tolist() == [1, 2, 1] * 2
    assert history[METRIC].tolist()[:3] == [0.375, 0.75, 0.25]
    assert {str(dtype) for dtype in history.dtypes[3:]} == {"float64"}
    assert str(history["epoch"].dtype) == "int64"


def test_a_study_that_has_just_begun_has_empty_tables(
    tmp_path: Path, study_content: Callable[..., Any], write_study: Write
):
    paths = write_study(tmp_path / "mine", SCORES)
    for folder in paths.dataset("demo").trials.iterdir():
        folder.rename(tmp_path / folder.name)
    study = Study.load(paths.root)
    assert (len(study.trials), len(study.history)) == (0, 0)
    assert list(study.history.columns) == ["dataset", "trial_id", "epoch", METRIC]


def test_refresh_reads_new_trials(study: Study, record: Callable[..., Any], write_trial: Callable[..., None]):
    best = BestEpoch(epoch=1, questions={METRIC: [1.0, 1.0]}, baselines={})
    write_trial(study.data.datasets["demo"].files.trials, record(3, Status.COMPLETED, 1.0, best=best))
    assert study.best.trial_id == "mine0"
    assert study.refresh().best.trial_id == "trial3"


def test_plots_are_figures_of_the_trials(tmp_path: Path, write_study: Write, record: Callable[..., Any]):
    paths = write_study(tmp_path / "mine", SCORES)
    config = paths.dataset("demo").trials / "mine0" / "config.json"
    supervised = record(0, Status.COMPLETED).config | {"supervision": "supervised", "gate": "XNOR", "lambda": 0.1}
    config.write_text(f'{{"trial_id": "mine0", "number": 0, "config": {pd.Series(supervised).to_json()}}}')
    study = Study.load(paths.root)
    for figure in (study.plot_lambda(), study.plot_gates()):
        assert isinstance(figure, go.Figure)
        assert len(figure.to_dict()["data"]) > 0


def test_a_plot_without_trials_is_refused(tmp_path: Path, write_study: Write):
    study = Study.load(write_study(tmp_path / "mine", []).root)
    with pytest.raises(UserError, match="mine: No trial has run to its end yet, so there is no value to show"):
        study.plot_lambda()


def test_importance_says_when_trials_are_too_few(study: Study):
    assert study.importance().too_few.startswith("Too few trials to say")


def test_a_final_training_that_exists_is_read(study: Study, write_final: Callable[..., None]):
    paths = study.data.paths
    write_final(paths, "mine0", [SCORES, [0.5, 0.75, 1.0, 1.0]])
    final = study.final()
    assert final.metrics[METRIC].mean == pytest.approx(0.78125)
    assert (final.seeds, final.per_seed[METRIC]) == ((0, 1), (0.75, 0.8125))
    assert (final.folder, final.trial_id) == (paths.dataset("demo").final_metrics.parent, "mine0")
    assert final.table[["method", "metric"]].to_numpy().tolist() == [["PAN", METRIC]]
    assert study.final(seeds=2).seeds == (0, 1)
    with pytest.raises(
        UserError, match=r"final: seeds must be 2, those of the final training that exists, got 5; leave"
    ):
        study.final(seeds=5)
    with pytest.raises(UserError, match="seeds must be at least 1, got 0"):
        study.final(seeds=0)
    with pytest.raises(UserError, match="unknown flag or stray word '--sedes=2'; did you mean --seeds"):
        study.final(sedes=2)


def test_a_final_training_of_another_trial_is_refused(study: Study, write_final: Callable[..., None]):
    write_final(study.data.paths, "another", [SCORES])
    with pytest.raises(UserError, match=r"final: is of trial another, not of the winner mine0; move it away"):
        study.final()


def test_the_report_is_written_beside_study_json(study: Study):
    assert study.report() == study.data.paths.report
    assert "<title>Study mine" in study.data.paths.report.read_text()


def test_a_study_of_version_0_1_is_read():
    study = Study.load(RECORDED)
    assert study.best.trial_id == "037d5dca92ec"
    assert study.trials["started"].isna().tolist() == [True, True]
    assert len(study.history) == 4


def test_a_study_in_a_store_is_read(bucket: Location, write_study: Write):
    write_study(bucket / "mine", SCORES)
    study = Study.load(str(bucket / "mine"))
    assert study.best.value == 0.75
    study.report()
    assert exists(bucket / "mine" / "report.html")


def test_what_is_no_study_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match=r"none: holds no study.json; give the folder of a study"):
        Study.load(tmp_path / "none")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"num_trials": 0}, "num_trials must be at least 1, got 0"),
        ({"num_trails": 2}, "unknown flag or stray word '--num-trails=2'; did you mean --num-trials?"),
        ({"gate": "XNOR"}, "did you mean --fix gate=XNOR?"),
        ({"dataset": "cubs"}, "unknown dataset 'cubs'; choose from demo, cub"),
        ({"fix": {"gate": "FOO"}}, "--fix gate=FOO: gate of demo must be one of AND, OR"),
        ({"dry_run": True}, "dry_run prints a plan and makes no study"),
    ],
)
def test_flags_are_checked_as_those_of_the_command(
    flags: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=re.escape(message)):
        Study.run(**flags)
    assert not list(tmp_path.iterdir())


def test_importing_it_loads_no_large_library():
    code = "import sys, study.api; print({'ray', 'torch', 'pandas', 'plotly'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
