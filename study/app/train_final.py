"""Final training: train a best configuration on train + val from several seeds, and test it once."""

import os
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pan_model.backbones.architectures import Backbone, build_backbone
from pan_model.backbones.config import FeaturesConfig, Pooling
from pan_model.backbones.weights import load_weights
from pan_model.config import TrialConfig
from pan_model.data.splits import Split
from pan_model.datasets import ReaderOptions
from pan_model.errors import UserError
from pan_model.reproducibility import deterministic_arithmetic
from pan_model.scores import QuestionScores
from pan_model.scoring.baselines import NORMALISED, normalised_baseline, untrained_baselines
from pan_model.scoring.pan_scorer import pan_scorer
from pan_model.tasks.task import Task
from pan_model.trained import BACKBONE as MODEL_BACKBONE
from pan_model.trained import CONFIG, WEIGHTS, read_preprocessing, save_model
from pan_model.training.trainer import Trainer
from search_spaces import SPACES
from study.config.choices import Regime
from study.config.final_config import NONE, FinalConfig
from study.config.provenance import provenance
from study.nodes.slots import loading_processes_here
from study.reporting.best_config import read_best_config
from study.reporting.collation import collate
from study.reporting.final_metrics import baseline_metrics, model_metrics, paired_differences
from study.reporting.model_card import write_model_card
from study.storage.files import exists, storage_of, write_json
from study.storage.location import Location, absolute, in_store
from study.storage.paths import BACKBONE, StudyPaths
from study.terminal import Terminal, duration
from study.trials.paper_setting import PaperSetting, paper_setting_of_final
from study.trials.preparation import Preparation, PreparedDataset, prepare_with_progress
from study.trials.question_scores import from_entry

PAPER_SETTING = "paper_setting"
FINAL_SCHEMA = "pan-study/final/1"
METRICS = "metrics.json"
UNFINISHED = f".{METRICS}."
"""Prefix of the files that test whether a store can be written."""

LEFTOVERS = (WEIGHTS, CONFIG, MODEL_BACKBONE, "model_card.md")
"""Files that an interrupted final training may leave in a store; the next one overwrites them."""

TRAIN_ON = (Split.TRAIN, Split.VAL)


def train_final(config: FinalConfig, terminal: Terminal) -> int:
    """Train from each seed, test all models on the same questions, and write the folder last.

    Args:
        config: The flags.
        terminal: Shows progress and results.

    Returns:
        The exit code, 0.

    Raises:
        UserError: If the folder exists, or the data or the weights are not those of the study. Nothing is written then.
    """
    best = read_best_config(config.best_config)
    if _exists_already(config.folder):
        raise UserError(f"{config.folder}: exists; move it, or give another --output.")
    storage_of(config.folder).check_writable(config.folder, "the final training", "--output", probe=UNFINISHED)
    times_s: dict[str, float] = {}
    with deterministic_arithmetic():
        with _timed("preparation", times_s):
            prepared = _prepare(best, config, terminal)
        paper = None
        if PAPER_SETTING in config.baseline_names:
            with _timed(f"baseline {PAPER_SETTING}", times_s):
                paper = _train_paper_setting(prepared, config, terminal)
        with _timed(f"PAN, {config.seeds} seeds", times_s):
            trainers = _train_seeds(best, prepared, config.seeds, terminal)
        terminal.say("testing, once")
        with _timed("testing", times_s):
            metrics = _test(trainers, paper, config.baseline_names, best)
        metrics |= {"left_out": prepared.left_out, "cautions": prepared.cautions}
    _write_folder(config.folder, trainers[0], prepared, best, metrics)
    terminal.say(f"time: {', '.join(f'{name} {duration(time_s)}' for name, time_s in times_s.items())}")
    _print_results(config.folder, trainers[0].task.objective.name, metrics, terminal)
    _summarise(config.folder, prepared.dataset, terminal)
    return 0


@contextmanager
def _timed(name: str, times_s: dict[str, float]) -> Generator[None]:
    """Add the seconds that the block takes to `times_s`."""
    started_s = time.monotonic()
    yield
    times_s[name] = time.monotonic() - started_s


def _prepare(best: dict[str, Any], config: FinalConfig, terminal: Terminal) -> PreparedDataset:
    """Prepare the study's data and features; compare the data with the study before any image is opened."""
    described = best["features"]
    features = FeaturesConfig(
        backbone=described["backbone"],
        weights=_find_weights(best, config),
        image_size=described["image_size"],
        pooling=Pooling(described.get("pooling", Pooling.AVG)),
        preprocessing=read_preprocessing(described),
    )
    options = _read_options(best, config)
    preparation = Preparation(
        dataset=best["dataset"],
        data_root=config.data_root,
        cache_dir=config.cache_dir,
        features=features,
        options=options,
        regime=Regime(described["regime"]),
        data_workers=loading_processes_here(config.data_workers),
        skip_bad_images=config.skip_bad_images,
        check_fingerprint=partial(_check_same, best, config, options, features),
    )
    return prepare_with_progress(preparation, terminal)


