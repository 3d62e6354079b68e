"""Which batch size scores pairs fastest on a CPU? Prints the time with 8192 pairs per batch over the time with 512.

Run `.venv/bin/python benchmarks/scoring_batch_size.py`; it takes half a minute. Above 1, the smaller batch
is faster.
"""

import statistics
import time

import numpy as np
import torch

from pan_model.config import TrialConfig
from pan_model.model.pan import Pan

NUM_ITEMS, FEATURE_DIM, NUM_CONDITIONS, NUM_PAIRS, ROUNDS = 750, 1280, 50, 32768, 7


def seconds(model: Pan, embeddings: torch.Tensor, pairs: np.ndarray, batch_size: int) -> float:
    """Return the CPU seconds of scoring all pairs."""
    start = time.process_time()
    model.score_pairs(embeddings, pairs[0], pairs[1], batch_size=batch_size)
    return time.process_time() - start


def main() -> None:
    """Measure and print the ratio."""
    torch.set_num_threads(1)
    config = {"encoder": "siamese", "supervision": "unsupervised", "num_conditions": NUM_CONDITIONS}
    model = Pan(
        TrialConfig.from_flat({**config, "max_epochs": 1, "seed": 0}).model,
        feature_dim=FEATURE_DIM,
        num_classes=2,
        condition_names=(),
    ).eval()
    embeddings = torch.randn(NUM_ITEMS, FEATURE_DIM)
    pairs = np.random.default_rng(0).integers(NUM_ITEMS, size=(2, NUM_PAIRS))
    ratios = [
        seconds(model, embeddings, pairs, 8192) / seconds(model, embeddings, pairs, 512) for _ in range(ROUNDS + 1)
    ][1:]
    spread = f"median of {ROUNDS}, {min(ratios):.2f} to {max(ratios):.2f}"
    print(f"8192 / 512 pairs per batch: {statistics.median(ratios):.2f} ({spread})")


if __name__ == "__main__":
    main()
