"""Run a study, from its configuration to its reports: prepare, search, collate, export, report."""

import shutil
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from importlib import import_module
from typing import Any

import torch

from pan_model.backbones.architectures import check_image_size
from pan_model.backbones.extraction import Extractor
from pan_model.backbones.features import LOCAL
from pan_model.backbones.remembered import recall_backbone
from pan_model.errors import MachineFault, UserError
from pan_model.files import check_writable
from pan_model.model.precision import Precision, bfloat16_slowdown
from pan_model.reproducibility import deterministic_arithmetic
from study.app.make_examples import make_study_examples
from study.app.report_page import write_report
from study.config.choices import Executor
from study.config.dataset_plan import DatasetPlan
from study.config.resume import check_same, check_still_free, describe_study
from study.config.study_config import StudyConfig
from study.nodes.deployment import describe_code
from study.nodes.ray_address import configure_ray_environment, describe_cluster, find_cluster
from study.nodes.ray_start import prepare_ray_start
from study.nodes.requirements import check_disk_space
from study.nodes.resources import Node
from study.nodes.slots import Slots, allocate_slots, loading_processes_here
from study.reporting.collation import Collated, collate
from study.reporting.report import report_study
from study.storage.driver_file import DriverRecord, DriverState
from study.storage.files import exists, storage_of, write_file, write_json
from study.terminal import Terminal
from study.trials.first_trials import FirstTrials
from study.trials.ledger import Status, read_ledger
from study.trials.more_epochs import as_searched, count_missing, describe_more_epochs
from study.trials.preparation import Preparation, PreparedDataset, prepare_with_progress
from study.trials.shared_baselines import SharedBaselines
from study.tuning.budget import Budget, GpuMeter
from study.tuning.search import search_datasets


def conduct_study(
    config: StudyConfig,
    earlier: dict[str, Any] | None,
    first_trials: Mapping[str, FirstTrials],
    terminal: Terminal,
    *,
    resume_command: str = "",
) -> int:
    """Run the trials that a study lacks, and report.

    Nothing is written to the output until all datasets are read and checked and their features are extracted.

    Args:
        config: The study.
        earlier: The study.json of an earlier run, None for a new study.
        first_trials: The first trials of --try and --warm-start, by dataset.
        terminal: Shows progress and results.
        resume_command: The command that resumes the study, for driver.json.

    Returns:
        The exit code: 0, or 1 if no trial completed.

    Raises:
        UserError: If an input is wrong, or the earlier run was of a study with another signature.
    """
    _check_backbones(config)
    config = _find_ray(config, terminal)
    check_disk_space(config)
    with deterministic_arithmetic(), ExitStack() as stack:
        # A cluster is joined first, since its nodes prepare data as well. Ray on this machine starts when it is needed.
        joined = _join_cluster(config, stack, terminal) if config.ray_address else None
        _check_gpu_hours(config, torch.cuda.is_available() if joined is None else any(node.gpus for node in joined))
        meter = None if joined is None else _gpu_meter(config)  # GPU-hours of data preparation count as well
        prepared = [_prepare(plan, config, joined, terminal) for plan in config.plans]
        if joined is not None:
            _print_store_hints(prepared, terminal)
        content = _sign_study(config, prepared, earlier, first_trials, terminal)
        baselines = SharedBaselines(config, prepared, content, terminal)
        baselines.score()
        if config.executor is Executor.SERIAL:
            slots = _serial_slots(config)
            baselines.compute(baselines.to_compute())
        else:
            _check_cache(config, baselines)
            nodes = joined or _begin_ray(config, stack, terminal)
            slots = allocate_slots(config, nodes, _measure_gpu_need(config, prepared, nodes, terminal))
        _note_precision(config, slots, terminal)
        meter = meter or _gpu_meter(config)
        budget = Budget(seconds=config.time_budget_s, gpu_hours=config.max_gpu_hours, meter=meter)
        check_still_free(config, earlier)
        _write_study(config, prepared, content)
        baselines.write()
        with DriverRecord(config.results, resume_command) as driver:
            with _collated_on_error(config):
                search_datasets(config, prepared, first_trials, slots, budget, terminal, baselines)
                if not budget.end:  # what no trial has answered, since it failed
                    baselines.compute(baselines.unknown())
                baselines.complete_winners()
            collated = collate(config.results, over=True)
            ended_by = budget.end
            driver.ends(*_end(config, collated, ended_by))
    make_study_examples(config.results, prepared, collated, terminal)
    write_report(config.results, terminal)
    return report_study(config, collated, terminal, ended_by)


def _sign_study(
    config: StudyConfig,
    prepared: list[PreparedDataset],
    earlier: dict[str, Any] | None,
    first_trials: Mapping[str, FirstTrials],
    terminal: Terminal,
) -> dict[str, Any]:
    """Return the content of study.json, and print what a study resumes or tries first.

    Raises UserError if the earlier run was of a study with another signature.
    """
    content = describe_study(config, [dataset.record for dataset in prepared], earlier)
    for dataset, first in first_trials.items():
        content["datasets"][dataset] |= {"first_trials": first.trials} if first.trials else {}
    _check_same_study(config, earlier, content, terminal)
    for dataset, first in first_trials.items():
        for line in first.lines() if config.try_file or config.warm_start else first.notes:
            terminal.say(f"{dataset}: {line}")
    return content


