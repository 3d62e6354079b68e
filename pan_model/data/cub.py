"""Reader of CUB-200-2011 (Wah et al., 2011) in its official layout, and of any dataset with the same layout."""

import re
import warnings
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from pan_model.data.items import Items
from pan_model.data.source_files import HIDDEN_REASON, bad_line, is_hidden, read_lines, require_images, stays_inside
from pan_model.errors import UserError
from pan_model.shapes import Bool, Int, UInt8

LAYOUT = "images.txt, image_class_labels.txt, images/, attributes.txt and attributes/image_attribute_labels.txt"
_IMAGE_FORM = '"<id> <folder/file>"'
_CLASS_FORM = '"<image id> <class id>"'
_ATTRIBUTE_FORM = '"<id> <name>"'
_LABEL_FORM = '"<image id> <attribute id> <present> <certainty> .."'
_INTEGER = re.compile(r"[0-9]{1,18}", re.ASCII)  # 18 digits always fit int64


def read_cub(folder: Path) -> Items:
    """Read the dataset in `folder`. Classes are the folders of images/, attributes the image-level labels.

    Ids may have gaps and any order. Items keep the order of images.txt. Classes are numbered in the sorted order of
    their folders. A label without a row has certainty 0. Rows of images.txt whose file name starts with `._` are left
    out and counted.

    Args:
        folder: The folder with images.txt, image_class_labels.txt, images/, attributes/image_attribute_labels.txt, and
            attributes.txt in attributes/, in `folder` or in its parent.

    Raises:
        UserError: A file or image is missing, or a line is malformed, unknown, repeated or contradictory. The message
            names the file and the line.
    """
    listing, labels = folder / "images.txt", folder / "attributes" / "image_attribute_labels.txt"
    _require_layout(folder, (listing, folder / "image_class_labels.txt", labels))
    listed = _read_images(listing)
    images = {key: image for key, image in listed.items() if not is_hidden(image.value)}
    _check_classes(folder, listed, images)
    image_files = require_images(folder / "images", [image.value for image in images.values()], listing.name)
    names = _read_entries(_find_attribute_names(folder), _ATTRIBUTE_FORM)
    attributes, certainty = _read_labels(labels, list(listed), list(names))
    kept = np.array([key in images for key in listed], dtype=bool)
    folders = [_class_folder(image) for image in images.values()]
    class_names = sorted(set(folders))
    class_index = {name: index for index, name in enumerate(class_names)}
    hidden = len(listed) - len(images)
    return Items(
        image_root=folder / "images",
        image_names=tuple(image.value for image in images.values()),
        classes=np.array([class_index[name] for name in folders], dtype=np.int64),
        class_names=tuple(class_names),
        attributes=attributes[kept],
        certainty=certainty[kept],
        attribute_names=tuple(name.value for name in names.values()),
        left_out={HIDDEN_REASON: hidden} if hidden else {},
        files=image_files.files,
        notes=image_files.notes,
    )


class _Entry(NamedTuple):
    """The value of an id and the line that it was read from."""

    value: str
    line: int


def _require_layout(folder: Path, files: tuple[Path, ...]) -> None:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; --data-root must hold {folder.name}/ with images.txt.")
    for file in files:
        if not file.is_file():
            raise UserError(f"{file}: no such file; {folder} must hold {LAYOUT}.")
    if not (folder / "images").is_dir():
        raise UserError(f"{folder / 'images'}: no such folder; {folder} must hold {LAYOUT}.")


def _find_attribute_names(folder: Path) -> Path:
    """Find attributes.txt, which the official archive has next to the folder and most copies inside it."""
    places = (folder / "attributes", folder, folder.absolute().parent)
    for place in places:
        if (place / "attributes.txt").is_file():
            return place / "attributes.txt"
    raise UserError(f"{places[0] / 'attributes.txt'}: no such file, nor in {folder} or its parent folder.")


def _read_entries(path: Path, form: str) -> dict[int, _Entry]:
    """Read lines "<id> <value>" into a dict from id to entry, in file order."""
    entries: dict[int, _Entry] = {}
    for line, text in read_lines(path):
        key, value = (*text.split(maxsplit=1), "")[:2]
        if not value or not _INTEGER.fullmatch(key):
            raise bad_line(path, line, form, text)
        earlier = entries.setdefault(int(key), _Entry(value, line))
        if earlier.line != line:
            raise UserError(f"{path} line {line}: expected ids that differ, got {key} as on line {earlier.line}.")
    if not entries:
        raise UserError(f"{path}: expected lines {form}, got an empty file.")
    return entries


