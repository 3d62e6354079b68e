"""Check a question file of Polyvore Outfits for questions that are trivial or cannot be answered.

Usage: `python -m pan_model.data.polyvore_check FILE --outfits valid.json`. FILE is a compatibility .txt or a
fill-in-the-blank .json. Everything is counted twice: by tokens, the names of items in the file, and by items, since two
tokens can stand for the same product.
"""

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pan_model.command_line import OneLineParser, counted, run_with_exit_code
from pan_model.data.polyvore.outfit_lists import ListedOutfit, items_by_token, list_tokens, read_outfits
from pan_model.data.polyvore.tokens import (
    TokenBlank,
    TokenCompatibility,
    Tokens,
    read_blanks,
    read_compatibilities,
    set_of,
)
from pan_model.errors import UserError


@dataclass(frozen=True, kw_only=True)
class CompatibilityCounts:
    """Defects of compatibility questions, counted by tokens or by items.

    Attributes:
        num_negatives: Number of negatives.
        changed: changed[n] is the number of negatives that differ in n items from the positive that they derive from.
        unrelated: Number of negatives that share no item with any positive.
        real: Number of negatives with the same items as an outfit of the split, in any order.
        repeats: Number of outfits, real or not, that hold an item twice.
    """

    num_negatives: int
    changed: Counter[int]
    unrelated: int
    real: int
    repeats: int

    @property
    def copies(self) -> int:
        """Number of negatives with the same items as their positive, in any order."""
        return self.changed[0]

    @property
    def copied_share(self) -> float:
        """Fraction f of the negatives that are copies, 0 if there are no negatives."""
        return self.copies / max(1, self.num_negatives)

    @property
    def ceiling_of_memory(self) -> float:
        """1 - f/2: AUC of a scorer that has memorised every real outfit and so scores a copy like its positive."""
        return 1 - self.copied_share / 2

    @property
    def ceiling_without_order(self) -> float:
        """1 - f^2/2: highest AUC of a scorer that ignores order, with copies and their positives ranked in between."""
        return 1 - self.copied_share**2 / 2


@dataclass(frozen=True, kw_only=True)
class BlankCounts:
    """Numbers of fill-in-the-blank questions with defects, counted by tokens or by items.

    Attributes:
        repeats: A candidate occurs twice.
        same_outfit: A wrong candidate is of the outfit of the question.
        asked: A candidate is in the question.
        answer_asked: The right candidate is in the question.
        question_repeats: An item of the question occurs twice.
    """

    repeats: int
    same_outfit: int
    asked: int
    answer_asked: int
    question_repeats: int


