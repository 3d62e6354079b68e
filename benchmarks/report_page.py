"""How long does the report of a study of 1,000 trials take, and how large is it?

    .venv/bin/python benchmarks/report_page.py
    .venv/bin/python benchmarks/report_page.py --trials 1000 --keep FOLDER

The study is on CUB's space with 20 epochs. Its ledger is written as trials and early stopping would have left it: a
third of the trials is completed, one in fifty failed, the rest is stopped at a rung. Every completed trial has the
scores of its 100 validation questions.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from measure import Row, parser, run_benchmark
from optuna.samplers import RandomSampler

from search_spaces import SPACES
from study.config.resume import describe_study
from study.config.study_config import StudyConfig
from study.config.study_file import DatasetRecord

SECONDS, MEGABYTES = 20.0, 10.0
"""Targets."""

ROOT = Path(__file__).resolve().parent.parent
METRIC, EPOCHS, QUESTIONS = "few_shot_accuracy", 20, 100
RUNGS = (7,)


def measure(arguments: argparse.Namespace) -> list[Row]:
    """Write a study, and its report in a process of its own."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        study = write_study(folder, arguments.trials)
        start_s = time.perf_counter()
        subprocess.run([sys.executable, ROOT / "study" / "report.py", study], check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - start_s
        megabytes = (study / "report.html").stat().st_size / 1e6
    what = f"report of {arguments.trials} trials"
    return [
        Row.less(f"{what}, the whole command, s; beside the limit", seconds, SECONDS, target=1),
        Row.less(f"{what}, MB; beside the limit", megabytes, MEGABYTES, target=1),
    ]


def write_study(folder: Path, num_trials: int) -> Path:
    """Write the files of a study from which its report is made; return its folder."""
    config = StudyConfig(datasets=("cub",), output=folder, name="large", num_trials=num_trials, max_epochs=EPOCHS)
    features = {
        "regime": "frozen",
        "backbone": "resnet50",
        "weights": "imagenet",
        "weights_sha256": "ab" * 32,
        "image_size": 224,
    }
    record = DatasetRecord(
        dataset="cub",
        fingerprint=f"sha256:{'ef' * 32}",
        features=features,
        splits={"train": 5000, "val": 3000},
        left_out={},
        unreadable={},
    )
    generator = np.random.default_rng(0)
    study = config.results.root
    dataset = Path(study) / "cub"
    (dataset / "trials").mkdir(parents=True)
    _write(Path(study) / "study.json", describe_study(config, [record], None))
    hardness = generator.normal(size=QUESTIONS)
    hardness -= hardness.mean()
    baselines = {name: {METRIC: _questions(0.8, hardness)} for name in ("nearest_class_mean", "paper_setting")}
    _write(dataset / "baselines.json", {"split": "val", "questions": baselines})
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampled = optuna.create_study(sampler=RandomSampler(seed=0))
    for number in range(num_trials):
        flat = {**SPACES["cub"].suggest(sampled.ask()), "max_epochs": EPOCHS, "seed": 0}
        _write_trial(dataset / "trials" / f"{number:012x}", number, flat, generator, hardness)
    return Path(study)


def _write_trial(
    folder: Path, number: int, config: dict[str, Any], generator: np.random.Generator, hardness: np.ndarray
) -> None:
    status = "failed" if number % 50 == 49 else "completed" if number % 3 == 0 else "stopped"
    epochs = {"failed": 2, "completed": EPOCHS, "stopped": RUNGS[number % len(RUNGS)]}[status]
    level = 0.9 - 0.02 * abs(np.log10(config["learning_rate"]) + 3) + 0.01 * generator.normal()
    values = [float(np.clip(level - 0.2 / epoch + 0.003 * generator.normal(), 0, 1)) for epoch in range(1, epochs + 1)]
    folder.mkdir()
    _write(folder / "config.json", {"trial_id": folder.name, "number": number, "config": config})
    lines = [
        {"epoch": epoch, "loss/total": 1 / epoch, "time/train_s": 0.4, METRIC: value, "time/evaluate_s": 0.2}
        for epoch, value in enumerate(values, 1)
    ]
    (folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    error = "loss/total is nan in epoch 3; try a lower learning_rate" if status == "failed" else ""
    _write(folder / "status.json", {"status": status, "error": error})
    if status == "completed":
        best = int(np.argmax(values))
        questions = {METRIC: _questions(values[best], hardness)}
        _write(folder / "best_epoch.json", {"epoch": best + 1, "questions": questions, "baselines": {}})


def _questions(mean: float, hardness: np.ndarray) -> list[float]:
    """Return scores of the questions with about this mean; the same questions are hard for all."""
    return np.clip(mean - 0.03 * hardness, 0, 1).tolist()


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content))


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--trials", type=int, default=1000)
    arguments.add_argument("--keep", type=Path, help="write the study to this folder and keep it")
    run_benchmark(arguments, measure)
