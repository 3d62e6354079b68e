"""Feature extraction: rows of features of many images, batch by batch, in threads of this process or elsewhere."""

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
from pan_model.images.preprocessing import Preprocessing
from pan_model.reproducibility import computing_threads, deterministic_arithmetic
from pan_model.shapes import Float

CPU_BATCH_SIZE = 16
GPU_BATCH_SIZE = 64
MAX_WORKERS = 16

ReadImages = Callable[[range], list[Content]]
"""Return the encoded images of items, given their indices, or the error for an image that cannot be read."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Extraction:
    """An extraction job.

    Attributes:
        backbone: The backbone with its weights.
        items: The items whose images are read.
        preprocessing: How images become the backbone's input.
        feature_dim: D, the number of features of the backbone.
        skip_bad_images: Whether unreadable images are left out. If not, one fails the job: the remaining images are
            only checked for further errors, and their rows need not be computed.
    """

    backbone: Backbone
    items: Items
    preprocessing: Preprocessing
    feature_dim: int
    skip_bad_images: bool = False


class Extracted(NamedTuple):
    """The features of some items (0 for unreadable images), and the errors of unreadable images, by index."""

    indices: range
    values: Float[np.ndarray, "n D"]
    unreadable: dict[int, str]


@runtime_checkable
class Extractor(Protocol):
    """Run an extraction job. Yields the rows of every item once, in any order."""

    def __call__(self, extraction: Extraction, /) -> Generator[Extracted]:
        """Start the job. Closing the generator cancels batches that have not started."""
        ...


@dataclass(frozen=True, kw_only=True)
class LocalExtractor:
    """Extract in this process, in the order of the items.

    Attributes:
        device: The device that computes features; by default CUDA if available.
        batch_size: Images in a batch; by default chosen by device.
    """

    device: torch.device | str | None = None
    batch_size: int | None = None

    def __call__(self, extraction: Extraction, /) -> Generator[Extracted]:
        """Yield one batch after another."""
        device = torch.device(self.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        with extraction_threads(extraction, device, batch_size=self.batch_size) as threads:
            yield from threads.extract(range(len(extraction.items)))


class ExtractionThreads:
    """Threads that each decode a batch, then run the network on it.

    `job_failed` is set once the job has failed; the threads then only check images.
    """

    def __init__(
        self, extraction: Extraction, pool: ThreadPoolExecutor, batch_size: int | None, read: ReadImages | None
    ) -> None:
        self.job_failed = Event()
        self._extraction = extraction
        self._pool = pool
        self._read = read
        on_cpu = extraction.backbone.on_cpu
        self._batch_size = batch_size or (CPU_BATCH_SIZE if on_cpu else GPU_BATCH_SIZE)
        self._device_free = Semaphore(MAX_WORKERS if on_cpu else 1)

    def extract(self, indices: range) -> Iterator[Extracted]:
        """Yield the batches of some items, in order."""
        return self._pool.map(self._extract, split_batches(indices, self._batch_size))

    def _extract(self, indices: range) -> Extracted:
        images, unreadable = self._read_batch(indices)
        if unreadable and not self._extraction.skip_bad_images:
            self.job_failed.set()
        values = np.zeros((len(indices), self._extraction.feature_dim), dtype=np.float32)
        if images and not self.job_failed.is_set():
            with self._device_free:
                rows = _forward(self._extraction.backbone, torch.stack(list(images.values())))
            values[[index - indices.start for index in images]] = rows
        return Extracted(indices, values, unreadable)

    def _read_batch(self, indices: range) -> tuple[dict[int, Tensor], dict[int, str]]:
        """Return the readable images and the errors of the others, by index."""
        items, preprocessing = self._extraction.items, self._extraction.preprocessing
        contents = [None] * len(indices) if self._read is None else self._read(indices)
        images: dict[int, Tensor] = {}
        unreadable: dict[int, str] = {}
        for index, content in zip(indices, contents, strict=True):
            try:
                images[index] = load_image(items.image_path(index), preprocessing, content)
            except UserError as error:
                # The reason goes into the cache, which may outlive the folder of the images.
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
    """Start extraction threads on a device. Batches that have not started when the block ends are cancelled.

    Each thread computes on one core: threads that share an operation wait for the slowest at every layer, and results
    would depend on their number. Arithmetic is deterministic.

    Args:
        extraction: The job. Its backbone moves to the device.
        device: The device that computes features.
        num_workers: Number of threads, at most 16; by default one per core that torch uses.
        batch_size: Images in a batch; by default 16 on a CPU, 64 on a GPU.
        read: Returns the encoded images; by default they are read from the items' folder.
    """
    _place(extraction.backbone, device)
    num_threads = torch.get_num_threads()
    num_workers = num_workers or (num_threads if device.type == "cpu" else os.cpu_count() or 1)
    pool = ThreadPoolExecutor(min(num_workers, MAX_WORKERS), initializer=torch.set_num_threads, initargs=(1,))
    with (
        computing_threads(num_threads),  # the threads of the pool set it for the process
        deterministic_arithmetic(),
        # With TensorFloat-32, or kernels chosen by timing, features would vary with the batch and the run.
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
    ):
        try:
            yield ExtractionThreads(extraction, pool, batch_size, read)
        finally:
            pool.shutdown(cancel_futures=True)


def split_batches(indices: range, batch_size: int) -> list[range]:
    """Split items into batches.

    >>> split_batches(range(3, 8), 2)
    [range(3, 5), range(5, 7), range(7, 8)]
    """
    return [range(start, min(start + batch_size, indices.stop)) for start in indices[::batch_size]]


def _place(backbone: Backbone, device: torch.device) -> None:
    backbone.eval().to(device)
    if device.type == "cpu":
        # Convolutions on a CPU take half the time in the channels-last layout.
        backbone.to(memory_format=torch.channels_last)


@torch.inference_mode()
def _forward(backbone: Backbone, images: Float[Tensor, "N 3 H W"]) -> Float[np.ndarray, "N D"]:
    return backbone(images.to(backbone.device)).cpu().numpy()
