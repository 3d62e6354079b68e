"""Which question files are read, and that their tokens become numbers of items."""

import json
from pathlib import Path
from typing import Any

import pytest

from pan_model.data.polyvore.official_questions import read_compat, read_fitb, read_question_files
from pan_model.data.polyvore.outfit_lists import KnownTokens, ListedOutfit, list_item_ids
from pan_model.data.polyvore.questions import CompatQuestion, FitbQuestion, QuestionFiles, QuestionSource
from pan_model.data.splits import Split
from pan_model.errors import UserError

KNOWN = KnownTokens(Path("nondisjoint/valid.json"), {"a_b_1": "x", "a_b_2": "y", "a_b_3": "z", "c_1": "u", "c_2": "y"})
NUMBERS = {"x": 0, "y": 1, "z": 2, "u": 3}
RIGHT_LAST = {"question": ["a_b_1", "a_b_2"], "answers": ["c_1", "c_2", "a_b_3"], "blank_position": 3}
ORIGINAL, HARDER = QuestionSource.ORIGINAL, QuestionSource.HARDER


def write(folder: Path, content: Any) -> Path:
    path = folder / "fill_in_blank_valid.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_tokens_become_numbers_of_items(tmp_path: Path) -> None:
    path = write(tmp_path, [RIGHT_LAST, {"question": ["c_1"], "answers": ["c_2", "c_2", "a_b_1"]}])
    assert read_fitb(path, KNOWN, NUMBERS) == (FitbQuestion((0, 1), (3, 1, 2), 2), FitbQuestion((3,), (1, 1, 0), 0))
    path = tmp_path / "compatibility_valid.txt"
    path.write_text("1 a_b_1 a_b_2\n0 c_2 a_b_2 c_2\n", encoding="utf-8")
    assert read_compat(path, KNOWN, NUMBERS) == (CompatQuestion((0, 1), True), CompatQuestion((1, 1, 1), False))


def test_reads_the_files_of_the_splits_that_have_tokens(tmp_path: Path) -> None:
    write(tmp_path, [RIGHT_LAST])
    (tmp_path / "compatibility_valid.txt").write_text("1 c_1 c_2\n")
    (tmp_path / "fashion_compatibility_harder_val.txt").write_text("0 c_1 a_b_1\n")
    (tmp_path / "compatibility_test.txt").write_text("nobody reads this\n")
    files = read_question_files(tmp_path, {Split.VAL: KNOWN}, NUMBERS)
    assert files.count() == {
        "original fitb val": 1,
        "original compatibility val": 1,
        "harder compatibility val": 1,
    }
    assert files.compat[HARDER, Split.VAL] == (CompatQuestion((3, 0), False),)


def test_refuses_to_go_without_an_original_file(tmp_path: Path) -> None:
    write(tmp_path, [RIGHT_LAST])
    with pytest.raises(UserError, match=r"compatibility_valid\.txt: cannot be read"):
        read_question_files(tmp_path, {Split.VAL: KNOWN}, NUMBERS)


@pytest.mark.real
def test_reads_real_questions_with_their_defects(
    real_data: Path, real_outfits: tuple[ListedOutfit, ...], real_tokens: KnownTokens
) -> None:
    folder = real_data / "polyvore_real" / "nondisjoint"
    numbers = {item_id: number for number, item_id in enumerate(list_item_ids(real_outfits))}
    files = QuestionFiles(
        fitb={(HARDER, Split.VAL): read_fitb(folder / "fill_in_blank_valid_harder_new.json", real_tokens, numbers)},
        compat={
            (ORIGINAL, Split.VAL): read_compat(folder / "compatibility_valid.txt", real_tokens, numbers),
            (HARDER, Split.VAL): read_compat(folder / "fashion_compatibility_harder_val.txt", real_tokens, numbers),
        },
    )
    assert files.count() == {
        "harder fitb val": 5000,
        "original compatibility val": 10000,
        "harder compatibility val": 10000,
    }
    assert files.defects() == {
        "harder fitb val: a distractor is in the question": 3,
        "harder fitb val: the right answer is in the question": 2,
        "harder fitb val: an item is twice among the answers": 17,
        "harder fitb val: an item is twice in the question": 2,
        "original compatibility val: an item is twice in the question": 3,
        "harder compatibility val: an item is twice in the question": 5,
    }
    for key, questions in files.compat.items():
        assert sum(question.compatible for question in questions) == 5000, key
    assert {question.right for question in files.fitb[HARDER, Split.VAL]} == {0}, "the first candidate is right"
    questions = files.compat[HARDER, Split.VAL]
    real = {frozenset(question.items) for question in questions if question.compatible}
    copies = sum(frozenset(question.items) in real for question in questions if not question.compatible)
    assert copies >= 2079, "wrong outfits that copy real ones"
