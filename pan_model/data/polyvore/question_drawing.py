"""Questions on outfits, drawn anew: which item fills the blank, and which of two outfits is real (PAN's resampling).

The files that come with Polyvore Outfits are either too easy (every item of a negative is replaced at random) or hold
negatives that are copies of real outfits; these questions keep all of an outfit but one category.
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
"""Of a fill-in-the-blank question, as PAN asks them."""

BLANKS_PURPOSE = 4
COMPATIBILITIES_PURPOSE = 5
SAMPLE_PURPOSE = 6
"""Keep random numbers for different purposes apart, and from those of training, drawn from the same seed."""

_SPLIT_KEY = {Split.TRAIN: 0, Split.VAL: 1, Split.TEST: 2}


@dataclass(frozen=True, kw_only=True, eq=False)
class FillInBlanks:
    """B outfits with an item left out each, and the candidates for its place, one of which is right.

    sources holds the outfit that each question was made from, blanks the 0-based place of the right item in it, answers
    the place of the right item among the candidates. num_candidates is how many were asked for, num_without_question
    how many outfits have no question because nothing else could stand in the place of any of their items.
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
        """The questions one by one."""
        answers: list[int] = self.answers.tolist()
        return tuple(map(FitbQuestion, self.questions, self.candidates, answers))

    @property
    def num_short(self) -> int:
        """How many questions have fewer candidates than were asked for, because their category has no more."""
        return sum(len(candidates) < self.num_candidates for candidates in self.candidates)


@dataclass(frozen=True, kw_only=True, eq=False)
class Compatibilities:
    """B outfits, each real (positive) or made up.

    sources holds the outfit that each of them is or was made from, -1 where that is not known. num_given_up is how many
    outfits have no questions because no negative can be made of them.
    """

    sources: Int[np.ndarray, "B"]
    outfits: tuple[Outfit, ...]
    positive: Bool[np.ndarray, "B"]
    num_given_up: int = 0

    def __len__(self) -> int:
        return len(self.outfits)

    def listed(self) -> tuple[CompatQuestion, ...]:
        """The questions one by one."""
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
    """Draw the questions of a split from a seed, on `most` of its outfits where there are more.

    Wrong candidates and replacements come from the split's own outfits; no negative is an outfit of any split. Sources
    count the outfits that were asked about.
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
    """Draw one question for each outfit: a random item is blanked, and the candidates are of its category.

    The wrong candidates come from `pool`, the items of this split's outfits: none is in the outfit, none comes twice,
    and there are fewer where the category has fewer. An item that its outfit holds twice is never blanked, for the
    other copy would give it away. The right one's place among the candidates is random.

    Raises UserError for fewer than 2 candidates.
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
    """Draw for each outfit itself and a negative: all its items of one random category are replaced by others of it.

    The others come from `pool`; none is in the outfit and none comes twice. A negative is never a real outfit, neither
    of `outfits` nor of `real_outfits`, however its items are ordered. Where a category allows no negative another one
    of the outfit is tried; an outfit without any is given up. First come the positives, then their negatives.
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
    """Where an outfit is blanked, with what, and which candidate is right."""

    position: int
    candidates: Outfit
    answer: int


def _by_category(pool: Int[np.ndarray, "R"], categories: Int[np.ndarray, "N"]) -> dict[int, Int[np.ndarray, "_"]]:
    """List the items of the pool by category, each once, ascending."""
    items = np.unique(pool)
    labels = categories[items]
    return {int(label): items[labels == label] for label in np.unique(labels)}


def _draw_others(
    outfit: Outfit, members: Int[np.ndarray, "_"] | None, most: int, generator: np.random.Generator
) -> Outfit:
    """Draw members of a category that the outfit does not hold: different ones, at most so many, in random order."""
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
    """Blank a random item of those that have a wrong candidate; a question needs an item beside it."""
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
    """Put the first of the others that make no real outfit in those places.

    Every choice that fails is one real outfit, so that there are never more tries than real outfits.
    """
    for chosen in combinations(others, len(positions)):
        replaced = dict(zip(positions, chosen, strict=True))
        negative = tuple(replaced.get(position, item) for position, item in enumerate(outfit))
        if frozenset(negative) not in real:
            return negative
    return None
