"""Resume rules: whether a study may start, and whether it is the same as an earlier study of its name."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pan_model.data.splits import ValQuestions
from pan_model.datasets import find_dataset
from pan_model.errors import UserError
from pan_model.model.precision import Precision
from study.config.choices import PreprocessingChoice, Sampler
from study.config.dataset_plan import DatasetPlan
from study.config.identity import digest
from study.config.provenance import provenance
from study.config.space_description import compare_spaces, record_space
from study.config.study_config import StudyConfig
from study.config.study_file import STUDY_SCHEMA, DatasetRecord, read_study
from study.storage.driver_file import check_no_other_driver
from study.storage.files import exists, storage_of
from study.storage.location import Location, in_store

DIGESTS_OF_0_1 = {
    "61f727564f2b": "6150829c999e",
    "d6c577922326": "a4d307ae7903",
    "ecb4f4d20c3b": "d69cecee7f45",
    "a0b03f5c1d1d": "7ef3243e48e7",
    "1b848b506ed1": "af88be3bbe1c",
    "9b0a56dd6e0e": "c5c4a317231e",
    "0e3652a5d91d": "5b526b09a6fc",
    "89eb881c3afb": "a74c49c855cd",
    "284791b00c1f": "093040ac0f5c",
    "3e52cfffea09": "0e51ad8ddffd",
    "455658ac8615": "1cb22800ccc9",
}
"""The current digest of each search space of version 0.1, and the digest that version 0.1 wrote into study.json.

