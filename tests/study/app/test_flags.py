"""Every flag, on the command line and in a TOML file; every refusal is one line."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pan_model.backbones.config import Pooling
from pan_model.data.polyvore.reader import PolyvoreSplit
from pan_model.data.splits import TaskName, ValQuestions
from pan_model.errors import UserError
from pan_model.model.precision import Precision
from pan_model.training.backbone.config import BackboneTraining
from study.app.flags import flag_table, name_flags, read_final_config, read_study_config, run_parser
from study.config.choices import Executor, PreprocessingChoice, Regime, Sampler, Scheduler
from study.config.final_config import FinalConfig
from study.config.study_config import StudyConfig

FLAGS: dict[str, tuple[str, str, Any, Sequence[str], Any]] = {
    "dataset": ("datasets", '["cub", "demo"]', ("cub", "demo"), ["--dataset", "demo"], ("demo",)),
    "data_root": ("data_root", '"d1"', Path("d1"), ["--data-root", "d2"], Path("d2")),
    "output": ("output", '"o1"', Path("o1"), ["--output=o2"], Path("o2")),
    "name": ("name", '"n1"', "n1", ["--name", "n2"], "n2"),
    "cache_dir": ("cache_dir", '"c1"', Path("c1"), ["--cache-dir", "c2"], Path("c2")),
    "num_trials": ("num_trials", "5", 5, ["--num-trials", "6"], 6),
    "max_epochs": ("max_epochs", "5", 5, ["--max-epochs=6"], 6),
    "confirm": ("confirm", "5", 5, ["--confirm", "0"], 0),
    "time_budget": ("time_budget_s", '"30m"', 1800.0, ["--time-budget", "2h"], 7200.0),
    "backbone": ("backbone", '"resnet34"', "resnet34", ["--backbone", "alexnet"], "alexnet"),
    "weights": ("weights", '"imagenet"', "imagenet", ["--weights", "w.pth"], "w.pth"),
    "image_size": ("image_size", "96", 96, ["--image-size", "128"], 128),
    "preprocessing": (
        "preprocessing",
        '"imagenet"',
        PreprocessingChoice.IMAGENET,
        ["--preprocessing", "own"],
        PreprocessingChoice.OWN,
    ),
    "encoders": ("encoders", '["siamese"]', ("siamese",), ["--encoders", "graph", "siamese"], ("graph", "siamese")),
    "fix": ("fix", '"gate=OR"', ("gate=OR",), ["--fix", "gate=XNOR"], ("gate=XNOR",)),
    "range": ("ranges", '"lambda=1e-4:1"', ("lambda=1e-4:1",), ["--range", "lambda=1:2"], ("lambda=1:2",)),
    "choices": ("choices", '["gate=OR,AND"]', ("gate=OR,AND",), ["--choices", "gate=OR,XOR"], ("gate=OR,XOR",)),
    "pooling": ("pooling", '"max"', Pooling.MAX, ["--pooling", "avg"], Pooling.AVG),
    "regime": ("regime", '"frozen"', Regime.FROZEN, ["--regime", "finetune"], Regime.FINETUNE),
    "backbone_training": (
        "backbone_training",
        '"siamese"',
        BackboneTraining.SIAMESE,
        ["--backbone-training", "proxynca"],
        BackboneTraining.PROXYNCA,
    ),
    "backbone_epochs": ("backbone_epochs", "2", 2, ["--backbone-epochs", "3"], 3),
    "data_workers": ("data_workers", "2", 2, ["--data-workers", "0"], 0),
    "skip_bad_images": ("skip_bad_images", "true", True, ["--no-skip-bad-images"], False),
    "task": ("task", '"retrieval"', TaskName.RETRIEVAL, ["--task", "few-shot"], TaskName.FEW_SHOT),
    "val_questions": (
        "val_questions",
        '"full"',
        ValQuestions.FULL,
        ["--val-questions", "reduced"],
        ValQuestions.REDUCED,
    ),
    "precision": ("precision", '"bfloat16"', Precision.BFLOAT16, ["--precision", "float32"], Precision.FLOAT32),
    "polyvore_split": (
        "polyvore_split",
        '"disjoint"',
        PolyvoreSplit.DISJOINT,
        ["--polyvore-split", "nondisjoint"],
        PolyvoreSplit.NONDISJOINT,
    ),
    "attribute_words": ("attribute_words", '"w1.txt"', Path("w1.txt"), ["--attribute-words", "w2.txt"], Path("w2.txt")),
    "cpus_per_trial": ("cpus_per_trial", "2", 2, ["--cpus-per-trial", "3"], 3),
    "gpus_per_trial": ("gpus_per_trial", "0.25", 0.25, ["--gpus-per-trial", "0"], 0.0),
    "max_concurrent": ("max_concurrent", "2", 2, ["--max-concurrent", "3"], 3),
    "max_gpu_hours": ("max_gpu_hours", "1.5", 1.5, ["--max-gpu-hours", "20"], 20.0),
    "max_failures": ("max_failures", "0", 0, ["--max-failures", "3"], 3),
    "try": ("try_file", '"t1.toml"', Path("t1.toml"), ["--try", "t2.json"], Path("t2.json")),
    "warm_start": ("warm_start", '"r/a"', Path("r/a"), ["--warm-start", "r/b"], Path("r/b")),
    "scheduler": ("scheduler", '"none"', Scheduler.NONE, ["--scheduler", "asha"], Scheduler.ASHA),
    "sampler": ("sampler", '"random"', Sampler.RANDOM, ["--sampler", "tpe"], Sampler.TPE),
    "grace_epochs": ("grace_epochs", "2", 2, ["--grace-epochs", "4"], 4),
    "reduction_factor": ("reduction_factor", "4", 4.0, ["--reduction-factor", "2.5"], 2.5),
    "seed": ("seed", "7", 7, ["--seed", "8"], 8),
    "resume": ("resume", "true", True, ["--no-resume"], False),
    "dry_run": ("dry_run", "true", True, ["--no-dry-run"], False),
    "executor": ("executor", '"serial"', Executor.SERIAL, ["--executor", "ray"], Executor.RAY),
    "ray_address": ("ray_address", '"a:1"', "a:1", ["--ray-address", "b:2"], "b:2"),
}
"""A flag's name in a file: its field, a value in a file and what it is read as, words and what they are read as."""

