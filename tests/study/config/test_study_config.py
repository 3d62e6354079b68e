import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pan_model.backbones.config import FeaturesConfig, Pooling
from pan_model.data.polyvore.reader import PolyvoreSplit
from pan_model.datasets import DATASETS, ReaderOptions
from pan_model.errors import UserError
from search_spaces import SPACES
from study.config.choices import Executor
from study.config.dataset_plan import DatasetPlan
from study.config.final_config import FinalConfig
from study.config.study_config import StudyConfig

Make = Callable[..., StudyConfig]


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_plan_takes_its_defaults_from_the_dataset_and_its_space(dataset: str):
    (plan,) = StudyConfig(datasets=(dataset,)).plans
    row, space = DATASETS[dataset], SPACES[dataset]
    assert plan == DatasetPlan(
        dataset=dataset,
        num_trials=space.num_trials,
        max_epochs=space.max_epochs,
        grace_epochs=1,
        features=FeaturesConfig(backbone=row.backbone, weights=row.weights, image_size=row.image_size),
        space=space,
    )


def test_what_is_given_holds_for_every_dataset():
    plans = StudyConfig(
        datasets=("cub", "demo"),
        num_trials=3,
        max_epochs=7,
        grace_epochs=2,
        backbone="alexnet",
        weights="random",
        image_size=99,
    ).plans
    features = FeaturesConfig(backbone="alexnet", weights="random", image_size=99)
    assert plans == tuple(
        DatasetPlan(
            dataset=dataset,
            num_trials=3,
            max_epochs=7,
            grace_epochs=2,
            features=features,
            space=SPACES[dataset],
        )
        for dataset in ("cub", "demo")
    )


def test_options_of_a_reader_are_for_the_datasets_that_heed_them():
    words = Path("w.txt")
    config = StudyConfig(datasets=("demo", "polyvore"), polyvore_split=PolyvoreSplit.DISJOINT, attribute_words=words)
    demo, polyvore = config.plans
    assert demo.options == ReaderOptions()
    assert polyvore.options == ReaderOptions(polyvore_split=PolyvoreSplit.DISJOINT, attribute_words=words)
    assert StudyConfig(datasets=("polyvore",)).plans[0].options == ReaderOptions()


@pytest.mark.parametrize("given", [{"polyvore_split": PolyvoreSplit.NONDISJOINT}, {"attribute_words": Path("w.txt")}])
def test_options_that_no_dataset_heeds_are_refused(given: dict[str, Any]):
    flag = next(iter(given)).replace("_", "-")
    with pytest.raises(UserError, match=rf"--{flag} needs polyvore among --dataset, got demo cub\."):
        StudyConfig(datasets=("demo", "cub"), **given)


def test_the_name_is_the_datasets_unless_given():
    assert StudyConfig(datasets=("demo", "cub")).results.root == Path("results/demo-cub")
    assert StudyConfig(name="mine", output=Path("o")).results.root == Path("o/mine")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"datasets": ("demo", "demo")}, r"dataset must name each dataset once, got demo demo\."),
        ({"datasets": ()}, r"dataset must name at least one dataset\."),
        ({"datasets": ("cubs",)}, r"unknown dataset 'cubs'; choose from demo, cub, inshop, polyvore, folder\."),
        ({"encoders": ()}, r"encoders must name at least one encoder; choose from siamese, proxynca, graph\."),
        ({"encoders": ("siamese", "siamese")}, r"encoders must name each encoder once, got siamese siamese\."),
        ({"encoders": ("resnet",)}, r"unknown encoder 'resnet'; choose from siamese, proxynca, graph\."),
        (
            {"datasets": ("cub", "inshop"), "encoders": ("siamese", "graph")},
            r"encoder graph: inshop does not support it, a graph of all items .*; choose from siamese, proxynca\.",
        ),
        (
            {"datasets": ("polyvore",), "encoders": ("proxynca",)},
            r"encoder proxynca: polyvore does not support it, .* no classes; choose from siamese, graph\.",
        ),
        ({"num_trials": 0}, r"num_trials must be at least 1, got 0\."),
        ({"max_epochs": 0}, r"max_epochs must be at least 1, got 0\."),
        ({"grace_epochs": 0}, r"grace_epochs must be at least 1, got 0\."),
        ({"grace_epochs": 10}, r"grace_epochs must be at most max_epochs, 9, got 10\."),
        ({"grace_epochs": 3, "max_epochs": 2}, r"grace_epochs must be at most max_epochs, 2, got 3\."),
        ({"cpus_per_trial": 0}, r"cpus_per_trial must be at least 1, got 0\."),
        ({"gpus_per_trial": -0.5}, r"gpus_per_trial must be at least 0, got -0\.5\."),
        ({"gpus_per_trial": math.nan}, r"gpus_per_trial must be at least 0, got nan\."),
        ({"gpus_per_trial": math.inf}, r"gpus_per_trial must be at most 1000000000, got a larger number\."),
        ({"gpus_per_trial": 1.5}, r"gpus_per_trial must be a part of one GPU or whole GPUs, got 1\.5\."),
        ({"gpus_per_trial": 2.5}, r"gpus_per_trial must be a part of one GPU or whole GPUs, got 2\.5\."),
        ({"max_concurrent": 0}, r"max_concurrent must be at least 1, got 0\."),
        ({"max_failures": -1}, r"max_failures must be at least 0, got -1\."),
        ({"seed": -1}, r"seed must be at least 0, got -1\."),
        ({"seed": 10**9 + 1}, r"seed must be at most 1000000000, got a larger number\."),
        ({"max_epochs": 10**400}, r"max_epochs must be at most 1000000000, got a larger number\."),
        ({"reduction_factor": 1.0}, r"reduction_factor must be above 1, got 1\.0\."),
        ({"reduction_factor": math.nan}, r"reduction_factor must be above 1, got nan\."),
        ({"reduction_factor": math.inf}, r"reduction_factor must be above 1, got inf\."),
        ({"name": "a/b"}, r"name must be a plain folder name, got 'a/b'\."),
        ({"name": "a/"}, r"name must be a plain folder name, got 'a/'\."),
        ({"name": "."}, r"name must be a plain folder name, got '\.'\."),
        ({"name": ".."}, r"name must be a plain folder name, got '\.\.'\."),
        ({"name": "/a"}, r"name must be a plain folder name, got '/a'\."),
        ({"name": ""}, r"name must be a plain folder name, got ''\."),
        ({"backbone": "resnet51"}, r"unknown backbone 'resnet51'; .*resnet50"),
        ({"weights": ""}, r"weights must be imagenet, random or a state-dict file, got ''\."),
        (
            {"backbone": "vit_b_16", "pooling": Pooling.MAX},
            r"pooling max: backbone vit_b_16 has no map of features to pool; choose avg, or another backbone\.",
        ),
        ({"data_workers": -1}, r"data_workers must be at least 0, got -1\."),
        ({"backbone_epochs": 0}, r"backbone_epochs must be at least 1, got 0\."),
        (
            {"backbone_epochs": 1},
            r"--backbone-epochs needs --backbone-training siamese or proxynca, got none\.",
        ),
        ({"image_size": 0}, r"image_size must be at least 1 px, got 0\."),
    ],
)
def test_rules(changes: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message) as error:
        StudyConfig(**changes)
    assert "\n" not in str(error.value)


