"""Examples of a study's best trials: at the study's end, and again for a study that has none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pan_model.datasets import find_dataset
from pan_model.errors import UserError
from study.reporting.best_config import read_best_config
from study.reporting.collation import Collated
from study.storage.files import exists
from study.storage.location import Location
from study.storage.paths import DatasetPaths, StudyPaths
from study.terminal import Terminal
from study.trials.ledger import TrialRecord, read_ledger
from study.trials.preparation import PreparedDataset
from study.trials.selection.confirmation import select_in_study


def make_study_examples(
    results: StudyPaths, prepared: Sequence[PreparedDataset], collated: Mapping[str, Collated], terminal: Terminal
) -> None:
    """Write the examples of each dataset whose best trial has none yet.

    Any error is printed as one line, since the study is complete without them.

    Args:
        results: The study's files.
        prepared: The datasets.
        collated: The trials of each dataset.
        terminal: Prints the lines.
    """
    for dataset in prepared:
        files, best = results.dataset(dataset.dataset), collated[dataset.dataset].summary.best
        if best is None:
            continue
        try:
            _make(files, dataset, best[0], terminal)
        except Exception as error:  # also a fault of the program: the study is done and must be reported as such
            reason = " ".join(str(error).split()) or type(error).__name__
            terminal.say(
                f"{dataset.dataset}: {files.examples} was not made ({reason.removesuffix('.')}); the study is whole, "
                f"and study/report.py {results.root} --data-root DIR tries again"
            )


@dataclass(frozen=True, kw_only=True)
class _Source:
    """Where the data of a best_config.json are, see `study.app.prepare_again.StudiedData`."""

    best_config: Location
    data_root: Path
    cache_dir: Path
    weights: str | None = None
    data_workers: int | None = None
    skip_bad_images: bool = True
    attribute_words: Path | None = None


def make_examples_again(
    paths: StudyPaths, data_root: Path, cache_dir: Path, terminal: Terminal, *, weights: str | None = None
) -> None:
    """Write the examples of all datasets of a study again, from its data.

    Args:
        paths: The study's files.
        data_root: The parent of the datasets' folders.
        cache_dir: The cache of features.
        terminal: Shows the progress and what was made.
        weights: The backbone's weights, if the file has moved since the search.

    Raises:
        UserError: If no dataset of the study has a completed trial, or the data or weights are not those of the study.
    """
    from study.app.prepare_again import prepare_again
    from study.config.study_file import read_study

    entries = read_study(paths.study)["datasets"]
    best_configs = [
        (dataset, paths.dataset(dataset).best_config)
        for dataset in entries
        if exists(paths.dataset(dataset).best_config)
    ]
    if not best_configs:
        raise UserError(f"{paths.root}: no trial has completed yet, so there are no examples; leave --data-root out.")
    for dataset, file in best_configs:
        best = read_best_config(file)
        row = find_dataset(dataset)
        if row.drawn and not (data_root / row.folder).is_dir():  # reading it would draw other data than asked for
            raise UserError(f"{data_root / row.folder}: no such folder; --data-root must be that of the study.")
        source = _Source(best_config=file, data_root=data_root, cache_dir=cache_dir, weights=weights)
        prepared = prepare_again(best, source, terminal)
        files = paths.dataset(dataset)
        records = read_ledger(files.trials, best=False)
        found = select_in_study(files, entries[dataset], records).candidate
        if found is None:
            raise UserError(
                f"{files.trials}: holds no completed trial; study/collate.py {paths.root} brings it up to date."
            )
        _make(files, prepared, found.record, terminal, again=True)


def _make(
    files: DatasetPaths, prepared: PreparedDataset, record: TrialRecord, terminal: Terminal, *, again: bool = False
) -> None:
    from study.trials.examples.making import is_made, make_examples

    if again or not is_made(files, record):
        made = make_examples(files, prepared, record)
        if again or made.num_left_out:  # at a study's end, the report shows them
            terminal.say(f"{prepared.dataset}: {made}")