REFERENCE = Path(__file__).parents[3] / "docs" / "flags.md"

OF_POLYVORE = {"polyvore_split", "attribute_words"}
"""Flags that only a study of it may have."""

SWITCHES = ("skip_bad_images", "resume", "dry_run")


def beside(key: str) -> list[str]:
    if key == "backbone_epochs":
        return ["--backbone-training", "siamese"]
    return ["--dataset", "polyvore"] if key in OF_POLYVORE else []


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    return tmp_path / "study.toml"


def read(toml: Path, text: str, *words: str) -> StudyConfig:
    toml.write_text(text, encoding="utf-8")
    return read_study_config([*words, "--config", str(toml)])


def test_every_field_has_a_flag_and_every_flag_a_row_here():
    assert {field for field, *_ in FLAGS.values()} == set(StudyConfig.__dataclass_fields__)
    assert {field for field, *_ in FLAGS.values()} == set(run_parser().flags) - {"config"}


def test_no_words_give_the_defaults():
    assert read_study_config([]) == StudyConfig()


@pytest.mark.parametrize("key", FLAGS)
def test_the_command_line_sets_a_flag(key: str):
    field, _, _, words, value = FLAGS[key]
    config = read_study_config([*beside(key), *words])
    assert getattr(config, field) == value
    assert type(getattr(config, field)) is type(value)


@pytest.mark.parametrize("key", FLAGS)
@pytest.mark.parametrize("joint", ["_", "-"])
def test_a_file_sets_a_flag(toml: Path, key: str, joint: str):
    field, text, value, _, _ = FLAGS[key]
    config = read(toml, f"{key.replace('_', joint)} = {text}", *beside(key))
    assert getattr(config, field) == value
    assert type(getattr(config, field)) is type(value)


@pytest.mark.parametrize("key", FLAGS)
@pytest.mark.parametrize("config_first", [True, False])
def test_the_command_line_wins_over_the_file(toml: Path, key: str, config_first: bool):
    field, text, _, words, value = FLAGS[key]
    toml.write_text(f"{key} = {text}", encoding="utf-8")
    file = [*beside(key), "--config", str(toml)]
    config = read_study_config([*file, *words] if config_first else [*words, *file])
    assert getattr(config, field) == value


@pytest.mark.parametrize("key", SWITCHES)
def test_a_switch_that_a_file_turns_off_can_be_turned_on(toml: Path, key: str):
    assert getattr(read(toml, f"{key} = false"), key) is False
    assert getattr(read(toml, f"{key} = false", f"--{key.replace('_', '-')}"), key) is True


def test_one_dataset_needs_no_list(toml: Path):
    assert read(toml, 'dataset = "cub"').datasets == ("cub",)


