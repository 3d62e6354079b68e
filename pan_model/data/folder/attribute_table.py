"""Read attributes.csv: the first column is an image's path, each further column an attribute with 1, 0 or nothing.

Spreadsheets write it in many ways. A byte-order mark, semicolons or tabs, quotes, blank rows and columns, backslashes,
and words such as TRUE or no are read; what has two meanings is refused.
"""

import csv
import io
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from pan_model.command_line import counted
from pan_model.data.folder.image_files import fold_name
from pan_model.data.source_files import bad_line, stays_inside
from pan_model.errors import UserError
from pan_model.files import decode_user_text
from pan_model.shapes import Int

TABLE = "attributes.csv"
REPEATED_ROW = f"row of {TABLE} that repeats another"

_DELIMITERS = (",", ";", "\t")
_PLAIN = {"1": 1, "0": 0, "": -1}
_WORDS = {
    **dict.fromkeys(("true", "yes", "1.0", "1,0"), 1),
    **dict.fromkeys(("false", "no", "0.0", "0,0"), 0),
    **dict.fromkeys(("?", "na", "n/a", "nan", "unknown"), -1),
}
_RULE = "1, 0 or nothing (unknown)"


@dataclass(frozen=True, kw_only=True, eq=False)
class AttributeTable:
    """The attributes of N images.

    Attributes:
        names: The names of A attributes.
        values: 1 present, 0 absent, -1 unknown, shape (N, A).
        left_out: How many rows were left out, by reason.
        notes: Sentences on what was read in another way than written.
    """

    names: tuple[str, ...]
    values: Int[np.ndarray, "N A"]
    left_out: dict[str, int] = field(default_factory=dict[str, int])
    notes: tuple[str, ...] = ()


class _Row(NamedTuple):
    """A row and the line on which it ends."""

    line: int
    cells: list[str]


def find_table(data_root: Path) -> Path | None:
    """Return attributes.csv of a data root, in any case; None if there is none.

    Raises:
        UserError: Several files differ only in case.
    """
    exact = data_root / TABLE
    if exact.is_file():
        return exact
    if not data_root.is_dir():
        return None
    similar = [path for path in sorted(data_root.iterdir()) if path.name.lower() == TABLE and path.is_file()]
    if len(similar) > 1:
        raise UserError(
            f"{data_root}: {similar[0].name} and {similar[1].name} differ only in case; keep one, as {TABLE}."
        )
    return similar[0] if similar else None


def read_table(path: Path, image_root: Path, image_names: Sequence[str]) -> AttributeTable:
    """Read the attributes of images.

    Args:
        path: The table.
        image_root: The folder of the images, for messages.
        image_names: The paths of N images, composed (NFC).

    Raises:
        UserError: The table is no CSV in UTF-8, a column has no name or that of another, a value is none of 1, 0 and
            nothing, an image is not there or has two rows with other values, or all values are unknown.
    """
    header, *rows = _read_rows(path)
    index = _ImageIndex(image_names)
    names = _read_header(path, header, index)
    values = np.full((len(image_names), len(names)), -1, dtype=np.int8)
    row_of: dict[int, int] = {}
    worded: Counter[str] = Counter()
    num_similar = num_repeats = 0
    for row in rows:
        image, is_similar = index.find(path, row, image_root)
        num_similar += is_similar
        read = np.array([_read_value(path, row.line, text, worded) for text in row.cells[1:]], dtype=np.int8)
        earlier = row_of.setdefault(image, row.line)
        if earlier == row.line:
            values[image] = read
        elif (values[image] == read).all():
            num_repeats += 1
        else:
            column = int((values[image] != read).argmax())
            raise UserError(
                f"{path} line {row.line}: expected the values of line {earlier}, which has the same image "
                f"{image_names[image]!r}, got another value of {names[column]!r}; keep one row."
            )
    if (values < 0).all():
        raise UserError(f"{path}: expected values 1 or 0, got none; without the file the search is unsupervised.")
    notes = [
        (len(image_names) - len(row_of), "image", f"without a row in {path.name}: unknown attributes"),
        (worded.total(), "value", f"of {path.name} read as {_RULE}: {', '.join(sorted(worded)[:5])}"),
        (num_similar, "row", f"of {path.name} with the image in another case or form of Unicode"),
    ]
    return AttributeTable(
        names=names,
        values=values,
        left_out={REPEATED_ROW: num_repeats} if num_repeats else {},
        notes=tuple(f"{counted(number, what)} {text}" for number, what, text in notes if number),
    )


