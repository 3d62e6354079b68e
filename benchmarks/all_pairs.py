"""How fast are pairs scored, and all pairs of queries and gallery items?

Pairs: the peer is a bound, one product of a joint representation that is already in memory with the weights of
similarity and relevance, both in bfloat16 in the rows of bfloat16. Only `concat`, whose products are taken once an
item, is compared with the straight form.
All pairs: the peer is the straight form, a chunk of pairs at a time, with torch's topk of each query.

    .venv/bin/python benchmarks/all_pairs.py             # pairs with one and with two threads
    .venv/bin/python benchmarks/all_pairs.py --quick     # one size of each, in seconds
"""

import argparse
import os
from collections.abc import Iterator

import numpy as np
import torch
from measure import Row, alternate, parser, peak_memory, run_benchmark
from torch import Tensor

from pan_model.config import TrialConfig
from pan_model.model.pan import Pan
from pan_model.model.precision import Precision, as_operand
from pan_model.model.similarity import Joint
from pan_model.scoring.all_pairs import most_similar

NUM_ITEMS = 1500
NUM_PAIRS = (8192, 32768)
DIMS = (512, 1280, 2048)
CONDITIONS = (8, 50, 312)
TARGETS = {8: 0.6, 50: 0.8, 312: 0.8}
CONCAT_TARGET = 5.0
STRAIGHT_PAIRS = {"cpu": 512, "cuda": 16384}
"""Pairs of a chunk of the straight form."""

QUERIES, GALLERY, K = {"cpu": 96, "cuda": 2048}, {"cpu": 4096, "cuda": 12612}, 50
"""On the CPU fewer than the 14,218 queries and 12,612 gallery images of In-Shop's test split."""


def make_pan(joint: Joint, dim: int, num_conditions: int, device: str, precision: Precision = Precision.FLOAT32) -> Pan:
    """Return an untrained model whose embeddings are its features."""
    config = {"encoder": "siamese", "supervision": "unsupervised", "num_conditions": num_conditions, "seed": 0}
    flat = {**config, "joint": str(joint), "normalisation": "none", "max_epochs": 1, "precision": str(precision)}
    pan = Pan(TrialConfig.from_flat(flat).model, feature_dim=dim, num_classes=2, condition_names=())
    return pan.to(device).eval()


@torch.inference_mode()
def straight(pan: Pan, first: Tensor, second: Tensor, index_1: Tensor, index_2: Tensor) -> Tensor:
    """Score pairs in the straight form, a chunk at a time."""
    size = STRAIGHT_PAIRS[first.device.type]
    chunks = zip(index_1.split(size), index_2.split(size), strict=True)
    return torch.cat([pan.similarity(first[i], second[j]).score for i, j in chunks])


def pairs_row(pan: Pan, num_pairs: int, threads: int, repeats: int) -> Row:
    """Measure `Pan.score_pairs` on random pairs."""
    device = pan.similarity.similarity.weight.device
    dim, num_conditions, joint = pan.encoder.embedding_dim, len(pan.similarity.similarity.bias), pan.similarity.joint
    h = torch.randn(NUM_ITEMS, dim, device=device)
    index = np.random.default_rng(0).integers(NUM_ITEMS, size=(2, num_pairs))
    index_1, index_2 = torch.from_numpy(index).to(device)
    what = f"{joint}, P = {num_pairs}, D = {dim}, M = {num_conditions}, {threads} thread{'s' * (threads > 1)}"

    def ours() -> object:
        return pan.score_pairs(h, index[0], index[1])

    if joint is Joint.CONCAT:
        seconds = alternate(ours, lambda: straight(pan, h, h, index_1, index_2), repeats)
        return Row.less(f"pairs, {what}, straight form", *seconds, target=CONCAT_TARGET)
    with torch.inference_mode():
        joints = pan.similarity.represent(h[index_1], h[index_2])
        weights = torch.cat([pan.similarity.similarity.weight, pan.similarity.relevance.weight]).T
        joints, weights = (as_operand(values, pan.similarity.precision) for values in (joints, weights))
    seconds = alternate(ours, lambda: torch.mm(joints, weights), repeats)
    if pan.similarity.precision is Precision.BFLOAT16:
        return Row.less(f"pairs, {what}, bfloat16, bound", *seconds, target=0.75 if num_conditions == 312 else None)
    return Row.less(f"pairs, {what}, bound", *seconds, target=TARGETS[num_conditions])


