"""The identity of a dataset: a hash of its contents, independent of its folder, and the kinds of its images.

Reading every image takes minutes for a large dataset, so the hash and the kinds of each image are remembered in the
cache folder together with the file's size and times. An unchanged image is not read again.
"""

import hashlib
import json
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import astuple, dataclass
from enum import StrEnum
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from pan_model.data.items import Items
from pan_model.errors import UserError
from pan_model.files import atomic_write, content_key

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The transpositions that show an image upright, by its EXIF orientation. Orientation 1 needs none."""

_PNG_ORIENTATION = (b"eXIf", b"Raw profile type exif", b"Orientation")
"""Parts of PNG files that may hold an orientation. They may follow the pixels, and PIL decodes all to find them."""


class ImageKind(StrEnum):
    """What is special about an image file.

    Attributes:
        TURNED: The EXIF orientation says that the pixels are not upright.
        TRANSPARENT: Some pixels are not opaque.
        DEEP: Grey values of more than 8 bits, or floating point.
        FRAMES: The file has several frames or pages.
    """

    TURNED = "turned"
    TRANSPARENT = "transparent"
    DEEP = "deep"
    FRAMES = "frames"


def find_kinds(content: bytes) -> tuple[ImageKind, ...]:
    """Return what is special about an image file; nothing if it is not a readable image.

    Pixels are decoded only if the file has a transparency, or is a PNG file that may have an orientation.

    Args:
        content: The bytes of the file.
    """
    try:
        with Image.open(BytesIO(content)) as image:
            is_special = {
                ImageKind.DEEP: is_deep(image),
                ImageKind.FRAMES: has_frames(image),
                ImageKind.TURNED: _may_be_turned(image, content) and orientation(image) != 1,
                ImageKind.TRANSPARENT: not is_deep(image) and image.has_transparency_data and not _is_opaque(image),
            }
    except Exception:  # PIL's decoders raise errors of many types on damaged files, which decoding reports
        return ()
    return tuple(kind for kind in ImageKind if is_special[kind])


def is_deep(image: Image.Image) -> bool:
    """Return whether the grey values of an image have more than 8 bits, or are floating point."""
    return image.mode in ("I", "F") or image.mode.startswith("I;")


def has_frames(image: Image.Image) -> bool:
    """Return whether a file has several frames or pages. MPO files of cameras hold one image and its previews."""
    return image.format != "MPO" and getattr(image, "n_frames", 1) > 1


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of an image, 2 to 8; 1 if it is upright, or its EXIF data is missing or damaged."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # of many types, as for pixels
        return 1
    return value if value in TURNS else 1


def _may_be_turned(image: Image.Image, content: bytes) -> bool:
    """Return whether to look for an orientation. PIL itself turns TIFF files when it decodes them."""
    if image.format == "PNG":
        return any(part in content for part in _PNG_ORIENTATION)
    return image.format != "TIFF"


def _is_opaque(image: Image.Image) -> bool:
    return image.convert("RGBA").getchannel("A").getextrema()[0] == 255


CACHE_FORMAT = "pan-study/fingerprints/2"
DECODING = b"pan-study/decoding/2"
"""Part of the fingerprint if images are turned, transparent or deep: earlier versions decoded them to other pixels.

Their features, decoded images and trials of earlier versions are thereby not used.
"""

DECODED_ANEW = {ImageKind.TURNED, ImageKind.TRANSPARENT, ImageKind.DEEP}
RACY_NS = 5_000_000_000
"""Files that changed less than this before they were read are not remembered.

