from collections.abc import Callable
from pathlib import Path

import pytest

from pan_model.errors import UserError
from pan_model.training.backbone.config import BackboneTraining
from search_spaces import SPACES
from study.app.dry_run import describe_plan
from study.config.choices import Sampler, Scheduler
from study.config.study_config import StudyConfig
from study.trials.first_trials import choose_first_trials

Make = Callable[..., StudyConfig]


def test_the_resolved_study_is_shown(study_config: Make, tmp_path: Path):
    config = study_config(
        datasets=("demo", "cub"),
        seed=5,
        sampler=Sampler.RANDOM,
        scheduler=Scheduler.NONE,
        reduction_factor=2.5,
        cpus_per_trial=2,
        gpus_per_trial=0.25,
        num_trials=7,
        max_epochs=8,
    )
    lines = describe_plan(config)
    assert lines[0] == f"study demo-cub in {tmp_path}/results/demo-cub, seed 5"
    text = " ".join(lines)
    for said in (
        "sampler random",
        "scheduler none",
        "reduction factor 2.5",
        "regime frozen",
        "CPUs a trial 2",
        "GPUs a trial 0.25",
    ):
        assert said in text
    assert f"features are cached in {tmp_path}/cache" in lines
    assert "demo: 7 trials of at most 8 epochs, none stopped early, for few_shot_accuracy (max)" in lines
    assert "  backbone resnet18, weights random, 64 px, pooling avg" in lines
    assert "  backbone resnet50, weights imagenet, 224 px, pooling avg" in lines
    assert sum(line.startswith("  first trial 1: ") for line in lines) == 2


@pytest.mark.parametrize(
    ("scheduler", "rule"),
    [
        (Scheduler.ASHA, "stopped at 3 at the earliest"),
        (Scheduler.PAIRED, "stopped after 4 completed trials at the earliest"),
        (Scheduler.TOP_K, "stopped after one unless among the best 7 so far"),
    ],
)
def test_when_trials_may_be_stopped_is_said(study_config: Make, scheduler: Scheduler, rule: str):
    lines = describe_plan(study_config(scheduler=scheduler, num_trials=32, max_epochs=8, grace_epochs=3))
    assert f"demo: 32 trials of at most 8 epochs, {rule}, for few_shot_accuracy (max)" in lines


def test_the_training_of_the_backbone_is_said(study_config: Make):
    line = "  backbone trained before by proxynca, 50 epochs"
    assert line in describe_plan(study_config(backbone_training=BackboneTraining.PROXYNCA))
    assert not any("trained before" in line for line in describe_plan(study_config()))


def test_encoders_are_said_that_are_searched_that_are_off_and_why_others_are_not_there(study_config: Make):
    lines = describe_plan(study_config(datasets=("demo", "inshop", "polyvore")))
    assert [line for line in lines if line.startswith(("  encoders ", "  no encoder "))] == [
        "  encoders searched: siamese, proxynca; off: graph, see --encoders",
        "  encoders searched: siamese, proxynca",
        "  no encoder graph: a graph of all items is too expensive there, and its queries have no neighbours",
        "  encoders searched: siamese, graph",
        "  no encoder proxynca: it learns a proxy for each class, and outfits have no classes",
    ]


def test_the_space_shown_has_the_chosen_encoders_alone(study_config: Make):
    lines = describe_plan(study_config(datasets=("cub",), encoders=("graph",)))
    assert "  encoders searched: graph; off: siamese, proxynca, see --encoders" in lines
    assert "  encoder: graph, fixed" in lines
    (first,) = [
        place for place, line in enumerate(lines) if line.startswith("  first trial ") and "left out" not in line
    ]
    assert "graph_layers=3, graph_width=350" in " ".join(lines[first:])
    assert not any(line.startswith(("  temperature", "  projection")) for line in lines)


def test_it_is_said_whether_the_data_are_there(study_config: Make, tmp_path: Path):
    config = study_config(datasets=("demo", "cub"))
    lines = describe_plan(config)
    assert f"  data {tmp_path}/data/demo: will be drawn there" in lines
    assert f"  data {tmp_path}/data/CUB_200_2011: not there: a run would stop here" in lines
    (config.data_root / "demo").mkdir(parents=True)
    stops = f"  data {tmp_path}/data/demo: a run would stop here: {tmp_path}/data/demo/images.txt: no such file"
    assert any(line.startswith(stops) for line in describe_plan(study_config()))


def draw_folder(data_root: Path, num_classes: int) -> None:
    for number in range(num_classes):
        folder = data_root / "images" / f"class{number:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        for image in range(6):
            (folder / f"{image}.jpg").touch()


def test_a_folder_with_too_few_classes_is_said_to_stop_a_run(study_config: Make):
    config = study_config(datasets=("folder",))
    draw_folder(config.data_root, 12)
    with pytest.raises(UserError, match="val and test need 5 classes") as error:
        config.plans[0].row.read_from(config.data_root, config.plans[0].options)
    place = f"  data {config.data_root}/images: "
    assert f"{place}a run would stop here: {error.value}" in describe_plan(config)
    draw_folder(config.data_root, 20)
    assert f"{place}found, 60 train, 30 val, 30 test images" in describe_plan(config)


def test_first_trials_beyond_the_number_of_trials_are_counted(study_config: Make, tmp_path: Path):
    def numbered(config: StudyConfig) -> list[str]:
        lines = describe_plan(config, choose_first_trials(config, None))
        return [line.split(":")[0].strip() for line in lines if line.lstrip().startswith(("first trial ", "tried "))]

    total = len(SPACES["demo"].first_trials)
    assert numbered(study_config()) == [f"first trial {number}" for number in range(1, total + 1)]
    assert numbered(study_config(num_trials=2)) == ["first trial 1", "first trial 2"]
    assert "  1 further first trial would need more of --num-trials" in describe_plan(
        study_config(num_trials=total - 1)
    )
    assert "  2 further first trials would need more of --num-trials" in describe_plan(
        study_config(num_trials=total - 2)
    )
    (tmp_path / "try.toml").write_text("num_conditions = 7\n")
    assert numbered(study_config(num_trials=2, try_file=tmp_path / "try.toml")) == ["tried first", "first trial 1"]


def test_options_of_readers_are_shown_where_they_are_heeded(study_config: Make, tmp_path: Path):
    words = tmp_path / "words.txt"
    config = study_config(datasets=("demo", "polyvore"), attribute_words=words)
    lines = describe_plan(config)
    assert [line for line in lines if "polyvore split" in line] == ["  polyvore split nondisjoint"]
    assert f"  attribute words {words}: not there: a run would stop here" in lines
    words.write_text("lace\n")
    assert f"  attribute words {words}" in describe_plan(config)


def test_nothing_is_written(study_config: Make, tmp_path: Path):
    describe_plan(study_config())
    assert list(tmp_path.iterdir()) == []
