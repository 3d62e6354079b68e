"""Extraction: rows of features of many images, batch by batch, by threads here or by whoever else computes them."""

import os
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Semaphore
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from pan_model.backbones.architectures import Backbone
from pan_model.data.items import Items
from pan_model.errors import UserError
from pan_model.images.decoding import Content, load_image, reason_without_path
from pan_model.reproducibility import computing_threads, deterministic_arithmetic
from pan_model.shapes import Float

CPU_BATCH_SIZE = 16
GPU_BATCH_SIZE = 64
MAX_WORKERS = 16

ReadImages = Callable[[range], list[Content]]
"""Gives the encoded images of some items, by index, or what stands in the way of reading one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Extraction:
    """What is to be extracted: features of all items' images, by a backbone with its weights.

    feature_dim is D, the number of features that the backbone has. Where bad images are not to be skipped, one ends the
    work: the others are only looked through for more of them, and their rows need not be computed.
    """

    backbone: Backbone
    items: Items
    image_size: int
    feature_dim: int
    skip_bad_images: bool = False


class Extracted(NamedTuple):
    """Rows of features of some items, 0 where there are none, and what is wrong with unreadable images, by index."""

    indices: range
    values: Float[np.ndarray, "n D"]
    unreadable: dict[int, str]


@runtime_checkable
class Extractor(Protocol):
    """Computes an extraction: yields the rows of every item once, in any order."""

    def __call__(self, extraction: Extraction, /) -> Generator[Extracted]:
        """Begin; what has not been computed when the generator is closed is dropped."""
        ...


@dataclass(frozen=True, kw_only=True)
class LocalExtractor:
    """Computes in this process, in the order of the items; on CUDA where there is one, unless a device is given."""

    device: torch.device | str | None = None
    batch_size: int | None = None

    def __call__(self, extraction: Extraction, /) -> Generator[Extracted]:
        """Yield a batch after another."""
        device = torch.device(self.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        with extraction_threads(extraction, device, batch_size=self.batch_size) as threads:
            yield from threads.extract(range(len(extraction.items)))


class ExtractionThreads:
    """Threads that each decode a batch, then run the network on it."""

    def __init__(
        self, extraction: Extraction, pool: ThreadPoolExecutor, batch_size: int | None, read: ReadImages | None
    ) -> None:
        self.hopeless = Event()
        self._extraction = extraction
        self._pool = pool
        self._read = read
        on_cpu = extraction.backbone.on_cpu
        self._batch_size = batch_size or (CPU_BATCH_SIZE if on_cpu else GPU_BATCH_SIZE)
        self._device_free = Semaphore(MAX_WORKERS if on_cpu else 1)

    def extract(self, indices: range) -> Iterator[Extracted]:
        """Yield the batches of some items, in their order."""
        return self._pool.map(self._extract, cut_batches(indices, self._batch_size))

    def _extract(self, indices: range) -> Extracted:
        images, unreadable = self._read_batch(indices)
        if unreadable and not self._extraction.skip_bad_images:
            self.hopeless.set()
        values = np.zeros((len(indices), self._extraction.feature_dim), dtype=np.float32)
        if images and not self.hopeless.is_set():
            with self._device_free:
                rows = _forward(self._extraction.backbone, torch.stack(list(images.values())))
            values[[index - indices.start for index in images]] = rows
        return Extracted(indices, values, unreadable)

    def _read_batch(self, indices: range) -> tuple[dict[int, Tensor], dict[int, str]]:
        """The images that can be read, and what is wrong with the others, by index."""
        items, size = self._extraction.items, self._extraction.image_size
        contents = [None] * len(indices) if self._read is None else self._read(indices)
        images: dict[int, Tensor] = {}
        unreadable: dict[int, str] = {}
        for index, content in zip(indices, contents, strict=True):
            try:
                images[index] = load_image(items.image_path(index), size, content)
            except UserError as error:
                # The reason goes into the cache, which outlives the place where the images lie.
                unreadable[index] = reason_without_path(error, items.image_path(index))
        return images, unreadable


@contextmanager
def extraction_threads(
    extraction: Extraction,
    device: torch.device,
    *,
    num_workers: int | None = None,
    batch_size: int | None = None,
    read: ReadImages | None = None,
) -> Generator[ExtractionThreads]:
    """Threads on a device, to which the backbone moves; what has not begun when the block ends is dropped.

    Torch computes on one core in each of them: threads that share one operation wait for the slowest at every layer,
    and the numbers would depend on how many they are. Images are read from where they lie unless `read` gives them.
    """
    _place(extraction.backbone, device)
    num_threads = torch.get_num_threads()
    num_workers = num_workers or (num_threads if device.type == "cpu" else os.cpu_count() or 1)
    pool = ThreadPoolExecutor(min(num_workers, MAX_WORKERS), initializer=torch.set_num_threads, initargs=(1,))
    with (
        computing_threads(num_threads),  # those of the pool set their own number, which is the process's
        deterministic_arithmetic(),
        # TensorFloat-32 and kernels chosen by timing would let features depend on their batch and on the run.
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
    ):
        try:
            yield ExtractionThreads(extraction, pool, batch_size, read)
        finally:
            pool.shutdown(cancel_futures=True)


def cut_batches(indices: range, batch_size: int) -> list[range]:
    """Cut items into batches.

    >>> cut_batches(range(3, 8), 2)
    [range(3, 5), range(5, 7), range(7, 8)]
    """
    return [range(start, min(start + batch_size, indices.stop)) for start in indices[::batch_size]]


def _place(backbone: Backbone, device: torch.device) -> None:
    backbone.eval().to(device)
    if device.type == "cpu":
        # Convolutions on a CPU take half the time when the channels of a pixel lie side by side.
        backbone.to(memory_format=torch.channels_last)


@torch.inference_mode()
def _forward(backbone: Backbone, images: Float[Tensor, "N 3 H W"]) -> Float[np.ndarray, "N D"]:
    return backbone(images.to(backbone.device)).cpu().numpy()