def _check_same(
    best: dict[str, Any], config: FinalConfig, options: ReaderOptions, features: FeaturesConfig, fingerprint: str
) -> None:
    """Raise UserError if the data or the weights are not those of the study.

    Args:
        best: The content of best_config.json.
        config: The flags.
        options: How the data were read.
        features: The features to extract.
        fingerprint: The fingerprint of the data.
    """
    studied = best["data"]["fingerprint"]
    if fingerprint != studied:
        words = f" with the words of {options.attribute_words}" if options.attribute_words else ""
        way_out = "--data-root and the --attribute-words" if words else "--data-root"
        raise UserError(
            f"{config.best_config}: data.fingerprint is {studied}, but the data below {config.data_root}{words} have "
            f"{fingerprint}; give the {way_out} of the study."
        )
    studied = best["features"]["weights_sha256"]
    sha256 = load_weights(build_backbone(features.backbone, features.pooling), features.weights)
    if sha256 != studied:
        raise UserError(
            f"{config.best_config}: features.weights_sha256 is {studied}, but those of {features.weights} have "
            f"{sha256}; give the study's by --weights."
        )


def _find_weights(best: dict[str, Any], config: FinalConfig) -> str:
    """Return the weights to use: those of --weights, else the study's trained backbone, else those of the file."""
    features = best["features"]
    if config.weights is not None or "backbone_training" not in features:
        return config.weights or features["weights"]
    file = config.best_config.parent / BACKBONE
    if not exists(file):
        raise UserError(
            f"{config.best_config}: features.backbone_training is {features['backbone_training']}, but {file} with the "
            "trained backbone is not there; put the study's there, or give it by --weights."
        )
    return str(storage_of(file).copy_to_disk(file, config.cache_dir))


def _read_options(best: dict[str, Any], config: FinalConfig) -> ReaderOptions:
    """Return how the study read its data, with the current path of the attribute words."""
    options = ReaderOptions.from_json(best["data"].get("options", {}))
    words = options.attribute_words
    if config.attribute_words is not None:
        if words is None:
            raise UserError(f"{config.best_config}: the study had no --attribute-words; leave the flag out.")
        return replace(options, attribute_words=config.attribute_words)
    if words is not None and not words.is_file():
        raise UserError(
            f"{config.best_config}: data.options.attribute_words is {words}, which is not there; "
            "give the study's list by --attribute-words FILE."
        )
    return options


def _train_paper_setting(prepared: PreparedDataset, config: FinalConfig, terminal: Terminal) -> PaperSetting:
    """Train the baseline `paper_setting`, or read it from the cache. Called first, since the cache may be unusable."""
    others = [name for name in config.baseline_names if name != PAPER_SETTING] or [NONE]

    def announce(epochs: int, epoch_s: float) -> None:
        terminal.say(
            f"baseline {PAPER_SETTING}: up to {epochs} epochs of all pairs, of which the best on val is chosen, at "
            f"most about {duration(epochs * epoch_s)}; then as many on train and val; leave it out with "
            f"--baselines {' '.join(others)}"
        )

    with terminal.live() as show:
        space = SPACES[prepared.dataset]
        paper = paper_setting_of_final(
            prepared,
            space.paper_setting,
            paper_epochs=space.paper_epochs,
            cache_dir=config.cache_dir,
            show=show,
            announce=announce,
        )
    terminal.say(f"baseline paper_setting: trained {paper.epoch} epochs on train and val")
    return paper


def _train_seeds(best: dict[str, Any], prepared: PreparedDataset, seeds: int, terminal: Terminal) -> list[Trainer]:
    trial = TrialConfig.from_flat(best["config"])
    task = prepared.row.task(prepared.featured, seed=trial.train.seed, train_on=TRAIN_ON)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    finals = [replace(trial, train=replace(trial.train, seed=seed)) for seed in range(seeds)]
    return [_train(Trainer(task, final, device, prepared.start), best["metric"]["epoch"], terminal) for final in finals]


def _train(trainer: Trainer, epochs: int, terminal: Terminal) -> Trainer:
    seed = trainer.config.train.seed
    with terminal.live() as show:
        while trainer.epoch < epochs:
            trainer.train_epoch()
            show(lambda: f"seed {seed}: epoch {trainer.epoch}/{epochs}")
    trainer.close()
    terminal.say(f"seed {seed}: trained {epochs} epochs on train and val")
    return trainer