A space that has changed since has no row: a study of version 0.1 that searched it cannot be resumed.
"""

SOMETIMES_SIGNED = ("encoders", "pooling", "preprocessing", "backbone_training", "labels", "task", "val_questions")
"""Keys of a dataset that are signed only if they differ from the default, or from what studies before them had."""

DEFAULTS = {"precision": Precision.FLOAT32}
"""Choices of a study that are signed only if they differ from the default."""


def find_study(config: StudyConfig) -> dict[str, Any] | None:
    """Return the study.json of an earlier run under this name, or None for a new study.

    Raises:
        UserError: If a study exists and `resume` is off or another process runs it, if the folder holds something
            else, or if it cannot be written.
    """
    root, file = config.results.root, config.results.study
    unfinished = f".{file.name}."  # left by a run that was killed while it wrote the first file
    if in_store(root):  # first, since its message about a store is the clearest
        storage_of(root).check_writable(root, "the study", "--output", probe=unfinished)
    exists_already = exists(file)
    if not exists_already and not _is_free(root, unfinished):
        raise UserError(f"{root}: exists and is not a study; move it, or give another --name or --output.")
    if not in_store(root):
        storage_of(root).check_writable(root, "the study", "--output", probe=unfinished)
    if exists_already and not config.resume:
        raise UserError(f"{root}: this study exists; resume it with --resume, or give another --name or --output.")
    check_no_other_driver(config.results)
    return read_study(file) if exists_already else None


def check_still_free(config: StudyConfig, earlier: dict[str, Any] | None) -> None:
    """Check again, before the first file is written, that no other process has begun the study meanwhile.

    Args:
        config: The study.
        earlier: The study.json that `find_study` found.

    Raises:
        UserError: If one has.
    """
    if earlier is None:
        find_study(replace(config, resume=False))
    else:
        check_no_other_driver(config.results)


def _is_free(root: Location, unfinished: str) -> bool:
    """Return whether a folder is missing or holds only unfinished files."""
    if not in_store(root) and root.exists() and not root.is_dir():
        return False
    return all(path.name.startswith(unfinished) for path in storage_of(root).list_folder(root))


def with_earlier_numbers(config: StudyConfig, earlier: dict[str, Any]) -> StudyConfig:
    """Return a study that resumes an earlier run: without --max-epochs or --num-trials it keeps those of that run."""
    names = [name for name in ("max_epochs", "num_trials") if getattr(config, name) is None]
    return replace(config, **{name: earlier.get("config", {}).get(name) for name in names})


def keep_preprocessing(config: StudyConfig, earlier: dict[str, Any]) -> StudyConfig:
    """Return the configuration with the choice of preprocessing of an earlier run, unless it makes one.

    Studies of releases without the choice had the usual transform of ImageNet.

    Args:
        config: The study.
        earlier: The study.json of the earlier run.
    """
    was = earlier.get("config", {}).get("preprocessing", PreprocessingChoice.IMAGENET)
    if config.preprocessing is not None or was is None:
        return config
    return replace(config, preprocessing=PreprocessingChoice(was))


def keep_val_questions(config: StudyConfig, earlier: dict[str, Any]) -> StudyConfig:
    """Return the configuration with the questions on val of an earlier run, unless it makes a choice.

    Studies of releases without the choice asked the full questions.

    Args:
        config: The study.
        earlier: The study.json of the earlier run.
    """
    was = earlier.get("config", {}).get("val_questions", ValQuestions.FULL)
    has_choice = any("val_questions" in find_dataset(dataset).options for dataset in config.datasets)
    if config.val_questions is not None or was is None or not has_choice:
        return config
    return replace(config, val_questions=ValQuestions(was))


def keep_confirm(config: StudyConfig, earlier: dict[str, Any]) -> StudyConfig:
    """Return the configuration with --confirm of an earlier run, unless it is given.

    Studies of releases without the flag confirmed nothing.

    Args:
        config: The study.
        earlier: The study.json of the earlier run.
    """
    was = earlier.get("config", {}).get("confirm", 0)
    return replace(config, confirm=was) if config.confirm is None else config


def keep_rules(config: StudyConfig, earlier: dict[str, Any]) -> StudyConfig:
    """Return the configuration with the sampler and the grace epochs of an earlier run, unless it gives them.

    Their defaults were others in version 0.1.

    Args:
        config: The study.
        earlier: The study.json of the earlier run.
    """
    signed = earlier.get("signed", {})
    if config.sampler is None and "sampler" in signed:
        config = replace(config, sampler=Sampler(signed["sampler"]))
    grace_epochs = {entry.get("grace_epochs") for entry in signed.get("datasets", {}).values()}
    if config.grace_epochs is None and len(grace_epochs) == 1:
        config = replace(config, grace_epochs=grace_epochs.pop())
    return config


def keep_space(config: StudyConfig, earlier: dict[str, Any]) -> StudyConfig:
    """Return the configuration with the choice of the search space of an earlier run, unless it makes one.

    Args:
        config: The study.
        earlier: The study.json of the earlier run.
    """
    was = {name: value for name in OF_THE_SPACE if (value := earlier.get("config", {}).get(name))}
    if not was or any(getattr(config, name) for name in OF_THE_SPACE):
        return config
    try:
        return replace(config, **{name: tuple(value) for name, value in was.items()})
    except UserError:  # other flags differ as well, which the comparison of the studies shows
        return config


OF_THE_SPACE = ("encoders", "fix", "ranges", "choices")
"""Fields of a configuration that choose the search space."""


def keep_choices(config: StudyConfig, earlier: dict[str, Any]) -> StudyConfig:
    """Return a study that resumes an earlier run: epochs, trials, space and others that no flag sets are as before.

    Args:
        config: The study.
        earlier: The study.json of the earlier run.
    """
    config = keep_rules(keep_confirm(with_earlier_numbers(config, earlier), earlier), earlier)
    return keep_space(keep_val_questions(keep_preprocessing(config, earlier), earlier), earlier)


def same_files(earlier: dict[str, Any], config: StudyConfig) -> bool:
    """Return whether weights and attribute words have the same names as in an earlier run.

    If they do not, their content must be compared.
    """
    return all(_same_files(earlier["datasets"][plan.dataset], plan) for plan in config.plans)


def _same_files(earlier: dict[str, Any], plan: DatasetPlan) -> bool:
    options = plan.options.to_json(plan.row.options)
    return (plan.features.weights, options) == (earlier["features"]["weights"], earlier["data"].get("options", {}))


def check_same(
    earlier: dict[str, Any],
    signed: dict[str, Any],
    root: Location,
    *,
    spaces: Mapping[str, Mapping[str, Any]] | None = None,
    restricted: bool = False,
) -> None:
    """Compare the signed content of a study with that of an earlier run.

    More epochs are no difference.

    Args:
        earlier: The study.json of the earlier run.
        signed: The content to compare with.
        root: The study's folder, for the message.
        spaces: The record of each dataset's search space, to name the parameters that differ.
        restricted: Whether flags restrict a search space, now or in the earlier run.

    Raises:
        UserError: If they differ. The message shows each difference.
    """
    before = _with_more_epochs(with_current_digests(earlier["signed"], signed), signed, root)
    was, now = _leaves({**DEFAULTS, **before}), _leaves({**DEFAULTS, **signed})
    of_spaces = {
        f"datasets.{name}.space": _compare_recorded(name, earlier, spaces or {}) for name in signed["datasets"]
    }
    differences = [
        of_spaces.get(key) or f"{key} was {was[key]}, now {now[key]}"
        for key in now
        if key in was and was[key] != now[key]
    ]
    differences += [f"{key} was {was[key]}, now absent" for key in was if key not in now]
    differences += [of_spaces.get(key) or f"{key} was absent, now {now[key]}" for key in now if key not in was]
    if differences:
        differing = [key for key in {**was, **now} if was.get(key) != now.get(key)]
        way_out = _way_out(before, signed, differing, restricted=restricted)
        raise UserError(f"{root}: is another study ({'; '.join(differences)}); {way_out}")


def _compare_recorded(dataset: str, earlier: Mapping[str, Any], spaces: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the parameters in which the search spaces of a dataset differ, if the earlier run recorded its space."""
    was = earlier.get("datasets", {}).get(dataset, {}).get("space")
    if was is None or dataset not in spaces:
        return f"space of {dataset}: differs from the study's, whose parameters study.json does not record"
    return f"space of {dataset}: {'; '.join(compare_spaces(was, spaces[dataset]))}"


