"""Resampling of fill-in-the-blank and compatibility questions, as in PAN.

The questions published with Polyvore Outfits are either too easy, since every item of a negative is replaced at random,
or have negatives that are copies of real outfits. The questions drawn here replace one category of an outfit.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from typing import NamedTuple

import numpy as np

from pan_model.data.polyvore.outfits import Outfit
from pan_model.data.polyvore.questions import CompatQuestion, FitbQuestion
from pan_model.data.splits import Split
from pan_model.errors import UserError
from pan_model.shapes import Bool, Int

NUM_CANDIDATES = 10
"""Number of candidates of a fill-in-the-blank question in PAN."""

BLANKS_PURPOSE = 4
COMPATIBILITIES_PURPOSE = 5
SAMPLE_PURPOSE = 6
"""Keys that separate the random numbers of different purposes, and those of training, under the same seed."""

_SPLIT_KEY = {Split.TRAIN: 0, Split.VAL: 1, Split.TEST: 2}


@dataclass(frozen=True, kw_only=True, eq=False)
class FillInBlanks:
    """B fill-in-the-blank questions: outfits without one item, and candidates for it.

    Attributes:
        sources: The index of the outfit of each question, shape (B,).
        blanks: The 0-based position of the removed item in that outfit, shape (B,).
        questions: The remaining items.
        candidates: The candidates, one of which is right.
        answers: The position of the right item among the candidates, shape (B,).
        num_candidates: The requested number of candidates.
        num_without_question: Number of outfits without a question, since no item has a wrong candidate.
    """

    sources: Int[np.ndarray, "B"]
    blanks: Int[np.ndarray, "B"]
    questions: tuple[Outfit, ...]
    candidates: tuple[Outfit, ...]
    answers: Int[np.ndarray, "B"]
    num_candidates: int
    num_without_question: int = 0

    def __len__(self) -> int:
        return len(self.questions)

    def listed(self) -> tuple[FitbQuestion, ...]:
        """Return the questions as a tuple."""
        answers: list[int] = self.answers.tolist()
        return tuple(map(FitbQuestion, self.questions, self.candidates, answers))

    @property
    def num_short(self) -> int:
        """Number of questions with fewer candidates than requested, since their category has no more."""
        return sum(len(candidates) < self.num_candidates for candidates in self.candidates)


@dataclass(frozen=True, kw_only=True, eq=False)
class Compatibilities:
    """B outfits, real (positive) or made up (negative).

    Attributes:
        sources: The index of the real outfit of each question, -1 if unknown, shape (B,).
        outfits: The outfits.
        positive: Whether they are real, shape (B,).
        num_given_up: Number of outfits without questions, since no negative can be made from them.
    """

    sources: Int[np.ndarray, "B"]
    outfits: tuple[Outfit, ...]
    positive: Bool[np.ndarray, "B"]
    num_given_up: int = 0

    def __len__(self) -> int:
        return len(self.outfits)

    def listed(self) -> tuple[CompatQuestion, ...]:
        """Return the questions as a tuple."""
        positive: list[bool] = self.positive.tolist()
        return tuple(map(CompatQuestion, self.outfits, positive))


def draw_questions(
    outfits: Mapping[Split, Sequence[Outfit]],
    categories: Int[np.ndarray, "N"],
    *,
    split: Split,
    seed: int,
    num_candidates: int = NUM_CANDIDATES,
    most: int | None = None,
) -> tuple[FillInBlanks, Compatibilities]:
    """Draw the questions of a split.

    Wrong candidates and replacements come from outfits of the same split. No negative is an outfit of any split.

    Args:
        outfits: The outfits of each split.
        categories: The category of each item, shape (N,).
        split: The split.
        seed: The random seed.
        num_candidates: Number of candidates of a fill-in-the-blank question.
        most: Largest number of outfits with questions. If there are more, a random sample is taken, and `sources` are
            indices into that sample.
    """
    key = _SPLIT_KEY[split]
    asked = outfits[split]
    if most is not None and len(asked) > most:
        sample = np.random.default_rng([seed, SAMPLE_PURPOSE, key]).choice(len(asked), most, replace=False)
        asked = [asked[index] for index in np.sort(sample).tolist()]
    pool = np.unique(np.fromiter(chain.from_iterable(outfits[split]), dtype=np.int64))
    blanks = draw_fill_in_blanks(
        asked,
        categories,
        pool=pool,
        num_candidates=num_candidates,
        generator=np.random.default_rng([seed, BLANKS_PURPOSE, key]),
    )
    compatibilities = draw_compatibilities(
        asked,
        categories,
        pool=pool,
        real_outfits=chain.from_iterable(outfits.values()),
        generator=np.random.default_rng([seed, COMPATIBILITIES_PURPOSE, key]),
    )
    return blanks, compatibilities


def draw_fill_in_blanks(
    outfits: Sequence[Outfit],
    categories: Int[np.ndarray, "N"],
    *,
    pool: Int[np.ndarray, "R"],
    num_candidates: int = NUM_CANDIDATES,
    generator: np.random.Generator,
) -> FillInBlanks:
    """Draw a question for each outfit: a random item is removed, and the candidates are of its category.

    Wrong candidates are not in the outfit and do not repeat. There are fewer if the category has fewer. An item that an
    outfit holds twice is never removed, since the other copy would reveal it. The position of the right item among the
    candidates is random.

    Args:
        outfits: The outfits.
        categories: The category of each item, shape (N,).
        pool: The items that wrong candidates are drawn from, shape (R,).
        num_candidates: Number of candidates.
        generator: The random generator.

    Raises:
        UserError: num_candidates is less than 2.
    """
    if num_candidates < 2:
        raise UserError(f"num_candidates must be at least 2, got {num_candidates}.")
    members = _by_category(pool, categories)
    drawn = [
        (source, blank)
        for source, outfit in enumerate(outfits)
        if (blank := _draw_blank(outfit, categories, members, num_candidates, generator))
    ]
    return FillInBlanks(
        sources=np.array([source for source, _ in drawn], dtype=np.int64),
        blanks=np.array([blank.position for _, blank in drawn], dtype=np.int64),
        questions=tuple(_without(outfits[source], blank.position) for source, blank in drawn),
        candidates=tuple(blank.candidates for _, blank in drawn),
        answers=np.array([blank.answer for _, blank in drawn], dtype=np.int64),
        num_candidates=num_candidates,
        num_without_question=len(outfits) - len(drawn),
    )


def draw_compatibilities(
    outfits: Sequence[Outfit],
    categories: Int[np.ndarray, "N"],
    *,
    pool: Int[np.ndarray, "R"],
    real_outfits: Iterable[Outfit] = (),
    generator: np.random.Generator,
) -> Compatibilities:
    """Draw a positive and a negative for each outfit: the outfit, and the outfit with one category replaced.

    All items of a random category are replaced by other items of it, without repeats. A negative is never a real
    outfit, in any order of its items. If a category allows no negative, another one of the outfit is tried. If none
    does, the outfit has no questions. The positives come first, then their negatives.

    Args:
        outfits: The outfits.
        categories: The category of each item, shape (N,).
        pool: The items that replacements are drawn from, shape (R,).
        real_outfits: Further real outfits, which no negative may equal.
        generator: The random generator.
    """
    members = _by_category(pool, categories)
    real = {frozenset(outfit) for outfit in chain(outfits, real_outfits)}
    negatives = [_draw_negative(outfit, categories, members, real, generator) for outfit in outfits]
    made = [(source, negative) for source, negative in enumerate(negatives) if negative is not None]
    sources = [source for source, _ in made]
    return Compatibilities(
        sources=np.array(sources * 2, dtype=np.int64),
        outfits=(*(outfits[source] for source in sources), *(negative for _, negative in made)),
        positive=np.repeat([True, False], len(made)),
        num_given_up=len(outfits) - len(made),
    )


class _Blank(NamedTuple):
    """The position of the removed item, the candidates, and the position of the right one."""

    position: int
    candidates: Outfit
    answer: int


def _by_category(pool: Int[np.ndarray, "R"], categories: Int[np.ndarray, "N"]) -> dict[int, Int[np.ndarray, "_"]]:
    """Return the items of the pool by category, ascending and without repeats."""
    items = np.unique(pool)
    labels = categories[items]
    return {int(label): items[labels == label] for label in np.unique(labels)}


def _draw_others(
    outfit: Outfit, members: Int[np.ndarray, "_"] | None, most: int, generator: np.random.Generator
) -> Outfit:
    """Draw at most `most` different members of a category that are not in the outfit, in random order."""
    if members is None:
        return ()
    drawn = generator.choice(members, min(len(members), most + len(outfit)), replace=False)
    return tuple(drawn[~np.isin(drawn, outfit)][:most].tolist())


def _draw_blank(
    outfit: Outfit,
    categories: Int[np.ndarray, "N"],
    members: dict[int, Int[np.ndarray, "_"]],
    num_candidates: int,
    generator: np.random.Generator,
) -> _Blank | None:
    """Remove a random item that has a wrong candidate. Return None if there is none or nothing would remain."""
    if len(outfit) < 2:
        return None
    for position in generator.permutation(len(outfit)).tolist():
        right = outfit[position]
        if outfit.count(right) > 1:
            continue
        others = _draw_others(outfit, members.get(int(categories[right])), num_candidates - 1, generator)
        if others:
            answer = int(generator.integers(len(others) + 1))
            return _Blank(position, (*others[:answer], right, *others[answer:]), answer)
    return None


def _without(outfit: Outfit, position: int) -> Outfit:
    return outfit[:position] + outfit[position + 1 :]


def _draw_negative(
    outfit: Outfit,
    categories: Int[np.ndarray, "N"],
    members: dict[int, Int[np.ndarray, "_"]],
    real: set[frozenset[int]],
    generator: np.random.Generator,
) -> Outfit | None:
    labels = categories[list(outfit)]
    for label in generator.permutation(np.unique(labels)).tolist():
        if label in members:
            others = _draw_others(outfit, members[label], len(members[label]), generator)
            negative = _replace(outfit, np.flatnonzero(labels == label).tolist(), others, real)
            if negative is not None:
                return negative
    return None


def _replace(outfit: Outfit, positions: list[int], others: Outfit, real: set[frozenset[int]]) -> Outfit | None:
    """Replace the items at some positions by the first of `others` that do not form a real outfit.

    Each failed combination is a real outfit, so there are at most as many attempts as real outfits.
    """
    for chosen in combinations(others, len(positions)):
        replaced = dict(zip(positions, chosen, strict=True))
        negative = tuple(replaced.get(position, item) for position, item in enumerate(outfit))
        if frozenset(negative) not in real:
            return negative
    return None
