"""Reader of images in a folder a class: images/<class>/<file>, with an optional attributes.csv beside images/."""

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from pan_model.command_line import counted
from pan_model.data.folder.attribute_table import find_table, read_table
from pan_model.data.folder.placement import list_folders
from pan_model.data.items import Items
from pan_model.errors import UserError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
SPLIT_NAMES = frozenset(("train", "training", "val", "valid", "validation", "test", "testing"))

SYSTEM_FILES = "system file, such as .DS_Store"
WITHOUT_CLASS = "image in images/ itself, in no class's folder"
OTHER_FILE = "file that is no image"
BROKEN_LINK = "link to nowhere"
EMPTY_CLASS = "class's folder without images"
UNLABELLED = "no attributes.csv: the search is unsupervised"

_SYSTEM_NAMES = frozenset(("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "icon\r", "$recycle.bin"))
_CERTAIN = 4
_NUM_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class ImageTree:
    """The images below images/, and what else is there.

    Attributes:
        images: The path on disk of each image by its name, both relative to images/ and in the order of names. Names
            are the composed form (NFC) of the paths, so that a copy from macOS is the same dataset.
        left_out: How many entries are no images of a class, by reason.
        num_nested: How many images lie in a subfolder of their class.
    """

    images: dict[str, str]
    left_out: dict[str, int] = field(default_factory=dict[str, int])
    num_nested: int = 0

    @property
    def class_sizes(self) -> dict[str, int]:
        """The number of images of each class, in the sorted order of classes."""
        return dict(sorted(Counter(name.partition("/")[0] for name in self.images).items()))


def has_attributes(folder: Path) -> bool:
    """Return whether attributes.csv lies beside images/, or images/ is missing and it is not known."""
    return not folder.is_dir() or find_table(folder.parent) is not None


def read_folder(folder: Path) -> Items:
    """Read the images in `folder`. Classes are its subfolders, in sorted order; items are sorted by class and path.

    Attributes are the columns of attributes.csv, which lies beside `folder`; values 1 and 0 have certainty 4, empty
    ones certainty 0. Without the file items have no attributes. Files that are no images are left out and counted.

    Args:
        folder: The folder images/ with a folder for each class.

    Raises:
        UserError: The folder has no classes or no images, two names differ only in the form of Unicode, or a line of
            attributes.csv is malformed, contradictory, or of an image that is not there.
    """
    tree = scan_images(folder)
    names = tuple(tree.images)
    class_names = tuple(tree.class_sizes)
    class_index = {name: index for index, name in enumerate(class_names)}
    table = find_table(folder.parent)
    labels = None if table is None else read_table(table, folder, names)
    values = np.full((len(names), 0), -1, dtype=np.int8) if labels is None else labels.values
    return Items(
        image_root=folder,
        image_names=names,
        classes=np.array([class_index[name.partition("/")[0]] for name in names], dtype=np.int64),
        class_names=class_names,
        attributes=values == 1,
        certainty=np.where(values >= 0, _CERTAIN, 0).astype(np.uint8),
        attribute_names=() if labels is None else labels.names,
        left_out=tree.left_out | ({} if labels is None else labels.left_out),
        files=tuple(tree.images.values()),
        notes=(*_describe_tree(tree), *((UNLABELLED, *_other_tables(folder)) if labels is None else labels.notes)),
    )


def scan_images(folder: Path) -> ImageTree:
    """List the images of every class, and count what is no image.

    Raises:
        UserError: The folder is missing or has no images in classes' folders, or two names differ only in the form of
            Unicode.
    """
    _require_classes(folder)
    left_out: Counter[str] = Counter()
    images, extensions = _split_by_extension(_walk(folder, left_out))
    paths = [image for image in images if "/" in image]
    if len(paths) < len(images):
        left_out[WITHOUT_CLASS] = len(images) - len(paths)
    if not paths:
        raise UserError(_describe_no_images(folder, left_out[WITHOUT_CLASS]))
    images = _by_composed_name(folder, paths)
    occupied = {path.partition("/")[0] for path in paths}
    empty = [name for name in list_folders(folder) if name not in occupied and not _is_system(name)]
    if empty:
        left_out[f"{EMPTY_CLASS}: {_shorten(empty)}"] = len(empty)
    if extensions:
        left_out[f"{OTHER_FILE}: {_shorten(sorted(extensions))}"] = extensions.total()
    return ImageTree(images=images, left_out=dict(left_out), num_nested=sum(path.count("/") > 1 for path in paths))


def list_images(folder: Path) -> ImageTree:
    """List all images in a folder and its subfolders, whatever their arrangement, and count the other files.

    Raises:
        UserError: The folder is missing or holds no image, or two names differ only in the form of Unicode.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give a folder with images ({', '.join(EXTENSIONS)}).")
    left_out: Counter[str] = Counter()
    images, extensions = _split_by_extension(_walk(folder, left_out))
    if not images:
        raise UserError(f"{folder}: must hold images ({', '.join(EXTENSIONS)}), also in subfolders, got none.")
    if extensions:
        left_out[f"{OTHER_FILE}: {_shorten(sorted(extensions))}"] = extensions.total()
    return ImageTree(images=_by_composed_name(folder, images), left_out=dict(left_out))


def _split_by_extension(paths: Iterable[str]) -> tuple[list[str], Counter[str]]:
    """Return the images among some files, and how many others have each extension."""
    images: list[str] = []
    extensions: Counter[str] = Counter()
    for path in paths:
        extension = PurePosixPath(path).suffix.lower()
        if extension in EXTENSIONS:
            images.append(path)
        else:
            extensions[extension or "no extension"] += 1
    return images, extensions


def _require_classes(folder: Path) -> None:
    """Raise UserError if there is no folder, or its subfolders cannot be classes."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; {describe_arrangement(folder.parent)}.")
    if inner := find_table(folder):
        raise UserError(f"{inner}: must lie beside {folder.name}/, not in it; move it to {folder.parent}.")
    classes = list_folders(folder)
    if classes and {name.lower() for name in classes} <= SPLIT_NAMES:
        raise UserError(
            f"{folder}: must hold a folder for each class, got {_shorten(classes)}, which are splits; a study makes "
            f"its own splits: move the classes' folders of all of them into {folder}."
        )


def describe_arrangement(data_root: Path) -> str:
    """Describe how images must be arranged in a data root, and what to move if classes' folders lie in it directly."""
    rule = f"--data-root must hold images/ with a folder for each class ({data_root / 'images' / '<class>' / '<file>'})"
    classes = _class_folders(data_root)
    if not classes:
        return rule
    moved = " ".join(f"'{name}'" if " " in name else name for name in classes[:_NUM_SHOWN])
    return (
        f"{rule}, but {data_root} holds classes' folders itself: {_shorten(classes)}; move them: "
        f"cd {data_root} && mkdir images && mv {moved}{' ..' if len(classes) > _NUM_SHOWN else ''} images/"
    )


def _class_folders(folder: Path) -> list[str]:
    """Return the folders in a folder that hold an image, if there are at least two."""
    classes = [name for name in list_folders(folder) if _holds_image(folder / name)]
    return classes if len(classes) > 1 else []


def _holds_image(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(entry.name.lower().endswith(EXTENSIONS) for entry in entries)
    except OSError:
        return False


def _walk(folder: Path, left_out: Counter[str]) -> Iterator[str]:
    """Yield the path of every file in `folder`, relative to it. Count system files and broken links. Follow links."""

    def visit(place: str, parents: tuple[tuple[int, int], ...]) -> Iterator[str]:
        try:
            with os.scandir(folder / place) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError as error:
            raise UserError(f"{folder / place}: cannot be read ({error.strerror}).") from error
        for entry in entries:
            path = f"{place}/{entry.name}" if place else entry.name
            if _is_system(entry.name):
                left_out[SYSTEM_FILES] += 1
            elif entry.is_dir():
                state = entry.stat()
                if (identity := (state.st_dev, state.st_ino)) in parents:
                    raise UserError(f"{folder / path}: is a link to a folder that contains it; remove it.")
                yield from visit(path, (*parents, identity))
            elif entry.is_file():
                yield path
            else:
                left_out[BROKEN_LINK] += 1

    state = folder.stat()
    return visit("", ((state.st_dev, state.st_ino),))


def _is_system(name: str) -> bool:
    """Return whether a file or folder was made by an operating system.

    >>> [_is_system(name) for name in ("._a.jpg", "Thumbs.db", "a.jpg")]
    [True, True, False]
    """
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


def _by_composed_name(folder: Path, paths: list[str]) -> dict[str, str]:
    """Return the paths by their composed form (NFC), sorted by class and path."""
    named: dict[str, str] = {}
    class_of: defaultdict[str, set[str]] = defaultdict(set)
    for path in paths:
        try:
            path.encode()
        except UnicodeEncodeError as error:
            raise UserError(f"{folder}: {path!a}: expected a name in UTF-8; rename it.") from error
        name = unicodedata.normalize("NFC", path)
        class_of[name.partition("/")[0]].add(path.partition("/")[0])
        if (known := named.setdefault(name, path)) != path:
            raise UserError(
                f"{folder}: {known!a} and {path!a} differ only in the form of Unicode; rename or remove one."
            )
    for name, folders in class_of.items():
        if len(folders) > 1:
            shown = " and ".join(sorted(map(ascii, folders)))
            raise UserError(f"{folder}: class {name}: {shown} differ only in the form of Unicode; join the folders.")
    return {name: named[name] for name in sorted(named, key=lambda name: name.split("/"))}


def _describe_no_images(folder: Path, num_without_class: int) -> str:
    if num_without_class:
        return (
            f"{folder}: must hold a folder for each class, got {counted(num_without_class, 'image')} in {folder.name}/ "
            f"itself; move them into {folder / '<class>'}/."
        )
    return f"{folder}: must hold a folder for each class, with images ({', '.join(EXTENSIONS)}), got no image."


def _describe_tree(tree: ImageTree) -> tuple[str, ...]:
    if tree.num_nested == 0:
        return ()
    return (f"{counted(tree.num_nested, 'image')} in subfolders of a class's folder: of the same class",)


def _other_tables(folder: Path) -> tuple[str, ...]:
    """Describe files that may have been meant as attributes.csv."""
    others = [
        path.name
        for path in sorted(folder.parent.iterdir())
        if path.is_file() and path.name.lower().startswith("attributes")
    ]
    return (f"{others[0]} is not read; attributes are read from attributes.csv",) if others else ()


def _shorten(names: Sequence[str]) -> str:
    return ", ".join(names[:_NUM_SHOWN]) + (", .." if len(names) > _NUM_SHOWN else "")
