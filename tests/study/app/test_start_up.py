"""Commands that only parse flags, report an error of the user or read results import neither torch nor ray."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = """
import runpy, sys
script, sys.argv = sys.argv[1], sys.argv[1:]
try:
    runpy.run_path(script, run_name="__main__")
except SystemExit as ended:
    print("exit code", ended.code or 0)
print("imported", *sorted({"torch", "ray"} & set(sys.modules)))
"""


def run(script: str, *words: object) -> str:
    command = [sys.executable, "-c", PROGRAM, str(ROOT / "study" / script), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    assert "imported\n" in done.stdout, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("script", ["run.py", "final.py", "collate.py", "status.py"])
def test_help_is_quick(script: str):
    assert "exit code 0" in run(script, "--help")


@pytest.mark.parametrize(
    ("script", "words", "message"),
    [
        ("run.py", ["--num-trails", "3"], "did you mean --num-trials?"),
        ("run.py", ["--num-trials", "three"], "invalid int value: 'three'"),
        ("run.py", ["--num-trials", "0"], "--num-trials must be at least 1, got 0."),
        ("run.py", ["--backbone", "resnet51"], "unknown backbone 'resnet51'"),
        ("run.py", ["--encoders", "transformer"], "unknown encoder 'transformer'"),
        ("run.py", ["--config", "nowhere.toml"], "nowhere.toml: cannot be read"),
        ("final.py", ["--seeds", "0", "best_config.json"], "--seeds must be at least 1, got 0."),
        ("final.py", [], "the following arguments are required: best_config.json"),
        ("status.py", ["nowhere"], "nowhere"),
        ("collate.py", ["nowhere"], "nowhere"),
    ],
)
def test_an_error_of_the_user_is_quick(script: str, words: list[str], message: str):
    output = run(script, *words)
    assert message in output
    assert "exit code 2" in output


def test_an_existing_study_is_refused_quickly(tmp_path: Path):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "study.json").write_text("{}", encoding="utf-8")
    output = run("run.py", "--output", tmp_path)
    assert "this study exists" in output
    assert "exit code 2" in output
