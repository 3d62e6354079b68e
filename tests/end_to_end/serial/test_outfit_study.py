"""A study of outfits from end to end: drawn images, words from a file, new questions and those of the files."""

import json
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from study.app.commands import final_command
from study.config.choices import BASELINES
from study.storage.paths import StudyPaths

STYLES = {"red": (200, 40, 40), "green": (40, 180, 60), "blue": (50, 60, 200)}
CATEGORIES = ("1", "2", "3")
EACH = 6
"""Items of a style and category."""

NUM_OUTFITS = {"train": 40, "valid": 12, "test": 12}


def item_id(style: int, category: int, number: int) -> str:
    return f"{(style * len(CATEGORIES) + category) * EACH + number + 100}"


def draw_outfits(folder: Path) -> None:
    """Draw items of three styles in three categories; an outfit is one of each category, all of a style."""
    generator = np.random.default_rng(0)
    metadata: dict[str, Any] = {}
    (folder / "images").mkdir(parents=True)
    for style, (word, colour) in enumerate(STYLES.items()):
        for category, name in enumerate(CATEGORIES):
            for number in range(EACH):
                item = item_id(style, category, number)
                metadata[item] = {"category_id": name, "title": f"{word} thing", "url_name": "", "description": ""}
                noise = generator.integers(-30, 30, size=(16, 16, 3))
                pixels = (np.array(colour) + noise + 20 * category).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / "images" / f"{item}.jpg")
    (folder / "polyvore_item_metadata.json").write_text(json.dumps(metadata))
    version = folder / "disjoint"
    version.mkdir()
    for split, number in NUM_OUTFITS.items():
        outfits = [dress(generator, f"{split}{place}") for place in range(number)]
        (version / f"{split}.json").write_text(json.dumps(outfits))
        if split != "train":
            write_questions(version, split, [outfit["set_id"] for outfit in outfits])


def dress(generator: np.random.Generator, set_id: str) -> dict[str, Any]:
    style = int(generator.integers(len(STYLES)))
    items = [item_id(style, category, int(generator.integers(EACH))) for category in range(len(CATEGORIES))]
    return {"set_id": set_id, "items": [{"item_id": item, "index": index} for index, item in enumerate(items, 1)]}


def write_questions(folder: Path, split: str, set_ids: list[str]) -> None:
    following = [*set_ids[1:], set_ids[0]]
    blanks = [
        {"question": [f"{own}_1", f"{own}_2"], "answers": [f"{own}_3", f"{other}_3"], "blank_position": 3}
        for own, other in zip(set_ids, following, strict=True)
    ]
    (folder / f"fill_in_blank_{split}.json").write_text(json.dumps(blanks))
    lines = [f"1 {own}_1 {own}_2 {own}_3\n" for own in set_ids]
    lines += [f"0 {own}_1 {other}_2 {own}_3\n" for own, other in zip(set_ids, following, strict=True)]
    (folder / f"compatibility_{split}.txt").write_text("".join(lines))