def main(words: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    return run_with_exit_code(lambda: _run(_parser().parse(words)))


def pair_negatives(positives: Sequence[Tokens], negatives: Sequence[Tokens]) -> tuple[list[int | None], bool]:
    """Return the positive that each negative derives from, and whether negatives are paired by their order.

    They are paired by order if there are as many negatives as positives, each with as many items as the positive at the
    same position. This holds for all official files. Otherwise a negative derives from the first positive that shares
    the most items, None if no positive shares any.

    >>> pair_negatives([("a", "b"), ("c", "d")], [("b", "x"), ("d", "c")])
    ([0, 1], True)
    >>> pair_negatives([("a", "b"), ("c", "d")], [("d", "x")])
    ([1], False)
    """
    if list(map(len, positives)) == list(map(len, negatives)):
        return list(range(len(negatives))), True
    holders: defaultdict[str, list[int]] = defaultdict(list)
    for index, positive in enumerate(positives):
        for name in set(positive):
            holders[name].append(index)
    return [_most_shared(negative, holders) for negative in negatives], False


def count_compatibilities(
    positives: Sequence[Tokens], negatives: Sequence[Tokens], sources: Sequence[int | None], real: Sequence[Tokens]
) -> CompatibilityCounts:
    """Compare every negative with the positive that it derives from.

    All outfits must consist of tokens, or all of them of items.

    Args:
        positives: The outfits labelled as real.
        negatives: The outfits labelled as made up.
        sources: The index of the positive of each negative, or None.
        real: All outfits of the split.
    """
    pairs = [(negative, source) for negative, source in zip(negatives, sources, strict=True) if source is not None]
    real_outfits = {frozenset(outfit) for outfit in real}
    return CompatibilityCounts(
        num_negatives=len(negatives),
        changed=Counter(_num_changed(positives[source], negative) for negative, source in pairs),
        unrelated=len(negatives) - len(pairs),
        real=sum(frozenset(negative) in real_outfits for negative in negatives),
        repeats=sum(map(_repeats, (*positives, *negatives))),
    )


def count_blanks(
    questions: Sequence[TokenBlank], outfit_of: dict[str, ListedOutfit], name_of: dict[str, str]
) -> BlankCounts:
    """Count defects of fill-in-the-blank questions.

    Args:
        questions: The questions.
        outfit_of: The outfits by set_id.
        name_of: The name by which each token is compared: the token itself, or its item_id.
    """
    counts = Counter[str]()
    for entry in questions:
        question, candidates = _rename(entry.question, name_of), _rename(entry.candidates, name_of)
        outfit = _rename(outfit_of[set_of(entry.question[0])].tokens, name_of)
        wrong = candidates[: entry.answer] + candidates[entry.answer + 1 :]
        counts["repeats"] += _repeats(candidates)
        counts["same_outfit"] += not set(wrong).isdisjoint(outfit)
        counts["asked"] += not set(candidates).isdisjoint(question)
        counts["answer_asked"] += candidates[entry.answer] in question
        counts["question_repeats"] += _repeats(question)
    return BlankCounts(
        repeats=counts["repeats"],
        same_outfit=counts["same_outfit"],
        asked=counts["asked"],
        answer_asked=counts["answer_asked"],
        question_repeats=counts["question_repeats"],
    )


def check_compatibilities(
    questions: Sequence[TokenCompatibility], outfits: Sequence[ListedOutfit]
) -> tuple[CompatibilityCounts, CompatibilityCounts, bool]:
    """Count defects of compatibility questions.

    Args:
        questions: The questions.
        outfits: The outfits of the split.

    Returns:
        The counts by tokens, the counts by items, and whether negatives are paired with positives by order.
    """
    item_of = items_by_token(outfits)
    positives = [question.tokens for question in questions if question.positive]
    negatives = [question.tokens for question in questions if not question.positive]
    positive_items = [_rename(tokens, item_of) for tokens in positives]
    negative_items = [_rename(tokens, item_of) for tokens in negatives]
    sources, by_order = pair_negatives(positive_items, negative_items)
    by_tokens = count_compatibilities(positives, negatives, sources, [outfit.tokens for outfit in outfits])
    by_items = count_compatibilities(positive_items, negative_items, sources, [outfit.item_ids for outfit in outfits])
    return by_tokens, by_items, by_order


def check_blanks(questions: Sequence[TokenBlank], outfits: Sequence[ListedOutfit]) -> tuple[BlankCounts, BlankCounts]:
    """Return the defects of fill-in-the-blank questions, counted by tokens and by items."""
    item_of = items_by_token(outfits)
    outfit_of = {outfit.set_id: outfit for outfit in outfits}
    return count_blanks(questions, outfit_of, {token: token for token in item_of}), count_blanks(
        questions, outfit_of, item_of
    )


def describe_compatibilities(questions: Sequence[TokenCompatibility], outfits: Sequence[ListedOutfit]) -> Iterator[str]:
    """Yield the lines of a report of `check_compatibilities`."""
    tokens, items, by_order = check_compatibilities(questions, outfits)
    num_positives = len(questions) - tokens.num_negatives
    pairing = "at the same position" if by_order else "that shares the most items"
    sizes = f"{counted(num_positives, 'positive')}, {counted(tokens.num_negatives, 'negative')}"
    yield f"{sizes}, each compared with the positive {pairing}"
    yield f"outfits with a repeated item: {_twice(tokens.repeats, items.repeats)}"
    yield f"negatives equal to their positive: {_twice(tokens.copies, items.copies)}"
    yield f"negatives equal to any outfit of the split: {_twice(tokens.real, items.real)}"
    if tokens.unrelated:
        yield f"negatives that share no item with any positive: {tokens.unrelated}"
    yield f"how many tokens a negative changes: {_distribution(tokens.changed)}"
    yield f"how many items a negative changes: {_distribution(items.changed)}"
    memory = _twice(f"{tokens.ceiling_of_memory:.3f}", f"{items.ceiling_of_memory:.3f}")
    yield f"AUC of a scorer that has memorised every real outfit, 1 - f/2: {memory}"
    ceiling = _twice(f"{tokens.ceiling_without_order:.3f}", f"{items.ceiling_without_order:.3f}")
    yield f"highest AUC of a scorer that ignores order, 1 - f^2/2: {ceiling}"


def describe_blanks(questions: Sequence[TokenBlank], outfits: Sequence[ListedOutfit]) -> Iterator[str]:
    """Yield the lines of a report of `check_blanks`."""
    tokens, items = check_blanks(questions, outfits)
    yield f"{counted(len(questions), 'question')}"
    yield f"how many candidates a question has: {_distribution(Counter(len(entry.candidates) for entry in questions))}"
    yield f"questions with a candidate twice: {_twice(tokens.repeats, items.repeats)}"
    yield f"with a wrong candidate of the same outfit: {_twice(tokens.same_outfit, items.same_outfit)}"
    yield f"with a candidate that the question holds already: {_twice(tokens.asked, items.asked)}"
    yield f"with the right candidate in the question already: {_twice(tokens.answer_asked, items.answer_asked)}"
    yield f"with a repeated item in the question itself: {_twice(tokens.question_repeats, items.question_repeats)}"


def _parser() -> OneLineParser:
    parser = OneLineParser(
        prog="python -m pan_model.data.polyvore_check",
        description="Count copies, repeated items and revealed answers in a question file of Polyvore Outfits.",
        epilog=(
            "example:\n  uv run python -m pan_model.data.polyvore_check fill_in_blank_valid.json --outfits valid.json"
        ),
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="compatibility .txt or fill-in-the-blank .json")
    parser.add_argument(
        "--outfits", type=Path, required=True, help="the outfits that FILE is about: valid.json or test.json"
    )
    return parser


def _run(options: argparse.Namespace) -> None:
    file: Path = options.file
    if file.suffix not in {".txt", ".json"}:
        raise UserError(f"{file}: expected a compatibility .txt or a fill-in-the-blank .json.")
    outfits = read_outfits(options.outfits)
    known = list_tokens(options.outfits, outfits)
    if file.suffix == ".txt":
        lines = describe_compatibilities(read_compatibilities(file, known), outfits)
    else:
        lines = describe_blanks(read_blanks(file, known), outfits)
    print("\n".join(lines))


def _most_shared(negative: Tokens, holders: dict[str, list[int]]) -> int | None:
    shared = Counter(index for name in set(negative) for index in holders.get(name, ()))
    return min(shared, key=lambda index: (-shared[index], index), default=None)


def _num_changed(positive: Tokens, negative: Tokens) -> int:
    """Return the number of items to replace, add or remove, 0 only if both hold the same items equally often."""
    before, after = Counter(positive), Counter(negative)
    return max((before - after).total(), (after - before).total())


def _repeats(names: Tokens) -> bool:
    return len(set(names)) < len(names)


def _rename(tokens: Tokens, name_of: dict[str, str]) -> Tokens:
    return tuple(name_of[token] for token in tokens)


def _twice(by_tokens: object, by_items: object) -> str:
    return f"{by_tokens} by tokens, {by_items} by items"


def _distribution(counts: Counter[int]) -> str:
    times = {1: "once", 2: "twice"}
    return ", ".join(f"{value} ({times.get(n, f'{n} times')})" for value, n in sorted(counts.items())) or "none"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
