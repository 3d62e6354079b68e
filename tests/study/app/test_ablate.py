"""A controlled comparison on a small dataset: its rows, what is trained when, and what is refused."""

import csv
import json
import shutil
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pan_model.backbones.config import FeaturesConfig
from pan_model.data.demo import DemoConfig, draw_demo
from pan_model.errors import UserError
from study.app.ablation.ablate import ablate
from study.app.ablation.variations import read_varied, vary_winner
from study.app.flags import read_ablation_config
from study.config.identity import trial_id
from study.config.provenance import provenance
from study.reporting.best_config import BEST_CONFIG_SCHEMA
from study.storage.files import read_json, write_file, write_json
from study.storage.location import Location
from study.storage.paths import StudyPaths
from study.terminal import Shown, ShowRows, Terminal
from study.trials.ledger import TrialLedger, read_ledger
from study.trials.preparation import Preparation, prepare_dataset
from study.trials.trial import TrialEnvironment, TrialRun, TrialSpec

METRIC = "few_shot_accuracy"
SEED = 3
SETTING = {
    "encoder": "siamese",
    "supervision": "supervised",
    "gate": "XNOR",
    "lambda": 0.1,
    "num_conditions": 4,
    "learning_rate": 1e-2,
    "dropout": 0.5,
    "pairs": "fresh",
    "pairs_per_epoch": 64,
    "steps_per_epoch": 2,
    "max_epochs": 3,
    "seed": SEED,
}


CODE = {**provenance(), "git_commit": "ab" * 20}
"""The code that is committed, whatever state the checkout is in."""


class Screen(Terminal):
    """A terminal that keeps its lines, and is interrupted when the progress of an epoch is shown."""

    def __init__(self, interrupt_at: str = "") -> None:
        super().__init__()
        self.lines: list[str] = []
        self._interrupt_at = interrupt_at

    def say(self, line: str) -> None:
        self.lines.append(line)

    @contextmanager
    def live(self, *, at_once: bool = False) -> Generator[ShowRows]:
        def show(make: Callable[[], Shown]) -> None:
            if self._interrupt_at and make() == self._interrupt_at:
                raise KeyboardInterrupt("Ctrl-C")

        yield show