def _read_images(path: Path) -> dict[int, _Entry]:
    """Read images.txt. Every path must lie in a class folder, stay in images/ and be listed once."""
    seen: dict[PurePosixPath, int] = {}
    entries = _read_entries(path, _IMAGE_FORM)
    for key, (value, line) in entries.items():
        name = PurePosixPath(value)
        if not stays_inside(name):
            raise bad_line(path, line, "a path that stays in images/", value)
        if len(name.parts) < 2:
            raise bad_line(path, line, _IMAGE_FORM, f"{key} {value}")
        if seen.setdefault(name, line) != line:
            raise UserError(f"{path} line {line}: expected files that differ, got {value!r} as on line {seen[name]}.")
    return entries


def _class_folder(image: _Entry) -> str:
    return PurePosixPath(image.value).parts[0]


def _check_classes(folder: Path, listed: dict[int, _Entry], images: dict[int, _Entry]) -> None:
    """Raise UserError if class ids do not match the folders of the images one to one."""
    path = folder / "image_class_labels.txt"
    labels = _read_entries(path, _CLASS_FORM)
    folder_of: dict[int, str] = {}
    class_of: dict[str, int] = {}
    for key, (value, line) in labels.items():
        if not _INTEGER.fullmatch(value):
            raise bad_line(path, line, _CLASS_FORM, f"{key} {value}")
        if key not in listed:
            raise UserError(f"{path} line {line}: expected an image id of images.txt, got {key}.")
        if key not in images:
            continue
        name, number = _class_folder(images[key]), int(value)
        if (known_name := folder_of.setdefault(number, name)) != name:
            raise UserError(
                f"{path} line {line}: expected one folder for class {number}, got {known_name!r} and {name!r}."
            )
        if (known := class_of.setdefault(name, number)) != number:
            raise UserError(f"{path} line {line}: expected one class for folder {name!r}, got {known} and {number}.")
    for key, image in images.items():
        if key not in labels:
            place = f"{folder / 'images.txt'} line {image.line}"
            raise UserError(f"{place}: expected a line for image {key} in {path.name}, got none.")


def _read_labels(
    path: Path, image_ids: list[int], attribute_ids: list[int]
) -> tuple[Bool[np.ndarray, "N A"], UInt8[np.ndarray, "N A"]]:
    """Read the label rows into two tables: the presence of each attribute, and its certainty."""
    rows = _load_rows(path)
    image, attribute = _positions(rows[:, 0], image_ids), _positions(rows[:, 1], attribute_ids)
    present, sureness = rows[:, 2], rows[:, 3]
    _refuse(path, image < 0, "an image id of images.txt")
    _refuse(path, attribute < 0, "an attribute id of attributes.txt")
    _refuse(path, (present != 0) & (present != 1), "present to be 0 or 1")
    _refuse(path, (sureness < 1) | (sureness > 4), "certainty to be 1 to 4")
    _refuse(path, _repeats(image * len(attribute_ids) + attribute), "one row for an image and attribute")
    attributes = np.zeros((len(image_ids), len(attribute_ids)), dtype=bool)
    certainty = np.zeros(attributes.shape, dtype=np.uint8)
    attributes[image, attribute] = present
    certainty[image, attribute] = sureness
    return attributes, certainty


def _load_rows(path: Path) -> Int[np.ndarray, "R 4"]:
    """Load the first four fields of every row. Rows of two images in the official file have an extra fifth field."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # numpy only warns of an empty file and of ids like 1.5
            return np.loadtxt(path, np.int64, comments=None, usecols=range(4), ndmin=2, encoding="utf-8-sig")
    except (ValueError, Warning, OSError) as error:
        raise _explain_rows(path, error) from error


def _explain_rows(path: Path, error: Exception) -> UserError:
    """Return an error that names the line that numpy could not load."""
    line = 0
    for line, text in read_lines(path):
        fields = text.split()[:4]
        if len(fields) < 4 or not all(map(_INTEGER.fullmatch, fields)):
            return bad_line(path, line, _LABEL_FORM, text)
    got = "an empty file" if line == 0 else " ".join(str(error).split())
    return UserError(f"{path}: expected lines {_LABEL_FORM}, got {got}.")


def _positions(ids: Int[np.ndarray, "R"], known: list[int]) -> Int[np.ndarray, "R"]:
    """Return the position of each id in `known`, -1 if it is not in it."""
    order = np.argsort(known)
    ascending = np.array(known)[order]
    slot = np.searchsorted(ascending, ids).clip(max=len(known) - 1)
    return np.where(ascending[slot] == ids, order[slot], -1)


def _repeats(cells: Int[np.ndarray, "R"]) -> Bool[np.ndarray, "R"]:
    """Mark rows whose cell was filled by an earlier row."""
    if np.bincount(cells).max() == 1:
        return np.zeros(len(cells), dtype=bool)
    first = np.unique(cells, return_index=True)[1]
    return ~np.isin(np.arange(len(cells)), first)


def _refuse(path: Path, bad: Bool[np.ndarray, "R"], expected: str) -> None:
    if not bad.any():
        return
    row = int(bad.argmax())
    line, text = next(numbered for index, numbered in enumerate(read_lines(path)) if index == row)
    raise bad_line(path, line, expected, text)