def take_new_spaces(
    earlier: dict[str, Any], config: StudyConfig, has_trials: Callable[[str], bool]
) -> tuple[dict[str, Any], list[str]]:
    """Replace the signed search spaces of datasets without trials by the present ones, which may differ.

    Args:
        earlier: The study.json of the earlier run.
        config: The study.
        has_trials: Returns whether a dataset has trials.

    Returns:
        The study.json to compare with, and the datasets whose space is new.
    """
    signed = config.signed()
    before = with_current_digests(earlier["signed"], signed)
    datasets, renewed = dict(before["datasets"]), list[str]()
    for name in (name for name in signed["datasets"] if name in datasets):
        was, now = datasets[name], signed["datasets"][name]
        if was.get("space") != now["space"] and not has_trials(name):
            kept = {key: value for key, value in was.items() if key not in OF_SPACE}
            datasets[name] = kept | {key: now[key] for key in OF_SPACE if key in now}
            renewed.append(name)
    return ({**earlier, "signed": {**before, "datasets": datasets}} if renewed else earlier), renewed


OF_SPACE = ("space", "encoders")
"""Keys of a dataset that describe its search space."""


def with_current_digests(earlier: dict[str, Any], signed: dict[str, Any]) -> dict[str, Any]:
    """Replace digests of search spaces that version 0.1 wrote by current ones, if the space has not changed."""
    datasets = dict(earlier["datasets"])
    for name in datasets.keys() & signed["datasets"].keys():
        space = signed["datasets"][name].get("space")
        if space in DIGESTS_OF_0_1 and datasets[name].get("space") == DIGESTS_OF_0_1[space]:
            datasets[name] = {**datasets[name], "space": space}
    return {**earlier, "datasets": datasets}


def _with_more_epochs(earlier: dict[str, Any], signed: dict[str, Any], root: Location) -> dict[str, Any]:
    """Replace the epochs of each dataset by larger ones of this run; raise UserError if this run has fewer."""
    datasets = dict(earlier["datasets"])
    for name in datasets.keys() & signed["datasets"].keys():
        was, now = datasets[name].get("max_epochs"), signed["datasets"][name]["max_epochs"]
        if was is None or was == now:
            continue
        if now < was:
            raise UserError(
                f"{root}: --max-epochs must be at least {was}, the epochs that {name} has there, got {now}; "
                "leave the flag out to keep them."
            )
        datasets[name] = {**datasets[name], "max_epochs": now}
    return {**earlier, "datasets": datasets}


def _way_out(was: dict[str, Any], now: dict[str, Any], differing: Sequence[str], *, restricted: bool) -> str:
    """Return the way out of a difference; no flag restores a search space of an earlier release."""
    both = was["datasets"].keys() & now["datasets"].keys()
    same_program = (
        restricted
        or was["regime"] != now["regime"]
        or all(
            was["datasets"][name].get("space") == now["datasets"][name]["space"]
            or any(
                was["datasets"][name].get(key) != now["datasets"][name].get(key)
                for key in ("encoders", "labels", "task")
            )
            for name in both
        )
    )
    if restricted and {key.rpartition(".")[2] for key in differing} <= {"space", "encoders"}:
        return "leave --encoders, --fix, --range and --choices out to keep those of the study, or give another --name."
    if same_program:
        return "give the same flags, or another --name."
    return "the search space has changed since: finish it with the version that began it, or give another --name."