@dataclass(frozen=True)
class Study:
    """A study with a trial, its winner."""

    folder: Path
    flags: tuple[str, ...]

    @property
    def file(self) -> Path:
        return self.folder / "best_config.json"

    @property
    def output(self) -> Path:
        return self.folder / "ablation"

    @property
    def best(self) -> dict[str, Any]:
        return json.loads(self.file.read_text())

    @property
    def content(self) -> dict[str, Any]:
        return json.loads((self.output / "ablation.json").read_text())

    def run(self, *words: str, screen: Screen | None = None, code: Mapping[str, str] = CODE) -> tuple[int, list[str]]:
        """Run the command in this process; its exit code and its lines."""
        screen = screen or Screen()
        config = read_ablation_config([str(self.file), *self.flags, *words])
        return ablate(config, screen, lambda: code), screen.lines

    def change(self, **config: Any) -> None:
        """Change the configuration of the winner in the file."""
        best = self.best
        best["config"] = {key: value for key, value in (best["config"] | config).items() if value is not None}
        write_json(self.file, best)

    def trained(self) -> dict[str, bytes]:
        """The files of the trials, without those of the machine."""
        files = (path for path in (self.output / "trials").rglob("*") if path.is_file())
        return {str(path.relative_to(self.output)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study of a small demo, with one completed trial."""
    root = tmp_path_factory.mktemp("made")
    draw_demo(root / "data" / "demo", DemoConfig(num_classes=20, images_per_class=8, image_size=32))
    prepared = prepare_dataset(
        Preparation(
            dataset="demo",
            data_root=root / "data",
            cache_dir=root / "cache",
            features=FeaturesConfig(backbone="resnet18", weights="random", image_size=32),
        )
    )
    asked: dict[str, Any] = {"task": None, "val_questions": prepared.val_questions}
    name = trial_id(prepared.fingerprint, prepared.features, SETTING, **asked)
    results = StudyPaths(root / "results")
    spec = TrialSpec.from_flat(trial_id=name, number=0, dataset="demo", config=SETTING, **asked)
    run = TrialRun(spec, TrialEnvironment(results=results, num_threads=1), prepared.featured)
    while not run.step().done:
        pass
    run.close()
    best = TrialLedger(run.folder).read().best_epoch(prepared.row.task.objective)
    assert best is not None
    content: dict[str, Any] = {
        "schema": BEST_CONFIG_SCHEMA,
        "dataset": "demo",
        "metric": {"name": METRIC, "mode": "max", "value": best[METRIC], "split": "val", "epoch": best["epoch"]},
        "config": SETTING,
        "features": prepared.features,
        "trial_id": name,
        "study": {"name": "s", "signature": "cd" * 32, "num_trials": 1, "completed": 1, "stopped": 0, "failed": 0},
        "data": {
            "fingerprint": prepared.fingerprint,
            "splits": {split: size for split, size in prepared.split_sizes.items() if split != "test"},
            "options": prepared.options,
        },
        "provenance": CODE,
    }
    write_json(results.dataset("demo").best_config, content)
    flags = ("--data-root", str(root / "data"), "--cache-dir", str(root / "cache"), "--jobs", "1")
    return Study(root / "results" / "demo", flags)


@pytest.fixture
def study(made: Study, tmp_path: Path) -> Study:
    """The study in a folder of the test's own."""
    shutil.copytree(made.folder, tmp_path / "results" / "demo")
    return Study(tmp_path / "results" / "demo", made.flags)


@pytest.fixture
def ended(compared: "tuple[Study, int, list[str]]", tmp_path: Path) -> Study:
    """The comparison of `compared` in a folder of the test's own."""
    shutil.copytree(compared[0].folder, tmp_path / "ended" / "demo")
    return Study(tmp_path / "ended" / "demo", compared[0].flags)


@pytest.fixture(scope="module")
def compared(made: Study, tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, int, list[str]]:
    """A comparison of two values of lambda and a gate, with two seeds; to be read only."""
    folder = tmp_path_factory.mktemp("compared") / "demo"
    shutil.copytree(made.folder, folder)
    study = Study(folder, made.flags)
    return study, *study.run(*ROWS, "--seeds", "2")


ROWS = ("--vary", "lambda=10,0.1,0.001", "--vary", "gate=OR")
NAMES = [{"lambda": 0.001}, {"lambda": 10.0}, {"gate": "OR"}]


def without_times(content: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key != "provenance"}


class TestRows:
    def test_are_the_variations_in_order_and_not_the_winner_s_own_value(self, compared: Any) -> None:
        study, code, _ = compared
        content = study.content
        assert (code, content["schema"], content["grid"]) == (0, "pan-study/ablation/1", False)
        assert content["metric"] == {"name": METRIC, "mode": "max", "split": "val"}
        assert content["seeds"] == [SEED, SEED + 1]
        assert [row["changes"] for row in content["rows"]] == NAMES
        assert [row["config"] for row in content["rows"]] == [{**SETTING, **changes} for changes in NAMES]
        assert content["winner"]["config"] == SETTING

    def test_are_compared_with_the_winner_over_the_same_questions(self, compared: Any) -> None:
        study, _, _ = compared
        content = study.content
        winner = content["winner"]
        assert winner["per_seed"][0] == pytest.approx(study.best["metric"]["value"], abs=1e-12)
        for row in content["rows"]:
            assert row["mean"] == pytest.approx(np.mean(row["per_seed"]), abs=1e-12)
            assert row["difference"] == pytest.approx(row["mean"] - winner["mean"], abs=1e-12)
            assert row["difference_new_seeds"] == pytest.approx(row["per_seed"][1] - winner["per_seed"][1], abs=1e-12)
            low, high = row["difference_ci95"]
            assert low <= row["difference"] <= high
        assert any(row["difference"] for row in content["rows"])

    def test_answer_the_questions_of_the_winner_s_trial_with_every_seed(self, compared: Any) -> None:
        study, _, _ = compared
        records = [*read_ledger(study.output / "trials"), *read_ledger(study.folder / "trials")]
        assert len(records) == 8
        baselines = [record.best.baselines for record in records if record.best]
        assert baselines == [baselines[0]] * 8  # untrained, so that they depend on the questions alone

    def test_reuse_the_winner_s_trial_of_the_study(self, compared: Any) -> None:
        study, _, lines = compared
        trained = {record.trial_id for record in read_ledger(study.output / "trials")}
        assert len(trained) == 7
        assert study.best["trial_id"] not in trained
        assert f"  winner (lambda=0.1, gate=XNOR): {study.best['trial_id']} of the study, " in "\n".join(lines)
        assert "8 trials, 7 to train, up to 3 epochs each, 21 at most" in lines

    def test_are_in_tables_and_on_the_terminal(self, compared: Any) -> None:
        study, _, lines = compared
        rows = list(csv.DictReader((study.output / "ablation.csv").read_text().splitlines()))
        assert [row["row"] for row in rows] == ["winner", "lambda=0.001", "lambda=10", "gate=OR"]
        for row, entry in zip(rows[1:], study.content["rows"], strict=True):
            assert float(row["difference"]) == entry["difference"]
            assert float(row["difference_high"]) == entry["difference_ci95"][1]
            assert float(row[f"seed.{SEED + 1}"]) == entry["per_seed"][1]
        page = (study.output / "ablation.md").read_text()
        assert "| winner (lambda=0.1, gate=XNOR) |" in page
        assert "The test split was not read." in page
        [line] = [line for line in lines if line.startswith("  lambda=0.001  ") and "to train" not in line]
        assert any(word in line for word in ("ahead by", "behind by", "no difference"))

    def test_of_a_grid_are_all_combinations_that_differ(self, study: Study) -> None:
        code, _ = study.run(
            "--vary", "supervision=unsupervised,supervised", "--vary", "lambda=0.1,1", "--grid", "--seeds=1"
        )
        content = study.content
        assert (code, content["grid"]) == (0, True)
        assert [row["changes"] for row in content["rows"]] == [
            {"supervision": "unsupervised"},
            {"supervision": "supervised", "lambda": 1.0},
        ]
        assert not {"gate", "lambda"} & content["rows"][0]["config"].keys()
        assert "supervision=unsupervised: without gate, lambda." in (study.output / "ablation.md").read_text()
        assert "difference_new_seeds" in content["rows"][0]
        assert content["rows"][0]["difference_new_seeds"] is None


class TestLater:
    def test_the_same_command_trains_nothing(self, ended: Study) -> None:
        before, content = ended.trained(), ended.content
        code, lines = ended.run(*ROWS, "--seeds=2")
        assert (code, ended.trained(), without_times(ended.content)) == (0, before, without_times(content))
        assert not any("to train" in line for line in lines)

    def test_an_interrupted_comparison_ends_as_an_uninterrupted_one(self, study: Study, compared: Any) -> None:
        whole, _, _ = compared
        with pytest.raises(KeyboardInterrupt, match="Ctrl-C"):
            study.run(*ROWS, "--seeds", "2", screen=Screen(f"lambda=10, seed {SEED + 1}: epoch 2/3"))
        content = study.content
        assert [row["status"] for row in content["rows"]] == ["completed", "running", "running"]
        assert (content["rows"][1]["mean"], content["rows"][1]["difference"]) == (None, None)
        assert [value is None for value in content["rows"][1]["per_seed"]] == [False, True]
        code, lines = study.run()  # the rows of the folder
        assert code == 0
        assert "8 trials, 3 to train, up to 3 epochs each, 9 at most" in lines
        assert without_times(study.content) == without_times(whole.content)
        for ours, theirs in zip(*(read_ledger(one.output / "trials") for one in (study, whole)), strict=True):
            assert (ours.trial_id, ours.best) == (theirs.trial_id, theirs.best)

    def test_values_and_seeds_are_added(self, study: Study, compared: Any) -> None:
        study.run("--vary", "lambda=10", "--seeds=1")
        before = study.trained()
        study.run("--vary", "gate=OR")
        assert [row["changes"] for row in study.content["rows"]] == [{"lambda": 10.0}, {"gate": "OR"}]
        study.run("--vary", "lambda=0.001", "--seeds=2")
        assert without_times(study.content) == without_times(compared[0].content)
        assert study.trained().items() >= before.items()

    def test_fewer_seeds_are_refused(self, ended: Study) -> None:
        with pytest.raises(
            UserError, match=r"seeds must be at least 2, as many as .*ablation\.json has, got 1; give an"
        ):
            ended.run("--vary", "gate=AND", "--seeds=1")

    def test_more_epochs_of_the_winner_continue_its_rows(self, study: Study) -> None:
        study.run("--vary", "gate=OR", "--seeds=1")
        study.change(max_epochs=5, schedule_epochs=3)
        shutil.rmtree(study.folder / "trials")  # the study's trial has fewer epochs
        code, lines = study.run()
        assert (code, study.content["max_epochs"]) == (0, 5)
        assert "2 trials, 2 to train, up to 5 epochs each, 10 at most" in lines
        histories = [record.history for record in read_ledger(study.output / "trials")]
        assert [[epoch["epoch"] for epoch in history] for history in histories] == [[1, 2, 3, 4, 5]] * 2
        study.change(max_epochs=3, schedule_epochs=None)
        with pytest.raises(UserError, match=r"its trials have 5 epochs, but config\.max_epochs of .* is 3; give the f"):
            study.run()


class TestFailures:
    def test_are_rows_with_their_error(self, study: Study) -> None:
        code, lines = study.run("--vary", "lambda=1e40", "--vary", "gate=OR", "--seeds=1")
        failed, completed = study.content["rows"]
        assert (code, failed["status"], completed["status"]) == (0, "failed", "completed")
        assert (failed["mean"], failed["difference"], failed["per_seed"]) == (None, None, [None])
        assert failed["errors"][0].startswith(f"seed {SEED}: loss/")
        assert any(line.split()[:5] == ["lambda=1e+40", "failed", "(seed", "3:", "loss/total"] for line in lines)

    def test_of_all_rows_are_exit_code_1_and_do_not_run_again(self, study: Study) -> None:
        assert study.run("--vary", "lambda=1e40", "--seeds=1")[0] == 1
        before = study.trained()
        assert (study.run()[0], study.trained()) == (1, before)


class TestOtherCode:
    def test_that_trained_the_study_s_trial_has_it_trained_again(self, study: Study) -> None:
        best = study.best
        write_json(study.file, best | {"provenance": best["provenance"] | {"git_commit": "cd" * 20}})
        code, lines = study.run("--vary", "gate=OR", "--seeds=1")
        trained = {record.trial_id for record in read_ledger(study.output / "trials")}
        assert (code, len(trained), best["trial_id"] in trained) == (0, 2, True)
        assert any(line.startswith("the trial of the study is trained again: other code trained it") for line in lines)

    def test_that_resumed_the_study_counts_as_well(self, study: Study) -> None:
        write_json(study.folder.parent / "study.json", {"resumed": [CODE | {"torch": "1.0"}]})
        _, lines = study.run("--vary", "gate=OR", "--seeds=1", "--dry-run")
        assert lines[-1] == "2 trials, 2 to train, up to 3 epochs each, 6 at most"

    def test_with_changes_is_never_the_same(self, study: Study) -> None:
        changed = CODE | {"git_commit": f"{'ab' * 20}+changes"}
        write_json(study.file, study.best | {"provenance": changed})
        _, lines = study.run("--vary", "gate=OR", "--seeds=1", "--dry-run", code=changed)
        assert lines[-1] == "2 trials, 2 to train, up to 3 epochs each, 6 at most"

    def test_that_adds_rows_is_a_caution(self, ended: Study) -> None:
        before = ended.trained()
        other = CODE | {"git_commit": "cd" * 20}
        ended.run("--vary", "gate=AND", code=other)
        assert [code["git_commit"] for code in ended.content["trained_by"]] == ["ab" * 20, "cd" * 20]
        assert ended.content["cautions"][-1].startswith("2 versions of the code or of its libraries have trained the")
        assert ended.trained().items() >= before.items()
        assert ended.best["trial_id"] not in {path.parent.name for path in ended.output.rglob("status.json")}


def test_a_dry_run_writes_nothing(study: Study) -> None:
    before = sorted(study.folder.rglob("*"))
    code, lines = study.run("--vary", "gate=OR", "--dry-run")
    assert (code, sorted(study.folder.rglob("*"))) == (0, before)
    assert lines[-1] == "6 trials, 5 to train, up to 3 epochs each, 15 at most"


def test_a_report_that_cannot_be_written_does_not_end_the_command(study: Study) -> None:
    write_json(study.folder.parent / "study.json", {"resumed": []})
    code, lines = study.run("--vary", "gate=OR", "--seeds=1")
    assert code == 0
    assert lines[-1].startswith(f"{study.folder.parent / 'report.html'} was not written (")


def test_a_study_in_a_store_is_compared_there(made: Study, bucket: Location) -> None:
    for path in (path for path in made.folder.rglob("*") if path.is_file()):
        write_file(bucket / str(path.relative_to(made.folder)), partial(shutil.copyfile, path))
    words = [str(bucket / "best_config.json"), *made.flags, "--vary", "gate=OR", "--seeds", "1"]
    assert ablate(read_ablation_config(words), Screen(), lambda: CODE) == 0
    content = read_json(bucket / "ablation" / "ablation.json", "")
    assert [row["status"] for row in content["rows"]] == ["completed"]
    [record] = read_ledger(bucket / "ablation" / "trials")
    assert record.best is not None
    assert content["rows"][0]["mean"] == pytest.approx(np.mean(record.best.questions[METRIC]), abs=1e-12)


def test_a_file_without_its_study_has_its_winner_trained(study: Study) -> None:
    shutil.rmtree(study.folder / "trials")
    code, lines = study.run("--vary", "gate=OR", "--seeds=1")
    assert (code, study.content["winner"]["trial_id"]) == (0, study.best["trial_id"])
    assert study.content["winner"]["mean"] == pytest.approx(study.best["metric"]["value"], abs=1e-12)
    assert "2 trials, 2 to train, up to 3 epochs each, 6 at most" in lines


class TestRefusals:
    @pytest.mark.parametrize(
        ("words", "rule"),
        [
            ([], r"--vary is missing: give parameters and values, such as --vary lambda=1e-5,"),
            (["--vary", "lambda"], r"--vary lambda: expected NAME=VALUE,VALUE without spaces, got 'lambda'\."),
            (["--vary", "lambda=1,,2"], r"--vary lambda=1,,2: expected NAME=VALUE,VALUE without spaces"),
            (["--vary", "lambda=1:2"], r"--vary lambda=1:2: expected NAME=VALUE,VALUE, not a range; list the values"),
            (["--vary", "lambda=1,1"], r"--vary lambda=1,1: 1 is given twice; keep one\."),
            (["--vary", "lambda=1,1.0"], r"--vary lambda=1,1\.0: 1\.0 is given twice; keep one\."),
            (["--vary", "lambda=1", "lambda=2"], r"--vary lambda=2: lambda is given by --vary lambda=1, too; give all"),
            (["--vary", "lamda=1"], r"--vary lamda=1: unknown parameter 'lamda'; did you mean lambda\?"),
            (["--vary", "lambda=-1"], r"--vary lambda=-1: lambda must be a finite number of at least 0, got -1\.0\."),
            (["--vary", "lambda=much"], r"--vary lambda=much: lambda must be a finite number, got 'much'\."),
            (["--vary", "gate=XNR"], r"--vary gate=XNR: gate of demo must be one of AND, .*; did you mean XNOR\?"),
            (["--vary", "num-conditions=2.5"], r"num_conditions must be a whole number, got '2\.5'\."),
            (["--vary", "encoder=vit"], r"--vary encoder=vit: unknown encoder 'vit'; choose from siamese, proxynca"),
            (
                ["--vary", "seed=1,2"],
                r"--vary seed=1,2: seed cannot be varied: it is varied in every row; give --seeds",
            ),
            (["--vary", "max_epochs=9"], r"max_epochs cannot be varied: all rows have the epochs of the winner"),
            (["--vary", "pairs_per_epoch=9"], r"pairs_per_epoch is \d+ in every trial of demo, not searched\."),
            (
                ["--vary", "backbone_learning_rate=1"],
                r"backbone_learning_rate is a parameter with --regime finetune only",
            ),
            (
                ["--vary", "temperature=0.1"],
                r"temperature depends on encoder being proxynca, and the winner has encoder "
                r"siamese; add --vary encoder=proxynca --grid\.",
            ),
            (["--vary", "lambda=0.1"], r"every row would be the winner \(lambda=0\.1\) itself; add other values\."),
            (["--vary", "gate=OR", "--seeds=0"], r"seeds must be at least 1, got 0\."),
        ],
    )
    def test_of_flags(self, study: Study, words: list[str], rule: str) -> None:
        before = sorted(study.folder.rglob("*"))
        with pytest.raises(UserError, match=rule):
            study.run(*words)
        assert sorted(study.folder.rglob("*")) == before

    def test_of_lambda_for_an_unsupervised_winner_name_the_ways_out(self, study: Study) -> None:
        trial = study.best["trial_id"]
        study.change(supervision="unsupervised", gate=None, **{"lambda": None})
        rule = (
            r"--vary lambda=1: lambda depends on supervision being hybrid or supervised, and the winner has "
            rf"supervision unsupervised; give --trial {trial}, the best trial that has it, or add "
            r"--vary supervision=hybrid,supervised --grid\."
        )
        with pytest.raises(UserError, match=rule):
            study.run("--vary", "lambda=1")
        code, lines = study.run("--vary", "lambda=1", "--seeds=1", "--trial", trial)
        content = study.content
        assert (code, content["start"], content["winner"]["config"]) == (0, f"trial {trial}", SETTING)
        assert any(line.startswith(f"  trial {trial} (lambda=0.1)  ") for line in lines)
        page = (study.output / "ablation.md").read_text()
        assert page.startswith(f"# Trial {trial} on demo, with one change at a time\n")
        with pytest.raises(
            UserError, match=rf"but .*best_config\.json has \w+ of demo; give --trial {trial}, or another"
        ):
            study.run("--vary", "dropout=0")
        shutil.rmtree(study.folder / "trials")
        with pytest.raises(UserError, match=r"the winner has supervision unsupervised; add --vary supervision=hybrid,"):
            study.run("--vary", "lambda=1", "--output", str(study.folder / "other"))

    def test_of_a_trial_that_has_not_completed(self, study: Study) -> None:
        trial = study.best["trial_id"]
        with pytest.raises(
            UserError, match=rf"--trial x: no such trial in .*trials; choose a completed one, such as {trial}"
        ):
            study.run("--vary", "gate=OR", "--trial", "x")
        (study.folder / "trials" / trial / "status.json").unlink()
        with pytest.raises(UserError, match=rf"--trial {trial}: must be a completed trial, got one that is running;"):
            study.run("--vary", "gate=OR", "--trial", trial)

    def test_of_other_data(self, study: Study, tmp_path: Path) -> None:
        draw_demo(tmp_path / "other" / "demo", DemoConfig(num_classes=20, images_per_class=7, image_size=32))
        with pytest.raises(UserError, match=r"data\.fingerprint is sha256:.*; give the --data-root of the study\."):
            study.run("--vary", "gate=OR", "--data-root", str(tmp_path / "other"))
        assert not study.output.exists()

    def test_of_a_folder_of_another_winner(self, ended: Study) -> None:
        ended.change(dropout=0.25)
        with pytest.raises(UserError, match=r"winner\.trial_id is \w+ of demo, but .* has \w+ of demo; give --trial"):
            ended.run("--vary", "gate=OR")

    @pytest.mark.parametrize(
        ("file", "text", "rule"),
        [
            (
                "ablation.json",
                "{",
                r"ablation\.json: is not JSON .*; move it away; the trials are kept, and found again",
            ),
            ("ablation.json", "{}", r"ablation\.json: lacks dataset, metric, grid, seeds, winner, rows"),
            ("config.json", "{", r"config\.json: is not JSON .*; move its folder away to leave the trial out\."),
            ("history.jsonl", "[]\n", r"history\.jsonl: line 1 must be an object with an epoch"),
            ("status.json", "{}", r"status\.json: lacks status, error; remove the file to run the trial again\."),
            ("best_epoch.json", "{}", r"best_epoch\.json: lacks epoch, questions, baselines; remove it\."),
            ("best_epoch.json", None, r"best_epoch\.json: is lost; remove .* to train the trial again\."),
        ],
    )
    def test_of_damaged_files_leave_them(self, ended: Study, file: str, text: str | None, rule: str) -> None:
        damaged = next(ended.output.rglob(file))
        damaged.unlink() if text is None else damaged.write_text(text)
        before = ended.trained()
        with pytest.raises(UserError, match=rule):
            ended.run(*ROWS)
        assert ended.trained() == before

    def test_of_a_damaged_ablation_json_lose_no_trial(self, ended: Study) -> None:
        content, before = ended.content, ended.trained()
        (ended.output / "ablation.json").unlink()
        ended.run(*ROWS, "--seeds=2")
        assert (without_times(ended.content), ended.trained()) == (without_times(content), before)


class TestVariations:
    """Of a winner that a search has found, with every parameter of its encoder."""

    @pytest.fixture
    def vary(self, study: Study, suggested: Callable[[int], dict[str, Any]]) -> Callable[..., list[dict[str, Any]]]:
        def find(*texts: str, grid: bool = False, **winner: Any) -> list[dict[str, Any]]:
            number = next(
                number
                for number in range(500)
                if winner.items() <= {key: suggested(number).get(key) for key in winner}.items()
            )
            best = study.best | {"config": suggested(number)}
            config = read_ablation_config([str(study.file), *study.flags, *(["--grid"] if grid else [])])
            varied = vary_winner(best, read_varied(texts), config)
            return [best["config"], *(variation.config for variation in varied)]

        return find

    def test_differ_in_nothing_else(self, vary: Callable[..., list[dict[str, Any]]]) -> None:
        winner, *rows = vary("num_conditions=3,1000", "weight_decay=0.5")
        assert rows == [
            winner | {"num_conditions": 3},
            winner | {"num_conditions": 1000},
            winner | {"weight_decay": 0.5},
        ]

    def test_lack_what_depends_on_another_choice(self, vary: Callable[..., list[dict[str, Any]]]) -> None:
        winner, row = vary("normalisation=none", normalisation="whiten")
        assert row == {**{k: v for k, v in winner.items() if k != "whitening_shrinkage"}, "normalisation": "none"}

    def test_have_what_a_choice_needs_as_first_trials_have_it(self, vary: Callable[..., list[dict[str, Any]]]) -> None:
        winner, row = vary("supervision=supervised", supervision="unsupervised", encoder="siamese")
        assert row.items() >= {**winner, "supervision": "supervised"}.items()
        assert (row["gate"], row["lambda"]) == ("XNOR", 0.01)

    def test_of_the_encoder_have_its_parameters(self, vary: Callable[..., list[dict[str, Any]]]) -> None:
        winner, row = vary("encoder=proxynca", encoder="siamese")
        added = {"embedding_dim", "temperature", "proxy_learning_rate_factor", "proxy_loss_weight"}
        assert row.keys() ^ winner.keys() == added | {"projection"}

    def test_start_with_random_weights_where_distances_cannot_be_kept(
        self, vary: Callable[..., list[dict[str, Any]]]
    ) -> None:
        winner, row = vary("joint=concat", joint="product", first_weights="distance", encoder="siamese")
        assert row == {**winner, "joint": "concat", "first_weights": "xavier"}

    def test_that_a_choice_excludes_are_refused(self, vary: Callable[..., list[dict[str, Any]]]) -> None:
        rule = r"first_weights depends on .*joint being absdiff or product.*, and the winner has .*joint concat"
        with pytest.raises(UserError, match=rule):
            vary("first_weights=distance", joint="concat", encoder="siamese")
