"""The identity of a dataset: a hash of its contents, independent of its folder.

Reading every image takes minutes for a large dataset, so the hash of each image is remembered in the cache folder
together with the file's size and times. An unchanged image is not read again.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pan_model.data.items import Items
from pan_model.errors import UserError
from pan_model.files import atomic_write, content_key

CACHE_FORMAT = "pan-study/fingerprints/1"
RACY_NS = 5_000_000_000
"""Files that changed less than this before they were read are not remembered.

A second change within the same tick of the file system's clock may leave size and times unchanged.
"""

Clock = Callable[[], int]
"""Return the time in ns since the epoch, comparable to the modification times of files."""


@dataclass(frozen=True)
class _FileHash:
    """The SHA-256 of a file that had this size (bytes), modification time and change time (ns)."""

    size: int
    modified_ns: int
    changed_ns: int
    digest: str


def fingerprint(items: Items, cache_dir: Path | None = None, *, clock: Clock = time.time_ns) -> str:
    """Hash names, classes, attributes, certainty, relations and the bytes of every image.

    Two copies of a dataset in different folders have the same fingerprint. A changed label, pixel or order of the items
    changes it.

    Args:
        items: The dataset.
        cache_dir: Where hashes of images are remembered between calls. None reads every image. A table that is damaged
            or cannot be written is ignored.
        clock: The current time, for tests.

    Returns:
        "sha256:" and 64 hexadecimal digits.

    Raises:
        UserError: An image cannot be read.
    """
    digest = hashlib.sha256()
    for field in _fields(items, cache_dir, clock):
        digest.update(len(field).to_bytes(8, "little"))  # marks the boundary between fields
        digest.update(field)
    return f"sha256:{digest.hexdigest()}"


def _fields(items: Items, cache_dir: Path | None, clock: Clock) -> Iterator[bytes]:
    yield json.dumps([items.class_names, items.image_names, items.attribute_names]).encode()
    yield items.classes.astype("<i8").tobytes()
    yield items.attributes.astype(np.uint8).tobytes()
    yield items.certainty.tobytes()
    if items.relations is not None:
        yield items.relations.content()
    for file_hash in _hash_images(items, cache_dir, clock):
        yield bytes.fromhex(file_hash.digest)


def _hash_images(items: Items, cache_dir: Path | None, clock: Clock) -> Iterable[_FileHash]:
    """Return the hash of every image, and remember those that are new."""
    if cache_dir is None:
        table, remembered = None, dict[str, _FileHash]()
    else:
        table = cache_dir / "fingerprints" / f"{content_key(CACHE_FORMAT, str(items.image_root.resolve()))}.json"
        remembered = _read_table(table)
    start_ns = clock()

    def hash_image(name: str) -> _FileHash:
        return _hash_file(items.image_root / name, remembered.get(name))

    with ThreadPoolExecutor() as pool:  # hashing and reading both release the interpreter's lock
        hashes = dict(zip(items.image_names, pool.map(hash_image, items.image_names), strict=True))
    settled = {
        name: entry for name, entry in hashes.items() if max(entry.modified_ns, entry.changed_ns) < start_ns - RACY_NS
    }
    if table is not None and any(remembered.get(name) != entry for name, entry in settled.items()):
        _write_table(table, remembered | settled)
    return hashes.values()


def _hash_file(path: Path, remembered: _FileHash | None) -> _FileHash:
    """Return the remembered hash of a file if size and times are unchanged; otherwise read the file."""
    try:
        stat = path.stat()  # before the file is read, so that a change during reading is detected next time
        state = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        if remembered is not None and state == (remembered.size, remembered.modified_ns, remembered.changed_ns):
            return remembered
        with path.open("rb") as file:
            return _FileHash(*state, hashlib.file_digest(file, "sha256").hexdigest())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from error


def _read_table(path: Path) -> dict[str, _FileHash]:
    """Read a table of hashes by image name: a line with the checksum of the rest, then JSON. Empty if damaged."""
    try:
        checksum, _, content = path.read_text(encoding="utf-8").partition("\n")
    except (OSError, UnicodeError):
        return {}
    if checksum != _checksum(content):
        return {}
    return {name: _FileHash(*entry) for name, entry in json.loads(content).items()}


def _write_table(path: Path, hashes: dict[str, _FileHash]) -> None:
    content = json.dumps(
        {name: (entry.size, entry.modified_ns, entry.changed_ns, entry.digest) for name, entry in hashes.items()}
    )
    with suppress(OSError), atomic_write(path) as temporary:
        temporary.write_text(f"{_checksum(content)}\n{content}", encoding="utf-8", newline="")


def _checksum(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()
