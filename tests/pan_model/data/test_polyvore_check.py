"""What the check finds in questions drawn by hand, and in the files that the authors ship."""

import itertools
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pan_model.data.polyvore.outfit_lists import KnownTokens, ListedOutfit
from pan_model.data.polyvore.tokens import read_blanks, read_compatibilities
from pan_model.data.polyvore_check import (
    check_blanks,
    check_compatibilities,
    count_compatibilities,
    main,
    pair_negatives,
)

OUTFITS = {"7": ["a", "b", "c"], "8": ["a", "d", "e"], "9": ["f", "g", "g"]}
"""The item ids of each outfit: 7_1 and 8_1 are the same product, and so are 9_2 and 9_3."""


@pytest.fixture
def outfits_file(tmp_path: Path) -> Path:
    path = tmp_path / "valid.json"
    outfits = [
        {"items": [{"item_id": item, "index": index} for index, item in enumerate(items, start=1)], "set_id": set_id}
        for set_id, items in OUTFITS.items()
    ]
    path.write_text(json.dumps(outfits), encoding="utf-8")
    return path


def test_tells_copies_by_tokens_and_by_items(
    tmp_path: Path, outfits_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["1 7_1 7_2 7_3", "1 8_1 8_2 8_3", "1 9_1 9_2 9_3", "1 7_1 8_2 9_1"]
    lines += ["0 7_3 7_2 7_1", "0 7_1 8_3 8_2", "0 9_1 9_2 7_1", "0 7_1 7_2 7_3"]
    (tmp_path / "questions.txt").write_text("\n".join(lines), encoding="utf-8")
    assert main([str(tmp_path / "questions.txt"), "--outfits", str(outfits_file)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "4 positives, 4 negatives, each compared with the positive at the same position",
        "outfits with a repeated item: 0 by tokens, 1 by items",
        "negatives equal to their positive: 1 by tokens, 2 by items",
        "negatives equal to any outfit of the split: 2 by tokens, 3 by items",
        "how many tokens a negative changes: 0 (once), 1 (twice), 2 (once)",
        "how many items a negative changes: 0 (twice), 1 (once), 2 (once)",
        "AUC of a scorer that has memorised every real outfit, 1 - f/2: 0.875 by tokens, 0.750 by items",
        "highest AUC of a scorer that ignores order, 1 - f^2/2: 0.969 by tokens, 0.875 by items",
    ]


def test_pairs_negatives_by_what_they_share_where_the_order_does_not_tell(
    tmp_path: Path, outfits_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["0 8_2 8_3", "0 9_3 9_2 7_2", "1 7_1 7_2 7_3", "1 8_1 8_2 8_3", "0 9_1 9_1"]
    (tmp_path / "questions.txt").write_text("\n".join(lines), encoding="utf-8")
    assert main([str(tmp_path / "questions.txt"), "--outfits", str(outfits_file)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "2 positives, 3 negatives, each compared with the positive that shares the most items"
    assert "negatives that share no item with any positive: 1" in printed
    assert "how many items a negative changes: 1 (once), 2 (once)" in printed


def test_finds_what_is_amiss_in_blanks(tmp_path: Path, outfits_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    questions = [
        {"question": ["7_1", "7_2"], "answers": ["7_3", "8_2", "8_2", "9_1"], "blank_position": 3},
        {"question": ["7_2", "7_3"], "answers": ["7_1", "8_1", "8_2", "9_1"], "blank_position": 1},
        {"question": ["9_1", "9_2"], "answers": ["9_3", "8_1", "8_2", "7_2"], "blank_position": 3},
        {"question": ["9_2", "9_3"], "answers": ["9_1", "8_1", "9_2"], "blank_position": 1},
        {"question": ["8_1", "8_3"], "answers": ["8_2", "7_1", "7_2", "7_3"], "blank_position": 2},
    ]
    (tmp_path / "questions.json").write_text(json.dumps(questions), encoding="utf-8")
    assert main([str(tmp_path / "questions.json"), "--outfits", str(outfits_file)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "5 questions",
        "how many candidates a question has: 3 (once), 4 (4 times)",
        "questions with a candidate twice: 1 by tokens, 2 by items",
        "with a wrong candidate of the same outfit: 1 by tokens, 3 by items",
        "with a candidate that the question holds already: 1 by tokens, 3 by items",
        "with the right candidate in the question already: 0 by tokens, 1 by items",
        "with a repeated item in the question itself: 0 by tokens, 1 by items",
    ]


NAMES = st.sampled_from("abcd")
FLOCKS = st.lists(st.lists(NAMES, min_size=1, max_size=4).map(tuple), min_size=1, max_size=5)


@given(FLOCKS, FLOCKS)
def test_changes_are_the_fewest_that_lead_there(
    positives: list[tuple[str, ...]], negatives: list[tuple[str, ...]]
) -> None:
    sources, by_order = pair_negatives(positives, negatives)
    assert by_order == (list(map(len, positives)) == list(map(len, negatives)))
    counts = count_compatibilities(positives, negatives, sources, positives)
    expected = Counter[int]()
    for negative, source in zip(negatives, sources, strict=True):
        if source is None:
            assert not any(set(negative) & set(positive) for positive in positives)
            continue
        if not by_order:
            shared = [len(set(negative) & set(positive)) for positive in positives]
            assert source == int(np.argmax(shared))
        ways = itertools.permutations((*negative, *"...."), len(positives[source]))
        kept = max(sum(map(str.__eq__, way, positives[source])) for way in ways)
        expected[max(len(negative), len(positives[source])) - kept] += 1
    assert counts.changed == expected
    assert counts.unrelated + expected.total() == counts.num_negatives
    assert counts.real == sum(any(set(negative) == set(other) for other in positives) for negative in negatives)


@given(st.integers(1, 6), st.data())
def test_ceilings_are_the_auc_of_the_best_judges(num_pairs: int, data: st.DataObject) -> None:
    """Positives are their own numbers; a copy has its positive's number, another negative one of its own."""
    copied = data.draw(st.lists(st.booleans(), min_size=num_pairs, max_size=num_pairs))
    positives = [(str(number),) for number in range(num_pairs)]
    negatives = [(str(number if copy else num_pairs + number),) for number, copy in enumerate(copied)]
    counts = count_compatibilities(positives, negatives, list(range(num_pairs)), positives)

    def auc(score: dict[str, float]) -> float:
        pairs = itertools.product(positives, negatives)
        return float(np.mean([(np.sign(score[p] - score[n]) + 1) / 2 for (p,), (n,) in pairs]))

    names = {name for (name,) in positives + negatives}
    memory = {name: float((name,) in positives) for name in names}
    assert counts.ceiling_of_memory == pytest.approx(auc(memory))
    blind = {name: memory[name] + float((name,) not in negatives) for name in names}
    assert counts.ceiling_without_order == pytest.approx(auc(blind))
    guess = dict(zip(sorted(names), data.draw(st.permutations(range(len(names)))), strict=True))
    assert auc(guess) <= counts.ceiling_without_order + 1e-9


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["questions.csv", "--outfits", "valid.json"],
            "questions.csv: expected a compatibility .txt or a fill-in-the-",
        ),
        (["questions.txt"], "the following arguments are required: --outfits; --help shows every flag."),
        (["questions.txt", "--outfits", "none.json"], "none.json: cannot be read (No such file or directory)."),
        (["questions.txt", "--outfits", "valid.json"], 'questions.txt line 1: expected tokens "<set_id>_<index>" of'),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path,
    outfits_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("questions.txt").write_text("1 7_1 7_4\n", encoding="utf-8")
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"error: {said}")
    assert printed.err.count("\n") == 1


@pytest.mark.real
def test_finds_the_copies_in_the_real_harder_file(
    real_data: Path, real_outfits: tuple[ListedOutfit, ...], real_tokens: KnownTokens
) -> None:
    path = real_data / "polyvore_real" / "nondisjoint" / "fashion_compatibility_harder_val.txt"
    questions = read_compatibilities(path, real_tokens)
    tokens, items, by_order = check_compatibilities(questions, real_outfits)
    assert by_order
    assert (tokens.num_negatives, len(questions)) == (5000, 10000)
    assert (tokens.copies, items.copies) == (1624, 2079)
    assert (tokens.real, items.real) == (1624, 2079)
    ceilings = [
        round(ceiling, 3)
        for counts in (tokens, items)
        for ceiling in (counts.ceiling_of_memory, counts.ceiling_without_order)
    ]
    assert ceilings == [0.838, 0.947, 0.792, 0.914]
    assert max(tokens.changed) == 9
    assert tokens.changed.total() == items.changed.total() == 5000


@pytest.mark.real
def test_finds_no_copy_in_the_real_original_file(
    real_data: Path, real_outfits: tuple[ListedOutfit, ...], real_tokens: KnownTokens
) -> None:
    path = real_data / "polyvore_real" / "nondisjoint" / "compatibility_valid.txt"
    questions = read_compatibilities(path, real_tokens)
    tokens, items, by_order = check_compatibilities(questions, real_outfits)
    assert by_order
    assert (tokens.copies, items.copies, tokens.ceiling_of_memory) == (0, 0, 1)


@pytest.mark.real
def test_finds_what_is_amiss_in_the_real_harder_blanks(
    real_data: Path, real_outfits: tuple[ListedOutfit, ...], real_tokens: KnownTokens
) -> None:
    path = real_data / "polyvore_real" / "nondisjoint" / "fill_in_blank_valid_harder_new.json"
    tokens, items = check_blanks(read_blanks(path, real_tokens), real_outfits)
    assert (tokens.repeats, items.repeats) == (16, 17)
    assert (tokens.same_outfit, items.same_outfit) == (4, 5)
    assert (tokens.asked, items.asked) == (4, 5)
    assert (tokens.answer_asked, items.answer_asked) == (1, 2)


def test_runs_as_a_module(tmp_path: Path, outfits_file: Path) -> None:
    (tmp_path / "questions.txt").write_text("1 7_1 7_2\n0 7_1 9_1\n", encoding="utf-8")
    words = [sys.executable, "-m", "pan_model.data.polyvore_check", str(tmp_path / "questions.txt"), "--outfits"]
    done = subprocess.run([*words, str(outfits_file)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("1 positive, 1 negative, ")
    failed = subprocess.run([*words, str(tmp_path / "none.json")], capture_output=True, text=True, check=False)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert failed.stderr == f"error: {tmp_path}/none.json: cannot be read (No such file or directory).\n"
