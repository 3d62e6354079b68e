"""Metrics as pure functions that return one score for each question."""

import numpy as np

from pan_model.shapes import Bool, Float, Int


def episode_accuracy(
    scores: Float[np.ndarray, "B Q C"],
    answers: Int[np.ndarray, "B Q"],
    weights: Bool[np.ndarray, "B Q"] | Float[np.ndarray, "B Q"],
) -> Float[np.ndarray, "B"]:
    """Return the share of each episode's queries whose best-scored class is correct.

    A NaN score makes its episode NaN.

    Args:
        scores: The score of each of Q queries for each of C classes, in B episodes.
        answers: The correct class of each query.
        weights: How much each query counts; padded slots do not.

    >>> scores = np.array([[[0.9, 0.1], [0.2, 0.1]]])
    >>> episode_accuracy(scores, np.array([[0, 1]]), np.array([[True, True]])).tolist()
    [0.5]
    """
    accuracy = ((scores.argmax(axis=2) == answers) * weights).sum(axis=1) / weights.sum(axis=1)
    return np.where(np.isnan(scores.sum(axis=(1, 2))), np.nan, accuracy)


def match_ranks(
    best: Int[np.ndarray, "Q k"], unknown: Bool[np.ndarray, "Q"], queries: Int[np.ndarray, "Q"]
) -> Float[np.ndarray, "Q"]:
    """Return the number of gallery items ranked before each query's first match, an item of its class.

    A query without a match among its k best has rank inf; an unknown one has NaN.

    Args:
        best: The classes of the k best-scored gallery items of each query, best first.
        unknown: Whether a score of the query is NaN.
        queries: The class of each query.

    >>> match_ranks(np.array([[5, 5, 6], [5, 6, 5]]), np.array([False, False]), np.array([6, 5])).tolist()
    [2.0, 0.0]
    """
    match = best == queries[:, None]
    ranks = np.where(match.any(axis=1), match.argmax(axis=1), np.inf)
    return np.where(unknown, np.nan, ranks)


def recall_of_ranks(ks: tuple[int, ...], ranks: Float[np.ndarray, "Q"]) -> dict[int, Float[np.ndarray, "Q"]]:
    """Return whether each query has a match among the k best-scored gallery items (R@k), given its rank.

    With fewer than k gallery items every query with a match is a hit. NaN stays NaN.

    >>> {k: hits.tolist() for k, hits in recall_of_ranks((1, 10), np.array([0.0, 2.0, np.nan])).items()}
    {1: [1.0, 0.0, nan], 10: [1.0, 1.0, nan]}
    """
    return {k: np.where(np.isnan(ranks), np.nan, ranks < k) for k in ks}


def choice_accuracy(scores: Float[np.ndarray, "B C"], answers: Int[np.ndarray, "B"]) -> Float[np.ndarray, "B"]:
    """Return, for each question, whether the correct one of C candidates has the best score; a tie of n counts 1/n.

    A constant scorer is therefore at chance. A NaN score makes its question NaN.

    >>> choice_accuracy(np.array([[0.9, 0.1], [0.2, 0.2]]), np.array([0, 1])).tolist()
    [1.0, 0.5]
    """
    best = scores == scores.max(axis=1, keepdims=True)
    accuracy = best[np.arange(len(scores)), answers] / np.maximum(best.sum(axis=1), 1)
    return np.where(np.isnan(scores).any(axis=1), np.nan, accuracy)


def share_beaten(positives: Float[np.ndarray, "P"], negatives: Float[np.ndarray, "n"]) -> Float[np.ndarray, "P"]:
    """Return, for each positive, the share of negatives with a lower score; equal scores count half.

    The mean is the area under the ROC curve (AUC). A NaN positive is NaN, a NaN negative makes all NaN.

    >>> share_beaten(np.array([0.9, 0.5]), np.array([0.1, 0.5])).tolist()
    [1.0, 0.75]
    """
    ordered = np.sort(negatives)
    beaten = np.searchsorted(ordered, positives, side="left") + np.searchsorted(ordered, positives, side="right")
    unknown = np.isnan(positives) | np.isnan(negatives).any()
    return np.where(unknown, np.nan, beaten / (2 * len(negatives)))
