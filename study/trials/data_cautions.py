"""Reasons to doubt a study that its data show before the search: equal images, equal features, scores at chance."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np

from pan_model.command_line import counted
from pan_model.data.fingerprint import DatasetContents, ImageKind
from pan_model.data.items import Items
from pan_model.data.splits import Split
from pan_model.errors import UserError
from pan_model.shapes import Bool, Float, Int
from pan_model.tasks.task import Task
from study.trials.question_scores import QuestionLists, interval_ahead, interval_of

NEARLY_SAME = 0.02
"""Median distance of features from their mean, as a part of its length, below which all are nearly the same.

For random weights it is 0.15 or more.
"""

ROUNDING = 1e-5
"""Difference of features, as a part of the largest one, that may come from rounding."""

BATCH_SIZE = 4096
"""Rows of features that are copied at a time."""

LOOK = "look at the images, --weights and --image-size"


def find_data_cautions(
    items: Items,
    contents: DatasetContents,
    readable: Bool[np.ndarray, "N"],
    splits: Mapping[Split, Int[np.ndarray, "_"]],
    features: Float[np.ndarray, "R D"],
) -> list[str]:
    """Return the cautions about the data of a study, each with the number of images and an example.

    Args:
        items: All N items.
        contents: The contents of their image files.
        readable: Which R of the items have a readable image.
        splits: The splits, as indices of the readable items.
        features: The features of the readable items.

    Raises:
        UserError: All images have the same features.
    """
    rows = np.flatnonzero(readable)
    names = [items.image_names[row] for row in rows]
    digests = [contents.digests[row] for row in rows]
    frames = [items.image_names[row] for row in rows if ImageKind.FRAMES in contents.kinds[row]]
    return [
        *_find_shared(names, digests, splits),
        *(
            [f"{counted(len(frames), 'image file')} with several frames; the first is used (first file: {frames[0]})"]
            if frames
            else []
        ),
        *_find_equal_features(items, names, digests, features),
    ]


def find_chance(task: Task, baselines: Mapping[str, QuestionLists]) -> list[str]:
    """Return a caution if no untrained baseline is better than random answers on val, by more than the interval.

    Args:
        task: The questions on val.
        baselines: The scores of each baseline.
    """
    generator, metric = np.random.default_rng(0), task.objective.name

    def guess(queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]) -> Float[np.ndarray, "B Q C"]:
        return generator.random((*queries.shape, sets.shape[1]), dtype=np.float32)

    chance = task.evaluate(guess, Split.VAL)[metric]
    scores = {name: questions[metric] for name, questions in baselines.items()}
    if any(interval_ahead(questions, chance).low > 0 for questions in scores.values()):
        return []
    values = ", ".join(f"{name} {interval_of(questions).mean:.4f}" for name, questions in scores.items())
    return [
        f"no baseline without training is better on val than random answers, {metric} "
        f"{interval_of(chance).mean:.4f} ({values}); {LOOK}, and the labels"
    ]


def _find_shared(
    names: Sequence[str], digests: Sequence[str], splits: Mapping[Split, Int[np.ndarray, "_"]]
) -> list[str]:
    """Return a caution if files of different splits are equal. An item that a dataset puts into two splits is not."""
    places: defaultdict[str, list[tuple[int, Split]]] = defaultdict(list)
    for split, indices in splits.items():
        for index in map(int, indices):
            places[digests[index]].append((index, split))
    shared = [pair for of_file in places.values() if (pair := _first_shared(of_file))]
    if not shared:
        return []
    (first, its_split), (second, other_split) = shared[0]
    example = f"{names[first]} in {its_split} and {names[second]} in {other_split}"
    return [f"{counted(len(shared), 'image file')} in two splits, byte for byte (first: {example})"]


def _first_shared(places: Sequence[tuple[int, Split]]) -> tuple[tuple[int, Split], tuple[int, Split]] | None:
    if len({index for index, _ in places}) < 2:
        return None
    return next((pair for pair in combinations(places, 2) if _is_shared(*pair)), None)


def _is_shared(place: tuple[int, Split], other: tuple[int, Split]) -> bool:
    return place[0] != other[0] and place[1] is not other[1]


def _find_equal_features(
    items: Items, names: Sequence[str], digests: Sequence[str], features: Float[np.ndarray, "R D"]
) -> list[str]:
    """Return cautions about features that are equal though the files differ, or that are nearly the same for all."""
    if len(features) < 2 or features.shape[1] == 0:
        return []
    files_of: defaultdict[bytes, dict[str, str]] = defaultdict(dict)
    for row, name, digest in zip(_rounded_rows(features), names, digests, strict=True):
        files_of[row].setdefault(digest, name)
    if len(files_of) == 1:
        raise UserError(
            f"{items.image_root}: the features of all {len(names)} images are the same, so that no method can tell "
            f"them apart; {LOOK}."
        )
    cautions: list[str] = []
    if equal := [tuple(files.values()) for files in files_of.values() if len(files) > 1]:
        count, (first, second, *_) = sum(len(files) for files in equal), equal[0]
        cautions.append(
            f"{count} of {len(names)} images have the same features as another, different file (first: {first} and "
            f"{second}); {LOOK}"
        )
    spread = _measure_spread(features)
    if spread < NEARLY_SAME:
        cautions.append(
            f"the features of all {len(names)} images are nearly the same: half of them differ from their mean by less "
            f"than {spread:.2g} of its length; {LOOK}"
        )
    return cautions


def _rounded_rows(features: Float[np.ndarray, "R D"]) -> Iterator[bytes]:
    """Yield a hash of each row, equal for rows that differ by rounding only."""
    step = max(float(features.max()), -float(features.min())) * ROUNDING or 1.0
    for rows in _batches(features):
        for row in np.rint(rows / step).astype(np.int32):
            yield hashlib.blake2b(row.tobytes(), digest_size=16).digest()


def _measure_spread(features: Float[np.ndarray, "R D"]) -> float:
    """Return the median distance of features from their mean, as a part of the length of the mean."""
    mean = features.mean(axis=0)
    distances = np.concatenate([np.linalg.norm(rows - mean, axis=1) for rows in _batches(features)])
    return float(np.median(distances)) / max(float(np.linalg.norm(mean)), 1e-30)


def _batches(features: Float[np.ndarray, "R D"]) -> Iterator[Float[np.ndarray, "n D"]]:
    """Split the rows into batches, since a copy of all may not fit in memory."""
    for start in range(0, len(features), BATCH_SIZE):
        yield features[start : start + BATCH_SIZE]
