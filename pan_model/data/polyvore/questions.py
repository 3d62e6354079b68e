"""The questions that a dataset of outfits brings in its own files, as they stand there, defects too."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from pan_model.data.splits import Split


class QuestionSource(StrEnum):
    """Which of the published sets of questions."""

    ORIGINAL = "original"
    HARDER = "harder"


class FitbQuestion(NamedTuple):
    """Fill in the blank: which of the answers completes the outfit? All are indices of items; right is one of answers.

    >>> FitbQuestion(question=(4, 7), answers=(9, 2, 7, 9), right=1).defects()
    ['a distractor is in the question', 'an item is twice among the answers']
    """

    question: tuple[int, ...]
    answers: tuple[int, ...]
    right: int

    def defects(self) -> list[str]:
        """Name what is wrong with the question, seen by its items."""
        wrong = self.answers[: self.right] + self.answers[self.right + 1 :]
        found = {
            "a distractor is in the question": not set(wrong).isdisjoint(self.question),
            "the right answer is in the question": self.answers[self.right] in self.question,
            "an item is twice among the answers": _repeats(self.answers),
            "an item is twice in the question": _repeats(self.question),
        }
        return [defect for defect, there in found.items() if there]


class CompatQuestion(NamedTuple):
    """Do these items (indices) go together?"""

    items: tuple[int, ...]
    compatible: bool

    def defects(self) -> list[str]:
        """Name what is wrong with the question, seen by its items."""
        return ["an item is twice in the question"] if _repeats(self.items) else []


QuestionKey = tuple[QuestionSource, Split]


@dataclass(frozen=True, kw_only=True, eq=False)
class QuestionFiles:
    """The questions of every file that there is; a key without questions is a file that is not there."""

    fitb: dict[QuestionKey, tuple[FitbQuestion, ...]] = field(
        default_factory=dict[QuestionKey, tuple[FitbQuestion, ...]]
    )
    compat: dict[QuestionKey, tuple[CompatQuestion, ...]] = field(
        default_factory=dict[QuestionKey, tuple[CompatQuestion, ...]]
    )

    def renumber(self, numbers: list[int]) -> "QuestionFiles":
        """Give every item its new number; a question of which an item has none (-1) goes."""
        return QuestionFiles(
            fitb={key: tuple(_renumber_fitb(questions, numbers)) for key, questions in self.fitb.items()},
            compat={key: tuple(_renumber_compat(questions, numbers)) for key, questions in self.compat.items()},
        )

    def count(self) -> dict[str, int]:
        """Count the questions of each file, such as {"original fitb val": 5000}."""
        return {name: len(questions) for name, questions in self._named()}

    def defects(self) -> dict[str, int]:
        """Count the questions with a defect, such as {"harder fitb val: a distractor is in the question": 3}."""
        found: dict[str, int] = {}
        for name, questions in self._named():
            for question in questions:
                for defect in question.defects():
                    found[f"{name}: {defect}"] = found.get(f"{name}: {defect}", 0) + 1
        return found

    def content(self) -> Sequence[object]:
        """All of it as lists, whatever the order in which the files were read."""
        return sorted(self._named())

    def _named(self) -> Iterable[tuple[str, tuple[FitbQuestion, ...] | tuple[CompatQuestion, ...]]]:
        for (source, split), questions in self.fitb.items():
            yield f"{source} fitb {split}", questions
        for (source, split), questions in self.compat.items():
            yield f"{source} compatibility {split}", questions


def _repeats(items: tuple[int, ...]) -> bool:
    return len(set(items)) < len(items)


def _renumber_fitb(questions: tuple[FitbQuestion, ...], numbers: list[int]) -> Iterable[FitbQuestion]:
    for question, answers, right in questions:
        asked = tuple(numbers[item] for item in question)
        candidates = tuple(numbers[item] for item in answers)
        if min(asked + candidates) >= 0:
            yield FitbQuestion(asked, candidates, right)


def _renumber_compat(questions: tuple[CompatQuestion, ...], numbers: list[int]) -> Iterable[CompatQuestion]:
    for items, compatible in questions:
        asked = tuple(numbers[item] for item in items)
        if min(asked) >= 0:
            yield CompatQuestion(asked, compatible)
