"""How many hours does a study take at the published dataset sizes? Extrapolated from one epoch of a few trials.

Run `.venv/bin/python benchmarks/cost.py`; it takes some minutes and 8 GB. `--device cuda` measures a GPU instead of a
CPU core. Features are noise of 2048 dimensions, with the numbers of items, classes and attributes of the real datasets.
Seconds are CPU seconds of one core (on a GPU, wall-clock seconds), averaged over the trials. Hours are for 64 trials of
at most 20 epochs, of which ASHA runs the share SPENT. cluster/README.md derives prices from them.
"""

import argparse
import time
from collections.abc import Callable
from statistics import mean

import numpy as np
import optuna
import torch
from memory import NUM_ITEMS, noise, polyvore
from optuna.samplers import RandomSampler

from pan_model.backbones.architectures import build_backbone
from pan_model.config import TrialConfig
from pan_model.data.featured_items import FeaturedItems
from pan_model.data.splits import Role, Roles, Split
from pan_model.tasks.few_shot import FewShotTask
from pan_model.tasks.retrieval import RetrievalTask
from pan_model.tasks.task import Task
from pan_model.training.trainer import Trainer
from search_spaces import SPACES

NUM_TRIALS, NUM_EPOCHS = 64, 20
SPENT = 0.4
"""Share of the epochs that a study with ASHA runs: 246 of 640 in a study on photographs of birds."""

NUM_IMAGES = 32


def random_attributes(num_items: int, num_attributes: int) -> np.ndarray:
    """Return random attributes, each present in a tenth of the items."""
    return np.random.default_rng(1).random((num_items, num_attributes)) < 0.1


def cub() -> Task:
    """Return a task of the size of CUB."""
    num_items, num_classes = 11788, 200
    classes = np.arange(num_items) % num_classes
    attributes = random_attributes(num_items, 312)
    return FewShotTask(
        FeaturedItems(
            features=noise(num_items),
            classes=classes,
            attributes=attributes,
            certain=np.ones_like(attributes),
            attribute_names=tuple(map(str, range(312))),
            splits={
                Split.TRAIN: np.flatnonzero(classes % 2 == 0),
                Split.VAL: np.flatnonzero(classes % 4 == 1),
                Split.TEST: np.flatnonzero(classes % 4 == 3),
            },
        ),
        seed=0,
    )


def inshop() -> Task:
    """Return a task of the size of In-Shop."""
    num_train, num_query, num_gallery = 25882, 14218, 12612
    num_items, num_train_products, num_test_products = num_train + num_query + num_gallery, 3997, 3985
    products = np.arange(num_items) % num_test_products + num_train_products
    products[:num_train] = np.arange(num_train) % num_train_products
    attributes = random_attributes(num_items, 463)
    train = np.arange(num_train)
    roles = np.repeat(np.array([Role.TRAIN, Role.QUERY, Role.GALLERY], np.uint8), [num_train, num_query, num_gallery])
    return RetrievalTask(
        FeaturedItems(
            features=noise(num_items),
            classes=products,
            attributes=attributes,
            certain=np.ones_like(attributes),
            attribute_names=tuple(map(str, range(463))),
            splits={
                Split.TRAIN: train[products[:num_train] % 5 > 0],
                Split.VAL: train[products[:num_train] % 5 == 0],
                Split.TEST: np.arange(num_train, num_items),
            },
            relations=Roles(roles=roles),
        ),
        seed=0,
    )


CASES: dict[str, tuple[int, Callable[[], Task]]] = {
    "cub": (11788, cub),
    "inshop": (52712, inshop),
    "polyvore": (NUM_ITEMS, polyvore),
}


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Return the CPU seconds of a call or, on a GPU, its wall-clock seconds including synchronisation."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    start = clock()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def measure_trial(task: Task, config: TrialConfig, device: torch.device) -> tuple[float, float]:
    """Return the seconds before a trial's first epoch, and of one epoch with its evaluations."""
    trainers: list[Trainer] = []
    begin_s = seconds_of(lambda: trainers.append(Trainer(task, config, device)), device)
    [trainer] = trainers
    epoch_s = seconds_of(
        lambda: (trainer.train_epoch(), trainer.evaluate(Split.VAL), trainer.evaluate(Split.TRAIN)), device
    )
    return begin_s, epoch_s


def measure_image(device: torch.device) -> float:
    """Return the seconds that ResNet-50 takes for an image of 224 px, without decoding."""
    backbone = build_backbone("resnet50").eval().to(device)
    images = torch.zeros(NUM_IMAGES, 3, 224, 224, device=device)
    with torch.inference_mode():
        backbone(images[:2])
        return seconds_of(lambda: backbone(images), device) / NUM_IMAGES


def main() -> None:
    """Measure every dataset and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--datasets", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--drawn", type=int, default=5, help="number of trials to measure, drawn from the space")
    given = parser.parse_args()
    device = torch.device(given.device)
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    image_s = measure_image(device)
    print(f"one image through resnet50 at 224 px: {image_s:.4f} s on {device}", flush=True)
    print("| dataset | features, h | start of a trial, s | an epoch, s | search, h |\n| --- | --- | --- | --- | --- |")
    for name in given.datasets:
        num_images, make = CASES[name]
        task, study = make(), optuna.create_study(sampler=RandomSampler(seed=0))
        flat = [SPACES[name].suggest(study.ask()) for _ in range(given.drawn)]
        configs = [TrialConfig.from_flat({**params, "max_epochs": NUM_EPOCHS, "seed": 0}) for params in flat]
        times = [measure_trial(task, config, device) for config in configs]
        begin_s, epoch_s = (mean(seconds) for seconds in zip(*times, strict=True))
        search_h = NUM_TRIALS * (begin_s + SPENT * NUM_EPOCHS * epoch_s) / 3600
        features_h = num_images * image_s / 3600
        print(f"| {name} | {features_h:.2f} | {begin_s:.1f} | {epoch_s:.1f} | {search_h:.2f} |", flush=True)


if __name__ == "__main__":
    main()