def test_what_the_file_leaves_out_keeps_its_default(toml: Path):
    assert read(toml, "seed = 4") == StudyConfig(seed=4)
    assert read(toml, "") == StudyConfig()


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1.5h", 5400), ("0.5s", 0.5), ("007m", 420)]
)
def test_durations(text: str, seconds: float):
    assert read_study_config(["--time-budget", text]).time_budget_s == seconds


@pytest.mark.parametrize(
    "text", ["90", "s", "", "1d", "-1s", "1 h", "1h30m", "0s", "0.0h", "nans", "1e3s", ".5h", "1s\n"]
)
def test_what_is_no_duration(text: str):
    message = r"time-budget: expected a duration such as 90s, 30m or 2h, got '" + re.escape(text)
    with pytest.raises(UserError, match=message):
        read_study_config([f"--time-budget={text}"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--num-trial", "3"], r"unknown flag or stray word '--num-trial'; did you mean --num-trials\?"),
        (["--num-trail=3"], r"unknown flag or stray word '--num-trail=3'; did you mean --num-trials\?"),
        (["--data", "x"], r"unknown flag or stray word '--data'; did you mean --data"),
        (["--gpu-per-trial", "1"], r"did you mean --gpus-per-trial\?"),
        (["--xyzzy"], r"unknown flag or stray word '--xyzzy'; --help shows every flag\."),
        (["demo"], r"unknown flag or stray word 'demo'; "),
        (["--seed", "1", "2"], r"unknown flag or stray word '2'; --help shows every flag\."),
        (["--num-trials", "three"], r"--num-trials: invalid int value: 'three'; --help shows every flag\."),
        (["--num-trials", "1.5"], r"--num-trials: invalid int value: '1\.5'"),
        (["--gpus-per-trial", "half"], r"--gpus-per-trial: invalid float value: 'half'"),
        (["--num-trials"], r"--num-trials: expected one argument"),
        (["--dataset"], r"--dataset: expected at least one argument"),
        (["--resume=yes"], r"--resume/--no-resume: ignored explicit argument 'yes'"),
        (["--scheduler", "pbt"], r"--scheduler: choose from asha, paired, top-k, none, got 'pbt'"),
        (["--sampler", "grid"], r"--sampler: choose from tpe, tpe-grouped, prior, random, got 'grid'"),
        (["--regime", "thawed"], r"--regime: choose from frozen, finetune, got 'thawed'"),
        (["--polyvore-split", "both"], r"--polyvore-split: choose from nondisjoint, disjoint, got 'both'"),
        (["--polyvore-split", "disjoint"], r"--polyvore-split needs polyvore among --dataset, got demo\."),
        (
            ["--attribute-words=w", "--dataset", "demo", "cub"],
            r"--attribute-words needs polyvore among .*, got demo cub",
        ),
        (["--dataset", "cubs"], r"unknown dataset 'cubs'; choose from demo, cub, inshop, polyvore, folder\."),
        (["--num-trials", "0"], r"num_trials must be at least 1, got 0\."),
        (["--confirm", "-1"], r"confirm must be at least 0, got -1\."),
        (["--config", "nowhere.toml"], r"nowhere\.toml: cannot be read \(No such file or directory\)\."),
    ],
)
def test_words_that_are_refused(words: list[str], message: str):
    with pytest.raises(UserError, match=message) as error:
        read_study_config(words)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("num_trails = 3", r"study\.toml: unknown key 'num_trails'; did you mean 'num-trials'\?"),
        ("datset = 'demo'", r"study\.toml: unknown key 'datset'; did you mean 'dataset'\?"),
        ("xyzzy = 3", r"study\.toml: unknown key 'xyzzy'\."),
        ("help = true", r"study\.toml: unknown key 'help'\."),
        ("[study]\nseed = 1", r"study\.toml: unknown key 'study'\."),
        ("resume = 'yes'", r"study\.toml: resume must be true or false, got 'yes'\."),
        ("dry-run = 1", r"study\.toml: dry-run must be true or false, got 1\."),
        ("num_trials = true", r"study\.toml: num_trials must be a single value of its flag's kind, got True\."),
        ("num_trials = [1, 2]", r"study\.toml: num_trials must be a single value of its flag's kind, got \[1, 2\]\."),
        ("seed = {a = 1}", r"study\.toml: seed must be a single value of its flag's kind, got \{'a': 1\}\."),
        ("dataset = [['demo']]", r"study\.toml: dataset must be a single value"),
        ("num_trials = 'three'", r"num-trials: invalid int value: 'three'"),
        ("num_trials = 1.5", r"num-trials: invalid int value: '1\.5'"),
        ("time_budget = 90", r"time-budget: expected a duration such as 90s, 30m or 2h, got '90'"),
        ("dataset = []", r"dataset: expected at least one argument"),
        ("dataset = ['demo', 'cubs']", r"unknown dataset 'cubs'; choose from demo, cub, inshop, polyvore, folder\."),
        ("reduction_factor = inf", r"reduction_factor must be above 1, got inf\."),
        ("gpus_per_trial = nan", r"gpus_per_trial must be at least 0, got nan\."),
        ("seed = ", r"study\.toml: is not TOML \(.+\)\."),
        ("seed = 1\nseed = 2", r"study\.toml: is not TOML \(.+\)\."),
        ("dataset = demo", r"study\.toml: is not TOML \(.+\)\."),
    ],
)
def test_files_that_are_refused(toml: Path, text: str, message: str):
    with pytest.raises(UserError, match=message) as error:
        read(toml, text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["num_trials = 'three'", "time_budget = 90", "dataset = []"])
