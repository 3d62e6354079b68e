"""Images of a dataset, decoded once: a compact file of pixels that every process maps into its memory."""

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import numpy as np

from pan_model.data.items import Items
from pan_model.errors import UserError
from pan_model.files import atomic_cache_write, check_writable, content_key, existing_parent
from pan_model.images.decoding import check_readable, load_square, reason_without_path, square_side
from pan_model.shapes import Bool, Int, UInt8

CACHE_FORMAT = "pan-study/pictures/1"
CACHE_FOLDER = "pictures"  # the name of earlier versions, so that their caches stay valid
DECODED_AT_ONCE = 16
MAX_WORKERS = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class DecodedImages:
    """The images of N items as central squares of `side` px, uint8, in a file of numpy's own format.

    rows are the places of the N items in the file, None where they are all of it in order. What is sent to another
    process is where the file lies; its pixels are shared by all that read it.
    """

    path: Path
    image_size: int
    num_stored: int
    rows: Int[np.ndarray, "N"] | None = None

    def __len__(self) -> int:
        return self.num_stored if self.rows is None else len(self.rows)

    @property
    def side(self) -> int:
        """Width and height in px: those of the resized image from which image_size px are cut."""
        return square_side(self.image_size)

    @property
    def is_stored(self) -> bool:
        """Whether the file is there, as this process sees it, and has room for all of them."""
        return _open(self.path, (self.num_stored, self.side, self.side, 3)) is not None

    def read(self, indices: Int[np.ndarray, "B"]) -> UInt8[np.ndarray, "B H W 3"]:
        """Copy the images of some items, H = W = side. Raises UserError when the file is gone."""
        return np.asarray(self._stored[indices if self.rows is None else self.rows[indices]])

    def select(self, keep: Bool[np.ndarray, "N"]) -> "DecodedImages":
        """The images of the kept items, numbered as `Items.select` numbers these."""
        return replace(self, rows=np.flatnonzero(keep) if self.rows is None else self.rows[keep])

    @cached_property
    def _stored(self) -> UInt8[np.ndarray, "R H W 3"]:
        stored = _open(self.path, (self.num_stored, self.side, self.side, 3))
        if stored is None:
            raise UserError(f"{self.path}: no longer holds the images that were put there; start again.")
        return stored

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_stored"}


def load_decoded_images(
    items: Items,
    fingerprint: str,
    image_size: int,
    cache_dir: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> DecodedImages:
    """The images of all items, as they lie in the cache or decoded by threads and put there.

    `fingerprint` is that of the dataset that the items are from (pan_model.data.fingerprint); they may be fewer, since
    the file is also named by which they are. `progress` is called with the number of images done and to do, only
    when they are decoded. Raises UserError when images cannot be read, the cache cannot be written or its disk is full.
    """
    if image_size < 1:
        raise UserError(f"image_size must be at least 1 px, got {image_size}.")
    path = cache_path(cache_dir, items, fingerprint, image_size).absolute()  # a trial runs in a folder of its own
    images = DecodedImages(path=path, image_size=image_size, num_stored=len(items))
    shape = (len(items), images.side, images.side, 3)
    if _open(path, shape) is None:
        check_writable(path.parent, "images")
        _check_space(path.parent, shape)
        with atomic_cache_write(path, "images") as temporary, temporary.open("wb") as file:
            unreadable = _decode(items, image_size, file, shape, progress)
            check_readable(items, unreadable, skip_bad_images=False)
    return images


def cache_path(cache_dir: Path, items: Items, fingerprint: str, image_size: int) -> Path:
    """Where images are cached: named by the sha256 of all that they depend on."""
    return cache_dir / CACHE_FOLDER / f"{content_key(CACHE_FORMAT, fingerprint, items.image_names, image_size)}.npy"


def _open(path: Path, shape: tuple[int, int, int, int]) -> UInt8[np.ndarray, "N H W 3"] | None:
    """Map the file, or None where there is none that holds images of this shape."""
    try:
        stored = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    return stored if stored.shape == shape and stored.dtype == np.uint8 else None


def _check_space(folder: Path, shape: tuple[int, int, int, int]) -> None:
    needed, free = int(np.prod(shape)), shutil.disk_usage(existing_parent(folder)).free
    if needed > free:
        raise UserError(
            f"images cannot be cached in {folder}: {shape[0]} of {shape[1]} px take {needed / 1e9:.1f} GB, "
            f"{free / 1e9:.1f} GB are free; give another --cache-dir or a smaller --image-size."
        )


def _decode(
    items: Items,
    image_size: int,
    file: BinaryIO,
    shape: tuple[int, int, int, int],
    progress: Callable[[int, int], None] | None,
) -> dict[str, str]:
    """Write all images; gives what is wrong with those that cannot be read, by name."""
    # Written, not mapped: a disk that is full then raises, where a mapped file would end the process.
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    start, size, lock = file.tell(), shape[1] * shape[2] * shape[3], Lock()

    def work(indices: range) -> dict[str, str]:
        squares, reasons = _read_squares(items, indices, image_size)
        with lock:
            file.seek(start + indices.start * size)
            file.write(squares.data)
        return reasons

    batches = [range(first, min(first + DECODED_AT_ONCE, shape[0])) for first in range(0, shape[0], DECODED_AT_ONCE)]
    unreadable: dict[str, str] = {}
    pool = ThreadPoolExecutor(min(os.cpu_count() or 1, MAX_WORKERS))
    try:
        for indices, reasons in zip(batches, pool.map(work, batches), strict=True):
            unreadable |= reasons
            if progress is not None:
                progress(indices.stop, shape[0])
    finally:
        pool.shutdown(cancel_futures=True)
    return unreadable


def _read_squares(items: Items, indices: range, image_size: int) -> tuple[UInt8[np.ndarray, "B H W 3"], dict[str, str]]:
    """Some images, black where they cannot be read, and what is wrong with those, by name."""
    side = square_side(image_size)
    squares = np.zeros((len(indices), side, side, 3), dtype=np.uint8)
    reasons: dict[str, str] = {}
    for place, index in enumerate(indices):
        try:
            squares[place] = load_square(items.image_path(index), image_size)
        except UserError as error:
            reasons[items.image_names[index]] = reason_without_path(error, items.image_path(index))
    return squares, reasons