@contextmanager
def _collated_on_error(config: StudyConfig) -> Generator[None]:
    """Write the tables of a search that ends with an error."""
    try:
        yield
    except MachineFault:
        with suppress(UserError, OSError):  # the tables may be on the same disk; the ledger has it all
            collate(config.results, over=True)
        raise
    except BaseException:
        collate(config.results, over=True)
        raise


def _end(config: StudyConfig, collated: Mapping[str, Collated], ended_by: str) -> tuple[DriverState, str]:
    """Return the state and the reason with which a search without an error ends.

    Args:
        config: The study.
        collated: The trials of each dataset.
        ended_by: The limit that ended the search; empty if none did.
    """
    lacks_trials = any(
        count_missing(
            as_searched(
                collated[plan.dataset].records,
                config.results.dataset(plan.dataset).trials,
                plan.row.task.objective,
                plan.max_epochs,
            ),
            plan.num_trials,
        )
        for plan in config.plans
    )
    lacks_runs = any(dataset.summary.selection.missing for dataset in collated.values())
    if (lacks_trials or lacks_runs) and ended_by:
        return DriverState.INTERRUPTED, ended_by
    if all(dataset.summary.best is None for dataset in collated.values()):
        return DriverState.FAILED, "no trial completed"
    return DriverState.DONE, "the space was used up" if lacks_trials else ""


def _check_backbones(config: StudyConfig) -> None:
    """Raise UserError if a backbone does not accept images of the study's size, as far as that is not known."""
    for features in {plan.features for plan in config.plans}:
        if recall_backbone(features, config.cache_dir) is None:
            check_image_size(features.backbone, features.pooling, features.image_size)


def _join_cluster(config: StudyConfig, stack: ExitStack, terminal: Terminal) -> tuple[Node, ...]:
    """Join the cluster until the stack closes, describe it and the code that runs, and check its nodes."""
    from study.nodes.preflight import check_cluster
    from study.nodes.ray_session import ray_session

    nodes = stack.enter_context(ray_session(config, terminal.say))
    terminal.say(describe_cluster(str(config.ray_address), nodes))
    terminal.say(describe_code())
    check_cluster(config, nodes, terminal)
    return nodes


def _check_same_study(
    config: StudyConfig, earlier: dict[str, Any] | None, content: dict[str, Any], terminal: Terminal
) -> None:
    """Raise UserError if the earlier study of this name differs; otherwise print whether it is resumed or started."""
    if earlier is not None:
        check_same(earlier, content["signed"], config.results.root)
        terminal.say(f"resuming study {config.study_name}")
        _say_tried_again(config, terminal)
        for plan in config.plans:
            if plan.max_epochs > (before := earlier["datasets"][plan.dataset]["max_epochs"]):
                trials, objective = (
                    config.results.dataset(plan.dataset).trials,
                    plan.row.task.objective,
                )
                terminal.say(f"{plan.dataset}: {describe_more_epochs(trials, objective, before, plan.max_epochs)}")
    elif config.resume:
        terminal.say(f"no study {config.study_name} in {config.output} yet: starting it")


def _say_tried_again(config: StudyConfig, terminal: Terminal) -> None:
    """Print how many trials earlier releases closed as failed because of a fault of the machine, which run again."""
    for plan in config.plans:
        records = read_ledger(config.results.dataset(plan.dataset).trials, best=False)
        faults = [record.error for record in records if record.status is Status.RUNNING and record.error]
        if faults:
            count = f"{len(faults)} trial{'' if len(faults) == 1 else 's'}"
            terminal.say(f"{plan.dataset}: {count} failed because of the machine ({faults[0]}): tried again")


def _find_ray(config: StudyConfig, terminal: Terminal) -> StudyConfig:
    """Return the study with the address of its cluster; without one, check what Ray needs to start here."""
    if config.executor is Executor.SERIAL:
        return config
    configure_ray_environment()
    config = replace(config, ray_address=find_cluster(config.ray_address))
    if config.ray_address is None:
        prepare_ray_start(terminal.say)  # what Ray lacks is found before any work
    return config


def _check_cache(config: StudyConfig, baselines: SharedBaselines) -> None:
    """Raise UserError if a baseline cannot be cached. Its task on Ray would find out after files are written."""
    for job in baselines.to_compute():
        folder = config.cache_dir / job.cache_folder
        if not folder.is_dir():
            check_writable(folder, f"the baseline {job.name}")


def _begin_ray(config: StudyConfig, stack: ExitStack, terminal: Terminal) -> tuple[Node, ...]:
    """Start Ray on this machine until the stack closes, import meanwhile what the search needs, and return its node."""
    from study.nodes.ray_session import LocalRay

    local_ray = stack.enter_context(LocalRay(config, terminal.say))
    import_module("study.tuning.ray_executor")  # takes seconds
    return local_ray.wait()


