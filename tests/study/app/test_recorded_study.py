"""A study that version 0.1 began, and was interrupted in, is resumed to its end."""

import json
import shutil
from pathlib import Path

import pytest

from pan_model.data.demo import DemoConfig, draw_demo
from study.app.commands import run_command

RECORDED = Path(__file__).parents[2] / "recorded" / "0.1" / "recorded"
COMPLETED, INTERRUPTED = "037d5dca92ec", "f5132bd45e75"


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    draw_demo(tmp_path / "data" / "demo", DemoConfig(num_classes=24, images_per_class=12, image_size=32))
    shutil.copytree(RECORDED, tmp_path / "results" / "recorded")
    folders = ["--output", "results", "--data-root", "data", "--cache-dir", "cache"]
    flags = ["--image-size", "32", "--max-epochs", "3", "--grace-epochs", "2", "--executor", "serial", "--resume"]
    return [*(str(tmp_path / word) if word in ("results", "data", "cache") else word for word in folders), *flags]


def test_a_study_of_version_0_1_is_resumed(tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]):
    assert run_command([*words, "--name", "recorded", "--num-trials", "4"]) == 0, capsys.readouterr().err
    assert "resuming study recorded" in capsys.readouterr().out
    trials = tmp_path / "results" / "recorded" / "demo" / "trials"
    recorded = RECORDED / "demo" / "trials"
    assert files_below(trials / COMPLETED) == files_below(recorded / COMPLETED)
    assert (trials / INTERRUPTED / "config.json").read_bytes() == (recorded / INTERRUPTED / "config.json").read_bytes()
    old_history = (recorded / INTERRUPTED / "history.jsonl").read_text(encoding="utf-8")
    history = (trials / INTERRUPTED / "history.jsonl").read_text(encoding="utf-8")
    assert history.startswith(old_history)
    assert [json.loads(line)["epoch"] for line in history.splitlines()] == [1, 2, 3]
    statuses = [json.loads((trial / "status.json").read_text(encoding="utf-8"))["status"] for trial in trials.iterdir()]
    assert len(statuses) == 4
    assert set(statuses) <= {"completed", "stopped"}
    study = json.loads((tmp_path / "results" / "recorded" / "study.json").read_text(encoding="utf-8"))
    assert study["provenance"] == json.loads((RECORDED / "study.json").read_text(encoding="utf-8"))["provenance"]
    assert len(study["resumed"]) == 1


def test_other_flags_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]):
    assert run_command([*words, "--name", "recorded", "--seed", "1"]) == 2
    assert "is another study (seed was 0, now 1)" in capsys.readouterr().err