def all_pairs_row(pan: Pan, repeats: int, *, among: int = 0) -> Row:
    """Measure `most_similar`: queries in a gallery, or some items among each other."""
    device = pan.similarity.similarity.weight.device
    dim, num_conditions, joint = pan.encoder.embedding_dim, len(pan.similarity.similarity.bias), pan.similarity.joint
    queries = torch.randn(among or QUERIES[device.type], dim, device=device)
    gallery = queries if among else torch.randn(GALLERY[device.type], dim, device=device)
    columns = torch.arange(len(gallery), device=device)

    @torch.inference_mode()
    def peer() -> object:
        best: list[Tensor] = []
        for row in range(len(queries)):
            of_query = torch.full_like(columns, row)
            scores = straight(pan, queries, gallery, of_query, columns)
            if among:
                scores[row] = -torch.inf
            best.append(scores.topk(K).indices)
        return torch.stack(best)

    seconds = alternate(lambda: most_similar(pan, queries, None if among else gallery, k=K), peer, repeats)
    size = f"{among} among each other" if among else f"{len(queries)} x {len(gallery)}"
    what = f"all pairs, {joint}, {size}, D = {dim}, M = {num_conditions}, straight form"
    return Row.less(what, *seconds, target=CONCAT_TARGET if joint is Joint.CONCAT else None)


def memory_row(joint: Joint, num_pairs: int, device: str) -> Row:
    """Measure memory above the inputs, against the straight form of all pairs at a time."""
    pan, h = make_pan(joint, 1280, 50, device), torch.randn(NUM_ITEMS, 1280, device=device)
    index = np.random.default_rng(0).integers(NUM_ITEMS, size=(2, num_pairs))
    index_1, index_2 = torch.from_numpy(index).to(device)

    @torch.inference_mode()
    def whole() -> object:
        return pan.similarity(h[index_1], h[index_2]).score

    ours, peer = peak_memory(lambda: pan.score_pairs(h, *index)), peak_memory(whole)
    return Row.less(f"bytes above inputs, {joint}, P = {num_pairs}, D = 1280, M = 50, all at a time", ours, peer, 20.0)


def rows_of(arguments: argparse.Namespace) -> Iterator[Row]:
    """Yield all rows."""
    device, quick = arguments.device, arguments.quick
    dims, conditions, sizes = (1280,) if quick else DIMS, (50,) if quick else CONDITIONS, NUM_PAIRS
    for threads in thread_counts(device):
        torch.set_num_threads(threads)
        for joint in (Joint.ABSDIFF, Joint.PRODUCT):
            for num_pairs in sizes[:1] if quick else sizes:
                for dim in dims:
                    for num_conditions in conditions:
                        for precision in Precision:
                            pan = make_pan(joint, dim, num_conditions, device, precision)
                            yield pairs_row(pan, num_pairs, threads, 5 if num_pairs == sizes[0] else 3)
        yield pairs_row(make_pan(Joint.CONCAT, 1280, 50, device), sizes[0], threads, 3)
    torch.set_num_threads(arguments.threads)
    for joint in Joint:
        yield all_pairs_row(make_pan(joint, 1280, 50, device), 1 if quick else 3)
    yield all_pairs_row(make_pan(Joint.ABSDIFF, 1280, 50, device), 1 if quick else 3, among=512)
    for joint in Joint:
        yield memory_row(joint, NUM_PAIRS[-1], device)


def thread_counts(device: str) -> tuple[int, ...]:
    """Return the numbers of threads to measure pairs with."""
    return (1, 2) if device == "cpu" and (os.cpu_count() or 1) > 1 else (1,)


def main() -> None:
    """Measure and print."""
    arguments_parser = parser(__doc__)
    arguments_parser.add_argument("--quick", action="store_true", help="one size of each, for a look")
    run_benchmark(arguments_parser, lambda arguments: list(rows_of(arguments)))


if __name__ == "__main__":
    main()