def test_a_refused_value_of_a_file_names_the_file(toml: Path, text: str):
    with pytest.raises(UserError, match=r"study\.toml: "):
        read(toml, text)


def test_a_file_cannot_name_another(toml: Path):
    with pytest.raises(UserError, match=r"unknown key 'config'(?!; did you mean 'config')"):
        read(toml, 'config = "other.toml"')


@pytest.mark.parametrize("value", ["true", "false"])
def test_a_switch_has_one_name_in_a_file(toml: Path, value: str):
    with pytest.raises(UserError, match=r"study\.toml: unknown key 'no_resume'; did you mean 'resume'\?"):
        read(toml, f"no_resume = {value}")


def test_a_key_is_spelled_once(toml: Path):
    with pytest.raises(UserError, match=r"study\.toml: num-trials is given twice, with _ and with -; keep one\."):
        read(toml, "num_trials = 3\nnum-trials = 4")


def test_an_empty_file_name_is_refused():
    with pytest.raises(UserError, match="cannot be read"):
        read_study_config(["--config", ""])


def test_a_file_from_notepad_has_a_byte_order_mark(toml: Path):
    toml.write_bytes("\ufeffname = 'düne'\r\nnum_trials = 3\r".encode())
    config = read_study_config(["--config", str(toml)])
    assert (config.study_name, config.num_trials) == ("düne", 3)


def test_a_file_from_powershell_is_utf16(toml: Path):
    toml.write_bytes("num_trials = 3".encode("utf-16"))
    with pytest.raises(UserError, match=r"study\.toml: is not TOML \(expected UTF-8 text, got UTF-16, .* Out-File"):
        read_study_config(["--config", str(toml)])


def test_a_file_that_is_not_text(toml: Path):
    toml.write_bytes(b"name = '\xff'")
    with pytest.raises(UserError, match=r"study\.toml: is not TOML \(.+\)\."):
        read_study_config(["--config", str(toml)])


def test_a_folder_is_no_file(tmp_path: Path):
    with pytest.raises(UserError, match=r"cannot be read \(Is a directory\)\."):
        read_study_config(["--config", str(tmp_path)])


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("num_trials must be at least 1, got 0.", "--num-trials must be at least 1, got 0."),
        (
            "grace_epochs must be at most max_epochs, 9, got 10.",
            "--grace-epochs must be at most --max-epochs, 9, got 10.",
        ),
        (
            "cache_dir must lie outside output, output.",
            "--cache-dir must lie outside --output, output.",
        ),
        ("name must be a plain folder name, got 'name'.", "--name must be a plain folder name, got 'name'."),
        (
            "dataset must name each dataset once, got demo demo.",
            "--dataset must name each dataset once, got demo demo.",
        ),
        ("seeds must be at least 1, got 0.", "--seeds must be at least 1, got 0."),
        ("num_conditions must be at least 1, got 0.", "num_conditions must be at least 1, got 0."),
        ("b.json: config: seed must be at least 0.", "b.json: config: seed must be at least 0."),
        ("weights: no such file.", "weights: no such file."),
        ("", ""),
    ],
)
def test_rules_are_told_by_flags(rule: str, told: str):
    assert name_flags(rule) == told


@pytest.mark.parametrize("key", FLAGS)
def test_every_field_of_a_rule_is_told_by_its_flag(key: str):
    assert name_flags(f"{key} must be odd.") == f"--{key.replace('_', '-')} must be odd."


