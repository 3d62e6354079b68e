"""Find the folder of a dataset in the data root, also where an archive was unpacked in another way.

Archives unpack to CUB_200_2011/CUB_200_2011/ or `In-shop Clothes Retrieval Benchmark/`, and users name the dataset's
own folder as the data root. A folder is taken if it is the only one that holds the dataset's marker file.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pan_model.errors import UserError

_NUM_SHOWN = 3  # folders that a message lists


@dataclass(frozen=True, kw_only=True)
class Place:
    """The folder of a dataset.

    Attributes:
        folder: The folder to read.
        note: A sentence if it is not the folder that the dataset usually has.
        hint: What lies in the data root instead, if the folder is missing.
    """

    folder: Path
    note: str = ""
    hint: str = ""


def find_place(data_root: Path, name: str, prefixes: tuple[str, ...], markers: tuple[str, ...]) -> Place:
    """Find the folder of a dataset: the usual one, or else the only one that holds a marker.

    Searched are the data root itself, its folders whose names begin with a prefix, and the folders in these.

    Args:
        data_root: The folder that holds the datasets' folders.
        name: The usual folder below it.
        prefixes: How other names of the folder begin, lower-case letters and digits only.
        markers: Files of which the folder holds at least one.

    Raises:
        UserError: Several folders hold a marker, but not the usual one.
    """
    usual = data_root / name
    if not markers or _holds(usual, markers):
        return Place(folder=usual)
    candidates = [data_root, *_nested(data_root, prefixes)]
    found = [folder for folder in candidates if _holds(folder, markers)]
    found = [folder for folder in found if folder.parent not in found or folder.parent == data_root]
    found = [folder for index, folder in enumerate(found) if not any(folder.samefile(known) for known in found[:index])]
    if len(found) > 1:
        shown = ", ".join(map(str, found[:_NUM_SHOWN]))
        raise UserError(
            f"{usual}: must hold {markers[0]}, got none there and one in each of {shown}; name the right one {name}/."
        )
    if found:
        return Place(folder=found[0], note=f"read in {found[0]}, since {usual} has no {markers[0]}")
    return Place(folder=usual, hint=_describe_beside(data_root, usual, prefixes))


def list_folders(folder: Path) -> list[str]:
    """Return the names of the folders in a folder that are not hidden, sorted; empty if it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())
    except OSError:
        return []


def _holds(folder: Path, markers: tuple[str, ...]) -> bool:
    return any((folder / marker).is_file() for marker in markers)


def _nested(data_root: Path, prefixes: tuple[str, ...]) -> Iterator[Path]:
    """Yield the folders in the data root that are named similarly, and the folders in these."""
    for name in list_folders(data_root):
        if _is_similar(name, prefixes):
            yield data_root / name
            yield from (data_root / name / nested for nested in list_folders(data_root / name))


def _is_similar(name: str, prefixes: tuple[str, ...]) -> bool:
    """Return whether a name begins like one of the prefixes.

    >>> _is_similar("In-shop Clothes Retrieval Benchmark", ("inshop",))
    True
    """
    return "".join(filter(str.isalnum, name.lower())).startswith(prefixes)


def _describe_beside(data_root: Path, usual: Path, prefixes: tuple[str, ...]) -> str:
    """Describe what the data root holds instead of the usual folder."""
    if not data_root.is_dir():
        return f"{data_root} does not exist: give the folder that holds {usual.name}/ as --data-root"
    try:
        with os.scandir(data_root) as entries:
            archives = sorted(
                entry.name
                for entry in entries
                if _is_similar(entry.name, prefixes) and entry.is_file() and not entry.name.endswith(".part")
            )
    except OSError:
        archives = []
    folders = [name for name in list_folders(data_root) if name != usual.name]
    similar = [name for name in folders if _is_similar(name, prefixes)]
    if archives and not usual.is_dir():
        return f"{data_root / archives[0]} lies there: unpack it"
    if similar:
        return f"{data_root / similar[0]}/ lies next to it, but is not complete either"
    if folders and not usual.is_dir():
        shown = ", ".join(f"{name}/" for name in folders[:_NUM_SHOWN]) + (", .." if len(folders) > _NUM_SHOWN else "")
        return f"{data_root} holds {shown}: rename the dataset's folder to {usual.name}/, or give another --data-root"
    return ""


def find_images_place(data_root: Path) -> Place:
    """Find images/ of a data root: the folder itself, one whose name differs in case, or one in a folder of this name.

    A data root that is named images itself and holds no other one is taken, too.

    Raises:
        UserError: Several folders differ only in case.
    """
    usual = data_root / "images"
    similar = [name for name in list_folders(data_root) if name.lower() == "images"]
    if not usual.is_dir() and len(similar) > 1:
        raise UserError(f"{usual}: no such folder, but {similar[0]}/ and {similar[1]}/; name one of them images/.")
    if not similar and data_root.name.lower() == "images" and data_root.is_dir():
        return Place(folder=data_root, note=f"read in {data_root} itself, which is named images")
    folder = usual if usual.is_dir() or not similar else data_root / similar[0]
    if list_folders(folder) == ["images"] and list_folders(folder / "images"):
        folder = folder / "images"
    return Place(folder=folder, note="" if folder == usual else f"read in {folder}")


PLACES: dict[str, Callable[[Path], Place]] = {
    "cub": partial(find_place, name="CUB_200_2011", prefixes=("cub",), markers=("images.txt",)),
    "inshop": partial(
        find_place,
        name="In-shop",
        prefixes=("inshop", "deepfashion"),
        markers=("Eval/list_eval_partition.txt", "list_eval_partition.txt"),
    ),
    "polyvore": partial(
        find_place, name="polyvore_outfits", prefixes=("polyvore",), markers=("polyvore_item_metadata.json",)
    ),
    "folder": find_images_place,
}
"""How the folder of each dataset is found in a data root."""
