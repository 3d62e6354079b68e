"""Batches of images for training a backbone: normalised tensors, prepared by worker processes."""

import multiprocessing
from collections.abc import Iterator, Sequence
from functools import cached_property
from multiprocessing.context import BaseContext
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pan_model.errors import UserError
from pan_model.images.augmentation import AugmentationConfig, Transform
from pan_model.images.decoded_cache import DecodedImages
from pan_model.images.decoding import normalise
from pan_model.shapes import Float, Int, UInt8


class _Batch(NamedTuple):
    """The items of a batch, the position of its first item in the epoch, and the seed of the epoch."""

    indices: Int[np.ndarray, "B"]
    first_place: int
    seed: tuple[int, ...]


class ImageBatches:
    """Batches of decoded images, cropped to image_size px.

    Worker processes start with the first epoch and run until `close`.

    Args:
        images: The decoded images.
        image_size: Side of the crops, px. It must be that of `images`.
        augmentation: Random augmentation. None crops the centre, as `load_image` does.
        num_workers: Number of worker processes. 0 prepares batches in this process.
        pin_memory: Whether batches are in pinned memory, for faster copies to a GPU. Ignored without CUDA.

    Raises:
        UserError: image_size or num_workers is invalid.
    """

    def __init__(
        self,
        images: DecodedImages,
        *,
        image_size: int,
        augmentation: AugmentationConfig | None = None,
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        if image_size != images.image_size:
            raise UserError(f"image_size must be that of the images, {images.image_size} px, got {image_size}.")
        if num_workers < 0:
            raise UserError(f"num_workers must be at least 0, got {num_workers}.")
        self._reader = _ImageReader(images, augmentation)
        self._num_workers = num_workers
        self._pin_memory = pin_memory and torch.cuda.is_available()
        self._batches: list[_Batch] = []  # the sampler of the loader, refilled for each epoch
        self._loader: DataLoader[Tensor] | None = None

    def epoch(
        self, batches: Sequence[Int[np.ndarray, "_"]], seed: tuple[int, ...]
    ) -> Iterator[Float[Tensor, "B 3 H W"]]:
        """Yield the images of each batch as a tensor on the CPU. Only one epoch may run at a time.

        The augmentation of an image depends only on the seed and on its position in the epoch, not on the workers.

        Args:
            batches: The item indices of each batch.
            seed: Seed of the augmentation.
        """
        places = np.cumsum([0, *(len(indices) for indices in batches)]).tolist()
        self._batches[:] = [_Batch(indices, place, seed) for indices, place in zip(batches, places[:-1], strict=True)]
        self._loader = self._loader or self._new_loader()
        yield from self._loader

    def close(self) -> None:
        """Stop the worker processes. The next epoch starts new ones."""
        self._loader = None

    def _new_loader(self) -> DataLoader[Tensor]:
        return DataLoader(
            self._reader,
            batch_size=None,  # the sampler's elements are whole batches
            sampler=self._batches,
            num_workers=self._num_workers,
            pin_memory=self._pin_memory,
            persistent_workers=self._num_workers > 0,
            multiprocessing_context=_worker_context() if self._num_workers else None,
            generator=torch.Generator(),  # the default would draw from the global one
        )


class _ImageReader(Dataset[Tensor]):
    """Dataset whose elements are whole batches."""

    def __init__(self, images: DecodedImages, augmentation: AugmentationConfig | None) -> None:
        self._images = images
        self._augmentation = augmentation

    def __getitem__(self, batch: _Batch) -> Float[Tensor, "B 3 H W"]:
        squares = torch.from_numpy(self._images.read(batch.indices)).permute(0, 3, 1, 2)
        cropped = self._crop_centre(squares) if self._augmentation is None else self._augment(squares, batch)
        return normalise(cropped.contiguous(), self._images.preprocessing)

    def _crop_centre(self, squares: UInt8[Tensor, "B 3 S S"]) -> UInt8[Tensor, "B 3 H W"]:
        size, start = self._images.image_size, self._images.preprocessing.border
        return squares[:, :, start : start + size, start : start + size]

    def _augment(self, squares: UInt8[Tensor, "B 3 S S"], batch: _Batch) -> UInt8[Tensor, "B 3 H W"]:
        augmented: list[Tensor] = []
        with torch.random.fork_rng(devices=[]):
            for place, square in enumerate(squares.contiguous(), start=batch.first_place):
                # torch.manual_seed would also seed every GPU, which fork_rng does not restore here.
                torch.default_generator.manual_seed(_seed_of(batch.seed, place))
                augmented.append(self._transform(square))
        return torch.stack(augmented)

    @cached_property
    def _transform(self) -> Transform:
        assert self._augmentation is not None
        return self._augmentation.build(self._images.image_size)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_transform"}


def _seed_of(seed: tuple[int, ...], place: int) -> int:
    return int(np.random.SeedSequence([*seed, place]).generate_state(1, np.uint64)[0])


def _worker_context() -> BaseContext:
    """Return a context that does not fork this process, which may have threads and an initialised GPU."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "torchvision.transforms.v2"])  # imported once, not in every worker
    return context