def _read_rows(path: Path) -> list[_Row]:
    """Return the header and the rows, without blank rows and columns, all as long as the header."""
    text = _decode(path)
    declared = text[4:5] if text[:4].lower() == "sep=" else ""  # a first line that Excel reads
    delimiters = [declared] if declared else [mark for mark in _DELIMITERS if mark in text]
    tables = [_parse(path, text, delimiter) for delimiter in delimiters or [","]]
    tables = [table[1:] if declared else table for table in tables]
    whole = [table for table in tables if table and len({len(row.cells) for row in table}) == 1]
    rows = max(whole or tables, key=lambda table: len(table[0].cells) if table else 0)
    if not rows:
        raise UserError(f'{path}: expected a header "file,<attribute>,.." and rows, got an empty file.')
    width = len(rows[0].cells)
    for row in rows:
        if len(row.cells) != width:
            raise bad_line(path, row.line, f"{width} cells as in the header", f"{len(row.cells)}")
    kept = [column for column in range(width) if any(row.cells[column] for row in rows)]
    return [_Row(row.line, [row.cells[column] for column in kept]) for row in rows]


def _decode(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from error
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):  # "Unicode text" of Excel
        return content.decode("utf-16", errors="replace")
    try:
        return decode_user_text(content)
    except UserError as error:
        raise UserError(f"{path}: {error} (in a spreadsheet: save as CSV UTF-8).") from error


def _parse(path: Path, text: str, delimiter: str) -> list[_Row]:
    """Return the rows that are not blank, with stripped cells."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows: list[_Row] = []
    try:
        for cells in reader:
            row = [unicodedata.normalize("NFC", cell.strip()) for cell in cells]
            if any(row):
                rows.append(_Row(reader.line_num, row))
    except csv.Error as error:
        raise UserError(f"{path} line {reader.line_num}: expected CSV, got {error}.") from error
    return rows


def _read_header(path: Path, header: _Row, index: "_ImageIndex") -> tuple[str, ...]:
    first, *names = header.cells
    if index.holds(first):
        raise bad_line(path, header.line, 'a header "file,<attribute>,.."', first)
    if not names:
        raise bad_line(path, header.line, 'a header "file,<attribute>,.." with at least one attribute', first)
    for number, name in enumerate(names, start=2):
        if not name:
            raise UserError(
                f"{path} line {header.line}: expected the name of an attribute in column {number}, got none."
            )
        if (earlier := names.index(name) + 2) != number:
            raise UserError(
                f"{path} line {header.line}: expected different names, got {name!r} in columns {earlier} and {number}."
            )
    return tuple(names)


def _read_value(path: Path, line: int, text: str, worded: Counter[str]) -> int:
    if text in _PLAIN:
        return _PLAIN[text]
    if text.lower() not in _WORDS:
        raise bad_line(path, line, f"values {_RULE}", text)
    worded[text] += 1
    return _WORDS[text.lower()]


class _ImageIndex:
    """Images by their paths, and by their paths without differences in case or form of Unicode."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._exact = {name: index for index, name in enumerate(names)}
        self._folded: defaultdict[str, list[int]] = defaultdict(list)
        for index, name in enumerate(names):
            self._folded[fold_name(name)].append(index)

    def holds(self, text: str) -> bool:
        """Return whether a cell is the path of an image."""
        return any(path in self._exact for path in _paths(text))

    def find(self, path: Path, row: _Row, image_root: Path) -> tuple[int, bool]:
        """Return the image of a row, and whether its name differs in case or form of Unicode.

        Raises:
            UserError: No image has this path, or several have it but for case.
        """
        text = row.cells[0]
        if not text or not stays_inside(PurePosixPath(_paths(text)[0])):
            raise bad_line(path, row.line, f"a path in {image_root.name}/", text)
        for name in _paths(text):
            if name in self._exact:
                return self._exact[name], False
        for name in _paths(text):
            similar = self._folded.get(fold_name(name), [])
            if len(similar) == 1:
                return similar[0], True
            if similar:
                shown = " and ".join(ascii(self._names[index]) for index in similar[:2])
                raise UserError(f"{path} line {row.line}: expected the path of one image, got {text!r} for {shown}.")
        raise UserError(f"{path} line {row.line}: {image_root / _paths(text)[0]}: no such image{self._suggest(text)}.")

    def _suggest(self, text: str) -> str:
        """Return the image with the same file name, if the folder of the class is missing or another."""
        file = PurePosixPath(_paths(text)[0]).name
        same = [name for name in self._names if PurePosixPath(name).name == file]
        return f"; did you mean {same[0]!r}?" if len(same) == 1 else ""


def _paths(text: str) -> tuple[str, ...]:
    r"""Return the paths that a cell may mean: relative to images/ or to its parent folder.

    >>> _paths(r"images\cats\a.jpg")
    ('images/cats/a.jpg', 'cats/a.jpg')
    """
    path = str(PurePosixPath(text.replace("\\", "/")))
    inner = path.removeprefix("images/")
    return (path,) if inner == path else (path, inner)
