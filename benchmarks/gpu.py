"""What does one GPU do? Trials that share it, feature extraction, and the training step and all-pairs scoring on it.

Run `.venv/bin/python benchmarks/gpu.py --device cuda`; it takes some minutes. `--device cpu` runs the same on the CPU,
which only tests the script.

Trials that share a GPU: 1, 2 and 4 processes run trials of the size of CUB and of In-Shop at the same time, as a study
does with --gpus-per-trial 1, 0.5 and 0.25. Compared is the number of epochs a second of all processes together, with
that of one process. Feature extraction: images a second from JPEG files, compared with the backbone alone on images
that are in memory; and the share of the time in which the device computed. The last rows are those of training_step.py
and all_pairs.py with --device cuda.
"""

import argparse
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import Row, parser, run_benchmark, timed

HERE = Path(__file__).parent
SHARES = (1.0, 0.5, 0.25)
PATIENCE_S = 600
BACKBONE, IMAGE_SIZE = "resnet50", 224
WITH_DEVICE = ("training_step", "all_pairs")


def run_trials(dataset: str, seed: int, num_epochs: int, device: str, barrier: Any, ended: Any) -> None:
    """Run some epochs of a trial, evaluations included, once all processes are ready; report when it ended."""
    import cost
    import optuna
    from optuna.samplers import RandomSampler

    from pan_model.config import TrialConfig
    from pan_model.data.splits import Split
    from pan_model.training.trainer import Trainer
    from search_spaces import SPACES

    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    _, make = cost.CASES[dataset]
    params = SPACES[dataset].suggest(optuna.create_study(sampler=RandomSampler(seed=seed)).ask())
    config = TrialConfig.from_flat({**params, "max_epochs": num_epochs + 1, "seed": 0})
    trainer = Trainer(make(), config, torch.device(device))

    def epoch() -> None:
        trainer.train_epoch()
        trainer.evaluate(Split.VAL)

    epoch()
    barrier.wait()
    timed(lambda: [epoch() for _ in range(num_epochs)])
    ended.put(time.time())


def epochs_a_second(dataset: str, num_processes: int, num_epochs: int, device: str) -> float:
    """Return the epochs a second of some processes that share the device. All run the same trial."""
    spawn = multiprocessing.get_context("spawn")
    barrier, ended = spawn.Barrier(num_processes + 1), spawn.Queue()
    processes = [
        spawn.Process(target=run_trials, args=(dataset, 0, num_epochs, device, barrier, ended))
        for _ in range(num_processes)
    ]
    for process in processes:
        process.start()
    barrier.wait(PATIENCE_S)  # raises if a process has failed
    began = time.time()
    seconds = max(ended.get(timeout=PATIENCE_S) for _ in processes) - began
    for process in processes:
        process.join()
    return num_processes * num_epochs / seconds


def shares(dataset: str, num_epochs: int, device: str) -> list[Row]:
    """Return the throughput of trials that share the device, beside one trial alone."""
    rates = {share: epochs_a_second(dataset, round(1 / share), num_epochs, device) for share in SHARES}
    what = f"epochs a second of trials of the size of {dataset}, share"
    return [Row.more(f"{what} {share:g} beside 1", rate, rates[1.0]) for share, rate in rates.items()]


def extraction(num_images: int, device: torch.device) -> list[Row]:
    """Return the rate of feature extraction beside the backbone alone, and the share of time that is busy."""
    from finetune import IMAGES_PER_CLASS, NUM_CLASSES, noise

    from pan_model.backbones.architectures import build_backbone, measure_feature_dim
    from pan_model.backbones.extraction import CPU_BATCH_SIZE, GPU_BATCH_SIZE, Extraction, LocalExtractor
    from pan_model.images.preprocessing import Preprocessing

    backbone = build_backbone(BACKBONE).eval()
    with tempfile.TemporaryDirectory() as folder:
        items = noise(Path(folder), IMAGE_SIZE)
        chosen = np.zeros(NUM_CLASSES * IMAGES_PER_CLASS, dtype=bool)
        chosen[:num_images] = True
        job = Extraction(
            backbone=backbone,
            items=items.select(chosen, "not measured"),
            preprocessing=Preprocessing.usual(IMAGE_SIZE),
            feature_dim=measure_feature_dim(backbone, IMAGE_SIZE),
        )

        def extract() -> None:
            for _ in LocalExtractor(device=device)(job):
                pass

        extract()
        seconds, busy = timed(extract), busy_share(extract, device)
    backbone.to(device)
    size = min(num_images, CPU_BATCH_SIZE if device.type == "cpu" else GPU_BATCH_SIZE)
    images = torch.rand(size, 3, IMAGE_SIZE, IMAGE_SIZE, device=device)
    with torch.inference_mode():
        backbone(images)
        alone_s = timed(lambda: backbone(images))
    what = f"{BACKBONE} at {IMAGE_SIZE} px"
    count = int(chosen.sum())
    return [
        Row.more(
            f"images a second from files beside the backbone alone in float32, {what}", count / seconds, size / alone_s
        ),
        Row.more(f"share of time busy while features are extracted, {what}", busy, 1.0),
    ]


def busy_share(run: Any, device: torch.device) -> float:
    """Return the share of the time in which the device computed; on a CPU, of all threads that torch uses."""
    if device.type == "cpu":
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        return (time.process_time() - cpu) / (time.perf_counter() - wall) / torch.get_num_threads()
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        wall_s = timed(run)
    return sum(event.self_device_time_total for event in profiler.key_averages()) / 1e6 / wall_s


def rows_of(name: str, device: str) -> list[Row]:
    """Run another benchmark on the device and return its rows."""
    command = [sys.executable, str(HERE / f"{name}.py"), "--json", "--device", device]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return [Row(**row) for row in json.loads(done.stdout)]


def measure(arguments: argparse.Namespace) -> list[Row]:
    """Run all parts that were asked for."""
    rows: list[Row] = []
    if "extraction" in arguments.parts:
        rows += extraction(arguments.num_images, torch.device(arguments.device))
    for name in WITH_DEVICE:
        if name in arguments.parts:
            rows += rows_of(name, arguments.device)
    if "shares" in arguments.parts:
        for dataset in arguments.datasets:
            rows += shares(dataset, arguments.epochs, arguments.device)
    return rows


def arguments_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    made = parser(__doc__)
    parts = ["extraction", *WITH_DEVICE, "shares"]
    made.add_argument("--parts", nargs="+", choices=parts, default=parts)
    made.add_argument("--datasets", nargs="+", choices=["cub", "inshop"], default=["cub", "inshop"], help="for shares")
    made.add_argument("--epochs", type=int, default=10, help="of each trial that shares the device")
    made.add_argument("--num-images", type=int, default=512, help="images of extraction, at most 512")
    return made


if __name__ == "__main__":
    run_benchmark(arguments_parser(), measure)
