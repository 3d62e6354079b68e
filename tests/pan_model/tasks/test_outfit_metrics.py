"""Answers to questions on outfits, against slow loops over pairs, and the honesty of ties."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pan_model.data.polyvore.questions import CompatQuestion, FitbQuestion
from pan_model.tasks.outfits import compat_auc, fitb_accuracy, outfit_scores
from pan_model.tasks.task import SetScorer

NUM_ITEMS = 12
items = st.integers(0, NUM_ITEMS - 1)
outfits = st.lists(items, min_size=2, max_size=5).map(tuple)
blanks = st.builds(
    lambda question, answers, right: FitbQuestion(question, answers, right % len(answers)),
    st.lists(items, min_size=1, max_size=4).map(tuple),
    st.lists(items, min_size=2, max_size=5).map(tuple),
    st.integers(0, 99),
)


def mean_of_pairs(pairs: np.ndarray) -> SetScorer:
    """Scores a set by the mean of the query's pair scores with its items."""

    def score(queries: np.ndarray, sets: np.ndarray) -> np.ndarray:
        return pairs[queries[:, :, None, None], sets[:, None]].mean(axis=3)

    return score


def random_pairs(seed: int, levels: int = 10**6) -> np.ndarray:
    """Symmetric pair scores; few levels make ties."""
    scores = np.random.default_rng(seed).integers(levels, size=(NUM_ITEMS, NUM_ITEMS))
    return (scores + scores.T) / 2


def constant(queries: np.ndarray, sets: np.ndarray) -> np.ndarray:
    return np.zeros((*queries.shape, sets.shape[1]))


@given(st.lists(blanks, max_size=12), st.integers(0, 9))
def test_the_candidate_of_the_best_mean_pair_score_is_chosen(questions: list[FitbQuestion], seed: int):
    pairs = random_pairs(seed)
    accuracy = fitb_accuracy(mean_of_pairs(pairs), questions)
    for question, value in zip(questions, accuracy.tolist(), strict=True):
        scores = [sum(pairs[answer, asked] for asked in question.question) for answer in question.answers]
        top = [slot for slot, score in enumerate(scores) if score == max(scores)]
        assert value == ((question.right in top) / len(top))


@given(st.lists(outfits, max_size=10), st.integers(0, 9))
def test_an_outfit_s_score_is_its_mean_pair_score(drawn: list[tuple[int, ...]], seed: int):
    pairs = random_pairs(seed)
    scores = outfit_scores(mean_of_pairs(pairs), drawn)
    for outfit, score in zip(drawn, scores.tolist(), strict=True):
        assert score == pytest.approx(np.mean([pairs[pair] for pair in itertools.combinations(outfit, 2)]))


@given(st.lists(outfits, min_size=1, max_size=8), st.lists(outfits, min_size=1, max_size=8), st.integers(0, 9))
def test_auc_is_the_share_of_all_pairs_in_the_right_order(
    real: list[tuple[int, ...]], made_up: list[tuple[int, ...]], seed: int
):
    scorer = mean_of_pairs(random_pairs(seed, levels=2))
    questions = [CompatQuestion(outfit, True) for outfit in real]
    questions += [CompatQuestion(outfit, False) for outfit in made_up]
    scores = outfit_scores(scorer, real), outfit_scores(scorer, made_up)
    order = [(np.sign(one - other) + 1) / 2 for one, other in itertools.product(*scores)]
    beaten = compat_auc(scorer, questions)
    assert len(beaten) == len(real)
    assert beaten.mean() == pytest.approx(np.mean(order))


def test_a_constant_scorer_gets_chance_level():
    questions = [FitbQuestion((0, 1), tuple(range(2, 2 + size)), right) for size in (4, 10) for right in range(4)]
    assert fitb_accuracy(constant, questions).tolist() == [0.25] * 4 + [0.1] * 4
    questions = [CompatQuestion((0, 1), True), CompatQuestion((2, 3, 4), True), CompatQuestion((5, 6), False)]
    assert compat_auc(constant, questions).tolist() == [0.5, 0.5]


def test_a_copy_in_another_order_is_a_tie():
    features = np.random.default_rng(0).normal(size=(NUM_ITEMS, NUM_ITEMS)).astype(np.float32)
    questions = [CompatQuestion((3, 1, 2, 7, 5), True), CompatQuestion((5, 2, 7, 3, 1), False)]
    assert compat_auc(mean_of_pairs(features), questions).tolist() == [0.5]


def test_a_score_that_is_no_number_makes_its_questions_none():
    pairs = random_pairs(0)
    pairs[0] = np.nan
    scorer = mean_of_pairs(pairs)
    questions = [FitbQuestion((3,), (0, 1), 1), FitbQuestion((3,), (1, 2), 0)]
    assert np.isnan(fitb_accuracy(scorer, questions)).tolist() == [True, False]
    real = [CompatQuestion((0, 1), True), CompatQuestion((1, 2), True)]
    assert np.isnan(compat_auc(scorer, [*real, CompatQuestion((2, 3), False)])).tolist() == [True, False]
    assert np.isnan(compat_auc(scorer, [*real, CompatQuestion((0, 3), False)])).all()


@pytest.mark.parametrize("batch_size", [1, 30, 10**6])
def test_few_pairs_are_scored_at_a_time_and_nothing_changes(monkeypatch: pytest.MonkeyPatch, batch_size: int):
    generator = np.random.default_rng(1)
    drawn = [tuple(generator.choice(NUM_ITEMS, size, replace=False).tolist()) for size in (2, 3, 4, 5) * 20]
    questions = [FitbQuestion(outfit, (0, 1, 2), 1) for outfit in drawn]
    scorer = mean_of_pairs(random_pairs(2))
    asked: list[int] = []

    def note(queries: np.ndarray, sets: np.ndarray) -> np.ndarray:
        asked.append(queries.size * sets.shape[2])
        return scorer(queries, sets)

    expected = fitb_accuracy(scorer, questions).tolist(), outfit_scores(scorer, drawn).tolist()
    monkeypatch.setattr("pan_model.tasks.outfits.PAIRS_BATCH_SIZE", batch_size)
    assert (fitb_accuracy(note, questions).tolist(), outfit_scores(note, drawn).tolist()) == expected
    assert max(asked) <= max(batch_size, 5 * 4)
