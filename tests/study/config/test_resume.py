"""What makes a study the same study, and what stands in its way."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pan_model.backbones.config import Pooling
from pan_model.data.polyvore.reader import PolyvoreSplit
from pan_model.data.splits import TaskName, ValQuestions
from pan_model.datasets import DATASETS, ReaderOptions
from pan_model.errors import UserError
from pan_model.model.precision import Precision
from pan_model.training.backbone.config import BackboneTraining
from search_spaces import SPACES
from study.config.choices import Executor, Regime, Sampler, Scheduler
from study.config.dataset_plan import DatasetPlan
from study.config.flags import Signed, flags_of
from study.config.identity import digest
from study.config.resume import (
    DIGESTS_OF_0_1,
    check_same,
    check_same_flags,
    check_still_free,
    describe_study,
    find_study,
    keep_choices,
    keep_preprocessing,
    keep_val_questions,
    same_files,
    sign,
    take_new_spaces,
    with_earlier_numbers,
)
from study.config.space_description import record_space
from study.config.study_config import StudyConfig
from study.config.study_file import STUDY_SCHEMA, DatasetRecord, StudyJson, read_study
from study.storage.driver_file import DriverRecord, find_process, read_driver
from study.storage.files import write_json, write_text

Make = Callable[..., StudyConfig]

SIGNED: dict[str, Any] = {
    "datasets": ("demo", "cub"),
    "task": TaskName.RETRIEVAL,
    "val_questions": ValQuestions.FULL,
    "max_epochs": 12,
    "grace_epochs": 2,
    "backbone": "resnet34",
    "weights": "other.pth",
    "image_size": 96,
    "encoders": ("siamese",),
    "fix": ("gate=XNOR",),
    "ranges": ("lambda=1e-4:1",),
    "choices": ("joint=product,concat",),
    "pooling": Pooling.MAX,
    "regime": Regime.FINETUNE,
    "backbone_training": BackboneTraining.SIAMESE,
    "backbone_epochs": 2,
    "skip_bad_images": True,
    "polyvore_split": PolyvoreSplit.DISJOINT,
    "attribute_words": Path("words.txt"),
    "precision": Precision.BFLOAT16,
    "scheduler": Scheduler.NONE,
    "sampler": Sampler.RANDOM,
    "reduction_factor": 4.0,
    "seed": 1,
}
RESOLVED = {"preprocessing"}
"""Signed by what they resolve to, so that two choices with the same result are one study."""

OPERATIONAL: dict[str, Any] = {
    "confirm": 1,
    "data_root": Path("elsewhere"),
    "output": Path("other"),
    "name": "other",
    "cache_dir": Path("/elsewhere"),
    "num_trials": 99,
    "time_budget_s": 60.0,
    "max_gpu_hours": 2.0,
    "data_workers": 2,
    "cpus_per_trial": 2,
    "gpus_per_trial": 0.5,
    "max_concurrent": 3,
    "max_failures": 5,
    "try_file": Path("try.toml"),
    "warm_start": Path("results/other"),
    "resume": True,
    "dry_run": True,
    "executor": Executor.SERIAL,
    "ray_address": "auto",
}
BY_CONTENT = {"weights", "attribute_words"}
"""Only what is in the file tells."""

MAY_GROW = {"max_epochs"}
"""A study may be resumed with more."""

BESIDE: dict[str, Any] = {field: {"datasets": ("polyvore",), "name": "demo"} for field in ReaderOptions().__dict__} | {
    "task": {"datasets": ("cub",), "name": "demo"},
    "val_questions": {"datasets": ("cub",), "name": "demo"},
    "backbone_epochs": {"backbone_training": BackboneTraining.PROXYNCA},
}
"""What a field needs beside it."""


def contents(plan: DatasetPlan) -> Any:
    """A dataset whose attribute words have another name has other words."""
    words = plan.options.attribute_words
    return plan.dataset if words is None else [plan.dataset, str(words)]


@pytest.fixture
def prepare() -> Callable[[StudyConfig], list[DatasetRecord]]:
    """What reading the data of a study gives; weights of another name have other content."""

    def make(config: StudyConfig) -> list[DatasetRecord]:
        return [
            DatasetRecord(
                dataset=plan.dataset,
                splits={"train": 80, "val": 40},
                fingerprint=f"sha256:{digest(contents(plan))}",
                features={
                    "regime": "frozen",
                    "backbone": plan.features.backbone,
                    "weights": plan.features.weights,
                    "weights_sha256": digest(plan.features.weights),
                    "image_size": plan.features.image_size,
                },
                left_out={"no attributes": 1},
                unreadable={"a.png": "cut short"},
                options=plan.options.to_json(DATASETS[plan.dataset].options),
            )
            for plan in config.plans
        ]

    return make


FIELDS = sorted(StudyJson.model_fields)
DATASET_FIELDS = ("data", "features", "max_epochs", "num_trials", "objective")
Prepare = Callable[[StudyConfig], list[DatasetRecord]]


def test_every_field_is_either_signed_or_operational():
    assert SIGNED.keys() | OPERATIONAL.keys() | RESOLVED == set(StudyConfig.__dataclass_fields__)
    assert not SIGNED.keys() & OPERATIONAL.keys()
    assert SIGNED.keys() | RESOLVED == {
        name for name, flag in flags_of(StudyConfig).items() if flag.signed is not Signed.NO
    }


def test_a_study_made_before_the_choice_of_preprocessing_keeps_the_usual_one(study_config: Make):
    config = study_config(backbone="swin_t", weights="imagenet")
    usual = keep_preprocessing(config, {"config": {}})
    signed = [made.signed()["datasets"]["demo"] for made in (config, usual)]
    assert ["preprocessing" in entry for entry in signed] == [True, False]
    assert keep_preprocessing(config, {"config": config.to_json()}) == config


def test_a_study_made_before_the_choice_of_val_questions_keeps_the_full_ones(study_config: Make):
    config = study_config()
    full = keep_val_questions(config, {"config": {}})
    signed = [made.signed()["datasets"]["demo"] for made in (config, full)]
    assert [entry.get("val_questions") for entry in signed] == ["reduced", None]
    assert keep_val_questions(config, {"config": config.to_json()}) == config
    assert keep_val_questions(full, {"config": config.to_json()}) == full
    outfits = study_config(datasets=("polyvore",))
    assert keep_val_questions(outfits, {"config": {}}) == outfits


@pytest.mark.parametrize(
    "chosen", [{"fix": ("gate=XNOR", "patience=4"), "ranges": ("lambda=1e-4:1",)}, {"encoders": ("graph",)}]
)
def test_a_resumed_study_keeps_its_search_space(study_config: Make, chosen: dict[str, Any]):
    config = study_config(**chosen)
    earlier = json.loads(json.dumps({"config": config.to_json()}))
    assert keep_choices(study_config(), earlier) == config
    assert keep_choices(study_config(seed=3), earlier).signed() == study_config(seed=3, **chosen).signed()
    other = study_config(fix=("gate=OR",))
    assert keep_choices(other, earlier) == other
    assert keep_choices(study_config(), {"config": study_config().to_json()}) == study_config()


def test_the_way_out_of_more_differences_than_the_space_is_the_same_flags(study_config: Make, prepare: Prepare):
    one, other = study_config(fix=("gate=XNOR",)), study_config(fix=("gate=OR",), seed=3)
    with pytest.raises(UserError, match=r"seed was 0, now 3; space of .*; give the same flags, or another --name\.$"):
        check_same_flags(described(one, prepare), other)


def test_a_space_that_does_not_fit_the_other_flags_is_not_kept(study_config: Make):
    earlier = {"config": study_config(fix=("temperature=0.1",), encoders=("proxynca",)).to_json()}
    outfits = study_config(datasets=("polyvore",))
    assert keep_choices(outfits, earlier) == outfits


@pytest.mark.parametrize("field", OPERATIONAL)
def test_what_is_operational_does_not_change_the_signature(study_config: Make, prepare: Prepare, field: str):
    one, other = study_config(), study_config(**{field: OPERATIONAL[field]})
    assert getattr(one, field) != getattr(other, field)
    assert sign(one, prepare(one)) == sign(other, prepare(other))


@pytest.mark.parametrize("field", sorted(SIGNED.keys() - MAY_GROW))
def test_all_else_changes_the_signature_and_is_shown(study_config: Make, prepare: Prepare, field: str):
    beside = BESIDE.get(field, {})
    one, other = study_config(**beside), study_config(**beside, **{field: SIGNED[field]})
    found = {"signed": sign(one, prepare(one))}
    assert digest(found["signed"]) != digest(sign(other, prepare(other)))
    restricted = field in {"fix", "ranges", "choices"}
    way_out = "leave --encoders, .* out to keep those of the study" if restricted else "give the same flags"
    with pytest.raises(
        UserError,
        match=rf"results/demo: is another study \(.+\); {way_out}, or give another --name|"
        rf"results/demo: is another study \(.+\); {way_out}, or another --name",
    ):
        check_same(found, sign(other, prepare(other)), one.results.root, restricted=restricted)


@pytest.mark.parametrize("field", sorted(SIGNED.keys() - BY_CONTENT - MAY_GROW))
def test_flags_alone_tell_before_any_work_is_done(study_config: Make, prepare: Prepare, field: str):
    beside = BESIDE.get(field, {})
    one, other = study_config(**beside), study_config(**beside, **{field: SIGNED[field]})
    with pytest.raises(UserError, match="is another study"):
        check_same_flags({"signed": sign(one, prepare(one))}, other)


@pytest.mark.parametrize("field", OPERATIONAL)
def test_flags_alone_let_the_same_study_pass(study_config: Make, prepare: Prepare, field: str):
    one = study_config(datasets=("demo", "cub"))
    check_same_flags(
        {"signed": sign(one, prepare(one))}, study_config(datasets=("demo", "cub"), **{field: OPERATIONAL[field]})
    )


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"seed": 7}, r"\(seed was 0, now 7\)"),
        ({"sampler": Sampler.RANDOM}, r'\(sampler was "prior", now "random"\)'),
        ({"skip_bad_images": True}, r"\(skip_bad_images was false, now true\)"),
        ({"image_size": 96}, r"\(datasets\.demo\.image_size was 64, now 96\)"),
        ({"max_epochs": 12, "grace_epochs": 2}, r"\(datasets\.demo\.grace_epochs was 1, now 2\)"),
        ({"seed": 7, "reduction_factor": 2.0}, r"\((?=.*seed was 0, now 7)(?=.*reduction_factor was 3\.0, now 2\.0)"),
        ({"datasets": ("demo", "cub")}, r"datasets\.cub\.max_epochs was absent, now 20"),
        ({"datasets": ("demo", "polyvore")}, r"datasets\.polyvore\.polyvore_split was absent, now \"nondisjoint\""),
        ({"datasets": ("cub",), "name": "demo"}, r"datasets\.demo\.max_epochs was 9, now absent"),
    ],
)
def test_each_difference_is_shown_with_both_values(
    study_config: Make, prepare: Prepare, changes: dict[str, Any], shown: str
):
    one, other = study_config(), study_config(**changes)
    found = {"signed": sign(one, prepare(one))}
    with pytest.raises(UserError, match=shown) as error:
        check_same(found, sign(other, prepare(other)), one.results.root)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=shown):
        check_same_flags(found, other)


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({}, {"max_epochs": 12}),
        ({"max_epochs": 9, "grace_epochs": 2}, {"max_epochs": 30, "grace_epochs": 2}),
        ({"datasets": ("demo", "cub")}, {"datasets": ("demo", "cub"), "max_epochs": 20}),
    ],
)
def test_a_study_may_get_more_epochs(study_config: Make, prepare: Prepare, before: dict[str, Any], now: dict[str, Any]):
    one, other = study_config(**before), study_config(**now)
    found = {"signed": sign(one, prepare(one))}
    check_same_flags(found, other)
    check_same(found, sign(other, prepare(other)), one.results.root)
    assert digest(found["signed"]) != digest(sign(other, prepare(other)))


@pytest.mark.parametrize(
    ("before", "now", "shown"),
    [
        (
            {},
            {"max_epochs": 8},
            r"--max-epochs must be at least 9, the epochs that demo has there, got 8; leave the flag",
        ),
        ({"datasets": ("demo", "cub")}, {"datasets": ("demo", "cub"), "max_epochs": 15}, "at least 20.* cub .* got 15"),
        ({"grace_epochs": 2}, {"max_epochs": 12}, r"\(datasets\.demo\.grace_epochs was 2, now 1\)"),
    ],
)
def test_fewer_epochs_and_other_grace_epochs_are_refused(
    study_config: Make, prepare: Prepare, before: dict[str, Any], now: dict[str, Any], shown: str
):
    one = study_config(**before)
    with pytest.raises(UserError, match=shown):
        check_same_flags({"signed": sign(one, prepare(one))}, study_config(**now))


def test_the_history_of_epochs_is_recorded_and_later_runs_keep_the_larger_number(study_config: Make, prepare: Prepare):
    studies: list[dict[str, Any]] = [{}]
    for max_epochs in (None, 12, None, 20):
        config = study_config(max_epochs=max_epochs)
        if studies[-1]:
            config = with_earlier_numbers(config, studies[-1])
        studies.append(describe_study(config, prepare(config), studies[-1] or None))
    entries = [study["datasets"]["demo"] for study in studies[1:]]
    assert [entry["max_epochs"] for entry in entries] == [9, 12, 12, 20]
    assert "max_epochs_history" not in entries[0]
    histories = [[step["max_epochs"] for step in entry["max_epochs_history"]] for entry in entries[1:]]
    assert histories == [[9, 12], [9, 12], [9, 12, 20]]
    assert entries[2]["max_epochs_history"] == entries[1]["max_epochs_history"]


def test_a_resumed_study_keeps_its_number_of_trials(study_config: Make, prepare: Prepare):
    begun = study_config(num_trials=3)
    earlier = describe_study(begun, prepare(begun), None)
    assert with_earlier_numbers(study_config(num_trials=None), earlier).num_trials == 3
    assert with_earlier_numbers(study_config(num_trials=5), earlier).num_trials == 5


def test_other_encoders_are_shown_and_the_same_flags_are_the_way_out(study_config: Make, prepare: Prepare):
    default, narrow = study_config(), study_config(encoders=("siamese",))
    for one, other, shown in (
        (default, narrow, r'encoders was absent, now "siamese"\); give the same flags, or another --name\.$'),
        (narrow, default, r'encoders was "siamese", now absent.*\); give the same flags, or another --name\.$'),
    ):
        found = {"signed": sign(one, prepare(one))}
        for check in (
            lambda found=found, other=other: check_same(found, sign(other, prepare(other)), other.results.root),
            lambda found=found, other=other: check_same_flags(found, other),
        ):
            with pytest.raises(UserError, match=shown):
                check()


def test_another_pooling_is_shown(study_config: Make, prepare: Prepare):
    default, maximum = study_config(), study_config(pooling=Pooling.MAX)
    assert "pooling" not in default.signed()["datasets"]["demo"], "older studies can go on"
    with pytest.raises(UserError, match=r'\(datasets\.demo\.pooling was absent, now "max"\); give the same flags'):
        check_same_flags({"signed": sign(default, prepare(default))}, maximum)
    with pytest.raises(UserError, match=r'\(datasets\.demo\.pooling was "max", now absent\); give the same flags'):
        check_same_flags({"signed": sign(maximum, prepare(maximum))}, default)


def test_the_default_encoders_by_name_are_the_same_study_as_without(study_config: Make, prepare: Prepare):
    default, named = study_config(), study_config(encoders=("proxynca", "siamese"))
    assert sign(default, prepare(default)) == sign(named, prepare(named))
    assert "encoders" not in default.signed()["datasets"]["demo"]


SPACE_CHANGED = (
    r"; the search space has changed since: finish it with the version that began it, or give another --name\.$"
)


@pytest.mark.parametrize("found_space", ["0123456789ab", None])
def test_another_search_space_is_another_study(study_config: Make, prepare: Prepare, found_space: str | None):
    config = study_config()
    found = {"signed": sign(config, prepare(config))}
    del found["signed"]["datasets"]["demo"]["space"]
    if found_space is not None:
        found["signed"]["datasets"]["demo"]["space"] = found_space
    shown = rf"\(space of demo: differs from the study's, whose parameters study.json does not record\){SPACE_CHANGED}"
    with pytest.raises(UserError, match=shown):
        check_same_flags(found, config)
    with pytest.raises(UserError, match=shown):
        check_same(found, sign(config, prepare(config)), config.results.root)


def test_a_study_of_version_0_1_can_be_resumed_as_long_as_its_space_is_the_same(
    study_config: Make, prepare: Prepare, monkeypatch: pytest.MonkeyPatch
):
    config = study_config()
    signed = sign(config, prepare(config))
    space = signed["datasets"]["demo"]["space"]
    found = {"signed": json.loads(json.dumps(signed))}
    found["signed"]["datasets"]["demo"]["space"] = DIGESTS_OF_0_1[space]
    check_same_flags(found, config)
    check_same(found, signed, config.results.root)
    monkeypatch.setitem(SPACES, "demo", replace(SPACES["demo"], first_trials=SPACES["demo"].first_trials[1:]))
    with pytest.raises(UserError, match=SPACE_CHANGED):
        check_same_flags(found, config)


def test_a_search_space_that_was_edited_is_seen(study_config: Make, prepare: Prepare, monkeypatch: pytest.MonkeyPatch):
    config = study_config()
    found = {"signed": sign(config, prepare(config))}
    monkeypatch.setitem(SPACES, "demo", replace(SPACES["demo"], first_trials=SPACES["demo"].first_trials[1:]))
    with pytest.raises(UserError, match=SPACE_CHANGED):
        check_same_flags(found, config)


@pytest.mark.parametrize("key", ["fingerprint", "weights_sha256"])
def test_other_data_or_weights_are_another_study(study_config: Make, prepare: Prepare, key: str):
    config = study_config()
    signed, other = sign(config, prepare(config)), sign(config, prepare(config))
    was = other["datasets"]["demo"][key]
    other["datasets"]["demo"][key] = "other"
    with pytest.raises(UserError, match=rf'\(datasets\.demo\.{key} was "{was}", now "other"\)'):
        check_same({"signed": signed}, other, config.results.root)


@pytest.mark.parametrize(
    ("weights", "changes", "same"),
    [
        (None, {}, True),
        (None, {"weights": "random"}, False),  # cub's are imagenet
        (None, {"weights": "imagenet"}, False),  # the demo's are random
        ("random", {"weights": "random"}, True),
        ("a.pth", {"weights": "b.pth"}, False),
        ("a.pth", {"weights": "a.pth", "num_trials": 99, "resume": True}, True),
        ("a.pth", {}, False),
    ],
)
def test_weights_are_the_same_by_name_when_every_dataset_s_are(
    study_config: Make, prepare: Prepare, weights: str | None, changes: dict[str, Any], same: bool
):
    both = ("demo", "cub")
    config = study_config(datasets=both, weights=weights)
    found = describe_study(config, prepare(config), None)
    assert same_files(found, study_config(datasets=both, **changes)) is same


def test_attribute_words_of_another_name_may_be_others(study_config: Make, prepare: Prepare):
    config = study_config(datasets=("polyvore",), attribute_words=Path("words.txt"))
    found = describe_study(config, prepare(config), None)
    absolute = Path("words.txt").absolute()
    assert found["datasets"]["polyvore"]["data"]["options"] == {
        "polyvore_split": "nondisjoint",
        "attribute_words": str(absolute),
    }
    for words, same in ((Path("words.txt"), True), (absolute, True), (Path("others.txt"), False), (None, False)):
        assert same_files(found, study_config(datasets=("polyvore",), attribute_words=words)) is same


def test_the_order_of_datasets_does_not_count(study_config: Make, prepare: Prepare):
    one, other = study_config(datasets=("demo", "cub")), study_config(datasets=("cub", "demo"))
    assert digest(sign(one, prepare(one))) == digest(sign(other, prepare(other)))
    check_same({"signed": sign(one, prepare(one))}, sign(other, prepare(other)), one.results.root)


def test_study_json_says_all_that_is_needed_later(study_config: Make, prepare: Prepare, tmp_path: Path):
    config = study_config(datasets=("demo",), num_trials=5, time_budget_s=60.0)
    content = describe_study(config, prepare(config), None)
    write_json(tmp_path / "study.json", content)
    assert read_study(tmp_path / "study.json") == json.loads(json.dumps(content))
    assert content["schema"] == STUDY_SCHEMA
    assert content["name"] == "demo"
    assert content["signature"] == digest(sign(config, prepare(config)))
    assert content["config"] == config.to_json()
    (features,) = (part.features for part in prepare(config))
    assert content["datasets"] == {
        "demo": {
            "num_trials": 5,
            "max_epochs": 9,
            "grace_epochs": 1,
            "confirm": 3,
            "objective": {"name": "few_shot_accuracy", "mode": "max"},
            "features": features,
            "space": record_space(SPACES["demo"]),
            "data": {
                "fingerprint": f"sha256:{digest('demo')}",
                "splits": {"train": 80, "val": 40},
                "left_out": {"no attributes": 1},
                "unreadable": {"a.png": "cut short"},
                "options": {"val_questions": "reduced"},
            },
        }
    }
    assert {"created", "git_commit", "python", "torch", "ray", "optuna"} <= content["provenance"].keys()
    assert content["resumed"] == []


def test_a_study_that_goes_on_keeps_where_it_came_from(study_config: Make, prepare: Prepare):
    config = study_config(resume=True)
    found = describe_study(config, prepare(config), None) | {"provenance": {"created": "before"}}
    again = describe_study(config, prepare(config), found)
    third = describe_study(config, prepare(config), again)
    assert [part["provenance"] for part in (again, third)] == [{"created": "before"}] * 2
    assert [len(part["resumed"]) for part in (again, third)] == [1, 2]
    assert third["resumed"][0] == again["resumed"][0]
    assert "git_commit" in third["resumed"][1]


def test_no_study_yet(study_config: Make):
    config = study_config()
    assert find_study(config) is None
    assert find_study(study_config(resume=True)) is None
    config.results.root.mkdir(parents=True)
    assert find_study(config) is None


def test_a_study_is_gone_on_with_only_when_asked(study_config: Make):
    config = study_config()
    content = {"schema": STUDY_SCHEMA} | {field: {} for field in FIELDS} | {"name": "demo", "signature": ""}
    write_json(config.results.study, content)
    with pytest.raises(UserError, match=r"results/demo: this study exists; resume it with --resume, or give another"):
        find_study(config)
    assert find_study(study_config(resume=True)) == content


def test_a_study_that_another_process_began_meanwhile_is_left_alone(study_config: Make):
    content = {"schema": STUDY_SCHEMA} | {field: {} for field in FIELDS} | {"name": "demo", "signature": ""}
    new, resumed = study_config(), study_config(resume=True)
    for config in (new, resumed):
        check_still_free(config, None)
    write_json(new.results.study, content)
    for config in (new, resumed):
        with pytest.raises(UserError, match=r"results/demo: this study exists"):
            check_still_free(config, None)
    check_still_free(resumed, content)
    with (
        DriverRecord(new.results),
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child,
    ):
        driver = read_driver(new.results)
        assert driver is not None
        of_child = driver.model_copy(update={"pid": child.pid, "process": find_process(child.pid)})
        write_text(new.results.driver, of_child.model_dump_json(by_alias=True))
        for refuses in (find_study, lambda config: check_still_free(config, content)):
            with pytest.raises(
                UserError, match=rf"results/demo: process {child.pid} has been running this study since"
            ):
                refuses(resumed)
        child.kill()


@pytest.mark.parametrize("resume", [False, True])
def test_something_else_is_in_the_way(study_config: Make, resume: bool):
    config = study_config(resume=resume)
    config.results.root.mkdir(parents=True)
    (config.results.root / "thesis.tex").touch()
    with pytest.raises(UserError, match=r"results/demo: exists and is not a study; move it, or give another"):
        find_study(config)


def test_a_file_is_in_the_way(study_config: Make):
    config = study_config()
    config.output.mkdir()
    config.results.root.touch()
    with pytest.raises(UserError, match=r"results/demo: exists and is not a study"):
        find_study(config)


def test_a_file_is_in_the_way_of_the_output_folder(study_config: Make):
    config = study_config()
    config.output.touch()
    with pytest.raises(
        UserError,
        match=r"the study cannot be written to .*/demo: .*/results is not a writable folder; give another --output\.",
    ):
        find_study(config)


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """A folder in which nothing can be made."""
    folder = tmp_path / "closed"
    folder.mkdir()
    (folder / "a").mkdir(mode=0o500)
    folder.chmod(0o500)
    try:
        (folder / "b").touch()
    except PermissionError:
        return folder
    pytest.skip("this user may write everywhere")


@pytest.mark.parametrize(("below", "where"), [("", "closed"), ("b/c", "closed"), ("a", "a"), ("a/b", "a")])
def test_an_output_that_cannot_be_written_is_seen_before_any_work(
    study_config: Make, closed: Path, below: str, where: str
):
    with pytest.raises(UserError, match=rf"/demo: .*/{where} is not a writable folder; give another --output\."):
        find_study(study_config(output=closed / below))
    assert [path.name for path in closed.rglob("*")] == ["a"]


def test_an_output_that_is_not_there_yet_is_not_made_by_looking(study_config: Make, tmp_path: Path):
    assert find_study(study_config(output=tmp_path / "a" / "b")) is None
    assert list(tmp_path.iterdir()) == []


def test_a_study_killed_while_it_was_first_written_down_can_be_begun_again(study_config: Make, killed_at: Any):
    config = study_config(resume=True)
    config.results.root.mkdir(parents=True)
    with killed_at(config.results.root, 0) as died:
        write_json(config.results.study, {"schema": STUDY_SCHEMA})
    assert died
    [left] = config.results.root.iterdir()
    assert left.name.startswith(".study.json.")
    assert find_study(config) is None


def test_what_only_looks_like_the_rest_of_a_killed_study_is_in_the_way(study_config: Make):
    config = study_config(resume=True)
    config.results.root.mkdir(parents=True)
    for name in (".study.json.17", ".study.jsonc"):
        (config.results.root / name).touch()
    with pytest.raises(UserError, match=r"results/demo: exists and is not a study"):
        find_study(config)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"schema": "pan-study/study/0"}, "schema must be 'pan-study/study/1', got \"pan-study/study/0\""),
        ({}, "lacks schema"),
        ([], r"the whole file must be an object, got \[\]"),
        ("study", 'the whole file must be an object, got "study"'),
    ],
)
def test_a_study_of_another_kind_is_refused(study_config: Make, content: Any, message: str):
    config = study_config(resume=True)
    write_json(config.results.study, content)
    with pytest.raises(UserError, match=rf"study\.json: {message}; bring the file back"):
        find_study(config)


@pytest.mark.parametrize("lacking", [*FIELDS, *(f"datasets.demo.{field}" for field in DATASET_FIELDS)])
def test_what_a_study_lacks_is_named(study_config: Make, prepare: Prepare, lacking: str):
    config = study_config(resume=True)
    content = describe_study(config, prepare(config), None)
    *parents, field = lacking.split(".")
    part = content
    for parent in parents:
        part = part[parent]
    del part[field]
    write_json(config.results.study, content)
    with pytest.raises(UserError, match=rf"study\.json: lacks {lacking}; bring the file back from a copy, or begin a"):
        find_study(config)


def test_a_broken_study_is_refused(study_config: Make):
    config = study_config(resume=True)
    config.results.root.mkdir(parents=True)
    config.results.study.write_text('{"schema": ', encoding="utf-8")
    with pytest.raises(UserError, match=r"study\.json: is not JSON \(.+\); bring the file back"):
        find_study(config)


@pytest.mark.parametrize("datasets", [3, ["demo"], {"demo": 3}, {"demo": None}])
def test_datasets_that_are_none_are_refused(study_config: Make, prepare: Prepare, datasets: Any):
    config = study_config()
    write_json(config.results.study, describe_study(config, prepare(config), None) | {"datasets": datasets})
    with pytest.raises(UserError, match=r"study\.json: datasets(\.demo)? must be an object, got .+; bring the file"):
        read_study(config.results.study)


def test_a_study_of_a_dataset_that_is_not_known_is_refused(study_config: Make, prepare: Prepare):
    config = study_config()
    content = describe_study(config, prepare(config), None)
    content["datasets"]["cubs"] = content["datasets"].pop("demo")
    write_json(config.results.study, content)
    with pytest.raises(UserError, match=r"demo/study\.json: datasets: unknown dataset 'cubs'; choose from demo, "):
        read_study(config.results.study)


def described(config: StudyConfig, prepare: Prepare) -> dict[str, Any]:
    """What study.json has of a study."""
    return json.loads(json.dumps(describe_study(config, prepare(config), None)))


def test_the_parameters_that_differ_are_named(study_config: Make, prepare: Prepare):
    one = study_config(datasets=("demo", "cub"), choices=("gate=XNOR,OR",), fix=("patience=4",))
    other = study_config(datasets=("demo", "cub"), fix=("gate=XNOR",), ranges=("lambda=1e-4:1",))
    with pytest.raises(UserError, match="is another study") as error:
        check_same_flags(described(one, prepare), other)
    assert (
        "space of cub: patience was 4, now 3, 6, 12; gate was OR, XNOR, now XNOR; lambda was 1e-05..10, now 0.0001..1"
    ) in str(error.value)
    way_out = "leave --encoders, --fix, --range and --choices out to keep those of the study, or give another --name."
    assert str(error.value).endswith(f"); {way_out}")
    assert str(error.value).count("space of demo: ") == 1


def test_other_encoders_are_named_with_their_parameters(study_config: Make, prepare: Prepare):
    with pytest.raises(
        UserError, match=r"space of demo: encoder was siamese, proxynca, now siamese; .*temperature was"
    ):
        check_same_flags(described(study_config(), prepare), study_config(choices=("encoder=siamese",)))


def test_a_space_whose_first_trials_differ(study_config: Make, prepare: Prepare, monkeypatch: pytest.MonkeyPatch):
    found = described(study_config(), prepare)
    monkeypatch.setitem(SPACES, "demo", replace(SPACES["demo"], first_trials=SPACES["demo"].first_trials[1:]))
    with pytest.raises(UserError, match=rf"space of demo: the first trials were 3, now 2 others\){SPACE_CHANGED}"):
        check_same_flags(found, study_config())


@pytest.mark.parametrize("changes", [{"fix": ("gate=XNOR",)}, {"encoders": ("siamese",)}])
def test_a_study_without_trials_takes_a_new_space_and_nothing_else(
    study_config: Make, prepare: Prepare, changes: dict[str, Any]
):
    found, other = described(study_config(), prepare), study_config(**changes)
    taken, renewed = take_new_spaces(found, other, lambda _: False)
    assert renewed == ["demo"]
    check_same_flags(taken, other)
    check_same(taken, sign(other, prepare(other)), other.results.root)
    with pytest.raises(UserError, match=r"\(seed was 0, now 3\)"):
        check_same_flags(taken, study_config(**changes, seed=3))
    assert take_new_spaces(found, other, lambda _: True) == (found, [])
    assert take_new_spaces(found, study_config(), lambda _: False) == (found, [])


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"parameters": {}}, r"space\.first_trials"),
        ({"parameters": {"lambda": {"low": "x"}}, "first_trials": []}, r"lambda"),
        ([], "space"),
    ],
)
def test_a_damaged_record_of_a_space_is_named(
    study_config: Make, prepare: Prepare, tmp_path: Path, space: Any, message: str
):
    found = described(study_config(), prepare)
    found["datasets"]["demo"]["space"] = space
    write_json(tmp_path / "study.json", found)
    with pytest.raises(UserError, match=message):
        read_study(tmp_path / "study.json")
    del found["datasets"]["demo"]["space"]
    write_json(tmp_path / "study.json", found)
    assert read_study(tmp_path / "study.json") == found


@pytest.mark.parametrize("earlier", Precision)
def test_a_study_is_resumed_in_its_precision(study_config: Make, earlier: Precision):
    """Studies of releases without the choice are of float32."""
    configs = {precision: study_config(precision=precision) for precision in Precision}
    (other,) = set(Precision) - {earlier}
    begun = {"signed": configs[earlier].signed()}
    assert ("precision" in begun["signed"]) == (earlier is Precision.BFLOAT16)
    check_same_flags(begun, configs[earlier])
    with pytest.raises(
        UserError, match=f'is another study \\(precision was "{earlier}", now "{other}"\\); give the same'
    ):
        check_same_flags(begun, configs[other])


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({}, (Sampler.TPE, 3)),
        ({"sampler": Sampler.RANDOM}, (Sampler.RANDOM, 3)),
        ({"grace_epochs": 2}, (Sampler.TPE, 2)),
    ],
)
def test_a_resumed_study_keeps_the_defaults_of_the_rules_that_it_began_with(
    study_config: Make, given: dict[str, Any], kept: tuple[Sampler, int]
):
    begun = {"config": {"sampler": "tpe"}, "signed": {"sampler": "tpe", "datasets": {"demo": {"grace_epochs": 3}}}}
    config = keep_choices(study_config(max_epochs=12, **given), begun)
    assert (config.chosen_sampler, config.plans[0].grace_epochs) == kept


@pytest.mark.parametrize(
    ("was", "given", "kept"),
    [({"confirm": 5}, None, 5), ({"confirm": 5}, 0, 0), ({"confirm": None}, None, 3), ({}, None, 0)],
)
def test_a_resumed_study_keeps_how_many_trials_are_confirmed(
    study_config: Make, was: dict[str, Any], given: int | None, kept: int
):
    """Studies of releases without the flag confirmed none."""
    config = keep_choices(study_config(confirm=given), {"config": was})
    assert config.num_confirmed == kept