def test_chosen_encoders_narrow_or_widen_every_dataset_s_space():
    demo, polyvore = StudyConfig(datasets=("demo", "polyvore"), encoders=("graph", "siamese")).plans
    assert demo.space.encoders == ("siamese", "graph")
    assert demo.space.more_encoders == ("proxynca",)
    assert polyvore.space is SPACES["polyvore"]


@pytest.mark.parametrize("gpus", [None, 0, 0.001, 0.75, 1, 1.0, 2.0, 8])
def test_a_trial_takes_a_part_of_one_gpu_or_whole_ones(gpus: float | None):
    assert StudyConfig(gpus_per_trial=gpus).gpus_per_trial == gpus


@pytest.mark.parametrize("flag", ["output", "data_root"])
@pytest.mark.parametrize("below", [".", "cache", "a/b"])
def test_the_cache_lies_outside_output_and_data(tmp_path: Path, study_config: Make, flag: str, below: str):
    with pytest.raises(UserError, match=rf"cache_dir must lie outside {flag}, .*, got .*\."):
        study_config(**{flag: tmp_path / "here", "cache_dir": tmp_path / "here" / below})


def test_the_cache_may_lie_beside_them_or_around_them(tmp_path: Path, study_config: Make):
    assert study_config(cache_dir=tmp_path).cache_dir == tmp_path
    assert study_config(cache_dir=tmp_path / "results2").cache_dir == tmp_path / "results2"


def test_a_link_into_the_output_is_seen_through(tmp_path: Path, study_config: Make):
    (tmp_path / "results").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "results")
    with pytest.raises(UserError, match="cache_dir must lie outside output"):
        study_config(cache_dir=tmp_path / "link" / "cache")


def test_final_goes_beside_its_configuration_unless_told():
    best = Path("results/demo/demo/best_config.json")
    assert FinalConfig(best_config=best).folder == Path("results/demo/demo/final")
    assert FinalConfig(best_config=best, output=Path("o")).folder == Path("o")


def test_final_needs_a_seed():
    with pytest.raises(UserError, match=r"seeds must be at least 1, got 0\."):
        FinalConfig(best_config=Path("b.json"), seeds=0)


@pytest.mark.parametrize("flag", ["output", "data_root"])
def test_final_too_keeps_its_cache_outside(tmp_path: Path, flag: str):
    with pytest.raises(UserError, match=rf"cache_dir must lie outside {flag}, .*, got .*\."):
        FinalConfig(best_config=tmp_path / "b.json", **{flag: tmp_path / "here"}, cache_dir=tmp_path / "here" / "cache")


def test_every_flag_is_told_as_it_was_resolved(study_config: Make, tmp_path: Path):
    told = study_config(datasets=("demo", "cub"), gpus_per_trial=0.5, time_budget_s=60.0).to_json()
    assert told.keys() == StudyConfig.__dataclass_fields__.keys()
    assert told["datasets"] == ("demo", "cub")
    assert told["data_root"] == str(tmp_path / "data")
    assert (told["gpus_per_trial"], told["time_budget_s"], told["sampler"]) == (0.5, 60.0, None)
    assert json.loads(json.dumps(told)) == told | {"datasets": ["demo", "cub"]} | {
        name: [] for name in ("fix", "ranges", "choices")
    }


def test_a_serial_run_joins_no_cluster(study_config: Make):
    assert study_config(executor=Executor.SERIAL).ray_address is None
    with pytest.raises(UserError, match=r"--ray-address needs --executor ray, got serial and 'auto'; leave one out\."):
        study_config(executor=Executor.SERIAL, ray_address="auto")
