"""Attributes from words: the words of a list that occur in the texts of an item (PAN on Polyvore: 205 and "none").

`split_words` splits texts and words of the list alike, into lower-case runs of letters and digits. A word occurs in a
text if its runs are consecutive runs of the text: "washed-out" occurs in "Washed out" and "washed_out" but not in
"washedout", and "ink" does not occur in "pink".
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pan_model.data.source_files import bad_line, read_lines
from pan_model.errors import UserError
from pan_model.shapes import Bool

NO_WORD = "none"
"""The name of the last attribute, for items in which no word of the list occurs."""

NUM_MINED = 205
"""Number of words in the list of PAN."""

MOST_ITEMS = 0.5
"""Words that occur in a larger fraction of the items are not mined."""

_STOP_WORDS = """
    about above after again all also am an and any are as at be because been before being below between both but by
    can cannot could did do does doing down during each few for from further had has have having he her here hers
    him his how if in into is it its itself just may me more most must my no none nor not now of off on once only or
    other our ours out over own per same she should so some such than that the their theirs them then there these
    they this those through to too under until up us very via was we were what when where which while who whom why
    will with would you your yours
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""English words that do not describe a product, and "none", the name of the last attribute."""

ItemText = tuple[str, ...]
"""The texts of an item: title, url_name and description. Words do not extend across texts."""

_RUN = re.compile(r"[^\W_]+")
_Phrases = dict[str, list[tuple[list[str], int]]]  # first run of a word -> (all its runs, its column)


def split_words(text: str) -> list[str]:
    """Split a text into lower-case runs of letters and digits. All other characters separate runs.

    >>> split_words("Washed-Out rib_knit T-shirt, 90's")
    ['washed', 'out', 'rib', 'knit', 't', 'shirt', '90', 's']
    """
    return _RUN.findall(unicodedata.normalize("NFKC", text).casefold())


def read_words(path: Path) -> tuple[str, ...]:
    """Read a list of words, one a line, and keep their order. Blank lines are ignored.

    Raises:
        UserError: The list is empty, a line has no letter or digit, a word repeats (after `split_words`) or is "none".
    """
    words: list[str] = []
    seen: dict[tuple[str, ...], int] = {}
    for line, text in read_lines(path):
        runs = tuple(split_words(text))
        if not runs or runs == (NO_WORD,):
            raise bad_line(path, line, f"a word other than {NO_WORD!r}, with a letter or digit", text)
        if seen.setdefault(runs, line) != line:
            raise UserError(f"{path} line {line}: expected words that differ, got {text!r} as on line {seen[runs]}.")
        words.append(text)
    if not words:
        raise UserError(f"{path}: expected attribute words, one a line, got an empty file.")
    return tuple(words)


def mine_words(texts: Sequence[ItemText], num_words: int = NUM_MINED) -> tuple[str, ...]:
    """Return the words that occur in the most items, sorted by frequency, then alphabetically.

    A word counts once for each item. Stop words, numbers, single letters and words of more than half of the items are
    excluded. The result may have fewer than num_words words.

    >>> mine_words([("red dress", "red silk"), ("Dress in red",), ("blue coat", ""), ("blue hat",), ("mens hat",)], 3)
    ('blue', 'dress', 'hat')
    """
    if num_words < 1:
        raise UserError(f"num_words must be at least 1, got {num_words}.")
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update({word for field in text for word in split_words(field)})
    words = [word for word, count in counts.items() if _is_descriptive(word) and count <= MOST_ITEMS * len(texts)]
    return tuple(sorted(words, key=lambda word: (-counts[word], word))[:num_words])


def label_words(texts: Sequence[ItemText], words: tuple[str, ...], *, place: str = "words") -> Bool[np.ndarray, "N A"]:
    """Return which words occur in the texts of each item. The last of the A = len(words) + 1 columns means none.

    Args:
        texts: The texts of N items.
        words: The words.
        place: Where the words are from, for the error message.

    Raises:
        UserError: No word occurs in any item.

    >>> label_words([("Washed-out denim", ""), ("pink", "no ink")], ("washed out", "ink")).tolist()
    [[True, False, False], [False, True, False]]
    """
    phrases = _index_phrases(words)
    labels = np.zeros((len(texts), len(words) + 1), dtype=bool)
    for item, text in enumerate(texts):
        labels[item, [column for field in text for column in _find_phrases(split_words(field), phrases)]] = True
    if words and not labels.any():
        raise UserError(
            f"{place}: expected an attribute word in some item's title, url_name or description, got {len(words)} "
            f"words from {words[0]!r} to {words[-1]!r} that none of the {len(texts)} items has; choose another list."
        )
    labels[:, -1] = ~labels.any(axis=1)
    return labels


def name_attributes(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the columns of `label_words`: the words, then "none"."""
    return (*words, NO_WORD)


def _is_descriptive(word: str) -> bool:
    return len(word) > 1 and word not in STOP_WORDS and any(map(str.isalpha, word))


def _index_phrases(words: tuple[str, ...]) -> _Phrases:
    phrases: _Phrases = {}
    for column, word in enumerate(words):
        runs = split_words(word)
        if runs:
            phrases.setdefault(runs[0], []).append((runs, column))
    return phrases


def _find_phrases(runs: list[str], phrases: _Phrases) -> Iterator[int]:
    """Yield the columns of the words that occur in a text, given as runs."""
    for start, run in enumerate(runs):
        for phrase, column in phrases.get(run, ()):
            if runs[start : start + len(phrase)] == phrase:
                yield column
