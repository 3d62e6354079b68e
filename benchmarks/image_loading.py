"""What does the cache of decoded images save? Images per second, and how long the device waits for images in training.

Prints two Markdown tables. The first compares decoding every image in every epoch with reading it from the cache, with
a centre crop and with augmentation, by number of worker processes: the medians over alternating epochs, and their
ratio. The second trains a backbone on triplets and shows the share of time in which the device waits for images.
Without --data-root, images are generated; with it, they are those of a dataset in CUB's layout:

    .venv/bin/python benchmarks/image_loading.py --data-root DATA --backbone resnet18 --workers 0 2
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image

from pan_model.backbones.architectures import build_backbone
from pan_model.data.fingerprint import fingerprint
from pan_model.data.items import Items
from pan_model.datasets import ReaderOptions, find_dataset
from pan_model.images.augmentation import AugmentationConfig
from pan_model.images.batches import ImageBatches
from pan_model.images.decoded_cache import DecodedImages, load_decoded_images
from pan_model.images.decoding import load_square
from pan_model.training.backbone.config import BackboneTraining, default_training
from pan_model.training.backbone.images import TrainingImages
from pan_model.training.backbone.trainer import BackboneTrainer

NUM_CLASSES = 16
GENERATED_SIZE = (500, 375)  # px, about that of a photograph of CUB


@dataclass(frozen=True)
class DecodedEachTime:
    """A replacement of DecodedImages that decodes on every access."""

    items: Items
    image_size: int

    def read(self, indices: np.ndarray) -> np.ndarray:
        """Return the same pixels as DecodedImages."""
        return np.stack([load_square(self.items.image_path(int(index)), self.image_size) for index in indices])


def draw_images(folder: Path, num_images: int) -> Items:
    """Write smooth random images as JPEG files and return them as items."""
    generator = np.random.default_rng(0)
    for number in range(num_images):
        coarse = Image.fromarray(generator.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        coarse.resize(GENERATED_SIZE, Image.Resampling.BICUBIC).save(folder / f"{number}.jpg", quality=90)
    return Items(
        image_root=folder,
        image_names=tuple(f"{number}.jpg" for number in range(num_images)),
        classes=np.arange(num_images) % NUM_CLASSES,
        class_names=tuple(map(str, range(NUM_CLASSES))),
        attributes=np.zeros((num_images, 1), dtype=bool),
        certainty=np.zeros((num_images, 1), dtype=np.uint8),
        attribute_names=("none",),
    )


def read_items(arguments: argparse.Namespace, folder: Path) -> Items:
    """Return images spread over the dataset, or generated ones."""
    if arguments.data_root is None:
        return draw_images(folder, arguments.images)
    row = find_dataset("cub")
    items = row.read(arguments.data_root / row.folder, ReaderOptions())
    chosen = np.linspace(0, len(items) - 1, min(arguments.images, len(items))).astype(int)
    return items.select(np.isin(np.arange(len(items)), chosen), "not measured")


def images_per_second(batches: ImageBatches, num_images: int, batch: int, epoch: int) -> float:
    """Load all images once in random order and return the images per second."""
    order = np.random.default_rng(epoch).permutation(num_images)
    start = time.perf_counter()
    for _ in batches.epoch(np.array_split(order, -(-num_images // batch)), (0, epoch)):
        pass
    return num_images / (time.perf_counter() - start)


def compare_loading(items: Items, decoded: DecodedImages, arguments: argparse.Namespace) -> None:
    """Print images per second with and without the cache, in alternating epochs."""
    size = arguments.image_size
    print("| crop | workers | decoded each time, images/s | compact cache, images/s | ratio |")
    print("| --- | --- | --- | --- | --- |")
    for name, augmentation in (("centre", None), ("augmented", AugmentationConfig())):
        for num_workers in arguments.workers:
            sources = (cast("Any", DecodedEachTime(items, size)), decoded)
            loaders = [
                ImageBatches(source, image_size=size, augmentation=augmentation, num_workers=num_workers)
                for source in sources
            ]
            for loader in loaders:  # start the workers and fill the page cache
                images_per_second(loader, len(items), arguments.batch, 0)
            speeds = np.array(
                [
                    [images_per_second(loader, len(items), arguments.batch, epoch) for loader in loaders]
                    for epoch in range(1, arguments.epochs + 1)
                ]
            )
            each, cached = np.median(speeds, axis=0)
            ratio = np.median(speeds[:, 1] / speeds[:, 0])
            print(f"| {name} | {num_workers} | {each:.0f} | {cached:.0f} | {ratio:.1f} |", flush=True)
            for loader in loaders:
                loader.close()


def compare_waiting(items: Items, decoded: DecodedImages, arguments: argparse.Namespace) -> None:
    """Print the share of training time in which the device waits, with and without the cache."""
    print("\n| images | workers | images/s in training | device waits |")
    print("| --- | --- | --- | --- |")
    sources = {"decoded each time": DecodedEachTime(items, arguments.image_size), "compact cache": decoded}
    for num_workers in arguments.workers:
        for name, source in sources.items():
            speed, share = train(items, cast("Any", source), num_workers, arguments)
            print(f"| {name} | {num_workers} | {speed:.0f} | {share:.0%} |", flush=True)


def train(items: Items, decoded: DecodedImages, num_workers: int, arguments: argparse.Namespace) -> tuple[float, float]:
    """Return images per second of some training steps, and the share of their time spent waiting for images."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config = replace(default_training(BackboneTraining.SIAMESE), batch_size=max(1, arguments.batch // 3))
    batches = ImageBatches(
        decoded,
        image_size=arguments.image_size,
        augmentation=config.augmentation,
        num_workers=num_workers,
        pin_memory=device.type == "cuda",
    )
    images = TrainingImages(items=items, fingerprint="", training_items=np.arange(len(items)))
    trainer = BackboneTrainer(
        build_backbone(arguments.backbone),
        images.groups_for(config.kind),
        batches,
        config,
        image_size=arguments.image_size,
        device=device,
    )
    epochs = (trainer.objective.draw_steps(np.random.default_rng(epoch)) for epoch in range(arguments.steps + 2))
    steps = [step for epoch in epochs for step in epoch][: arguments.steps + 2]
    waits: list[float] = []
    stream = timed(batches.epoch(steps, (0,)), waits, device)
    for step in steps[:2]:  # start the workers and choose kernels
        trainer.train_step([step], stream)
    waits.clear()
    synchronise(device)
    start = time.perf_counter()
    for step in steps[2:]:
        trainer.train_step([step], stream)
    synchronise(device)
    elapsed_s = time.perf_counter() - start
    batches.close()
    return sum(map(len, steps[2:])) / elapsed_s, sum(waits) / elapsed_s


def timed(stream: Iterator[torch.Tensor], waits: list[float], device: torch.device) -> Iterator[torch.Tensor]:
    """Record how long an idle device waits for each batch."""
    while True:
        synchronise(device)
        start = time.perf_counter()
        batch = next(stream, None)
        if batch is None:
            return
        waits.append(time.perf_counter() - start)
        yield batch


def synchronise(device: torch.device) -> None:
    """Wait until a GPU is idle."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--batch", type=int, default=96, help="images per batch")
    parser.add_argument("--epochs", type=int, default=3, help="epochs of loading")
    parser.add_argument("--steps", type=int, default=10, help="training steps; 0 skips training")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "drawn").mkdir()
        items = read_items(arguments, Path(folder) / "drawn")
        decoded = load_decoded_images(items, fingerprint(items), arguments.image_size, Path(folder))
        compare_loading(items, decoded, arguments)
        if arguments.steps:
            compare_waiting(items, decoded, arguments)


if __name__ == "__main__":
    main()
