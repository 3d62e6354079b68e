"""How fast does a trial train its backbone? Images per second, utilisation of the device, and two ratios.

Run `.venv/bin/python benchmarks/finetune.py`; it takes a minute or two and uses a GPU if there is one. It prints a line
for each variant and then ratios of images per second: mixed precision over float32 (1 on a CPU, which has none), and
gradient caching with a quarter of a step's images at a time over whole steps. Gradient caching costs a second forward
pass and saves memory. Images are noise unless --data-root is given.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.profiler import ProfilerActivity, profile

from pan_model.backbones.architectures import build_backbone, measure_feature_dim
from pan_model.config import TrialConfig
from pan_model.data.featured_items import FeaturedItems
from pan_model.data.fingerprint import fingerprint
from pan_model.data.items import Items
from pan_model.data.splits import Split
from pan_model.datasets import ReaderOptions, find_dataset
from pan_model.images.decoded_cache import load_decoded_images
from pan_model.tasks.few_shot import FewShotTask
from pan_model.training.finetuning import FinetuneStart
from pan_model.training.trainer import Trainer

NUM_CLASSES, IMAGES_PER_CLASS = 64, 8
CLASSES_PER_STEP, STEP_IMAGES_PER_CLASS = 16, 4
IMAGES_PER_STEP = CLASSES_PER_STEP * STEP_IMAGES_PER_CLASS
VARIANTS = {
    "whole steps": {"batch_size": IMAGES_PER_STEP},
    "whole steps in float32": {"batch_size": IMAGES_PER_STEP, "mixed_precision": False},
    "gradient caching": {"batch_size": IMAGES_PER_STEP // 4},
}
RATIOS = {
    "mixed precision / float32": ("whole steps", "whole steps in float32"),
    "gradient caching / whole steps": ("gradient caching", "whole steps"),
}


@dataclass(frozen=True)
class Epoch:
    """Wall-clock seconds of an epoch, and the share of them in which the device computed."""

    wall_s: float
    busy: float


def noise(folder: Path, image_size: int) -> Items:
    """Write images of noise and return them as items."""
    generator = np.random.default_rng(0)
    classes = np.repeat(np.arange(NUM_CLASSES), IMAGES_PER_CLASS)
    for number in range(len(classes)):
        pixels = generator.integers(0, 256, (image_size * 5 // 4, image_size * 5 // 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.jpg")
    return Items(
        image_root=folder,
        image_names=tuple(f"{number}.jpg" for number in range(len(classes))),
        classes=classes,
        class_names=tuple(map(str, range(NUM_CLASSES))),
        attributes=np.zeros((len(classes), 1), dtype=bool),
        certainty=np.zeros((len(classes), 1), dtype=np.uint8),
        attribute_names=("none",),
    )


def make_trainers(items: Items, arguments: argparse.Namespace, cache_dir: Path) -> dict[str, Trainer]:
    """Return a trainer for each variant, with the same pairs."""
    backbone = build_backbone(arguments.backbone).eval()
    feature_dim = measure_feature_dim(backbone, arguments.image_size)
    features = np.random.default_rng(0).normal(size=(len(items), feature_dim)).astype(np.float32)
    splits = {split: np.flatnonzero(items.classes % 3 == place) for place, split in enumerate(Split)}
    task = FewShotTask(FeaturedItems.join(items, features, splits), seed=0)
    images = load_decoded_images(items, fingerprint(items), arguments.image_size, cache_dir)
    start = FinetuneStart(backbone=backbone, images=images, num_workers=arguments.num_workers)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config = TrialConfig.from_flat(
        {
            "encoder": "siamese",
            "supervision": "unsupervised",
            "num_conditions": 8,
            "pairs": "balanced",
            "classes_per_step": CLASSES_PER_STEP,
            "images_per_class": STEP_IMAGES_PER_CLASS,
            "pairs_per_epoch": IMAGES_PER_STEP**2 * arguments.steps,
            "steps_per_epoch": arguments.steps,
            "max_epochs": arguments.rounds + 2,
            "seed": 0,
            "backbone_learning_rate": 1e-6,
            "backbone_warmup_epochs": 0,
        }
    )
    return {name: Trainer(task, config, device, replace(start, **changes)) for name, changes in VARIANTS.items()}


def measure(trainer: Trainer) -> Epoch:
    """Train for one epoch and measure it."""
    if trainer.device.type == "cpu":
        wall, cpu = time.perf_counter(), time.process_time()
        trainer.train_epoch()
        wall = time.perf_counter() - wall
        return Epoch(wall, (time.process_time() - cpu) / wall / torch.get_num_threads())
    torch.cuda.synchronize()
    start = time.perf_counter()
    trainer.train_epoch()
    torch.cuda.synchronize()
    return Epoch(time.perf_counter() - start, np.nan)


def busy_share(trainer: Trainer) -> float:
    """Return the share of an epoch in which GPU kernels ran. Profiling costs time, so it is a lower bound."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        trainer.train_epoch()
        torch.cuda.synchronize()
        wall = time.perf_counter() - start
    return sum(event.self_device_time_total for event in profiler.key_averages()) / 1e6 / wall


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    on_gpu = torch.cuda.is_available()
    parser.add_argument("--data-root", type=Path, help="holds CUB_200_2011")
    parser.add_argument("--backbone", default="resnet50" if on_gpu else "resnet18")
    parser.add_argument("--image-size", type=int, default=224 if on_gpu else 64)
    parser.add_argument("--steps", type=int, default=16 if on_gpu else 2, help="steps per epoch, of 64 images each")
    parser.add_argument("--num-workers", type=int, default=8 if on_gpu else 0)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "images").mkdir()
        if arguments.data_root is None:
            items = noise(Path(folder) / "images", arguments.image_size)
        else:
            row = find_dataset("cub")
            items = row.read(arguments.data_root / row.folder, ReaderOptions())
        trainers = make_trainers(items, arguments, Path(folder) / "cache")
        for trainer in trainers.values():
            trainer.train_epoch()  # starts the workers and warms up the device
        rounds = [{name: measure(trainer) for name, trainer in trainers.items()} for _ in range(arguments.rounds)]
        busy = {name: busy_share(trainer) for name, trainer in trainers.items()} if on_gpu else {}
    print(f"{arguments.backbone} at {arguments.image_size} px on {'a GPU' if on_gpu else 'a CPU'}")
    for name in VARIANTS:
        speed = statistics.median(arguments.steps * IMAGES_PER_STEP / epochs[name].wall_s for epochs in rounds)
        share = busy.get(name, statistics.median(epochs[name].busy for epochs in rounds))
        print(f"{name}: {speed:.0f} images per second, device busy {share:.0%} of the time")
    for name, (first, second) in RATIOS.items():
        ratios = [epochs[second].wall_s / epochs[first].wall_s for epochs in rounds]
        spread = f"median of {len(ratios)}, {min(ratios):.2f} to {max(ratios):.2f}"
        print(f"{name}: {statistics.median(ratios):.2f} ({spread})")


if __name__ == "__main__":
    main()