NAMES = st.text("abcXYZ019._-", min_size=1, max_size=12).filter(lambda name: name not in {".", "..", "--"})
FOLDERS = st.text("abcäXYZ019._- ='#", max_size=12)
VALID: dict[str, st.SearchStrategy[Any]] = {
    "dataset": st.lists(st.sampled_from(["demo", "cub"]), min_size=1, unique=True),
    "data_root": FOLDERS.map(lambda name: f"/d/d{name}"),
    "output": FOLDERS.map(lambda name: f"/o/o{name}") | st.sampled_from(["s3://bucket", "s3://bucket/a/b"]),
    "name": NAMES,
    "cache_dir": FOLDERS.map(lambda name: f"/c/c{name}"),
    "num_trials": st.integers(1, 10**6),
    "max_epochs": st.integers(50, 1000),
    "time_budget": st.builds("{}{}".format, st.integers(1, 99), st.sampled_from("smh")),
    "backbone": st.sampled_from(["resnet18", "vgg11", "swin_t"]),
    "weights": NAMES,
    "image_size": st.integers(1, 1000),
    "preprocessing": st.sampled_from([str(one) for one in PreprocessingChoice]),
    "encoders": st.just(["siamese"]),
    "fix": st.just(["gate=XNOR", "patience=4"]),
    "range": st.just(["lambda=1e-4:1"]),
    "choices": st.just(["joint=product,concat", "weight_decay=0.5,1"]),
    "pooling": st.just("avg"),
    "regime": st.sampled_from([str(one) for one in Regime]),
    "backbone_training": st.sampled_from([str(one) for one in BackboneTraining]),
    "backbone_epochs": st.integers(1, 64),
    "data_workers": st.integers(0, 64),
    "skip_bad_images": st.booleans(),
    "task": st.just("few-shot"),
    "val_questions": st.sampled_from([str(one) for one in ValQuestions]),
    "polyvore_split": st.sampled_from([str(one) for one in PolyvoreSplit]),
    "attribute_words": FOLDERS.map(lambda name: f"/w/w{name}"),
    "cpus_per_trial": st.integers(1, 64),
    "gpus_per_trial": st.floats(0, 1, allow_subnormal=False) | st.integers(0, 8),
    "max_concurrent": st.integers(1, 64),
    "max_gpu_hours": st.floats(1e-3, 1e3),
    "max_failures": st.integers(0, 9),
    "scheduler": st.sampled_from([str(one) for one in Scheduler]),
    "confirm": st.integers(0, 9),
    "precision": st.sampled_from([str(one) for one in Precision]),
    "sampler": st.sampled_from([str(one) for one in Sampler]),
    "grace_epochs": st.integers(1, 9),
    "reduction_factor": st.floats(1.001, 1e9),
    "seed": st.integers(0, 10**9),
    "resume": st.booleans(),
    "dry_run": st.booleans(),
    "executor": st.just("ray"),
    "ray_address": NAMES,
    "try": NAMES,
    "warm_start": NAMES,
}


def as_words(key: str, value: Any) -> list[str]:
    option = f"--{key.replace('_', '-')}"
    if isinstance(value, bool):
        return [option if value else option.replace("--", "--no-", 1)]
    return [option, *value] if isinstance(value, list) else [f"{option}={value}"]


@settings(max_examples=50)
@given(
    values=st.fixed_dictionaries({}, optional=VALID),
    joint=st.sampled_from("_-"),
    in_file=st.sets(st.sampled_from(sorted(VALID))),
)
def test_flags_and_files_say_the_same(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any], joint: str, in_file: set[str]
):
    if OF_POLYVORE & values.keys():
        values["dataset"] = [*values.get("dataset", []), "polyvore"]
    if values.keys() & {"task", "val_questions"} and "demo" not in values.get("dataset", ["demo"]):
        values["dataset"] = [*values["dataset"], "demo"]
    if "backbone_epochs" in values:
        values["backbone_training"] = "siamese"
    words = [word for key, value in values.items() for word in as_words(key, value)]
    of_words = read_study_config(words)
    toml = tmp_path_factory.getbasetemp() / "study.toml"

    def write(keys: set[str]) -> None:
        lines = [
            f"{k.replace('_', joint)} = {json.dumps(v, ensure_ascii=False)}\n" for k, v in values.items() if k in keys
        ]
        toml.write_text("".join(lines), encoding="utf-8")

    write(set(values))
    assert read_study_config(["--config", str(toml)]) == of_words
    write(in_file)
    rest = [word for key, value in values.items() if key not in in_file for word in as_words(key, value)]
    assert read_study_config([*rest, "--config", str(toml)]) == of_words


