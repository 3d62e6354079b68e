"""The resampling command: files in the official form that the check finds nothing in, all of them or none."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pan_model.data import polyvore_resample
from pan_model.data.polyvore.outfit_lists import (
    ListedOutfit,
    items_by_token,
    list_item_ids,
    list_tokens,
    number_outfits,
    read_outfits,
)
from pan_model.data.polyvore.question_drawing import draw_questions
from pan_model.data.polyvore.reader import number_categories
from pan_model.data.polyvore.tokens import read_blanks, read_compatibilities
from pan_model.data.polyvore_check import check_blanks, check_compatibilities
from pan_model.data.polyvore_resample import main
from pan_model.data.splits import Split

NAMES = {
    f"{kind}_{split}_resampled.{suffix}"
    for kind, suffix in (("fill_in_blank", "json"), ("compatibility", "txt"))
    for split in ("valid", "test")
}
STEMS = {Split.TRAIN: "train", Split.VAL: "valid", Split.TEST: "test"}
METADATA = "polyvore_item_metadata.json"
CATEGORY_IDS = ("11", "17", "240", "4495")


def write_outfits(path: Path, first_id: int, outfits: Iterable[Iterable[int]]) -> None:
    entries = [
        {
            "items": [{"item_id": str(item), "index": index} for index, item in enumerate(items, start=1)],
            "set_id": str(s),
        }
        for s, items in enumerate(outfits, start=first_id)
    ]
    path.write_text(json.dumps(entries, indent=4), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """60 outfits of 2 to 5 items in three splits, which share items, as in the nondisjoint version."""
    generator = np.random.default_rng(0)
    folder = tmp_path / "polyvore_outfits"
    (folder / "nondisjoint").mkdir(parents=True)
    for first_id, split in ((100, "train"), (200, "valid"), (300, "test")):
        outfits = [generator.choice(80, generator.integers(2, 6), replace=False).tolist() for _ in range(20)]
        write_outfits(folder / "nondisjoint" / f"{split}.json", first_id, outfits)
    metadata = {str(item): {"title": "", "category_id": CATEGORY_IDS[item % 4]} for item in range(80)}
    (folder / METADATA).write_text(json.dumps(metadata), encoding="utf-8")
    return folder


def assert_nothing_amiss(outfits_file: Path, output: Path) -> None:
    outfits, split = read_outfits(outfits_file), outfits_file.stem
    known = list_tokens(outfits_file, outfits)
    blanks = read_blanks(output / f"fill_in_blank_{split}_resampled.json", known)
    for counts in check_blanks(blanks, outfits):
        assert set(vars(counts).values()) == {0}
    questions = read_compatibilities(output / f"compatibility_{split}_resampled.txt", known)
    tokens, items, by_order = check_compatibilities(questions, outfits)
    assert by_order
    assert tokens.changed == items.changed
    assert (items.copies, items.real, items.repeats, items.ceiling_of_memory) == (0, 0, 0, 1)
    assert items.num_negatives * 2 == len(questions) > 0


@pytest.mark.parametrize("version", ["nondisjoint", "disjoint"])
def test_writes_questions_without_fault(folder: Path, capsys: pytest.CaptureFixture[str], version: str) -> None:
    (folder / "nondisjoint").rename(folder / version)
    words = [] if version == "nondisjoint" else ["--version", version]
    assert main([str(folder), *words]) == 0
    assert {path.name for path in (folder / version).iterdir()} == NAMES | {"train.json", "valid.json", "test.json"}
    for split in ("valid", "test"):
        assert_nothing_amiss(folder / version / f"{split}.json", folder / version)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith(f"{folder}/{version}/fill_in_blank_valid_resampled.json: 20 questions, ")
    assert lines[3].startswith(f"{folder}/{version}/compatibility_test_resampled.txt: 20 positives, 20 negatives; ")


def test_files_have_the_official_form(folder: Path, tmp_path: Path) -> None:
    assert main([str(folder), "--output", str(tmp_path / "new"), "--candidates", "3"]) == 0
    outfits = read_outfits(folder / "nondisjoint" / "valid.json")
    category_of = {item: int(item) % 4 for outfit in outfits for item in outfit.item_ids}
    item_of = items_by_token(outfits)
    questions = json.loads((tmp_path / "new" / "fill_in_blank_valid_resampled.json").read_text(encoding="utf-8"))
    for outfit, question in zip(outfits, questions, strict=True):
        assert list(question) == ["question", "answers", "blank_position"]
        right = outfit.tokens[question["blank_position"] - 1]
        assert question["question"] == [token for token in outfit.tokens if token != right]
        assert question["answers"][0] == right  # what reads the first as right and what goes by set_id agree
        assert not any(token.startswith(outfit.set_id) for token in question["answers"][1:])
        assert len({category_of[item_of[token]] for token in question["answers"]}) == 1
    lines = (tmp_path / "new" / "compatibility_valid_resampled.txt").read_text(encoding="utf-8").splitlines()
    assert lines[:20] == [" ".join(("1", *outfit.tokens)) for outfit in outfits]
    for outfit, line in zip(outfits, lines[20:], strict=True):
        flag, *tokens = line.split(" ")
        assert flag == "0"
        changed = [(old, new) for old, new in zip(outfit.tokens, tokens, strict=True) if old != new]
        assert len({category_of[item_of[token]] for pair in changed for token in pair}) == 1


def test_the_seed_says_what_is_drawn(folder: Path, tmp_path: Path) -> None:
    for name, words in {"a": [], "b": ["--seed", "0"], "c": ["--seed", "1"]}.items():
        assert main([str(folder), "--output", str(tmp_path / name), *words]) == 0
    for name in NAMES:
        first, again, other = ((tmp_path / run / name).read_bytes() for run in "abc")
        assert first == again != other


def test_a_study_of_the_same_seed_asks_the_same(folder: Path) -> None:
    listed = {split: read_outfits(folder / "nondisjoint" / f"{name}.json") for split, name in STEMS.items()}
    item_ids = list_item_ids(outfit for outfits in listed.values() for outfit in outfits)
    metadata = json.loads((folder / METADATA).read_text(encoding="utf-8"))
    category_ids = {item_id: metadata[item_id]["category_id"] for item_id in item_ids}
    numbers = {item_id: number for number, item_id in enumerate(item_ids)}
    categories, _ = number_categories(tuple(category_ids.values()))
    outfits = {split: number_outfits(of_split, numbers)[0] for split, of_split in listed.items()}
    for split in (Split.VAL, Split.TEST):
        blanks, compatibilities = draw_questions(outfits, categories, split=split, seed=3)
        written = polyvore_resample.resample(listed, category_ids, split=split, seed=3)
        assert written.blanks.listed() == blanks.listed()
        assert written.compatibilities.listed() == compatibilities.listed()


def test_no_negative_is_an_outfit_of_another_split(folder: Path, tmp_path: Path) -> None:
    """Of two shirts and two skirts four outfits can be made, of which three are real, in some split."""
    write_outfits(folder / "nondisjoint" / "valid.json", 20, [(0, 1), (4, 5)])
    for name, other in {"train": (1, 4), "test": (5, 0)}.items():
        renewed = folder / "nondisjoint" / f"{name}.json"
        before = renewed.read_bytes()
        write_outfits(renewed, 1, [other, (2, 3), (6, 7)])
        assert main([str(folder), "--output", str(tmp_path / name)]) == 0
        renewed.write_bytes(before)
    lines = {
        name: (tmp_path / name / "compatibility_valid_resampled.txt").read_text().split("\n")
        for name in ("train", "test")
    }
    assert lines["train"] == ["1 20_1 20_2", "1 21_1 21_2", "0 20_1 21_2", "0 20_1 21_2", ""]
    assert lines["test"] == ["1 20_1 20_2", "1 21_1 21_2", "0 21_1 20_2", "0 21_1 20_2", ""]


def test_counts_outfits_without_questions(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_outfits(folder / "nondisjoint" / "test.json", 30, [(4, 9), (8, 13), (2, 3)])
    assert main([str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].endswith(
        "test_resampled.json: 2 questions, 2 of them with fewer than 10 candidates; 1 outfit without a question"
    )
    assert lines[3].endswith("test_resampled.txt: 2 positives, 2 negatives; 1 outfit given up")


@pytest.mark.parametrize(
    ("outfits", "kind"), [([(4, 9), (2, 3)], "fill-in-the-blank"), ([(4, 9), (8, 9)], "compatibility")]
)
def test_a_split_that_allows_no_questions_is_an_error(
    folder: Path, capsys: pytest.CaptureFixture[str], outfits: list[tuple[int, ...]], kind: str
) -> None:
    path = folder / "nondisjoint" / "test.json"
    write_outfits(path, 30, outfits)
    assert main([str(folder)]) == 2
    assert capsys.readouterr().err == (
        f"error: {path}: expected outfits that allow {kind} questions, got {len(outfits)} that allow none.\n"
    )
    assert not {path.name for path in path.parent.iterdir()} & NAMES


def test_an_existing_file_is_an_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    existing = folder / "nondisjoint" / "compatibility_test_resampled.txt"
    existing.write_text("mine", encoding="utf-8")
    assert main([str(folder)]) == 2
    assert capsys.readouterr().err == (f"error: {existing}: already exists; move it away or give another --output.\n")
    assert existing.read_text(encoding="utf-8") == "mine"
    assert {path.name for path in existing.parent.iterdir()} & NAMES == {existing.name}


def spoil(folder: Path, name: str, content: Any) -> None:
    path = folder / name
    path.unlink() if content is None else path.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (METADATA, None, f"{METADATA}: cannot be read (No such file or directory)."),
        (METADATA, [], f'{METADATA}: expected an object {{"<item_id>": {{"category_id", '),
        (METADATA, {}, f"{METADATA}: no metadata of item "),
        ("nondisjoint/train.json", None, "nondisjoint/train.json: cannot be read (No such file or directory)."),
        ("nondisjoint/test.json", [], "nondisjoint/test.json: expected a list of outfits "),
    ],
)
def test_bad_data_is_one_line_and_nothing_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, content: Any, said: str
) -> None:
    spoil(folder, name, content)
    assert main([str(folder)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"error: {folder}/{said}")
    assert printed.err.count("\n") == 1
    assert not {path.name for path in (folder / "nondisjoint").iterdir()} & NAMES


@pytest.mark.parametrize("category", [None, "", True, 1.5, ["11"]])
def test_refuses_an_item_without_category(folder: Path, capsys: pytest.CaptureFixture[str], category: Any) -> None:
    write_outfits(folder / "nondisjoint" / "train.json", 1, [(0, 200)])
    metadata = json.loads((folder / METADATA).read_text(encoding="utf-8"))
    spoil(folder, METADATA, metadata | {"200": {"category_id": category}})
    assert main([str(folder)]) == 2
    assert f"{METADATA} item '200': expected category_id to be a string that is not " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--candidates", "1"], "--candidates must be at least 2, got 1."),
        (
            ["--seed", "-1"],
            "argument --seed: expected a non-negative integer, got '-1'; --help shows every flag.",
        ),
        (["--version", "joint"], "argument --version: invalid choice: 'joint' (choose from "),
        (
            ["--version", "disjoint"],
            f"disjoint: no such folder; DIR must hold {METADATA} and the folder of the --version.",
        ),
    ],
)
def test_bad_usage_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    monkeypatch.chdir(folder)
    assert main([".", *words]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"error: {said}")
    assert printed.err.count("\n") == 1


def test_shows_defaults_in_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "default: nondisjoint" in capsys.readouterr().out


@pytest.mark.real
def test_freshly_resampled_questions_have_no_fault(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "polyvore_outfits"
    assert main([str(folder), "--output", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == NAMES
    for split in ("valid", "test"):
        assert_nothing_amiss(folder / "nondisjoint" / f"{split}.json", tmp_path)


@pytest.mark.real
def test_draws_for_the_real_valid_outfits(real_outfits: tuple[ListedOutfit, ...]) -> None:
    """Without metadata every item has one of 100 categories; three real outfits hold an item twice."""
    outfits = real_outfits[::2]
    category_of = {item: str(int(item) % 100) for outfit in outfits for item in outfit.item_ids}
    drawn = polyvore_resample.resample({Split.VAL: outfits}, category_of, split=Split.VAL)
    tokens, items, _ = check_compatibilities(drawn.token_compatibilities, outfits)
    assert (tokens.num_negatives, tokens.real, items.real) == (2500, 0, 0)
    for counts in check_blanks(drawn.token_blanks, outfits):
        assert (counts.repeats, counts.same_outfit, counts.asked) == (0, 0, 0)
