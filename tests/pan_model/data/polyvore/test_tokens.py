"""What is read of question files, that it is written back as it was, and what is said of bad files."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pan_model.data.polyvore.outfit_lists import KnownTokens, list_tokens, read_outfits
from pan_model.data.polyvore.tokens import (
    TokenBlank,
    TokenCompatibility,
    format_blanks,
    format_compatibilities,
    read_blanks,
    read_compatibilities,
)
from pan_model.errors import UserError

# outfit a_b has three items, c two, of which one is in a_b too
KNOWN = KnownTokens(Path("nondisjoint/valid.json"), {"a_b_1": "7", "a_b_2": "8", "a_b_3": "9", "c_1": "10", "c_2": "8"})
RIGHT_LAST = {"question": ["a_b_1", "a_b_2"], "answers": ["c_1", "c_2", "a_b_3"], "blank_position": 3}


def write(folder: Path, content: Any) -> Path:
    path = folder / "file"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("answers", "answer"),
    [
        (["c_1", "a_b_3", "c_2"], 1),  # the original form: the one of the question's outfit
        (["a_b_3", "c_1", "c_2"], 0),
        (["a_b_3", "c_1", "a_b_1", "c_2"], 0),  # the harder form: the first, though another is of the outfit too
        (["a_b_2", "a_b_3"], 0),
        (["c_1", "a_b_1", "a_b_3"], 2),  # neither: the one that the question lacks
        (["c_1", "a_b_1"], 1),
    ],
)
def test_finds_the_right_answer(tmp_path: Path, answers: list[str], answer: int) -> None:
    (question,) = read_blanks(write(tmp_path, [RIGHT_LAST | {"answers": answers}]), KNOWN)
    asked = ("a_b_1", "a_b_2")
    assert question == TokenBlank(question=asked, candidates=tuple(answers), answer=answer, blank_position=3)


@pytest.mark.parametrize("position", [None, "3", True, 2.5])
def test_a_blank_position_that_is_no_number_is_none(tmp_path: Path, position: Any) -> None:
    (question,) = read_blanks(write(tmp_path, [RIGHT_LAST | {"blank_position": position}]), KNOWN)
    assert question.blank_position is None


TOKEN = 'tokens "<set_id>_<index>" of outfits in valid.json'


def question(asked: Any, answers: Any) -> list[Any]:
    return [RIGHT_LAST, {"question": asked, "answers": answers}]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, ': expected a list of questions {"question": tokens, "answers": tokens}, got {}.'),
        ([], ': expected a list of questions {"question": tokens, "answers": tokens}, got an empty list.'),
        ([RIGHT_LAST, 3], ' question 2: expected a question {"question": tokens, "answers": tokens}, got 3.'),
        (question("a_b_1", []), " question 2: expected question to be a list of tokens, got 'a_b_1'."),
        (question(["a_b_1"], None), " question 2: expected answers to be a list of tokens, got None."),
        (
            question([], ["a_b_1", "c_1"]),
            " question 2: expected at least 1 token in the question and 2 answers, got 0 and 2.",
        ),
        (
            question(["a_b_1"], ["a_b_2"]),
            " question 2: expected at least 1 token in the question and 2 answers, got 1 and 1.",
        ),
        (question(["a_b_9"], ["a_b_1", "c_1"]), f" question 2: expected {TOKEN}, got 'a_b_9'."),
        (question(["a_b_1"], ["a_b_2", "d_1"]), f" question 2: expected {TOKEN}, got 'd_1'."),
        (question(["a_b_1"], ["a_b_2", ["c_1"]]), f" question 2: expected {TOKEN}, got ['c_1']."),
        (
            question(["a_b_1"], ["c_1", "c_2"]),
            " question 2: expected one answer of the question's outfit 'a_b', got 0.",
        ),
        (
            question(["a_b_1"], ["c_1", "a_b_2", "a_b_3"]),
            " question 2: expected one answer of the question's outfit 'a_b', got 2.",
        ),
        (
            question(["a_b_1", "c_1"], ["a_b_2", "c_2"]),
            " question 2: expected tokens of one outfit in the question, got set_ids a_b, c.",
        ),
    ],
)
def test_refuses_bad_blanks(tmp_path: Path, content: Any, said: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(UserError, match="expected") as caught:
        read_blanks(path, KNOWN)
    assert str(caught.value) == f"{path}{said}"


def test_reads_compatibilities_whatever_the_blanks(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeff1 a_b_1  a_b_2\r\n\r\n0\tc_2 a_b_2 c_2 \n")
    assert read_compatibilities(path, KNOWN) == (
        TokenCompatibility(positive=True, tokens=("a_b_1", "a_b_2")),
        TokenCompatibility(positive=False, tokens=("c_2", "a_b_2", "c_2")),
    )


COMPAT = '"1|0 <token> <token> ..", a token being "<set_id>_<index>"'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("\n", f": expected lines {COMPAT}, got an empty file."),
        ("1 a_b_1 a_b_2\n\n2 a_b_1 a_b_2\n", f" line 3: expected {COMPAT}, got '2 a_b_1 a_b_2'."),
        ("a_b_1 a_b_2\n", f" line 1: expected {COMPAT}, got 'a_b_1 a_b_2'."),
        ("1\n", f" line 1: expected {COMPAT}, got '1'."),
        ("1 a_b_1\n", f" line 1: expected {COMPAT}, got '1 a_b_1'."),
        ("1 a_b_1 a_b\n", f" line 1: expected {TOKEN}, got 'a_b'."),
        (b"1 a_b_1 \xff\n", " line 1: expected UTF-8 text, got '1 a_b_1 \\udcff'."),
    ],
)
def test_refuses_bad_compatibilities(tmp_path: Path, content: str | bytes, said: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(UserError, match="expected") as caught:
        read_compatibilities(path, KNOWN)
    assert str(caught.value) == f"{path}{said}"


def test_refuses_missing_files(tmp_path: Path) -> None:
    path = tmp_path / "none"
    for read in (read_blanks, read_compatibilities):
        with pytest.raises(UserError, match=r"none: cannot be read \(No such file or directory\)\."):
            read(path, KNOWN)


TOKENS = st.lists(st.sampled_from(sorted(KNOWN.item_ids)), min_size=2, max_size=4).map(tuple)


@given(st.lists(st.tuples(st.booleans(), TOKENS), min_size=1))
def test_compatibilities_read_back(
    tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[bool, tuple[str, ...]]]
) -> None:
    questions = tuple(TokenCompatibility(positive=positive, tokens=tokens) for positive, tokens in lines)
    path = write(tmp_path_factory.mktemp("questions"), format_compatibilities(questions))
    assert read_compatibilities(path, KNOWN) == questions


def test_blanks_are_written_in_the_official_form(tmp_path: Path) -> None:
    text = '[{"question": ["a_b_1", "a_b_2"], "answers": ["c_1", "a_b_3"], "blank_position": 3}, '
    text += '{"question": ["c_2"], "answers": ["c_1", "a_b_3", "a_b_2"], "blank_position": 1}]'
    assert format_blanks(read_blanks(write(tmp_path, text), KNOWN)) == text


@pytest.mark.real
def test_real_files_are_written_back_byte_by_byte(real_data: Path, real_tokens: KnownTokens) -> None:
    for folder, names in {
        "polyvore_real": ("fashion_compatibility_harder_val.txt", "fill_in_blank_valid_harder_new.json"),
        "polyvore_outfits": ("compatibility_valid.txt", "fill_in_blank_valid.json"),
    }.items():
        nondisjoint = real_data / folder / "nondisjoint"
        outfits = nondisjoint / "valid.json"
        known = real_tokens if folder == "polyvore_real" else list_tokens(outfits, read_outfits(outfits))
        lines, blanks = nondisjoint / names[0], nondisjoint / names[1]
        assert format_compatibilities(read_compatibilities(lines, known)) == lines.read_text(encoding="utf-8")
        assert format_blanks(read_blanks(blanks, known)) == blanks.read_text(encoding="utf-8")
