"""Commands for the reader of a page, with the paths of the study."""

from collections.abc import Iterator

from pan_model.data.splits import Split
from study.analysis.progress import best_so_far
from study.analysis.study_data import DatasetData, StudyData
from study.config.study_config import DEFAULT_CACHE
from study.page.blocks import Commands
from study.reporting.comparison import rank_baselines
from study.reporting.next_commands import command
from study.storage.driver_file import read_driver
from study.storage.location import in_store
from study.trials.ledger import count_ended

LATE = 0.8
"""Share of the epochs after which a best trial came late, so that more trials may find a better one."""

SMALL_LEAD = 0.01
"""Lead below which it is called small, whatever its interval: one question in a hundred."""


def next_commands(study: StudyData, data: DatasetData) -> Commands:
    """Return the commands that follow from the state of a dataset: the recommended one with its reason, then uses."""
    commands = list(_steps(study, data))
    if commands:
        what, line = commands[0]
        commands[0] = f"Recommended: {what[:1].lower()}{what[1:]}", line
    if data.summary.scores[0].test is not None:
        final = data.files.final_metrics.parent
        commands += [
            ("Ask why two images are similar", command("study/explain.py", final, "IMAGE1", "IMAGE2")),
            (
                "Find similar images in a folder of yours",
                command("study/index.py", final, "IMAGES", "--output", "INDEX"),
            ),
        ]
    return Commands(title="What next", commands=commands)


def _steps(study: StudyData, data: DatasetData) -> Iterator[tuple[str, str]]:
    """Yield the steps that make the result more certain, each with its reason, the most useful first."""
    planned = data.summary.planned
    unfinished = study.over and planned > count_ended(data.records)
    if unfinished:
        yield (
            f"Go on with the search, since only {count_ended(data.records)} of {planned} trials have ended",
            _resume(study),
        )
    if data.winner is None:
        return
    if data.summary.scores[0].test is None:
        yield (
            "Train the winner again on train + val from five seeds, and test it once, since only that shows whether "
            "its lead holds on test",
            command("study/final.py", data.files.best_config, *_data_flags(study), "--seeds", 5),
        )
    elif study.over and not unfinished and data.summary.best and data.summary.best[2] == data.max_epochs:
        what = "Give the trials twice the epochs, since the winner's best epoch is its last one"
        yield what, f"{_resume(study)} --max-epochs {2 * data.max_epochs}"
    elif study.over and not unfinished and (reason := _why_search_more(data)):
        yield f"Search on with twice the trials, since {reason}", f"{_resume(study)} --num-trials {2 * planned}"
    several = "" if data.winner.config.get("num_conditions") != 1 else ", since a model with one cannot say why"
    varied = "λ of the winner" if "lambda" in data.winner.config else f"the winner's number of conditions{several}"
    yield f"Vary {varied}, with the other parameters fixed", ablate_command(study, data)


def _why_search_more(data: DatasetData) -> str:
    """Return why more trials may give a better result; empty if nothing says so."""
    progress = best_so_far(data)
    if progress.points and progress.points[-1].epochs_spent > LATE * progress.epochs_spent:
        return "the best trial came late"
    leads = rank_baselines(data.summary.scores, Split.TEST)
    if leads and (leads[0].ahead.low <= 0 or leads[0].ahead.mean < SMALL_LEAD):
        return "its lead over the strongest baseline is small or within noise"
    return ""


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