def check_same_flags(earlier: dict[str, Any], config: StudyConfig) -> None:
    """Compare the signed content that depends only on flags, before any work is done; see `check_same`.

    Args:
        earlier: The study.json of the earlier run.
        config: The study.

    Raises:
        UserError: If a flag differs.
    """
    signed = config.signed()
    known = {key: value for key, value in earlier["signed"].items() if key in {*signed, *DEFAULTS} - {"datasets"}}
    datasets = {
        name: {key: entry[key] for key in (*signed["datasets"].get(name, entry), *SOMETIMES_SIGNED) if key in entry}
        for name, entry in earlier["signed"]["datasets"].items()
    }
    spaces = {plan.dataset: record_space(plan.space) for plan in config.plans}
    earlier_config = earlier.get("config", {})
    restricted = any(getattr(config, name) or earlier_config.get(name) for name in RESTRICTING)
    found = {**earlier, "signed": {**known, "datasets": datasets}}
    check_same(found, signed, config.results.root, spaces=spaces, restricted=restricted)


RESTRICTING = ("fix", "ranges", "choices")
"""Fields of a configuration that restrict search spaces."""


def sign(config: StudyConfig, records: Sequence[DatasetRecord]) -> dict[str, Any]:
    """Return the signed content of a study, which must be the same for the study to be resumed.

    Args:
        config: The study.
        records: The record of each prepared dataset.
    """
    signed = config.signed()
    for dataset in records:
        signed["datasets"][dataset.dataset] |= {
            "fingerprint": dataset.fingerprint,
            "weights_sha256": dataset.features["weights_sha256"],
        }
    return signed


def describe_study(
    config: StudyConfig,
    records: Sequence[DatasetRecord],
    earlier: dict[str, Any] | None,
) -> dict[str, Any]:
    """Return the content of study.json.

    The provenance of the first run of a resumed study is kept, and that of this run is added.

    Args:
        config: The study.
        records: The record of each prepared dataset.
        earlier: The study.json of an earlier run, None for a new study.
    """
    signed = sign(config, records)
    by_name = {dataset.dataset: dataset for dataset in records}
    this_run = provenance()
    return {
        "schema": STUDY_SCHEMA,
        "name": config.study_name,
        "signature": digest(signed),
        "signed": signed,
        "config": config.to_json(),
        "datasets": {
            plan.dataset: {
                "num_trials": plan.num_trials,
                "max_epochs": plan.max_epochs,
                "grace_epochs": plan.grace_epochs,
                "confirm": config.num_confirmed,
                **_history_of_epochs(plan, earlier, this_run["created"]),
                "objective": {
                    "name": plan.row.task.objective.name,
                    "mode": plan.row.task.objective.mode,
                },
                "features": by_name[plan.dataset].features,
                "space": record_space(plan.space),
                "data": {
                    "fingerprint": by_name[plan.dataset].fingerprint,
                    "splits": by_name[plan.dataset].splits,
                    "left_out": by_name[plan.dataset].left_out,
                    "unreadable": by_name[plan.dataset].unreadable,
                    **({"options": options} if (options := by_name[plan.dataset].options) else {}),
                    **({"cautions": cautions} if (cautions := by_name[plan.dataset].cautions) else {}),
                    **({"notes": list(notes)} if (notes := by_name[plan.dataset].notes) else {}),
                },
            }
            for plan in config.plans
        },
        "provenance": this_run if earlier is None else earlier["provenance"],
        "resumed": [] if earlier is None else [*earlier.get("resumed", []), this_run],
    }


def _history_of_epochs(plan: DatasetPlan, earlier: dict[str, Any] | None, now: str) -> dict[str, Any]:
    """Return the entry max_epochs_history, with each max_epochs and when it was set; nothing if it never changed."""
    if earlier is None or plan.dataset not in earlier["datasets"]:
        return {}
    entry = earlier["datasets"][plan.dataset]
    history = entry.get("max_epochs_history")
    if entry["max_epochs"] != plan.max_epochs:
        begun = {"max_epochs": entry["max_epochs"], "since": earlier["provenance"]["created"]}
        history = [*(history or [begun]), {"max_epochs": plan.max_epochs, "since": now}]
    return {} if history is None else {"max_epochs_history": history}


def _leaves(tree: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Return the values of a nested mapping as JSON, by their dotted path."""
    leaves: dict[str, str] = {}
    for key, value in tree.items():
        leaves |= (
            _leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": json.dumps(value)}
        )
    return leaves
