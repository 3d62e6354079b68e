"""Checks a question file of Polyvore Outfits for questions that answer themselves or cannot be answered.

`python -m pan_model.data.polyvore_check FILE --outfits valid.json`, FILE a compatibility .txt or a fill-in-the-blank
.json. All is counted twice: by tokens, as the file names items, and by items, for two tokens can be the same product.
"""

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pan_model.command_line import OneLineParser, run_with_exit_code
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
    """What is wrong with compatibility questions, when items are compared by one kind of name.

    changed[n] is how many negatives differ in n items from the positive that they derive from; unrelated negatives
    share no item with any positive. real are the negatives that hold just what an outfit of the split holds, in
    whatever order; repeats are the outfits, real or not, that hold one item twice.
    """

    num_negatives: int
    changed: Counter[int]
    unrelated: int
    real: int
    repeats: int

    @property
    def copies(self) -> int:
        """How many negatives are their positive, in whatever order."""
        return self.changed[0]

    @property
    def copied_share(self) -> float:
        """The share f of the negatives that are copies, 0 where there are no negatives."""
        return self.copies / max(1, self.num_negatives)

    @property
    def ceiling_of_memory(self) -> float:
        """1 - f/2: the AUC of a judge that knows every real outfit, for to it a copy is as good as its positive."""
        return 1 - self.copied_share / 2

    @property
    def ceiling_without_order(self) -> float:
        """1 - f^2/2: the most that a scorer blind to order can get; copies and what they copy stand in between."""
        return 1 - self.copied_share**2 / 2


@dataclass(frozen=True, kw_only=True)
class BlankCounts:
    """How many fill-in-the-blank questions are amiss, when items are compared by one kind of name.

    repeats hold a candidate twice, same_outfit have a wrong candidate of the question's own outfit, asked have a
    candidate that the question holds already, answer_asked the right one of those, question_repeats hold an item of
    the question twice.
    """

    repeats: int
    same_outfit: int
    asked: int
    answer_asked: int
    question_repeats: int


def main(words: Sequence[str]) -> int:
    """Run the command; gives its exit code."""
    return run_with_exit_code(lambda: _run(_parser().parse(words)))


def pair_negatives(positives: Sequence[Tokens], negatives: Sequence[Tokens]) -> tuple[list[int | None], bool]:
    """Find the positive that each negative derives from, and say whether the order tells.

    The order tells where there are as many negatives as positives, each with as many items as the positive in its
    place: so it is in all official files. Otherwise it is the first positive that shares the most items, None where
    none shares any.

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
    """Compare every negative with positives[source]; all outfits in the same kind of names."""
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
    """Count what is amiss, with tokens compared by their names; outfit_of gives the outfits by set_id."""
    seen = Counter[str]()
    for entry in questions:
        question, candidates = _rename(entry.question, name_of), _rename(entry.candidates, name_of)
        outfit = _rename(outfit_of[set_of(entry.question[0])].tokens, name_of)
        wrong = candidates[: entry.answer] + candidates[entry.answer + 1 :]
        seen["repeats"] += _repeats(candidates)
        seen["same_outfit"] += not set(wrong).isdisjoint(outfit)
        seen["asked"] += not set(candidates).isdisjoint(question)
        seen["answer_asked"] += candidates[entry.answer] in question
        seen["question_repeats"] += _repeats(question)
    return BlankCounts(
        repeats=seen["repeats"],
        same_outfit=seen["same_outfit"],
        asked=seen["asked"],
        answer_asked=seen["answer_asked"],
        question_repeats=seen["question_repeats"],
    )


def check_compatibilities(
    questions: Sequence[TokenCompatibility], outfits: Sequence[ListedOutfit]
) -> tuple[CompatibilityCounts, CompatibilityCounts, bool]:
    """Count by tokens and by items, and say whether the order pairs the negatives with the positives."""
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
    """Count by tokens and by items."""
    item_of = items_by_token(outfits)
    outfit_of = {outfit.set_id: outfit for outfit in outfits}
    return count_blanks(questions, outfit_of, {token: token for token in item_of}), count_blanks(
        questions, outfit_of, item_of
    )


def describe_compatibilities(questions: Sequence[TokenCompatibility], outfits: Sequence[ListedOutfit]) -> Iterator[str]:
    """Say in lines what check_compatibilities finds."""
    tokens, items, by_order = check_compatibilities(questions, outfits)
    num_positives = len(questions) - tokens.num_negatives
    pairing = "in its place" if by_order else "that shares the most items"
    yield f"{num_positives} positives, {tokens.num_negatives} negatives, each compared with the positive {pairing}"
    yield f"outfits that hold one twice: {_twice(tokens.repeats, items.repeats)}"
    yield f"negatives equal to their positive: {_twice(tokens.copies, items.copies)}"
    yield f"negatives equal to any outfit of the split: {_twice(tokens.real, items.real)}"
    if tokens.unrelated:
        yield f"negatives that share no item with any positive: {tokens.unrelated}"
    yield f"how many tokens a negative changes: {_distribution(tokens.changed)}"
    yield f"how many items a negative changes: {_distribution(items.changed)}"
    memory = _twice(f"{tokens.ceiling_of_memory:.3f}", f"{items.ceiling_of_memory:.3f}")
    yield f"AUC of a judge that knows every real outfit, 1 - f/2: {memory}"
    ceiling = _twice(f"{tokens.ceiling_without_order:.3f}", f"{items.ceiling_without_order:.3f}")
    yield f"AUC that no scorer blind to order can pass, 1 - f^2/2: {ceiling}"


def describe_blanks(questions: Sequence[TokenBlank], outfits: Sequence[ListedOutfit]) -> Iterator[str]:
    """Say in lines what check_blanks finds."""
    tokens, items = check_blanks(questions, outfits)
    yield f"{len(questions)} questions"
    yield f"how many candidates a question has: {_distribution(Counter(len(entry.candidates) for entry in questions))}"
    yield f"questions with a candidate twice: {_twice(tokens.repeats, items.repeats)}"
    yield f"with a wrong candidate of the same outfit: {_twice(tokens.same_outfit, items.same_outfit)}"
    yield f"with a candidate that the question holds already: {_twice(tokens.asked, items.asked)}"
    yield f"with the right candidate in the question already: {_twice(tokens.answer_asked, items.answer_asked)}"
    yield f"with one twice in the question itself: {_twice(tokens.question_repeats, items.question_repeats)}"


def _parser() -> OneLineParser:
    parser = OneLineParser(
        prog="python -m pan_model.data.polyvore_check",
        description="Count copies, repeats and giveaways in a question file of Polyvore Outfits.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="compatibility .txt or fill-in-the-blank .json")
    parser.add_argument("--outfits", type=Path, required=True, help="valid.json or test.json, whichever it asks about")
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
    """Count what must be replaced, added or taken away; 0 only where both hold the same, each as often."""
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