A second change within the same tick of the file system's clock may leave size and times unchanged.
"""

Clock = Callable[[], int]
"""Return the time in ns since the epoch, comparable to the modification times of files."""


@dataclass(frozen=True)
class _FileHash:
    """The SHA-256 and the kinds of an image file that had this size (bytes), modification and change time (ns)."""

    size: int
    modified_ns: int
    changed_ns: int
    digest: str
    kinds: tuple[ImageKind, ...]


@dataclass(frozen=True, kw_only=True)
class DatasetContents:
    """What the files of a dataset contain.

    Attributes:
        fingerprint: "sha256:" and 64 hexadecimal digits.
        digests: The SHA-256 of each item's image file.
        kinds: What is special about each item's image file.
    """

    fingerprint: str
    digests: tuple[str, ...]
    kinds: tuple[tuple[ImageKind, ...], ...]


def fingerprint(items: Items, cache_dir: Path | None = None, *, clock: Clock = time.time_ns) -> str:
    """Return the fingerprint of a dataset; see `read_contents`."""
    return read_contents(items, cache_dir, clock=clock).fingerprint


def read_contents(items: Items, cache_dir: Path | None = None, *, clock: Clock = time.time_ns) -> DatasetContents:
    """Hash names, classes, attributes, certainty, relations and the bytes of every image.

    Two copies of a dataset in different folders have the same fingerprint. A changed label, pixel or order of the items
    changes it.

    Args:
        items: The dataset.
        cache_dir: Where hashes of images are remembered between calls. None reads every image. A table that is damaged
            or cannot be written is ignored.
        clock: The current time, for tests.

    Raises:
        UserError: An image cannot be read.
    """
    files = _hash_images(items, cache_dir, clock)
    of_items = [files[name] for name in items.image_names]
    digest = hashlib.sha256()
    for field in _fields(items, files.values()):
        digest.update(len(field).to_bytes(8, "little"))  # marks the boundary between fields
        digest.update(field)
    return DatasetContents(
        fingerprint=f"sha256:{digest.hexdigest()}",
        digests=tuple(file.digest for file in of_items),
        kinds=tuple(file.kinds for file in of_items),
    )


def _fields(items: Items, files: Collection[_FileHash]) -> Iterator[bytes]:
    yield json.dumps([items.class_names, items.image_names, items.attribute_names]).encode()
    yield items.classes.astype("<i8").tobytes()
    yield items.attributes.astype(np.uint8).tobytes()
    yield items.certainty.tobytes()
    if items.relations is not None:
        yield items.relations.content()
    for file in files:
        yield bytes.fromhex(file.digest)
    if any(DECODED_ANEW.intersection(file.kinds) for file in files):
        yield DECODING


def _hash_images(items: Items, cache_dir: Path | None, clock: Clock) -> dict[str, _FileHash]:
    """Return the hash of every image by name, and remember those that are new."""
    if cache_dir is None:
        table, remembered = None, dict[str, _FileHash]()
    else:
        table = cache_dir / "fingerprints" / f"{content_key(CACHE_FORMAT, str(items.image_root.resolve()))}.json"
        remembered = _read_table(table)
    start_ns = clock()

    def hash_image(name: str, file: str) -> _FileHash:
        return _hash_file(items.image_root / file, remembered.get(name))

    with ThreadPoolExecutor() as pool:  # hashing and reading both release the interpreter's lock
        digests = pool.map(hash_image, items.image_names, items.file_names)
        hashes = dict(zip(items.image_names, digests, strict=True))
    settled = {
        name: entry for name, entry in hashes.items() if max(entry.modified_ns, entry.changed_ns) < start_ns - RACY_NS
    }
    if table is not None and any(remembered.get(name) != entry for name, entry in settled.items()):
        _write_table(table, remembered | settled)
    return hashes


def _hash_file(path: Path, remembered: _FileHash | None) -> _FileHash:
    """Return the remembered hash of a file if size and times are unchanged; otherwise read the file."""
    try:
        stat = path.stat()  # before the file is read, so that a change during reading is detected next time
        state = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        if remembered is not None and state == (remembered.size, remembered.modified_ns, remembered.changed_ns):
            return remembered
        with path.open("rb") as file:
            content = file.read()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from error
    return _FileHash(*state, hashlib.sha256(content).hexdigest(), find_kinds(content))


def _read_table(path: Path) -> dict[str, _FileHash]:
    """Read a table of hashes by image name: a line with the checksum of the rest, then JSON. Empty if damaged."""
    try:
        checksum, _, content = path.read_text(encoding="utf-8").partition("\n")
    except (OSError, UnicodeError):
        return {}
    if checksum != _checksum(content):
        return {}
    return {
        name: _FileHash(*entry[:4], kinds=tuple(ImageKind(kind) for kind in entry[4]))
        for name, entry in json.loads(content).items()
    }


def _write_table(path: Path, hashes: dict[str, _FileHash]) -> None:
    content = json.dumps({name: astuple(entry) for name, entry in hashes.items()})
    with suppress(OSError), atomic_write(path) as temporary:
        temporary.write_text(f"{_checksum(content)}\n{content}", encoding="utf-8", newline="")


def _checksum(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()
