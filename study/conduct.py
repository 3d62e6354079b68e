"""Conduct a study from its flags to its reports: plan -> prepare -> tune -> collate -> export -> report."""

import math
import shutil
import time
from contextlib import AbstractContextManager, ExitStack
from typing import Any

from pan_model.data.registry import find_dataset
from pan_model.train import use_deterministic_arithmetic
from study.baseline_scores import validation_baselines, write_baselines
from study.collation import Collated, collate
from study.config import DatasetPlan, StudyConfig
from study.files import write_json, write_whole
from study.identity import trial_id
from study.ledger import count_ended, read_ledger
from study.plan import check_same, check_same_flags, describe_study, find_study, same_files
from study.prepare import Preparation, PreparedDataset, prepare_on_screen
from study.question_scores import QuestionLists, interval_of
from study.ray_address import check_ray_address
from study.report import report_study
from study.screen import Screen, trials_line
from study.slots import Node, Slots, loading_processes, loading_processes_here, share_out
from study.trial import TrialPlace
from study.tune_request import TuneRequest


def conduct_study(config: StudyConfig, screen: Screen) -> int:
    """Run what is missing of a study and report; gives the exit code, 1 when no trial completed.

    Nothing is written to the output before all datasets are read, checked and have their features.
    """
    found = find_study(config)
    if found is not None:
        check_same_flags(found, config)
        if _is_finished(config) and same_files(found, config):
            screen.say(f"study {config.study_name} is done: every trial has run.")
            return report_study(config, collate(config.results, over=True), screen)
    check_ray_address(config.ray_address)
    use_deterministic_arithmetic()
    with ExitStack() as stack:
        # A cluster is joined at once: its nodes prepare data, too. A Ray of this machine starts when it is needed.
        joined = stack.enter_context(_ray_session(config)) if config.ray_address else None
        if joined is not None:
            _check_cluster(config, joined, screen)
        prepared = [_prepare(plan, config, screen) for plan in config.plans]
        if joined is not None:
            _tell_small_stores(prepared, screen)
        content = describe_study(config, prepared, found)
        if found is not None:
            check_same(found, content["signed"], config.results.root)
            screen.say(f"going on with study {config.study_name}")
        elif config.resume:
            screen.say(f"no study {config.study_name} in {config.output} yet: starting it")
        baselines = [_baselines(plan, part, config, screen) for plan, part in zip(config.plans, prepared, strict=True)]
        nodes = joined or stack.enter_context(_ray_session(config))
        slots = share_out(config, nodes)
        collated = _search(config, prepared, baselines, content, slots, screen)
    return report_study(config, collated, screen)


def _ray_session(config: StudyConfig) -> AbstractContextManager[tuple[Node, ...]]:
    from study.ray_session import ray_session  # importing Ray takes seconds, which a finished study need not wait for

    return ray_session(config)


def _check_cluster(config: StudyConfig, nodes: tuple[Node, ...], screen: Screen) -> None:
    from study.preflight import check_cluster

    check_cluster(config, nodes, screen)


def _tell_small_stores(prepared: list[PreparedDataset], screen: Screen) -> None:
    from study.preflight import store_hints

    for line in store_hints(sum(part.featured.features.nbytes for part in prepared)):
        screen.say(line)


def _is_finished(config: StudyConfig) -> bool:
    """Whether every dataset's ledger holds as many ended trials as are asked for."""
    return all(
        count_ended(read_ledger(config.results.of(plan.dataset).trials)) >= plan.num_trials for plan in config.plans
    )


def _prepare(plan: DatasetPlan, config: StudyConfig, screen: Screen) -> PreparedDataset:
    trained = config.results.of(plan.dataset).backbone
    preparation = Preparation(
        dataset=plan.dataset,
        data_root=config.data_root,
        cache_dir=config.cache_dir,
        features=plan.features,
        options=plan.options,
        regime=config.regime,
        backbone_training=plan.backbone_training,
        trained_backbone=trained if trained.exists() and plan.backbone_training else None,
        data_workers=loading_processes_here(config.data_workers),
        skip_bad_images=config.skip_bad_images,
    )
    return prepare_on_screen(preparation, screen)


def _baselines(
    plan: DatasetPlan, prepared: PreparedDataset, config: StudyConfig, screen: Screen
) -> dict[str, QuestionLists]:
    with screen.live() as show:
        baselines = validation_baselines(
            prepared, seed=config.seed, max_epochs=plan.max_epochs, cache_dir=config.cache_dir, show=show
        )
    objective = find_dataset(plan.dataset).task.objective
    values = ", ".join(f"{name} {interval_of(questions[objective]).mean:.4f}" for name, questions in baselines.items())
    screen.say(f"{plan.dataset}: baselines' {objective} on val: {values}")
    return baselines


def _search(
    config: StudyConfig,
    prepared: list[PreparedDataset],
    baselines: list[dict[str, QuestionLists]],
    content: dict[str, Any],
    slots: Slots,
    screen: Screen,
) -> dict[str, Collated]:
    deadline_s = math.inf if config.time_budget_s is None else time.monotonic() + config.time_budget_s
    write_json(config.results.study, content)
    for plan, questions in zip(config.plans, baselines, strict=True):
        write_baselines(config.results.of(plan.dataset).baselines, questions)
    for part in prepared:
        _keep_backbone(config, part)
    try:
        for part, plan in zip(prepared, config.plans, strict=True):
            if (left_s := deadline_s - time.monotonic()) > 0:
                _search_dataset(config, plan, part, screen, slots, left_s)
    finally:
        collated = collate(config.results, over=True)
    return collated


def _keep_backbone(config: StudyConfig, prepared: PreparedDataset) -> None:
    """Put the trained backbone beside the results: they are worth nothing without it, and a cache may go."""
    file = config.results.of(prepared.dataset).backbone
    if prepared.trained_backbone is not None and prepared.trained_backbone != file:
        trained = prepared.trained_backbone
        write_whole(file, lambda path: shutil.copyfile(trained, path))


def _search_dataset(
    config: StudyConfig, plan: DatasetPlan, prepared: PreparedDataset, screen: Screen, slots: Slots, left_s: float
) -> None:
    from study.tuner import tune_dataset

    files = config.results.of(plan.dataset)
    task = find_dataset(plan.dataset).task
    request = TuneRequest(
        place=TrialPlace(
            root=config.results.root.absolute(),
            dataset=plan.dataset,
            num_threads=slots.cpus,
            device="cuda" if slots.gpus else "cpu",
            data_workers=loading_processes(config.data_workers, cpus=slots.cpus, on_gpu=slots.gpus > 0),
        ),
        metric=task.objective,
        mode=task.mode,
        space=plan.space,
        complete=lambda suggested: {**suggested, "max_epochs": plan.max_epochs, "seed": config.seed},
        identify=lambda complete: trial_id(prepared.fingerprint, prepared.features, complete),
        num_trials=plan.num_trials,
        max_epochs=plan.max_epochs,
        grace_epochs=plan.grace_epochs,
    )
    started_s = time.monotonic()
    ended_before = count_ended(read_ledger(files.trials))

    def line() -> str:
        records = read_ledger(files.trials)
        return trials_line(plan, task.objective, task.mode, records, ended_before, time.monotonic() - started_s)

    with screen.live(at_once=True) as show:
        show(line)
        tune_dataset(
            request, prepared.featured, prepared.start, config, slots, time_budget_s=left_s, tell=lambda: show(line)
        )