def test_every_valid_flag_is_among_the_random_ones():
    assert VALID.keys() == FLAGS.keys()


@pytest.mark.parametrize(("script", "config"), [("study/run.py", StudyConfig), ("study/final.py", FinalConfig)])
def test_the_reference_has_the_table_of_flags(script: str, config: type[StudyConfig | FinalConfig]):
    section = REFERENCE.read_text(encoding="utf-8").partition(f"\n## {script}\n")[2].partition("\n## ")[0]
    assert flag_table(config) in section


def test_help_shows_every_flag_and_its_default():
    text = " ".join(run_parser().format_help().split())
    for key in FLAGS:
        assert f"--{key.replace('_', '-')}" in text
    assert "(default: results)" in text
    assert "(default: None)" not in text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {}),
        (["--data-root", "d"], {"data_root": Path("d")}),
        (["--seeds", "3"], {"seeds": 3}),
        (["--output", "o"], {"output": Path("o")}),
        (["--weights", "w.pth"], {"weights": "w.pth"}),
        (["--cache-dir", "c"], {"cache_dir": Path("c")}),
        (["--attribute-words", "w.txt"], {"attribute_words": Path("w.txt")}),
        (["--skip-bad-images"], {"skip_bad_images": True}),
    ],
)
def test_final_flags(words: list[str], expected: dict[str, Any]):
    assert read_final_config(["r/best_config.json", *words]) == FinalConfig(
        best_config=Path("r/best_config.json"), **expected
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], r"the following arguments are required: best_config\.json; --help shows every flag\."),
        (["b.json", "--seeds", "0"], r"seeds must be at least 1, got 0\."),
        (["b.json", "--seeds", "many"], r"--seeds: invalid int value: 'many'"),
        (["b.json", "c.json"], r"unknown flag or stray word 'c\.json'; "),
        (["b.json", "--seed", "3"], r"unknown flag or stray word '--seed'; did you mean --seeds\?"),
    ],
)
def test_final_flags_that_are_refused(words: list[str], message: str):
    with pytest.raises(UserError, match=message) as error:
        read_final_config(words)
    assert "\n" not in str(error.value)


@pytest.fixture
def cluster_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a cluster's YAML puts into the environment of its head node."""
    for name in ("OUTPUT", "DATA_ROOT", "CACHE_DIR"):
        monkeypatch.setenv(f"PAN_STUDY_{name}", f"/shared/{name}")


@pytest.mark.usefixtures("cluster_folders")
def test_a_machine_has_defaults_of_its_own(toml: Path):
    assert read_study_config([]) == StudyConfig(
        output=Path("/shared/OUTPUT"), data_root=Path("/shared/DATA_ROOT"), cache_dir=Path("/shared/CACHE_DIR")
    )
    assert read_final_config(["b.json"]) == FinalConfig(
        best_config=Path("b.json"), data_root=Path("/shared/DATA_ROOT"), cache_dir=Path("/shared/CACHE_DIR")
    )
    assert "(default: /shared/OUTPUT)" in " ".join(run_parser().format_help().split())


@pytest.mark.usefixtures("cluster_folders")
def test_flags_and_files_win_over_the_machine(toml: Path, monkeypatch: pytest.MonkeyPatch):
    assert read_study_config(["--output", "o", "--cache-dir=c"]).output == Path("o")
    assert read(toml, 'data_root = "d"').data_root == Path("d")
    monkeypatch.setenv("PAN_STUDY_OUTPUT", "")
    assert read_study_config([]).output == Path("results")


@pytest.mark.parametrize("flag", ["--data-root", "--cache-dir"])
def test_folders_that_must_be_on_a_disk_are_no_urls(flag: str):
    with pytest.raises(UserError, match=rf"argument {flag}: must be a folder of this machine, or one"):
        read_study_config([flag, "s3://bucket/prefix"])


def test_results_may_be_in_a_store():
    config = read_study_config(["--output", "s3://bucket/prefix/"])
    assert str(config.results.root) == "s3://bucket/prefix/demo"
    assert config.to_json()["output"] == "s3://bucket/prefix"
    final = read_final_config(["s3://bucket/prefix/demo/demo/best_config.json"])
    assert str(final.folder) == "s3://bucket/prefix/demo/demo/final"
