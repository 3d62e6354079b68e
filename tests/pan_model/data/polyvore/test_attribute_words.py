"""Which words occur in which texts: by hand, and against a search that pads both sides with blanks."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pan_model.data.polyvore.attribute_words import (
    NUM_MINED,
    STOP_WORDS,
    ItemText,
    label_words,
    mine_words,
    name_attributes,
    read_words,
    split_words,
)
from pan_model.errors import UserError

# few letters and many separators, so that words meet
texts = st.lists(st.tuples(*[st.text("abBé-_ '1", max_size=12)] * 3), min_size=1, max_size=6)
words = st.lists(st.text("abé-_ 1", min_size=1, max_size=4), min_size=1, max_size=6).map(tuple)


def padded(text: str) -> str:
    return " ".join(["", *re.sub(r"[_\W]", " ", text.lower()).split(), ""])


@given(texts=texts, words=words)
def test_labels_are_those_of_a_slow_search(texts: list[ItemText], words: tuple[str, ...]) -> None:
    expected = [
        [bool(padded(word).strip()) and any(padded(word) in padded(part) for part in text) for word in words]
        for text in texts
    ]
    if not np.any(expected):
        with pytest.raises(UserError, match="expected an attribute word in some item's title"):
            label_words(texts, words)
        return
    labels = label_words(texts, words)
    assert labels[:, :-1].tolist() == expected
    assert labels[:, -1].tolist() == [not any(row) for row in expected]


@pytest.mark.parametrize(
    ("text", "word", "found"),
    [
        ("Pink shoes", "ink", False),
        ("PINK shoes", "pink", True),
        ("washed out", "washed-out", True),
        ("Washed_Out", "washed-out", True),
        ("washed-out", "washed out", True),
        ("washed and out", "washed-out", False),
        ("washedout", "washed-out", False),
        ("out washed", "washed-out", False),
        ("long long-sleeve", "long sleeve", True),
        ("blue,red/green", "red", True),
        ("women's coat", "women", True),
        ("the 90s", "90s", True),
        ("décor", "de\u0301cor", True),
        ("STRASSE", "straße", True),
    ],
)
def test_a_word_is_found_as_a_whole(text: str, word: str, found: bool) -> None:
    assert label_words([(text,), ("other",)], (word, "other"))[0].tolist() == [found, False, not found]


def test_no_word_reaches_from_one_text_into_the_next() -> None:
    assert label_words([("dark", "blue", "sky")], ("dark blue", "sky"))[0].tolist() == [False, True, False]


def test_the_last_attribute_says_that_no_word_occurs() -> None:
    labels = label_words([("red", "", ""), ("", "", ""), ("", "red", "blue")], ("red", "blue"))
    assert labels.tolist() == [[True, False, False], [False, False, True], [True, True, False]]
    assert name_attributes(("red", "blue")) == ("red", "blue", "none")


def test_without_words_every_item_has_none() -> None:
    assert label_words([("red",), ("",)], ()).tolist() == [[True], [True]]


def test_refuses_words_that_no_item_has() -> None:
    with pytest.raises(UserError, match=r"got 2 words from 'red' to 'blue' that none of the 1 items has; choose"):
        label_words([("green", "", "")], ("red", "blue"))


@given(texts=texts, num_words=st.integers(1, 5))
def test_mines_what_counting_finds(texts: list[ItemText], num_words: int) -> None:
    has = [{word for part in text for word in padded(part).split()} for text in texts]
    every = {word for words in has for word in words}
    counts = {word: sum(word in words for words in has) for word in every}
    left = {w: c for w, c in counts.items() if len(w) > 1 and not re.fullmatch("1+", w) and c * 2 <= len(texts)}
    left = {w: c for w, c in left.items() if w not in STOP_WORDS}
    expected: list[str] = []
    while left and len(expected) < num_words:
        most = max(left.values())
        expected.append(min(word for word, count in left.items() if count == most))
        del left[expected[-1]]
    assert mine_words(texts, num_words) == tuple(expected)


def test_mined_words_are_those_that_tell() -> None:
    texts = [("the red 100 x dress",), ("the red 100 x coat",), ("The coat, none",), ("Dresses",)]
    assert mine_words(texts) == ("coat", "red", "dress", "dresses")
    assert mine_words(texts, 1) == ("coat",)


def test_there_may_be_nothing_to_mine() -> None:
    assert mine_words([]) == ()
    assert mine_words([("", ""), ("", "a 1")]) == ()


def test_refuses_to_mine_no_word() -> None:
    with pytest.raises(UserError, match="num_words must be at least 1, got 0"):
        mine_words([], 0)


def test_reads_words_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("\ufeffwashed-out\r\n\n  Lace \nblue jeans\n90s", encoding="utf-8")
    assert read_words(tmp_path / "words.txt") == ("washed-out", "Lace", "blue jeans", "90s")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", ": expected attribute words, one a line, got an empty file."),
        ("\n  \n", ": expected attribute words, one a line, got an empty file."),
        ("lace\n--\n", " line 2: expected a word other than 'none', with a letter or digit, got '--'."),
        ("None\n", " line 1: expected a word other than 'none', with a letter or digit, got 'None'."),
        ("lace\n\nred\nLace\n", " line 4: expected words that differ, got 'Lace' as on line 1."),
        ("off-white\noff_white\n", " line 2: expected words that differ, got 'off_white' as on line 1."),
        (b"lace\nbl\xe9\n", " line 2: expected UTF-8 text, got 'bl\\udce9'."),
    ],
)
def test_refuses_a_bad_list(tmp_path: Path, content: str | bytes, said: str) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match="expected") as caught:
        read_words(path)
    assert str(caught.value) == f"{path}{said}"


def test_refuses_a_list_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"words\.txt: cannot be read \(No such file or directory\)"):
        read_words(tmp_path / "words.txt")


@pytest.mark.real
def test_reads_the_words_of_pan(real_data: Path) -> None:
    words = read_words(real_data / "polyvore_real" / "attribute_words.txt")
    assert len(words) == NUM_MINED
    assert Counter(map(len, map(split_words, words))) == {1: 199, 2: 6}
