"""What is wrong with a question, and what is left of questions when items go."""

import pickle

import pytest

from pan_model.data.polyvore.questions import CompatQuestion, FitbQuestion, QuestionFiles, QuestionSource
from pan_model.data.splits import Split

ORIGINAL = (QuestionSource.ORIGINAL, Split.VAL)
HARDER = (QuestionSource.HARDER, Split.TEST)


@pytest.fixture
def files() -> QuestionFiles:
    return QuestionFiles(
        fitb={ORIGINAL: (FitbQuestion((0, 1), (2, 3), 1), FitbQuestion((1,), (4, 1), 0)), HARDER: ()},
        compat={ORIGINAL: (CompatQuestion((0, 4), True), CompatQuestion((2, 2, 3), False))},
    )


@pytest.mark.parametrize(
    ("question", "defects"),
    [
        (FitbQuestion((0, 1), (2, 3), 0), []),
        (FitbQuestion((0, 1), (1, 3), 0), ["the right answer is in the question"]),
        (FitbQuestion((0, 1), (1, 3), 1), ["a distractor is in the question"]),
        (FitbQuestion((0, 1), (3, 2, 3), 1), ["an item is twice among the answers"]),
        (FitbQuestion((0, 0), (3, 2), 1), ["an item is twice in the question"]),
        (CompatQuestion((0, 1), False), []),
        (CompatQuestion((0, 1, 0), False), ["an item is twice in the question"]),
    ],
)
def test_names_defects(question: FitbQuestion | CompatQuestion, defects: list[str]) -> None:
    assert question.defects() == defects


def test_counts_questions_and_defects_of_each_file(files: QuestionFiles) -> None:
    assert files.count() == {"original fitb val": 2, "harder fitb test": 0, "original compatibility val": 2}
    assert files.defects() == {
        "original fitb val: a distractor is in the question": 1,
        "original compatibility val: an item is twice in the question": 1,
    }


def test_a_question_goes_with_any_of_its_items(files: QuestionFiles) -> None:
    without_2 = files.renumber([0, 1, -1, 2, 3])
    assert without_2.fitb == {ORIGINAL: (FitbQuestion((1,), (3, 1), 0),), HARDER: ()}
    assert without_2.compat == {ORIGINAL: (CompatQuestion((0, 3), True),)}
    without_0 = files.renumber([-1, 0, 1, 2, 3])
    assert without_0.fitb[ORIGINAL] == (FitbQuestion((0,), (3, 0), 0),)
    assert without_0.compat[ORIGINAL] == (CompatQuestion((1, 1, 2), False),)


def test_content_does_not_depend_on_the_order_of_files(files: QuestionFiles) -> None:
    turned = QuestionFiles(fitb=dict(reversed(files.fitb.items())), compat=files.compat)
    assert turned.content() == files.content()
    assert files.renumber([4, 3, 2, 1, 0]).content() != files.content()


def test_can_be_pickled(files: QuestionFiles) -> None:
    assert pickle.loads(pickle.dumps(files)).content() == files.content()
