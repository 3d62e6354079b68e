"""Commands for the reader of a page, with the paths of the study."""

import shlex

from study.analysis.study_data import DatasetData, StudyData
from study.config.study_config import DEFAULT_CACHE
from study.page.blocks import Commands
from study.storage.driver_file import read_driver
from study.storage.location import in_store
from study.trials.ledger import count_ended


def command(*words: object) -> str:
    """Return a command line that a shell can run."""
    return shlex.join(["uv", "run", *map(str, words)])


def next_commands(study: StudyData, data: DatasetData) -> Commands:
    """Return the commands that follow from the state of a dataset: first what makes its result more certain."""
    files = data.files
    data_root = _data_flags(study)
    commands: list[tuple[str, str]] = []
    if study.over and data.summary.planned > count_ended(data.records):
        commands.append(("Go on with the search", _resume(study)))
    if data.winner is None:
        return Commands(title="What next", commands=commands)
    if data.summary.scores[0].test is None:
        commands.append(
            (
                "Train the winner again on train + val from five seeds, and test it once",
                command("study/final.py", files.best_config, *data_root, "--seeds", 5),
            )
        )
    else:
        final = files.final_metrics.parent
        commands.append(
            ("Ask why two images are similar", command("study/explain.py", final, "IMAGE1", "IMAGE2")),
        )
        commands.append(
            (
                "Find similar images in a folder of yours",
                command("study/index.py", final, "IMAGES", "--output", "INDEX"),
            )
        )
    commands.append(("Vary one parameter of the winner, with the others fixed", ablate_command(study, data)))
    return Commands(title="What next", commands=commands)


def ablate_command(study: StudyData, data: DatasetData) -> str:
    """Return the command that varies λ or, for a winner without attribute labels, the number of conditions."""
    supervised = data.winner is not None and "lambda" in data.winner.config
    vary = "lambda=1e-5,1e-3,0.1,10" if supervised else "num_conditions=1,8,64"
    best = data.files.best_config
    return command("study/ablate.py", best, *_data_flags(study), "--vary", vary, "--seeds", 3)


def _data_flags(study: StudyData) -> list[str]:
    """Return the flags of the data and the cache with which the study ran."""
    config = study.content.get("config", {})
    flags = ["--data-root", str(config.get("data_root", "data"))]
    cache = config.get("cache_dir")
    return [*flags, "--cache-dir", str(cache)] if cache and str(cache) != str(DEFAULT_CACHE) else flags


def viewer_commands(study: StudyData) -> Commands:
    """Return the commands that show the study in TensorBoard, Optuna's dashboard, and this page anew."""
    root = study.paths.root
    commands = [("See every trial's losses and metrics", command("tensorboard", "--logdir", study.paths.tensorboard))]
    if in_store(root):
        copies = f"copies/{study.name}"
        commands.append(("Copy the results to this machine", command("study/collate.py", root, "--copy", copies)))
        commands += [
            (f"Browse the trials of {name}", command("optuna-dashboard", f"{copies}/{name}/optuna.log"))
            for name in study.datasets
        ]
    else:
        commands += [
            (f"Browse the trials of {name}", command("optuna-dashboard", data.files.journal))
            for name, data in study.datasets.items()
        ]
    commands.append(("Write this page again", command("study/report.py", root)))
    return Commands(title="More views", commands=commands)


def _resume(study: StudyData) -> str:
    """Return the command that resumes a study, as its driver recorded it."""
    driver = read_driver(study.paths)
    recorded = driver.resume if driver is not None else ""
    return recorded or command("study/run.py", "--dataset", *study.datasets, "--name", study.name, "--resume")
