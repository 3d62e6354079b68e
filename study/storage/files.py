"""Files that are there whole or not at all, in a folder or in an object store.

This is the one door to a study's results. On a disk a file is written under a temporary name, pushed to the disk and
renamed; in a store an object is put whole, which is as good, and a line more is the whole object again.
"""

import io
import json
import os
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from pan_model.errors import UserError
from pan_model.files import atomic_folder, atomic_write, check_writable
from study.config.identity import digest
from study.storage import object_store
from study.storage.location import Location
from study.storage.object_store import StoreError

TOGETHER = 1000
"""How many files are asked of a store side by side; it bounds the memory that they take."""


def write_whole(path: Location, write: Callable[[Path], object]) -> None:
    """Let `write` write a file of this machine, which takes its place whole: readers see the old file or the new."""
    if not isinstance(path, Path):
        with tempfile.TemporaryDirectory(prefix="pan-study-") as folder:
            temporary = Path(folder) / path.name
            write(temporary)
            object_store.put(path, temporary)
        return
    with atomic_write(path) as temporary:
        write(temporary)


def write_text(path: Location, text: str) -> None:
    """Write a text file whole, UTF-8, with the line ends as they are."""
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline=""))


def write_json(path: Location, value: Any) -> None:
    """Write JSON whole; numbers read back exactly, NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def append_line(path: Location, line: str) -> None:
    """Add a line, with its end, to a text file that is small or not there yet; it is kept when this returns."""
    if not isinstance(path, Path):
        (before,) = object_store.get_all([path])
        write_text(path, (before or b"").decode() + line)
        return
    with path.open("a", encoding="utf-8") as lines:
        lines.write(line)
        lines.flush()
        os.fsync(lines.fileno())


def exists(path: Location) -> bool:
    """Whether there is a file, or a folder with something in it."""
    return object_store.is_there(path) if not isinstance(path, Path) else path.exists()


def times_in(folder: Location, *names: str) -> list[dict[str, float]]:
    """For each name, when the files so called in the folders of a folder were written, by those folders' names.

    Times are Unix seconds.
    """
    if isinstance(folder, Path):
        return [{file.parent.name: file.stat().st_mtime for file in folder.glob(f"*/{name}")} for name in names]
    depth = len(folder.parts) + 2
    times = object_store.times_below(folder, lambda file: file.name in names and len(file.parts) == depth)
    return [{file.parent.name: time for file, time in times.items() if file.name == name} for name in names]


def remove(path: Location) -> None:
    """Remove a file; it need not be there."""
    if not isinstance(path, Path):
        object_store.delete(path)
    else:
        path.unlink(missing_ok=True)


def remove_unfinished(path: Location) -> None:
    """Remove what was written of a file by processes that died; a store shows nothing of the kind."""
    if isinstance(path, Path):
        for leftover in path.parent.glob(f".{path.name}.*"):
            leftover.unlink()


def list_files(folder: Location) -> list[Location]:
    """The files straight in a folder, and the folders there, by name; none where there is no folder."""
    if isinstance(folder, Path):
        return sorted(folder.iterdir()) if folder.is_dir() else []
    depth = len(folder.parts)
    return sorted({folder / below.parts[depth] for below in object_store.list_below(folder)})


def find_files(folder: Location, name: str) -> list[Location]:
    """The files of that name straight in the folders of a folder."""
    if isinstance(folder, Path):
        return [*folder.glob(f"*/{name}")]
    depth = len(folder.parts) + 2
    return [file for file in object_store.list_below(folder) if file.name == name and len(file.parts) == depth]


def list_all(folder: Location) -> list[Location]:
    """All files below a folder, however deep, by name."""
    if not isinstance(folder, Path):
        return [*object_store.list_below(folder)]
    return sorted(path for path in folder.rglob("*") if path.is_file())


def fetch(paths: Sequence[Location]) -> dict[Location, bytes | None]:
    """The contents of many files of one store, read side by side, None where there is none; of a disk's, nothing."""
    stored = [path for path in paths if not isinstance(path, Path)]
    return dict(zip(stored, object_store.get_all(stored), strict=True))


def copy_all(copies: Mapping[Location, Path]) -> None:
    """Copy files to files of this machine, some at a time; one that is gone by now is left out."""
    originals = [*copies]
    for start in range(0, len(originals), TOGETHER):
        some = originals[start : start + TOGETHER]
        fetched = fetch(some)
        for original in some:
            content = fetched[original] if original in fetched else read_if_there(original, "copy the others by hand")
            if content is not None:
                write_whole(copies[original], partial(_write_bytes, content))


def _write_bytes(content: bytes, file: Path) -> None:
    file.write_bytes(content)


@contextmanager
def opened(path: Location) -> Generator[IO[bytes] | None]:
    """A file's bytes, to be read from the start; None where there is none."""
    if not isinstance(path, Path):
        (content,) = object_store.get_all([path])
        yield None if content is None else io.BytesIO(content)
    elif path.exists():
        with path.open("rb") as file:
            yield file
    else:
        yield None


def read_json(path: Location, way_out: str) -> Any:
    """Read a JSON file; UserError names the file and the way out when it is missing or broken."""
    content = read_if_there(path, way_out)
    if content is None:
        raise UserError(f"{path}: cannot be read (No such file or directory); {way_out}.")
    return parse_json(path, content, way_out)


def read_if_there(path: Location, way_out: str) -> bytes | None:
    """Read a file, None where there is none; UserError names the file and the way out when that is impossible.

    Raises StoreError when a store does not answer, which is nothing that the file could be mended for.
    """
    if not isinstance(path, Path):
        return object_store.get_all([path])[0]
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); {way_out}.") from error


def parse_json(path: Location, content: bytes, way_out: str) -> Any:
    """Parse a JSON file's content; UserError names the file and the way out when it is broken."""
    try:
        return json.loads(content.decode("utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: is not JSON ({error}); {way_out}.") from error


def check_output(path: Location, what: str, flag: str, probe: str) -> None:
    """Raise UserError where results cannot be written; a store is tried with an object whose name begins with `probe`.

    It says what was to go there, and which flag helps; nothing is left behind.
    """
    if isinstance(path, Path):
        check_writable(path, what, flag)
        return
    try:
        object_store.try_to_write(path / f"{probe}{uuid4().hex}")
    except StoreError as error:
        raise UserError(f"{what} cannot be written to {path}: {error}; mend that, or give another {flag}.") from error


def local_copy(path: Location, folder: Path) -> Path:
    """A file of this machine with the same content: the file itself, or a copy in `folder` of an object.

    It is fetched each time, under a name of its own, and takes the place of an older copy whole.
    """
    if isinstance(path, Path):
        return path
    copy = folder / f"{digest(str(path))[:16]}-{path.name}"
    (content,) = object_store.get_all([path])
    if content is None:
        raise StoreError(f"{path}: cannot be read (no such object)")
    write_whole(copy, partial(_write_bytes, content))
    return copy


def write_folder(folder: Location, write: Callable[[Path], None], *, last: str) -> None:
    """Let `write` fill a folder of this machine, which then is there whole.

    In a store its files come one by one, and the folder counts as whole with the one that comes last.
    """
    if not isinstance(folder, Path):
        with tempfile.TemporaryDirectory(prefix="pan-study-") as temporary:
            write(Path(temporary))
            for file in sorted(Path(temporary).iterdir(), key=lambda file: (file.name == last, file.name)):
                object_store.put(folder / file.name, file)
        return
    with atomic_folder(folder) as temporary:
        write(temporary)
