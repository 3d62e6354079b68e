"""study/final.py from end to end: the numbers, the model on disk, the planted attributes, and what it refuses."""

import csv
import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pan_model.data.featured_items import FeaturedItems
from pan_model.data.splits import Split
from pan_model.model.pan import Pan
from pan_model.scores import Interval
from pan_model.scoring.pan_scorer import pan_scorer
from pan_model.tasks.few_shot import FewShotTask
from pan_model.trained import load_model
from search_spaces import SPACES
from study.app.commands import final_command
from study.app.final.final_input import TRAIN_ON
from study.trials.question_scores import describe_lead, from_entry, interval_of

METRIC = "few_shot_accuracy"
SEEDS = 2
FILES = ("config.json", "metrics.json", "model.safetensors", "model_card.md", "questions.json")


@pytest.fixture(scope="module")
def shared(data_root: Path, cache_dir: Path) -> tuple[str, ...]:
    """Flags of all final trainings here, which train in this process."""
    return ("--data-root", str(data_root), "--cache-dir", str(cache_dir), "--seeds", str(SEEDS), "--jobs", "1")


@pytest.fixture(scope="module")
def final(done: Any, run_here: Any, shared: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The finished study with its final training, in a folder of their own."""
    study = done.copied(tmp_path_factory.mktemp("final") / "results")
    finished = run_here(study.files.best_config, *shared, command=final_command)
    return {"study": study, "folder": study.files.folder / "final", "finished": finished}


@pytest.fixture(scope="module")
def metrics(final: Any) -> dict[str, Any]:
    return json.loads((final["folder"] / "metrics.json").read_text())


@pytest.fixture
def best(done: Any, tmp_path: Path) -> Callable[..., Path]:
    """Write the study's best_config.json elsewhere, with changes; fields by their dotted names."""

    def write(**changes: Any) -> Path:
        content = json.loads(done.files.best_config.read_text())
        for field, value in changes.items():
            place, *path = content, *field.split("__")
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = value
        file = tmp_path / "best_config.json"
        file.write_text(json.dumps(content))
        return file

    return write


def test_the_scores_of_test_questions_are_those_of_the_metrics(final: Any, metrics: dict[str, Any]) -> None:
    content = json.loads((final["folder"] / "questions.json").read_text())
    (scores,) = content["questions"].values()
    objective = metrics["metrics"]["few_shot_accuracy"]
    assert content["trial_id"] == metrics["trial_id"]
    assert len(scores) == metrics["questions"]["few_shot_accuracy"]
    assert interval_of(scores) == from_entry(objective, "mean")


def test_it_ends_with_exit_code_0_and_says_what_it_made(final: Any) -> None:
    finished = final["finished"]
    assert (finished.code, finished.err) == (0, "")
    lines = finished.out.splitlines()
    first, last = lines.index("made:") + 1, lines.index("next:")
    made = {Path(line.strip()) for line in lines[first:last] if not line.startswith("caution: ")}
    assert [line.split()[2] for line in lines[last + 1 :]] == ["study/explain.py", "study/index.py", "python"]
    folder = set(final["folder"].iterdir())
    assert made == folder | {final["study"].results.summary, final["study"].results.report}
    assert {path.name for path in folder} == set(FILES)


def test_study_is_left_as_it_was_but_for_its_summary(
    done: Any, final: Any, snapshot: Callable[[Path], dict[str, bytes]]
) -> None:
    before, after = snapshot(done.output), snapshot(final["study"].output)
    changed = {path for path, content in after.items() if before.get(path) != content and "/final/" not in path}
    assert before.keys() == {path for path in after if "/final/" not in path}
    assert changed == {"demo/summary.md", "demo/summary.csv", "demo/report.html"}


def names_of_study(study: Any) -> list[str]:
    """The baselines that study.json names."""
    return json.loads(study.results.study.read_text())["datasets"]["demo"]["baselines"]


def test_summary_has_the_test_scores_beside_those_on_val(done: Any, final: Any, metrics: dict[str, Any]) -> None:
    [before], [row] = (
        list(csv.DictReader(study.results.summary_table.read_text().splitlines())) for study in (done, final["study"])
    )
    expected = {"test.PAN": metrics["metrics"][METRIC]}
    for name in names_of_study(done):
        expected[f"test.{name}"] = metrics["baselines"][name][METRIC]
        expected[f"test_ahead.{name}"] = metrics["paired"][name][METRIC]
    page = final["study"].results.summary.read_text()
    for column, values in expected.items():
        split, method = column.split(".")
        mean, (low, high) = values.get("mean", values.get("difference")), values["ci95"]
        assert [float(row[key]) for key in (column, f"{split}_low.{method}", f"{split}_high.{method}")] == [
            mean,
            low,
            high,
        ]
        interval = Interval(mean, low, high)
        assert f" | {describe_lead(interval) if split == 'test_ahead' else interval} |" in page
    same = {key: cell for key, cell in before.items() if not key.startswith("test") and key != "cautions"}
    assert row.items() >= same.items()
    cautions = [line.removeprefix("caution: ") for line in final["finished"].out.splitlines() if "caution: " in line]
    assert row["cautions"] == "; ".join(cautions)


def test_metrics_are_of_the_test_split_and_of_every_seed(metrics: dict[str, Any]) -> None:
    assert (metrics["schema"], metrics["dataset"], metrics["split"]) == ("pan-study/final/1", "demo", "test")
    assert metrics["seeds"] == list(range(SEEDS))
    assert {METRIC, "recall@1", "recall@2", "recall@4", "recall@8"} <= metrics["metrics"].keys()
    for values in metrics["metrics"].values():
        assert values.keys() == {"mean", "ci95", "std_over_seeds", "per_seed"}
        assert len(values["per_seed"]) == SEEDS
        assert math.isclose(values["mean"], np.mean(values["per_seed"]), rel_tol=1e-12)
        assert math.isclose(values["std_over_seeds"], np.std(values["per_seed"], ddof=1), rel_tol=1e-9, abs_tol=1e-15)


def test_intervals_hold_their_means(done: Any, metrics: dict[str, Any]) -> None:
    assert list(metrics["baselines"]) == names_of_study(done)
    for values in [metrics["metrics"], *metrics["baselines"].values()]:
        for one in values.values():
            low, high = one["ci95"]
            assert low <= one["mean"] <= high
            assert high - low < 0.5


def test_paired_differences_are_the_differences_of_the_means(metrics: dict[str, Any]) -> None:
    assert metrics["paired"].keys() == metrics["baselines"].keys()
    assert metrics["not_run"] == []
    assert metrics["settings"].keys() <= metrics["baselines"].keys()
    for name, values in metrics["paired"].items():
        for metric, one in values.items():
            ahead = metrics["metrics"][metric]["mean"] - metrics["baselines"][name][metric]["mean"]
            assert math.isclose(one["difference"], ahead, abs_tol=1e-12)
            assert one["ci95"][0] <= one["difference"] <= one["ci95"][1]


def test_recall_grows_with_k(metrics: dict[str, Any]) -> None:
    means = [metrics["metrics"][f"recall@{k}"]["mean"] for k in (1, 2, 4, 8)]
    assert means == sorted(means)
    assert means[-1] > means[0] > 0


def test_model_on_disk_gives_the_same_scores_again(
    final: Any, metrics: dict[str, Any], featured: FeaturedItems
) -> None:
    model = load_model(final["folder"])
    task = FewShotTask(featured, seed=0, train_on=TRAIN_ON)
    scores = task.evaluate_fully(pan_scorer(model, task, Split.TEST, torch.device("cpu")), Split.TEST)
    assert {name: float(questions.mean()) for name, questions in scores.items()} == pytest.approx(
        {name: values["per_seed"][0] for name, values in metrics["metrics"].items()}, abs=1e-6
    )


def test_model_compares_pairs_as_its_card_says(final: Any, data_root: Path) -> None:
    card = (final["folder"] / "model_card.md").read_text()
    code = card.partition("```python\n")[2].partition("```")[0].replace('"final"', repr(str(final["folder"])))
    code = re.sub(r"sorted\(path for path in Path.* in suffixes\)", "given", code)
    names: dict[str, Any] = {"given": sorted((data_root / "demo" / "images").glob("*/*"))[:5]}
    exec(compile(code, "model_card.md", "exec"), names)
    num_conditions = len(names["model"].condition_names)
    assert names["pairs"].score.shape == (4,)
    assert ((names["pairs"].score >= 0) & (names["pairs"].score <= 1)).all()
    assert names["pairs"].similarity.shape == names["pairs"].relevance.shape == (4, num_conditions)
    assert names["scores"].shape == (1, 1, 1)
    assert f"{num_conditions}\nconditions" in card
    assert f"against a set of images by {names['model'].scoring}:\n" in card


def test_model_finds_similar_images_as_the_page_of_next_steps_says(
    final: Any, data_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[3] / "docs" / "next-steps.md").read_text(encoding="utf-8")
    [code] = [block for block in page.split("```python\n")[1:] if "most_similar" in block]
    code = code.partition("```")[0].replace('"results/demo/demo/final"', repr(str(final["folder"])))
    code = re.sub(r"sorted\(path for path in Path.* in suffixes\)", "given", code)
    images = sorted((data_root / "demo" / "images").glob("*/*"))[:4]
    names: dict[str, Any] = {"given": images}
    exec(compile(code, "next-steps.md", "exec"), names)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [path.name for path in images]
    assert names["found"].items.shape == (4, 2)


def test_card_has_the_numbers_of_the_metrics(final: Any, metrics: dict[str, Any]) -> None:
    card = (final["folder"] / "model_card.md").read_text()
    for values in [metrics["metrics"], *metrics["baselines"].values()]:
        for one in values.values():
            assert f"{one['mean']:.4f}" in card
    assert "other questions about the same classes, not" in card


def test_it_trains_as_many_epochs_as_the_best_trial_needed(final: Any, metrics: dict[str, Any]) -> None:
    best = json.loads(final["study"].files.best_config.read_text())
    assert metrics["epochs"] == best["metric"]["epoch"]
    assert metrics["trained_on"] == ["train", "val"]
    assert metrics["scoring"] == best["config"]["scoring"]


def test_paper_setting_is_the_paper_s_and_trained_as_long_as_val_said(final: Any, metrics: dict[str, Any]) -> None:
    paper = metrics["paper_setting"]
    assert paper["config"].items() >= SPACES["demo"].paper_setting.items()
    assert (paper["config"]["pairs_per_epoch"], paper["config"]["seed"]) == (0, 0)
    assert 1 <= paper["epochs"] == paper["config"]["max_epochs"] <= 100
    assert f"baseline paper_setting: trained {paper['epochs']} epochs on train and val" in final["finished"].out
    assert f"for {paper['epochs']} epochs, a number chosen" in (final["folder"] / "model_card.md").read_text()


@pytest.fixture
def study(done: Any, final: Any, tmp_path: Path) -> Any:
    """The finished study before its final training, whose paper_setting is in the cache by now."""
    return done.copied(tmp_path / "results")


def test_inside_the_dataset_s_folder_it_finds_the_study_too(
    study: Any, run_here: Callable[..., Any], shared: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(study.files.folder)
    ended = run_here("best_config.json", *shared, "--seeds=1", command=final_command)
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[lines.index("made:") + 1 :][:7] == [
        *(f"  final/{name}" for name in FILES),
        "  ../summary.md",
        "  ../report.html",
    ]
    [row] = csv.DictReader(study.results.summary_table.read_text().splitlines())
    assert row["test.PAN"]


def test_a_damaged_study_keeps_its_summary_and_has_its_final_training(
    study: Any, run_here: Callable[..., Any], shared: tuple[str, ...]
) -> None:
    damaged = next(study.files.trials.glob("*/status.json"))
    damaged.write_text("{}")
    before = study.results.summary.read_bytes()
    ended = run_here(study.files.best_config, *shared, "--seeds=1", command=final_command)
    assert (ended.code, ended.err) == (0, "")
    assert f"\nthe summary was not updated: {damaged}: lacks status, error; " in ended.out
    assert study.results.summary.read_bytes() == before
    assert study.files.final_metrics.exists()


def test_a_cache_that_cannot_be_written_is_refused_before_training(
    study: Any, run_here: Callable[..., Any], shared: tuple[str, ...], cache_dir: Path, tmp_path: Path
) -> None:
    shutil.copytree(cache_dir / "features", tmp_path / "cache" / "features")
    (tmp_path / "cache" / "paper_setting").touch()
    words = [*shared, "--cache-dir", tmp_path / "cache"]
    refused = run_here(study.files.best_config, *words, command=final_command)
    assert refused.code == 2
    assert refused.err.startswith(
        f"error: the baseline paper_setting cannot be written to {tmp_path}/cache/paper_setting: "
    )
    assert refused.err.endswith("; give another --cache-dir.\n")
    assert "trained" not in refused.out
    assert not study.files.final_metrics.parent.exists()


PLANTED = {
    "encoder": "siamese",
    "supervision": "supervised",
    "gate": "XNOR",
    "lambda": 100.0,
    "num_conditions": 17,
    "learning_rate": 1e-2,
    "normalisation": "l2",
    "pairs": "fresh",
    "pairs_per_epoch": 8192,
    "steps_per_epoch": 9,
    "max_epochs": 40,
    "seed": 0,
}
EASY = ("has_background::light", "has_background::dark", "has_colour::blue", "has_shape::cross")


@pytest.fixture(scope="module")
def planted(done: Any, run_here: Any, shared: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Pan:
    """A model whose conditions had every attribute's label, on train + val."""
    folder = tmp_path_factory.mktemp("planted")
    content = json.loads(done.files.best_config.read_text())
    content["config"] = PLANTED
    content["metric"]["epoch"] = PLANTED["max_epochs"]
    (folder / "best_config.json").write_text(json.dumps(content))
    finished = run_here(folder / "best_config.json", *shared, "--seeds=1", command=final_command)
    assert (finished.code, finished.err) == (0, "")
    return load_model(folder / "final")


@pytest.mark.parametrize("name", EASY)
def test_planted_attributes_are_found_again_by_name(planted: Pan, featured: FeaturedItems, name: str) -> None:
    """Among classes never seen, a condition is higher for pairs that agree on its attribute (area under ROC)."""
    attribute, condition = featured.attribute_names.index(name), planted.condition_names.index(f"XNOR({name})")
    certain = featured.certain[:, attribute]
    items = np.array([item for item in featured.splits[Split.TEST] if certain[item]])
    one, two = (items[index] for index in np.triu_indices(len(items), k=1))
    with torch.inference_mode():
        pairs = planted(*(torch.from_numpy(featured.features[index].copy()) for index in (one, two)))
    similarity = pairs.similarity[:, condition].numpy()
    agree = featured.attributes[one, attribute] == featured.attributes[two, attribute]
    assert min(agree.sum(), (~agree).sum()) > 100
    above = similarity[agree][:, None] - similarity[~agree][None]
    assert ((above > 0).mean() + (above == 0).mean() / 2) > 0.8


def test_final_folder_that_exists_is_refused(
    final: Any, run_here: Callable[..., Any], shared: tuple[str, ...], snapshot: Callable[[Path], dict[str, bytes]]
) -> None:
    before = snapshot(final["folder"])
    again = run_here(final["study"].files.best_config, *shared, command=final_command)
    assert again.code == 2
    assert again.err == f"error: {final['folder']}: exists; move it, or give another --output.\n"
    assert snapshot(final["folder"]) == before


def test_other_data_are_refused_by_both_fingerprints(
    best: Callable[..., Path], run_here: Callable[..., Any], shared: tuple[str, ...], new_data: Callable[[], Path]
) -> None:
    data, file = new_data(), best()
    labels = data / "demo" / "attributes" / "image_attribute_labels.txt"
    labels.write_text("".join(labels.read_text().splitlines(keepends=True)[1:]))
    fingerprint = json.loads(file.read_text())["data"]["fingerprint"]
    again = run_here(file, *shared, "--data-root", data, command=final_command)
    assert again.code == 2
    assert again.err.startswith(f"error: {file}: data.fingerprint is {fingerprint}, but the data below {data} have sha")
    assert again.err.count("\n") == 1
    assert list(file.parent.iterdir()) == [file]


def test_other_weights_are_refused_by_both_hashes(
    best: Callable[..., Path], run_here: Callable[..., Any], shared: tuple[str, ...]
) -> None:
    file = best(features__weights_sha256="0" * 64)
    again = run_here(file, *shared, command=final_command)
    assert again.code == 2
    assert again.err.startswith(f"error: {file}: features.weights_sha256 is {'0' * 64}, but those of random have ")
    assert again.err.count("\n") == 1
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("config__num_conditions", 0, "config.num_conditions "),
        ("config__learning_rate", "fast", "config.learning_rate "),
        ("metric__epoch", 0, "metric.epoch "),
        ("data__fingerprint", "sha256:0", "data.fingerprint "),
        ("features__weights_sha256", None, "features.weights_sha256 "),
        ("dataset", "cubs", "unknown dataset 'cubs'"),
        ("config__number_of_dreams", 3, "config: unknown key 'number_of_dreams'"),
        ("schema", "pan-study/best-config/2", "schema "),
    ],
)
def test_broken_best_config_is_refused_by_its_field(
    best: Callable[..., Path],
    run_here: Callable[..., Any],
    shared: tuple[str, ...],
    field: str,
    value: object,
    named: str,
) -> None:
    file = best(**{field: value})
    again = run_here(file, *shared, command=final_command)
    assert again.code == 2
    assert again.err.startswith("error: ")
    assert named in again.err
    assert again.err.count("\n") == 1
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize(("text", "says"), [(None, "cannot be read"), ('{"schema":', "is not JSON")])
def test_best_config_that_is_none_is_refused(
    run_here: Callable[..., Any], tmp_path: Path, text: str | None, says: str
) -> None:
    file = tmp_path / "best_config.json"
    if text is not None:
        file.write_text(text)
    again = run_here(file, command=final_command)
    assert again.code == 2
    assert again.err.startswith(f"error: {file}: {says}")
    assert again.err.count("\n") == 1


def test_no_seeds_are_refused(best: Callable[..., Path], run_here: Callable[..., Any]) -> None:
    again = run_here(best(), "--seeds=0", command=final_command)
    assert (again.code, again.err) == (2, "error: --seeds must be at least 1, got 0.\n")


def test_no_trainings_at_the_same_time_are_refused(best: Callable[..., Path], run_here: Callable[..., Any]) -> None:
    again = run_here(best(), "--jobs=0", command=final_command)
    assert (again.code, again.err) == (2, "error: --jobs must be at least 1, got 0.\n")


def test_trainings_of_the_backbone_run_one_after_another(
    best: Callable[..., Path], run_here: Callable[..., Any], shared: tuple[str, ...]
) -> None:
    again = run_here(best(features__regime="finetune"), *shared, "--jobs=2", command=final_command)
    assert (again.code, again.out) == (2, "")
    assert again.err == "error: --jobs must be 1 for a study with --regime finetune, got 2.\n"


def test_baselines_may_be_left_out(done: Any, run_here: Any, shared: tuple[str, ...], tmp_path: Path) -> None:
    study = done.copied(tmp_path / "results")
    words = ("--baselines", "siamese_distance", "--seeds", "1")
    finished = run_here(study.files.best_config, *shared, *words, command=final_command)
    assert (finished.code, finished.err) == (0, "")
    metrics = json.loads((study.files.folder / "final" / "metrics.json").read_text())
    assert list(metrics["baselines"]) == list(metrics["paired"]) == ["siamese_distance"]
    assert "paper_setting" not in metrics
    assert {"paper_setting", "nearest_class_mean"} <= set(metrics["not_run"])
    [row] = csv.DictReader(study.results.summary_table.read_text().splitlines())
    assert row["test.paper_setting"] == row["test.nearest_class_mean"] == ""
    assert float(row["test.siamese_distance"]) == metrics["baselines"]["siamese_distance"][METRIC]["mean"]
    [time] = [line for line in finished.out.splitlines() if line.startswith("time: ")]
    assert [part.split(" ")[0] for part in time.removeprefix("time: ").split(", ")][:2] == ["preparation", "PAN"]


def test_a_baseline_that_the_dataset_does_not_have_is_refused(
    done: Any, run_here: Any, shared: tuple[str, ...], tmp_path: Path
) -> None:
    study = done.copied(tmp_path / "results")
    words = ("--baselines", "siamese_distance", "set_transformer")
    refused = run_here(study.files.best_config, *shared, *words, command=final_command)
    assert refused.code == 2
    assert refused.err.startswith("error: baselines: demo has no baseline set_transformer; choose from nearest_class")
    assert not study.files.final_metrics.parent.exists()


def test_relevance_of_conditions_is_in_the_card_and_the_summary(final: Any, metrics: dict[str, Any]) -> None:
    model = load_model(final["folder"])
    assert list(metrics["relevance"]) == list(model.condition_names)
    assert math.isclose(sum(metrics["relevance"].values()), 1, abs_tol=1e-5)
    card = (final["folder"] / "model_card.md").read_text()
    assert "\n## Conditions\n\nMean relevance of the conditions over random pairs of the training images" in card
    assert (
        "\nMean relevance of the conditions over random pairs of val images; "
        in final["study"].results.summary.read_text()
    )