def _print_store_hints(prepared: list[PreparedDataset], terminal: Terminal) -> None:
    from study.nodes.preflight import store_hints

    for line in store_hints(sum(dataset.featured.features.nbytes for dataset in prepared)):
        terminal.say(line)


def _prepare(
    plan: DatasetPlan, config: StudyConfig, joined: tuple[Node, ...] | None, terminal: Terminal
) -> PreparedDataset:
    backbone = config.results.dataset(plan.dataset).backbone
    is_trained = plan.backbone_training is not None and exists(backbone)
    preparation = Preparation(
        dataset=plan.dataset,
        data_root=config.data_root,
        cache_dir=config.cache_dir,
        features=plan.features,
        options=plan.options,
        regime=config.regime,
        backbone_training=plan.backbone_training,
        trained_backbone=storage_of(backbone).copy_to_disk(backbone, config.cache_dir) if is_trained else None,
        data_workers=loading_processes_here(config.data_workers),
        skip_bad_images=config.skip_bad_images,
        extractor=LOCAL if joined is None else _cluster_extractor(plan, joined, terminal),
    )
    return prepare_with_progress(preparation, terminal)


def _cluster_extractor(plan: DatasetPlan, nodes: tuple[Node, ...], terminal: Terminal) -> Extractor:
    from study.nodes.feature_extraction import ClusterExtractor

    return ClusterExtractor(nodes=nodes, say=lambda line: terminal.say(f"{plan.dataset}: {line}"))


def _check_gpu_hours(config: StudyConfig, has_gpus: bool) -> None:
    """Raise UserError if GPU-hours are limited and there is no GPU."""
    if config.max_gpu_hours is not None and not has_gpus:
        raise UserError("--max-gpu-hours needs a cluster with GPUs, got none; --time-budget ends a study without them.")


def _serial_slots(config: StudyConfig) -> Slots:
    """Return the one slot of a serial run: a whole GPU if this machine has one and trials may use it.

    Raises UserError if trials need more GPUs than this machine has.
    """
    if (config.gpus_per_trial or 0) > torch.cuda.device_count():
        has = torch.cuda.device_count()
        raise UserError(f"gpus_per_trial must be at most {has}, what this machine has, got {config.gpus_per_trial:g}.")
    on_gpu = torch.cuda.is_available() and config.gpus_per_trial != 0
    return Slots(cpus=config.cpus_per_trial, gpus=1.0 if on_gpu else 0.0, count=1)


def _note_precision(config: StudyConfig, slots: Slots, terminal: Terminal) -> None:
    """Say so if this machine's CPU computes in bfloat16 more slowly than in float32, and trials use CPUs."""
    if config.precision is Precision.BFLOAT16 and slots.gpus == 0 and (slowdown := bfloat16_slowdown()) > 1:
        terminal.say(
            f"note: products in bfloat16 take {slowdown:.1f} times as long as in float32 on this machine's CPU; "
            "leave out --precision"
        )


def _gpu_meter(config: StudyConfig) -> GpuMeter:
    if config.executor is Executor.SERIAL:
        return GpuMeter(torch.cuda.device_count)
    from study.nodes.ray_session import count_gpus

    return GpuMeter(count_gpus)


def _measure_gpu_need(
    config: StudyConfig, prepared: list[PreparedDataset], nodes: Sequence[Node], terminal: Terminal
) -> float:
    """Return the measured share of a GPU that a trial needs; 0 without GPUs or if the study sets a share."""
    if config.gpus_per_trial is not None or not any(node.gpus for node in nodes):
        return 0.0
    from study.nodes.gpu_memory import largest_trials, probe_gpu
    from study.nodes.ray_session import count_gpus

    need = 0.0
    for plan, dataset in zip(config.plans, prepared, strict=True):
        waiting = "" if count_gpus() else ", as soon as the cluster has started a machine that has one"
        terminal.say(f"{plan.dataset}: measuring on a GPU how much of it a trial needs{waiting}")
        use = probe_gpu(dataset, largest_trials(plan.space, max_epochs=plan.max_epochs, seed=config.seed))
        if use is not None:
            terminal.say(f"{plan.dataset}: a trial takes up to {use}")
            need = max(need, use.share)
    return need


def _write_study(
    config: StudyConfig,
    prepared: list[PreparedDataset],
    content: dict[str, Any],
) -> None:
    """Write study.json and the trained backbones. Called before the first trial."""
    write_json(config.results.study, content)
    for dataset in prepared:
        _keep_backbone(config, dataset)


def _keep_backbone(config: StudyConfig, prepared: PreparedDataset) -> None:
    """Copy the trained backbone to the results, which need it: the cache may be deleted."""
    file = config.results.dataset(prepared.dataset).backbone
    trained = prepared.trained_backbone
    if trained is not None and not exists(file):
        write_file(file, lambda path: shutil.copyfile(trained, path))
