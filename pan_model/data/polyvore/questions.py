"""Questions of the files of an outfit dataset, unchanged and including their defects."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from pan_model.data.splits import Split


class QuestionSource(StrEnum):
    """The published sets of questions."""

    ORIGINAL = "original"
    HARDER = "harder"


class FitbQuestion(NamedTuple):
    """Fill in the blank: items of an outfit, and candidates that may complete it. `right` is a position in `answers`.

    >>> FitbQuestion(question=(4, 7), answers=(9, 2, 7, 9), right=1).defects()
    ['a distractor is in the question', 'an item is twice among the answers']
    """

    question: tuple[int, ...]
    answers: tuple[int, ...]
    right: int

    def defects(self) -> list[str]:
        """Return the defects of the question."""
        wrong = self.answers[: self.right] + self.answers[self.right + 1 :]
        checks = {
            "a distractor is in the question": not set(wrong).isdisjoint(self.question),
            "the right answer is in the question": self.answers[self.right] in self.question,
            "an item is twice among the answers": _repeats(self.answers),
            "an item is twice in the question": _repeats(self.question),
        }
        return [defect for defect, applies in checks.items() if applies]


class CompatQuestion(NamedTuple):
    """Compatibility: whether items, given by their indices, form an outfit."""

    items: tuple[int, ...]
    compatible: bool

    def defects(self) -> list[str]:
        """Return the defects of the question."""
        return ["an item is twice in the question"] if _repeats(self.items) else []


QuestionKey = tuple[QuestionSource, Split]


@dataclass(frozen=True, kw_only=True, eq=False)
class QuestionFiles:
    """The questions of each file. Files that do not exist have no key."""

    fitb: dict[QuestionKey, tuple[FitbQuestion, ...]] = field(
        default_factory=dict[QuestionKey, tuple[FitbQuestion, ...]]
    )
    compat: dict[QuestionKey, tuple[CompatQuestion, ...]] = field(
        default_factory=dict[QuestionKey, tuple[CompatQuestion, ...]]
    )

    def renumber(self, numbers: list[int]) -> "QuestionFiles":
        """Return the questions with new item numbers. Questions about an item without a new number (-1) are removed."""
        return QuestionFiles(
            fitb={key: tuple(_renumber_fitb(questions, numbers)) for key, questions in self.fitb.items()},
            compat={key: tuple(_renumber_compat(questions, numbers)) for key, questions in self.compat.items()},
        )

    def count(self) -> dict[str, int]:
        """Return the number of questions of each file, such as {"original fitb val": 5000}."""
        return {name: len(questions) for name, questions in self._named()}

    def defects(self) -> dict[str, int]:
        """Count questions by defect, such as {"harder fitb val: a distractor is in the question": 3}."""
        counts: dict[str, int] = {}
        for name, questions in self._named():
            for question in questions:
                for defect in question.defects():
                    counts[f"{name}: {defect}"] = counts.get(f"{name}: {defect}", 0) + 1
        return counts

    def content(self) -> Sequence[object]:
        """Return everything as lists, independent of the order in which the files were read."""
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
