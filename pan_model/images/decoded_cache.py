"""Decoded images of a dataset: a file of pixels, written once, that every process maps into memory."""

import math
import os
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
from pan_model.files import atomic_cache_write, check_space, check_writable, content_key
from pan_model.images.decoding import check_readable, load_square, reason_without_path
from pan_model.images.preprocessing import Preprocessing, as_preprocessing
from pan_model.shapes import Bool, Int, UInt8

CACHE_FORMAT = "pan-study/pictures/1"
CACHE_FOLDER = "pictures"  # the name of earlier versions, so that their caches stay valid
DECODING_BATCH_SIZE = 16
MAX_WORKERS = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class DecodedImages:
    """The images of N items as central squares of `side` px, uint8, in a .npy file.

    Pickling an instance sends only the path of the file. Processes of a node share its pixels.

    Attributes:
        path: The file.
        preprocessing: How the images were resized, and how crops are taken from the squares and normalised.
        num_stored: Number of images in the file.
        rows: The positions of the N items in the file. None stands for all images in order.
    """

    path: Path
    preprocessing: Preprocessing
    num_stored: int
    rows: Int[np.ndarray, "N"] | None = None

    def __len__(self) -> int:
        return self.num_stored if self.rows is None else len(self.rows)

    @property
    def image_size(self) -> int:
        """Side of the crops taken from the squares, px."""
        return self.preprocessing.image_size

    @property
    def side(self) -> int:
        """Side of the stored squares, px: the resized shorter side from which image_size px are cropped."""
        return self.preprocessing.resize_size

    @property
    def is_stored(self) -> bool:
        """Whether the file exists on this machine, with images of the expected number and size."""
        return _open(self.path, (self.num_stored, self.side, self.side, 3)) is not None

    def read(self, indices: Int[np.ndarray, "B"]) -> UInt8[np.ndarray, "B H W 3"]:
        """Read the images of some items, H = W = side. Raise UserError if the file was removed."""
        return np.asarray(self._stored[indices if self.rows is None else self.rows[indices]])

    def select(self, keep: Bool[np.ndarray, "N"]) -> "DecodedImages":
        """Return the images of the kept items, numbered as by `Items.select`."""
        return replace(self, rows=np.flatnonzero(keep) if self.rows is None else self.rows[keep])

    @cached_property
    def _stored(self) -> UInt8[np.ndarray, "R H W 3"]:
        stored = _open(self.path, (self.num_stored, self.side, self.side, 3))
        if stored is None:
            raise UserError(f"{self.path}: no longer holds the cached images; run the command again.")
        return stored

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_stored"}


def load_decoded_images(
    items: Items,
    fingerprint: str,
    image_size: int | Preprocessing,
    cache_dir: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> DecodedImages:
    """Return the decoded images of all items. Decode them into the cache if they are not in it.

    Args:
        items: The items; they may be a selection of the dataset.
        fingerprint: The fingerprint of the dataset (pan_model.data.fingerprint).
        image_size: Side of the crops that will be taken, px, with the usual preprocessing; or another one.
        cache_dir: The cache folder.
        progress: Called with the number of decoded images and their total. Not called if they are in the cache.

    Raises:
        UserError: An image cannot be read, the cache cannot be written, or its disk is full.
    """
    preprocessing = as_preprocessing(image_size)
    path = cache_path(cache_dir, items, fingerprint, preprocessing).absolute()  # trials run in other folders
    images = DecodedImages(path=path, preprocessing=preprocessing, num_stored=len(items))
    shape = (len(items), images.side, images.side, 3)
    if _open(path, shape) is None:
        check_writable(path.parent, "images")
        way_out = "give another --cache-dir or a smaller --image-size"
        check_space(path.parent, math.prod(shape), "images", way_out)
        with atomic_cache_write(path, "images") as temporary, temporary.open("wb") as file:
            unreadable = _decode(items, preprocessing, file, shape, progress)
            check_readable(items, unreadable, skip_bad_images=False)
    return images


def cache_path(cache_dir: Path, items: Items, fingerprint: str, image_size: int | Preprocessing) -> Path:
    """Return the path of the cached images, named by the SHA-256 of everything they depend on.

    Args:
        cache_dir: The cache folder.
        items: The items; they may be a selection of the dataset.
        fingerprint: The fingerprint of the dataset.
        image_size: Side of the crops that will be taken, px, with the usual preprocessing; or another one.
    """
    preprocessing = as_preprocessing(image_size)
    geometry = preprocessing.geometry  # empty for the only one of earlier versions
    key = content_key(CACHE_FORMAT, fingerprint, items.image_names, preprocessing.image_size, *geometry)
    return cache_dir / CACHE_FOLDER / f"{key}.npy"


def _open(path: Path, shape: tuple[int, int, int, int]) -> UInt8[np.ndarray, "N H W 3"] | None:
    """Map the file into memory. Return None if it does not hold images of this shape."""
    try:
        stored = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    return stored if stored.shape == shape and stored.dtype == np.uint8 else None


def _decode(
    items: Items,
    preprocessing: Preprocessing,
    file: BinaryIO,
    shape: tuple[int, int, int, int],
    progress: Callable[[int, int], None] | None,
) -> dict[str, str]:
    """Write all images. Return the reasons why images cannot be read, by name."""
    # Written instead of mapped: a full disk raises an error here, but kills a process that writes to mapped memory.
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    start, size, lock = file.tell(), shape[1] * shape[2] * shape[3], Lock()

    def work(indices: range) -> dict[str, str]:
        squares, reasons = _read_squares(items, indices, preprocessing)
        with lock:
            file.seek(start + indices.start * size)
            file.write(squares.data)
        return reasons

    batches = [
        range(first, min(first + DECODING_BATCH_SIZE, shape[0])) for first in range(0, shape[0], DECODING_BATCH_SIZE)
    ]
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


def _read_squares(
    items: Items, indices: range, preprocessing: Preprocessing
) -> tuple[UInt8[np.ndarray, "B H W 3"], dict[str, str]]:
    """Return some images, black if they cannot be read, and the reasons of those by name."""
    side = preprocessing.resize_size
    squares = np.zeros((len(indices), side, side, 3), dtype=np.uint8)
    reasons: dict[str, str] = {}
    for place, index in enumerate(indices):
        try:
            squares[place] = load_square(items.image_path(index), preprocessing)
        except UserError as error:
            reasons[items.image_names[index]] = reason_without_path(error, items.image_path(index))
    return squares, reasons
