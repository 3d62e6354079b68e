"""Reader of Polyvore Outfits (Vasileva et al., 2018) and of any dataset with the same layout."""

from collections.abc import Sequence
from enum import StrEnum
from itertools import chain
from pathlib import Path

import numpy as np

from pan_model.data.folder.image_files import FoundImages, find_images
from pan_model.data.items import Items
from pan_model.data.polyvore.attribute_words import ItemText, label_words, mine_words, name_attributes, read_words
from pan_model.data.polyvore.metadata import read_metadata
from pan_model.data.polyvore.official_questions import original_files, read_question_files
from pan_model.data.polyvore.outfit_lists import ListedOutfit, list_item_ids, list_tokens, number_outfits, read_outfits
from pan_model.data.polyvore.outfits import TOO_SMALL, Outfits, drop_small
from pan_model.data.splits import Split
from pan_model.errors import UserError
from pan_model.shapes import Int


class PolyvoreSplit(StrEnum):
    """The two versions of Polyvore Outfits. In disjoint, no item is in two splits."""

    NONDISJOINT = "nondisjoint"
    DISJOINT = "disjoint"


VERSIONS = tuple(split.value for split in PolyvoreSplit)
"""The possible folders of versions."""

METADATA_FILE = "polyvore_item_metadata.json"
OUTFIT_FILES = {Split.TRAIN: "train.json", Split.VAL: "valid.json", Split.TEST: "test.json"}

CERTAIN = 4
"""Certainty of all labels (CUB's scale): whether a word occurs is not a guess."""


def read_polyvore(
    folder: Path, *, version: str = PolyvoreSplit.NONDISJOINT, words: Path | tuple[str, ...] | None = None
) -> Items:
    """Read the dataset in `folder`. Items are the products of all outfits, classes their categories (category_id).

    Items are sorted by id. Their attributes are the words that occur in their title, url_name or description, and
    "none". All labels are certain. `relations` is an `Outfits`. Repeated items of an outfit and items of no outfit are
    left out and counted.

    Args:
        folder: The folder with polyvore_item_metadata.json, images/ and the folder of the version. That folder holds
            {train,valid,test}.json, the original questions, and optionally the harder ones. Without folders of
            versions, these files may lie in `folder` itself.
        version: "nondisjoint" or "disjoint".
        words: The attribute words, or a file that lists them. None mines the most frequent words of the training items.

    Raises:
        UserError: A file or image is missing, or an entry is unknown, repeated or of a wrong type.
    """
    _require_layout(folder, version)
    place = str(words) if isinstance(words, Path) else "words"
    if isinstance(words, Path):
        words = read_words(words)
    outfit_folder = find_version(folder, version)
    listed = {split: read_outfits(outfit_folder / name) for split, name in OUTFIT_FILES.items()}
    if outfit_folder == folder:
        _check_flat_version(folder, version, listed)
    item_ids = list_item_ids(chain.from_iterable(listed.values()))
    image_names = tuple(f"{item_id}.jpg" for item_id in item_ids)
    image_root = find_images_folder(folder)
    image_files = check_images(image_root, image_names)
    metadata = read_metadata(folder / METADATA_FILE, item_ids)
    outfits, num_repeats = relate(outfit_folder, listed, item_ids, metadata.category_ids)
    if words is None:
        words = _mine_training_words(metadata.texts, outfits)
    attributes = label_words(metadata.texts, words, place=place)
    left_out = {"item of no outfit": metadata.num_others, "item that its outfit lists again": num_repeats}
    return Items(
        image_root=image_root,
        image_names=image_names,
        classes=outfits.categories,
        class_names=outfits.category_names,
        attributes=attributes,
        certainty=np.full(attributes.shape, CERTAIN, dtype=np.uint8),
        attribute_names=name_attributes(words),
        left_out={reason: count for reason, count in left_out.items() if count},
        relations=outfits,
        files=image_files.files,
        notes=(*_describe_places(folder, outfit_folder, image_root, version), *image_files.notes),
    )


def polyvore_split(items: Items) -> dict[Split, Int[np.ndarray, "_"]]:
    """Return the items of the outfits of each split, ascending. In nondisjoint an item can be in several splits."""
    if not isinstance(items.relations, Outfits):
        raise TypeError(
            f"{items.image_root}: expected items with outfits, as returned by read_polyvore, "
            f"got {type(items.relations).__name__}."
        )
    return {split: items.relations.items_of(split) for split in items.relations.outfits}


def find_version(folder: Path, version: str) -> Path:
    """Return the folder of a version: its own, or `folder` if the outfits lie there and no version has a folder."""
    flat = all((folder / name).is_file() for name in OUTFIT_FILES.values())
    return folder if flat and not any((folder / name).is_dir() for name in VERSIONS) else folder / version