def _test(
    trainers: Sequence[Trainer], paper: PaperSetting | None, names: Sequence[str], best: dict[str, Any]
) -> dict[str, Any]:
    """Evaluate all models and the named baselines on the same questions of the test split."""
    task = trainers[0].task
    scores = [_answer(task, trainer) for trainer in trainers]
    scorers = untrained_baselines(task) | {
        NORMALISED: normalised_baseline(task, Split.TEST, trainers[0].normalised_features(Split.TEST)),
    }
    if paper is not None:
        scorers[PAPER_SETTING] = pan_scorer(paper.model, task, Split.TEST, paper.device)
    baselines = {name: task.evaluate_fully(scorers[name], Split.TEST) for name in names}
    return {
        "schema": FINAL_SCHEMA,
        "dataset": best["dataset"],
        "split": Split.TEST.value,
        "seeds": [trainer.config.train.seed for trainer in trainers],
        "metrics": model_metrics(scores),
        "baselines": baseline_metrics(baselines),
        "paired": paired_differences(scores, baselines),
        "relevance": trainers[0].mean_relevance(TRAIN_ON),
        "scoring": trainers[0].config.scoring.scoring.value,
        **({} if paper is None else {PAPER_SETTING: _describe_paper(paper, best["dataset"])}),
        "questions": {name: len(questions) for name, questions in scores[0].items()},
        "epochs": trainers[0].epoch,
        "trained_on": [split.value for split in TRAIN_ON],
        "trial_id": best["trial_id"],
        "provenance": provenance(),
    }


def _describe_paper(paper: PaperSetting, dataset: str) -> dict[str, Any]:
    return {
        "config": paper.config.to_flat(),
        "epochs": paper.epoch,
        "chosen_of_epochs": paper.max_epochs,
        "paper_epochs": SPACES[dataset].paper_epochs,
    }


def _answer(task: Task, trainer: Trainer) -> QuestionScores:
    scores = task.evaluate_fully(trainer.scorer(Split.TEST), Split.TEST)
    trainer.close()
    return scores


def _backbone_of(trainer: Trainer, best: dict[str, Any], prepared: PreparedDataset) -> Backbone | None:
    """Return the backbone to save with the model: one trained with it, or before the search; else None."""
    if "backbone_training" not in best["features"]:
        return trainer.backbone
    described = prepared.features
    backbone = trainer.backbone or build_backbone(described["backbone"], described["pooling"])
    if trainer.backbone is None:
        load_weights(backbone, described["weights"])
    return backbone


def _write_folder(
    folder: Location, trainer: Trainer, prepared: PreparedDataset, best: dict[str, Any], metrics: dict[str, Any]
) -> None:
    def write(temporary: Path) -> None:
        write_json(temporary / METRICS, metrics)
        save_model(
            trainer.model, trainer.config, prepared.features, temporary, backbone=_backbone_of(trainer, best, prepared)
        )
        write_model_card(temporary / "model_card.md", best, metrics, trainer.model)

    storage_of(folder).write_folder(folder, write, last=METRICS)


def _exists_already(folder: Location) -> bool:
    """Return whether results exist; files that an interrupted final training left in a store do not count."""
    if not in_store(folder):
        return folder.exists()
    return any(
        file.name not in LEFTOVERS and not file.name.startswith(UNFINISHED)
        for file in storage_of(folder).list_folder(folder)
    )


def _summarise(folder: Location, dataset: str, terminal: Terminal) -> None:
    """Add the test scores to the study's summary, if the folder belongs to a study."""
    results = StudyPaths(absolute(folder).parent.parent)
    if not (exists(results.study) and absolute(folder) == results.dataset(dataset).final_metrics.parent):
        return
    try:
        summary = collate(results)[dataset].summary
    except (UserError, OSError) as error:  # the models are trained and written all the same
        terminal.say(f"the summary was not updated: {error}")
        return
    terminal.say(f"  {os.path.relpath(str(results.summary)) if absolute(folder) != folder else results.summary}")
    for caution in summary.cautions:
        terminal.say(f"caution: {caution}")


def _print_results(folder: Location, objective: str, metrics: dict[str, Any], terminal: Terminal) -> None:
    model = from_entry(metrics["metrics"][objective], "mean")
    terminal.say(f"PAN {objective} (test, {len(metrics['seeds'])} seeds): {model}")
    for name, values in metrics["baselines"].items():
        ahead = from_entry(metrics["paired"][name][objective], "difference")
        terminal.say(f"  {name}: {from_entry(values[objective], 'mean')}; PAN ahead by {ahead}")
    terminal.say("made:")
    for path in storage_of(folder).list_folder(folder):
        terminal.say(f"  {path}")
