"""Test the command that runs the benchmarks: sections, marked targets, failures, and what it refuses."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PROGRAMS = {
    "good": 'print(\'[{"what": "step", "ours": 1.0, "peer": 2.5, "ratio": 2.5, "target": 2}]\')',
    "slow": 'print(\'[{"what": "scan", "ours": 1.0, "peer": 1.5, "ratio": 1.5, "target": 2}]\')',
    "chatty": "print('hello')",
    "broken": "raise SystemExit(3)",
}


@pytest.fixture
def run_all(monkeypatch, tmp_path):
    """Return the module, with a folder of its own for the scripts."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    module = __import__("run_all")
    for name, program in PROGRAMS.items():
        (tmp_path / f"{name}.py").write_text(program)
    monkeypatch.setattr(module, "HERE", tmp_path)
    return module


def test_results_mark_a_target_that_was_not_reached_and_a_benchmark_that_failed(run_all):
    text = run_all.document([run_all.run(name, [], f"python benchmarks/{name}.py") for name in (*PROGRAMS, "gone")])
    assert "1 of 2 targets were reached; not reached:\n\n- scan: 1.5 of 2\n" in text
    assert "| step | 1 | 2.5 | 2.5 | 2 |" in text
    assert "| scan | 1 | 1.5 | **1.5** below | 2 |" in text
    assert "Failed: chatty, broken, gone." in text
    assert "failed: there is no gone.py" in text
    assert "failed: it did not print rows as JSON" in text
    assert "failed: exit code 3" in text


def test_commands_are_shown_without_paths_of_this_machine(run_all, tmp_path):
    class Arguments:
        data_root, backbone, weights, other = tmp_path / "data", "mobilenet_v2", str(tmp_path / "w.pth"), tmp_path

    flags, shown = run_all.flags_of("two_checkouts", Arguments)
    assert flags[:2] == [str(tmp_path), "--final"]
    assert flags[-1] == str(tmp_path / "w.pth")
    data = "--data-root DATA --backbone mobilenet_v2 --weights w.pth"
    assert shown == f"python benchmarks/two_checkouts.py OTHER --final {data}"
    assert run_all.flags_of("pair_labels", Arguments) == ([], "python benchmarks/pair_labels.py")


def test_an_unknown_benchmark_is_refused():
    command = [sys.executable, BENCHMARKS / "run_all.py", "pair_label"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "unknown benchmark 'pair_label'; choose from training_step, all_pairs," in done.stderr
