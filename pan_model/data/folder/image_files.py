"""Find listed images on disk, also under names that differ in case or in the form of Unicode.

macOS writes decomposed names (NFD, "e" and a combining accent), most lists hold composed ones (NFC), and cameras write
.JPG. Every folder is listed once, so that 100,000 images cost as many look-ups in memory and no access to the disk.
"""

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pan_model.command_line import counted
from pan_model.errors import UserError

_NUM_SHOWN = 3


class FoundImages(NamedTuple):
    """The files of listed images.

    Attributes:
        files: The path of each image on disk, relative to the folder of all images.
        notes: A sentence with the number of files that are named otherwise than in the list, if there are any.
    """

    files: tuple[str, ...]
    notes: tuple[str, ...]


def find_images(root: Path, names: Sequence[str], listing: str, describe_missing: Callable[[int], str]) -> FoundImages:
    """Find the file of every listed image. A file with another case or form of Unicode is taken if it alone fits.

    Args:
        root: The folder that names are relative to.
        names: The listed paths.
        listing: The list, for messages.
        describe_missing: Returns the end of the message from the number of missing images.

    Raises:
        UserError: Images are missing. The message names the first and counts all of them.
    """
    matches = match_files(root, names)
    missing = [name for name, file in zip(names, matches.files, strict=True) if file is None]
    if missing:
        raise UserError(
            f"{root / missing[0]}: no such image; {describe_missing(len(missing))}.{matches.describe(missing[0])}"
        )
    notes: tuple[str, ...] = ()
    if matches.renamed:
        listed, file = names[matches.renamed[0]], matches.files[matches.renamed[0]]
        notes = (
            f"{counted(len(matches.renamed), 'image file')} named otherwise than in {listing}, in case or form of "
            f"Unicode, such as {file!a} for {listed!a}",
        )
    return FoundImages(tuple(file for file in matches.files if file is not None), notes)


class Matches(NamedTuple):
    """The files of listed images, as far as they are there.

    Attributes:
        files: The path of each image on disk; None if it is missing.
        renamed: The positions of the images whose files are named otherwise than in the list.
        describe: Returns a sentence on the files whose names are like a missing one, or nothing.
    """

    files: list[str | None]
    renamed: list[int]
    describe: Callable[[str], str]


def match_files(root: Path, names: Sequence[str]) -> Matches:
    """Find the file of each listed image; see `find_images`. Missing ones have none."""
    folders = _Folders(root)
    files = [folders.find_exactly(name) for name in names]
    taken = {file for file in files if file is not None}
    fitting = {
        place: [similar for similar in folders.find_similar(names[place]) if similar not in taken]
        for place, file in enumerate(files)
        if file is None
    }
    claims = Counter(file for fits in fitting.values() for file in fits)
    renamed = [place for place, fits in fitting.items() if len(fits) == 1 and claims[fits[0]] == 1]
    for place in renamed:
        files[place] = fitting[place][0]
    return Matches(files, renamed, lambda name: _describe_similar(name, folders, taken))


def fold_name(name: str) -> str:
    r"""Return a name without differences in case or form of Unicode.

    >>> fold_name("Cafe\u0301.JPG") == fold_name("caf\u00e9.jpg")
    True
    """
    composed = unicodedata.normalize("NFC", name)
    return composed if composed.isascii() and composed.islower() else unicodedata.normalize("NFC", composed.casefold())


class _Folder(NamedTuple):
    """The names of the files and of the subfolders of a folder."""

    files: frozenset[str]
    folders: frozenset[str]


class _Folders:
    """The folders below a root, each listed on first use."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._listed: dict[str, _Folder] = {}
        self._folded: dict[str, dict[str, list[str]]] = {}
        self._similar: dict[str, list[str]] = {}

    def find_exactly(self, name: str) -> str | None:
        """Return the path of a file with exactly this name; None if there is none."""
        path = str(PurePosixPath(name))
        folder, _, file = path.rpartition("/")
        return path if file in self.contents(folder).files else None

    def find_similar(self, name: str) -> list[str]:
        """Return the paths of all files whose name differs only in case or form of Unicode, in any part."""
        folder, _, file = str(PurePosixPath(name)).rpartition("/")
        if folder not in self._similar:
            self._similar[folder] = self._find_similar_folders(folder)
        folded = fold_name(file)
        return [
            _join(place, found)
            for place in self._similar[folder]
            for found in self._by_folded_name(place).get(folded, [])
        ]

    def _find_similar_folders(self, folder: str) -> list[str]:
        folders = [""]
        for part in PurePosixPath(folder).parts:
            folders = [
                _join(place, candidate)
                for place in folders
                for candidate in sorted(self.contents(place).folders)
                if fold_name(candidate) == fold_name(part)
            ]
        return folders

    def contents(self, folder: str) -> _Folder:
        """List a folder; one that is missing is empty."""
        if folder not in self._listed:
            files, folders = set[str](), set[str]()
            try:
                with os.scandir(self._root / folder) as entries:
                    for entry in entries:
                        if entry.is_dir():
                            folders.add(entry.name)
                        elif entry.is_file():  # false for a link to nowhere
                            files.add(entry.name)
            except (FileNotFoundError, NotADirectoryError):
                pass
            except OSError as error:
                raise UserError(f"{self._root / folder}: cannot be read ({error.strerror}).") from error
            self._listed[folder] = _Folder(frozenset(files), frozenset(folders))
        return self._listed[folder]

    def _by_folded_name(self, folder: str) -> dict[str, list[str]]:
        if folder not in self._folded:
            index: defaultdict[str, list[str]] = defaultdict(list)
            for file in sorted(self.contents(folder).files):
                index[fold_name(file)].append(file)
            self._folded[folder] = index
        return self._folded[folder]


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _describe_similar(name: str, folders: _Folders, taken: set[str]) -> str:
    """Describe the files whose names are like a missing one. Escapes show characters that look the same."""
    similar = folders.find_similar(name)
    shown = ", ".join(map(ascii, similar[:_NUM_SHOWN])) + (", .." if len(similar) > _NUM_SHOWN else "")
    if any(file in taken for file in similar):
        return f" {shown} differs from {name!a} in case or form of Unicode, but is listed as well."
    if len(similar) > 1:
        return f" {shown} differ from {name!a} in case or form of Unicode: keep one of them."
    if similar:
        return f" {shown} fits {name!a} and another listed name, in case or form of Unicode: list it once."
    folder, _, file = str(PurePosixPath(name)).rpartition("/")
    stem = fold_name(PurePosixPath(file).stem)
    other = [near for near in sorted(folders.contents(folder).files) if fold_name(PurePosixPath(near).stem) == stem]
    return f" There is {other[0]!a} instead of {file!a}." if other else ""
