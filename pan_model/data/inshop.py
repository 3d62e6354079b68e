"""Reader of In-Shop Clothes Retrieval of DeepFashion (Liu et al., CVPR 2016) in its official layouts."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from pan_model.command_line import counted
from pan_model.data.items import Items
from pan_model.data.source_files import HIDDEN_REASON, bad_line, is_hidden, read_lines, require_images, stays_inside
from pan_model.data.splits import Role, Roles
from pan_model.errors import UserError
from pan_model.shapes import Int

LAYOUT = "Eval/list_eval_partition.txt, Anno/list_attr_cloth.txt, Anno/list_attr_items.txt and img/"

LISTED_TWICE = "item listed twice"
LISTED_OTHERWISE = "item listed twice, with other attributes"
WITHOUT_ATTRIBUTES = "item without attributes"
WITHOUT_IMAGES = "item without images"

IMAGE_PLACES = ("img", "Img/img", "Img", "img_highres", "Img/img_highres")
"""The possible folders of the images; those of high resolution are used only where the others are missing."""

ATTRIBUTE_PLACES = ("Anno", "Anno/attributes", ".")
PARTITION_PLACES = ("Eval", ".")

_PARTITION_HEADER = "image_name item_id evaluation_status"
_NAMES_HEADER = "attribute_name"
_LABELS_HEADER = "item_id attribute_labels"

_IMAGE_FORM = '"<path> <item id> train|query|gallery"'
_COUNT = re.compile(r"[0-9]{1,18}", re.ASCII)
_ROLES = {role.name.lower(): role for role in Role}
_VALUES = {"1": 1, "-1": -1, "0": 0}
_DEFINITELY = 4


def read_inshop(folder: Path) -> Items:
    """Read the dataset in `folder`. Classes are the products, named by their ids in sorted order.

    Items keep the order of the partition. Their roles (train, query or gallery) are in `relations`, as `Roles`.

    All images of a product share its attributes: present (1) or absent (-1) with certainty 4, unknown (0) with
    certainty 0. Repeated attribute names are numbered: "belts (2)". `left_out` counts products without a row of
    attributes (certainty 0 throughout), rows of products without an image, and repeated rows of a product. If a
    repeated row contradicts an earlier one, the attribute becomes unknown.

    Args:
        folder: The folder with list_eval_partition.txt (in Eval/ or `folder`), list_attr_cloth.txt and
            list_attr_items.txt (in Anno/, Anno/attributes/ or `folder`), and the images in img/, Img/img/, Img/,
            img_highres/ or Img/img_highres/.

    Raises:
        UserError: A file or image is missing; a line is malformed, unknown, repeated or contradictory; a count differs
            from the number of rows; a product is in train and also in query or gallery; or a role has no images.
    """
    listing, names, labels = _find_files(folder)
    listed = _read_partition(listing)
    images = [image for image in listed if not is_hidden(image.name)]
    _check_parts(listing, images)
    image_names = tuple(image.name for image in images)
    root = _find_images(folder, image_names)
    image_files = require_images(root, image_names, listing.name)
    attribute_names = unique_names(_read_names(names))
    class_names = sorted({image.product for image in images})
    values, left_out = _read_labels(labels, class_names, len(attribute_names))
    class_index = {product: index for index, product in enumerate(class_names)}
    classes = np.array([class_index[image.product] for image in images], dtype=np.int64)
    left_out[HIDDEN_REASON] = len(listed) - len(images)
    return Items(
        image_root=root,
        image_names=image_names,
        classes=classes,
        class_names=tuple(class_names),
        attributes=(values == 1)[classes],
        certainty=np.where(values != 0, _DEFINITELY, 0).astype(np.uint8)[classes],
        attribute_names=attribute_names,
        left_out={reason: count for reason, count in left_out.items() if count},
        relations=Roles(roles=np.array([image.role for image in images], dtype=np.uint8)),
        files=image_files.files,
        notes=(*_describe_place(root), *image_files.notes),
    )


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """Number repeated names.

    >>> unique_names(["belts", "socks", "belts", "belts"])
    ('belts', 'socks', 'belts (2)', 'belts (3)')
    """
    unique: dict[str, None] = {}
    for name in names:
        numbered, number = name, 1
        while numbered in unique:
            number += 1
            numbered = f"{name} ({number})"
        unique[numbered] = None
    return tuple(unique)


class _Image(NamedTuple):
    """A row of the partition file and its line number."""

    name: str
    product: str
    role: Role
    line: int


class _Table(NamedTuple):
    """A file of numbered rows after a line with their count and a line with the column names."""

    path: Path
    line: int
    stated: int
    rows: list[tuple[int, str]]

    def check_count(self, *numbers: int) -> None:
        """Raise UserError if the stated count is none of `numbers`."""
        if self.stated not in numbers:
            raise UserError(
                f"{self.path} line {self.line}: expected {numbers[0]}, the number of rows, got {self.stated}."
            )


def _find_files(folder: Path) -> tuple[Path, Path, Path]:
    """Return the paths of the partition, of the attribute names and of the attribute values."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; --data-root must hold {folder.name}/ with {LAYOUT}.")
    return (
        _find_file(folder, PARTITION_PLACES, "list_eval_partition.txt"),
        _find_file(folder, ATTRIBUTE_PLACES, "list_attr_cloth.txt"),
        _find_file(folder, ATTRIBUTE_PLACES, "list_attr_items.txt"),
    )