@pytest.fixture(scope="module")
def outfits(run_here: Any, flags: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A study of two trials of two epochs, the paper's settings first, with the file of words by a relative path."""
    data, output, folder = (tmp_path_factory.mktemp(name) for name in ("outfits", "results", "elsewhere"))
    draw_outfits(data / "polyvore_outfits")
    (folder / "words.txt").write_text("red\ngreen\nblue\n")
    asked = ["--dataset", "polyvore", "--polyvore-split", "disjoint", "--attribute-words", "words.txt"]
    small = ["--backbone", "resnet18", "--weights", "random", "--num-trials=2", "--max-epochs=2", "--scheduler", "none"]
    words = flags(output, *asked, *small, "--executor=serial", data=data)
    with chdir(folder):
        finished = run_here(*words)
    results = StudyPaths(output / "polyvore")
    return {"data": data, "words": words, "results": results, "finished": finished, "folder": folder}


@pytest.fixture(scope="module")
def final(outfits: dict[str, Any], run_here: Any, cache_dir: Path) -> dict[str, Any]:
    best = outfits["results"].dataset("polyvore").best_config
    shared = ("--data-root", outfits["data"], "--cache-dir", cache_dir, "--seeds", 2, "--jobs", 1)
    with chdir(outfits["folder"]):
        Path("words.txt").rename("moved.txt")
        lost = run_here(best, *shared, command=final_command)
        finished = run_here(best, *shared, "--attribute-words", "moved.txt", command=final_command)
    return {"lost": lost, "finished": finished, "folder": best.parent / "final", "shared": shared}


def test_study_says_how_its_data_were_read(outfits: dict[str, Any]) -> None:
    finished, results = outfits["finished"], outfits["results"]
    assert (finished.code, finished.err) == (0, "")
    best = json.loads(results.dataset("polyvore").best_config.read_text())
    assert best["metric"]["name"] == "score"
    assert best["data"]["options"] == {
        "polyvore_split": "disjoint",
        "attribute_words": str(outfits["folder"] / "words.txt"),
    }
    assert json.loads(results.study.read_text())["signed"]["datasets"]["polyvore"]["polyvore_split"] == "disjoint"
    configs = [json.loads(file.read_text()) for file in results.dataset("polyvore").trials.glob("*/config.json")]
    assert "graph" in json.dumps(configs)


def test_examples_are_pairs_of_items_and_questions(outfits: dict[str, Any]) -> None:
    content = json.loads(outfits["results"].dataset("polyvore").examples.read_text(encoding="utf-8"))
    assert {pair["title"].split(" an outfit")[0] for pair in content["pairs"]} >= {"share"}
    assert content["questions"]
    for question in content["questions"]:
        (answer,) = [candidate for candidate in question["candidates"] if candidate["is_answer"]]
        (chosen,) = [candidate for candidate in question["candidates"] if candidate["is_chosen"]]
        assert (answer == chosen) == (question["group"] == "right")
        assert chosen["score"] == max(candidate["score"] for candidate in question["candidates"])
        files = [image["file"] for image in question["outfit"]]
        assert answer["image"]["file"] not in files


def test_study_of_the_other_split_is_another(outfits: dict[str, Any], run_here: Any) -> None:
    words = ["nondisjoint" if word == "disjoint" else word for word in outfits["words"]]
    with chdir(outfits["folder"]):
        refused = run_here(*words, "--resume")
    assert refused.code == 2
    assert 'datasets.polyvore.polyvore_split was "disjoint", now "nondisjoint"' in refused.err


def test_final_asks_for_words_that_were_moved(final: dict[str, Any]) -> None:
    assert final["lost"].code == 2
    assert "which is not there; give the study's list by --attribute-words FILE." in final["lost"].err


def test_final_answers_both_forms_of_questions(final: dict[str, Any]) -> None:
    assert (final["finished"].code, final["finished"].err) == (0, "")
    metrics = json.loads((final["folder"] / "metrics.json").read_text())
    names = ["score", "fitb_accuracy", "compat_auc", "original_fitb_accuracy", "original_compat_auc"]
    assert list(metrics["metrics"]) == names
    assert {"nearest_class_mean", "paper_setting"} <= metrics["baselines"].keys() <= set(BASELINES)
    for entries in metrics["baselines"].values():
        assert list(entries) == names
    paper = metrics["paper_setting"]
    assert paper["config"]["encoder"] == "graph"
    assert paper["epochs"] <= paper["chosen_of_epochs"] <= paper["paper_epochs"] == 4000
    assert metrics["questions"]["original_fitb_accuracy"] == NUM_OUTFITS["test"]


def test_final_with_other_words_is_refused(
    final: dict[str, Any], outfits: dict[str, Any], run_here: Any, tmp_path: Path
) -> None:
    other = tmp_path / "other.txt"
    other.write_text("red\ngreen\n")
    best = outfits["results"].dataset("polyvore").best_config
    words = (best, *final["shared"], "--attribute-words", other, "--output", tmp_path / "final")
    refused = run_here(*words, command=final_command)
    assert refused.code == 2
    assert f"with the words of {other} have sha256:" in refused.err
    assert "give the --data-root and the --attribute-words of the study." in refused.err
