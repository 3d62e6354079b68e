"""The commands that a user wants next, after a search and after a final training: at most three, ready to be typed."""

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pan_model.data.folder.reader import EXTENSIONS
from pan_model.datasets import DATASETS
from study.config.study_config import DEFAULT_CACHE, StudyConfig
from study.reporting.summary import DatasetSummary
from study.storage.files import exists
from study.storage.location import Location, in_store, local_path
from study.storage.paths import StudyPaths

MAX_COMMANDS = 3


def next_commands(config: StudyConfig, summaries: Mapping[str, DatasetSummary]) -> list[str]:
    """Return the commands that may follow a search, the most useful first.

    These are: the report, a final training of each winner that had none, what a trained model is good for, the trials
    in other viewers.

    Args:
        config: The study.
        summaries: The summary of each dataset.
    """
    results = config.results
    commands: list[str] = []
    if in_store(results.root):  # a browser and the journal's viewer need files
        results = StudyPaths(Path("copies") / config.study_name)
        commands.append(command("study/collate.py", config.results.root, "--copy", results.root))
    if exists(config.results.report):
        commands.append(open_command(results.report))
    elif exists(config.results.study):
        commands.append(command("study/report.py", config.results.root))
    winners = [name for name, summary in summaries.items() if summary.best is not None]
    tested = [name for name in winners if any(scores.test is not None for scores in summaries[name].scores)]
    if untested := [name for name in winners if name not in tested]:
        commands.append(_final_command(config, untested))
    for dataset in tested:
        commands += model_commands(results.dataset(dataset).final_metrics.parent, config.data_root, dataset)
    if exists(config.results.tensorboard):
        commands.append(command("tensorboard", "--logdir", config.results.tensorboard))
    commands += [
        command("optuna-dashboard", results.dataset(dataset).journal)
        for dataset in summaries
        if exists(config.results.dataset(dataset).journal)
    ]
    return commands[:MAX_COMMANDS]


def commands_after_final(final: Location, data_root: Path, dataset: str, report: Location) -> list[str]:
    """Return the commands that may follow a final training: what its model is good for, and the study's report.

    Args:
        final: The folder of the final training.
        data_root: The parent of the dataset's folder.
        dataset: The name of the dataset.
        report: The report of the study, if the folder belongs to one.
    """
    commands = model_commands(final, data_root, dataset)
    if not in_store(report) and exists(report):
        commands.append(open_command(report))
    return commands[:MAX_COMMANDS]


def model_commands(final: Location, data_root: Path, dataset: str) -> list[str]:
    """Return the commands that explain a pair of the dataset's images by a model, and make an index of them.

    There are none for a model in a store, or without images on this machine.
    """
    folder, images = local_path(final), data_root / DATASETS[dataset].folder
    pair = find_pair(images)
    if folder is None or not exists(folder) or pair is None:
        return []
    index = folder.parent / "index"
    use = (
        command("study/query.py", index, pair[0], "--top", 10)
        if exists(index)
        else command("study/index.py", folder, images, "--output", index)
    )
    return [command("study/explain.py", folder, *pair), use]


def open_command(page: Location) -> str:
    """Return the command that opens a page of this machine in a browser."""
    return command("python", "-m", "webbrowser", Path(str(page)).absolute().as_uri())


def find_pair(folder: Path) -> tuple[Path, Path] | None:
    """Return two images of the same folder below a folder, for most datasets of the same class; None without any."""
    for images in _images_by_folder(folder):
        if len(images) > 1:
            return images[0], images[1]
    return None


def _images_by_folder(folder: Path) -> Iterator[Sequence[Path]]:
    for place, folders, files in os.walk(folder):
        folders.sort()
        yield sorted(Path(place) / name for name in files if name.lower().endswith(EXTENSIONS) and name[0] != ".")


def _final_command(config: StudyConfig, datasets: Sequence[str]) -> str:
    """Return the command of a final training; of several datasets, a loop of the shell over them."""
    flags = ["--data-root", config.data_root, "--seeds", 5]
    if config.cache_dir != DEFAULT_CACHE:
        flags += ["--cache-dir", config.cache_dir]
    if config.skip_bad_images:
        flags += ["--skip-bad-images"]
    if len(datasets) == 1:
        return command("study/final.py", config.results.dataset(datasets[0]).best_config, *flags)
    name = config.results.dataset(datasets[0]).best_config.name
    best_config = f'{shlex.quote(str(config.results.root))}/"$dataset"/{name}'
    final = f"uv run study/final.py {best_config} {shlex.join(map(str, flags))}"
    return f"for dataset in {' '.join(datasets)}; do {final}; done"


def command(*words: object) -> str:
    """Return a command line that a shell can run."""
    return shlex.join(["uv", "run", *map(str, words)])