def _find_file(folder: Path, places: tuple[str, ...], name: str) -> Path:
    for place in places:
        if (folder / place / name).is_file():
            return folder / place / name
    raise UserError(
        f"{folder / places[0] / name}: no such file, nor in {folder / places[1]}; {folder} must hold {LAYOUT}."
    )


def _find_images(folder: Path, names: Sequence[str]) -> Path:
    """Return the folder that holds one of the images, or the first existing folder if none does."""
    roots = [folder / place for place in IMAGE_PLACES if (folder / place).is_dir()]
    if not roots:
        raise UserError(f"{folder / IMAGE_PLACES[0]}: no such folder, nor Img; {folder} must hold {LAYOUT}.")
    return next((root for root in roots if any((root / name).is_file() for name in names)), roots[0])


def _describe_place(root: Path) -> tuple[str, ...]:
    """Describe an unusual folder of images."""
    return (f"images are read in {root}",) if root.name == "img_highres" else ()


def _read_table(path: Path, header: str) -> _Table:
    """Read a count, a header and the rows. The header must have as many columns as `header` and the same last one."""
    lines = list(read_lines(path))
    if len(lines) < 3:
        raise UserError(f'{path}: expected a count, a line "{header}" and rows, got {counted(len(lines), "line")}.')
    (first, count), (second, columns), *rows = lines
    if not _COUNT.fullmatch(count):
        raise bad_line(path, first, "the number of rows", count)
    got, expected = columns.split(), header.split()
    if len(got) != len(expected) or got[-1] != expected[-1]:
        raise bad_line(path, second, f'"{header}"', columns)
    return _Table(path, first, int(count), rows)


def _read_partition(path: Path) -> list[_Image]:
    """Read the partition. Every path must stay in the image folder and be listed once."""
    table = _read_table(path, _PARTITION_HEADER)
    images = [_read_image(path, line, text) for line, text in table.rows]
    table.check_count(len(images))
    seen: dict[str, int] = {}
    for image in images:
        if (earlier := seen.setdefault(image.name, image.line)) != image.line:
            raise UserError(
                f"{path} line {image.line}: expected images that differ, got {image.name!r} as on line {earlier}."
            )
    return images


def _read_image(path: Path, line: int, text: str) -> _Image:
    """Read one row. The leading img/ of the path is removed, since the image folder may have another name."""
    fields = text.split()
    if len(fields) != 3:
        raise bad_line(path, line, _IMAGE_FORM, text)
    name, product, status = fields
    if status not in _ROLES:
        raise bad_line(path, line, f"evaluation status {', '.join(_ROLES)}", status)
    place = PurePosixPath(name)
    if not stays_inside(place):
        raise bad_line(path, line, "a path that stays in img/", name)
    parts = place.parts[1:] if place.parts[:1] == ("img",) else place.parts
    if not parts:
        raise bad_line(path, line, _IMAGE_FORM, text)
    return _Image(str(PurePosixPath(*parts)), product, _ROLES[status], line)


def _check_parts(path: Path, images: Sequence[_Image]) -> None:
    """Raise UserError if a role has no images, or if a product is in train and in another role."""
    numbers = Counter(image.role for image in images)
    for name, role in _ROLES.items():
        if numbers[role] == 0:
            raise UserError(f"{path}: expected images of train, query and gallery, got none of {name}.")
    first: dict[str, _Image] = {}
    for image in images:
        known = first.setdefault(image.product, image)
        if (known.role is Role.TRAIN) != (image.role is Role.TRAIN):
            raise UserError(
                f"{path} line {image.line}: expected item {image.product} either in train only or not in train, "
                f"got {image.role.name.lower()} and, on line {known.line}, {known.role.name.lower()}."
            )


def _read_names(path: Path) -> list[str]:
    table = _read_table(path, _NAMES_HEADER)
    table.check_count(len(table.rows))
    return [name for _, name in table.rows]


def _read_labels(
    path: Path, products: Sequence[str], num_attributes: int
) -> tuple[Int[np.ndarray, "C A"], dict[str, int]]:
    """Read the attribute values of each product (1, -1 or 0) and count what is left out, by reason.

    The count stated in the file may be that of the rows or that of the products.
    """
    table = _read_table(path, _LABELS_HEADER)
    left_out: Counter[str] = Counter()
    known: dict[str, Int[np.ndarray, "A"]] = {}
    for line, text in table.rows:
        product, *fields = text.split()
        values = _read_values(path, line, fields, num_attributes)
        before = known.setdefault(product, values)
        if before is not values:
            differs = before != values
            left_out[LISTED_OTHERWISE if differs.any() else LISTED_TWICE] += 1
            before[differs] = 0
    table.check_count(len(table.rows), len(known))
    nothing = np.zeros(num_attributes, dtype=np.int8)
    left_out[WITHOUT_ATTRIBUTES] = sum(product not in known for product in products)
    left_out[WITHOUT_IMAGES] = len(known.keys() - set(products))
    return np.stack([known.get(product, nothing) for product in products]), dict(left_out)


def _read_values(path: Path, line: int, fields: Sequence[str], num_attributes: int) -> Int[np.ndarray, "A"]:
    if len(fields) != num_attributes:
        raise UserError(
            f"{path} line {line}: expected {counted(num_attributes, 'value')} after the item id, got {len(fields)}."
        )
    if not _VALUES.keys() >= set(fields):
        wrong = next(field for field in fields if field not in _VALUES)
        raise bad_line(path, line, "values 1, -1 or 0", wrong)
    return np.array([_VALUES[field] for field in fields], dtype=np.int8)