def find_images_folder(folder: Path) -> Path:
    """Return the folder of the images: images/, or `folder` if there is none and images lie there."""
    images = folder / "images"
    return folder if not images.is_dir() and any(folder.glob("*.[jJ][pP][gG]")) else images


def check_images(root: Path, image_names: Sequence[str]) -> FoundImages:
    """Return the files of the items' images.

    Raises:
        UserError: Images are missing. The message names the first and counts all of them.
    """
    return find_images(
        root,
        image_names,
        "the outfits",
        lambda missing: f"{missing} of the {len(image_names)} items of the outfits have none",
    )


def _check_flat_version(folder: Path, version: str, listed: dict[Split, tuple[ListedOutfit, ...]]) -> None:
    """Raise UserError if files without a folder of a version cannot be those of `disjoint`, which was asked for."""
    items = {split: set(list_item_ids(outfits)) for split, outfits in listed.items()}
    shared = items[Split.TRAIN] & (items[Split.VAL] | items[Split.TEST])
    if version == PolyvoreSplit.DISJOINT and shared:
        raise UserError(
            f"{folder / OUTFIT_FILES[Split.TRAIN]}: expected outfits of version disjoint, got {len(shared)} items that "
            f"are in val or test as well; these files are nondisjoint: give --polyvore-split nondisjoint, or put those "
            f"of disjoint into {folder / version}."
        )


def _describe_places(folder: Path, outfit_folder: Path, image_root: Path, version: str) -> tuple[str, ...]:
    """Describe files that lie in `folder` instead of in the folder of their version or in images/."""
    flat = (f"outfits are read in {folder} itself, as version {version}",) if outfit_folder == folder else ()
    return (*flat, f"images are read in {folder} itself") if image_root == folder else flat


def relate(
    folder: Path, listed: dict[Split, tuple[ListedOutfit, ...]], item_ids: list[str], category_ids: tuple[str, ...]
) -> tuple[Outfits, int]:
    """Number the items of the outfits and read the questions about them.

    Args:
        folder: The folder of the version.
        listed: The outfits of each split.
        item_ids: The ids of N items.
        category_ids: The category of each of these items.

    Returns:
        The outfits, and the number of repeated items that were left out.
    """
    numbers = {item_id: number for number, item_id in enumerate(item_ids)}
    numbered = {split: number_outfits(outfits, numbers) for split, outfits in listed.items()}
    names = {split: tuple(outfit.set_id for outfit in outfits) for split, outfits in listed.items()}
    kept = {split: drop_small(outfits, names[split]) for split, (outfits, _) in numbered.items()}
    lost = {f"{split} {TOO_SMALL}": len(listed[split]) - len(outfits) for split, (outfits, _) in kept.items()}
    asked = [split for split in listed if split is not Split.TRAIN]
    tokens = {split: list_tokens(folder / OUTFIT_FILES[split], listed[split]) for split in asked}
    categories, category_names = number_categories(category_ids)
    outfits = Outfits(
        outfits={split: outfits for split, (outfits, _) in kept.items()},
        set_ids={split: set_ids for split, (_, set_ids) in kept.items()},
        categories=categories,
        category_names=category_names,
        files=read_question_files(folder, tokens, numbers),
        lost={reason: count for reason, count in lost.items() if count},
    )
    return outfits, sum(repeats for _, repeats in numbered.values())


def number_categories(category_ids: tuple[str, ...]) -> tuple[Int[np.ndarray, "N"], tuple[str, ...]]:
    """Number categories in sorted order. Return the number of each item and the names.

    >>> number_categories(("7", "11", "7"))
    (array([1, 0, 1]), ('11', '7'))
    """
    names = sorted(set(category_ids))
    index = {name: number for number, name in enumerate(names)}
    return np.array([index[name] for name in category_ids], dtype=np.int64), tuple(names)


def _mine_training_words(texts: tuple[ItemText, ...], outfits: Outfits) -> tuple[str, ...]:
    return mine_words([texts[item] for item in outfits.items_of(Split.TRAIN).tolist()])


def _require_layout(folder: Path, version: str) -> None:
    if version not in VERSIONS:
        raise UserError(f"unknown version '{version}' of Polyvore Outfits; choose from {', '.join(VERSIONS)}.")
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; --data-root must hold {folder.name}/ with {METADATA_FILE}.")
    names = (*OUTFIT_FILES.values(), *original_files())
    layout = f"{METADATA_FILE}, images/ and {version}/ with {', '.join(names)}"
    outfit_folder = find_version(folder, version)
    for subfolder in (find_images_folder(folder), outfit_folder):
        if not subfolder.is_dir():
            raise UserError(f"{subfolder}: no such folder; {folder} must hold {layout}.")
    for file in (folder / METADATA_FILE, *(outfit_folder / name for name in names)):
        if not file.is_file():
            raise UserError(f"{file}: no such file; {folder} must hold {layout}.")
