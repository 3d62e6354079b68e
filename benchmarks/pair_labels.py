"""How fast are the labels of pairs under many conditions, compared with a loop over pairs and attributes?

Run `.venv/bin/python benchmarks/pair_labels.py`; it takes some seconds. 170,000 pairs of 11,788 items with 312
attributes, as many as a training split of CUB has, are labelled chunk by chunk as in training: f_a, and whether both
attributes are certain. The loop labels a sample of the pairs in plain Python; its time is scaled to all of them.
"""

import argparse

import torch
from measure import Row, alternate, parser, run_benchmark

from pan_model.model.conditions import Conditions
from pan_model.model.gates import Gate
from pan_model.model.pair_labels import PairLabels

NUM_PAIRS, NUM_ITEMS, NUM_ATTRIBUTES = 170_000, 11_788, 312
SAMPLE = 500
CHUNK = {"cpu": 512, "cuda": 2**16}
LOOPS = {
    Gate.AND: lambda one, other: one and other,
    Gate.OR: lambda one, other: one or other,
    Gate.XOR: lambda one, other: one != other,
    Gate.XNOR: lambda one, other: one == other,
}


def measure(arguments: argparse.Namespace) -> list[Row]:
    """Measure some gates."""
    device = torch.device(arguments.device)
    random = torch.Generator().manual_seed(0)
    attributes = torch.rand(NUM_ITEMS, NUM_ATTRIBUTES, generator=random) < 0.1
    certain = torch.rand(NUM_ITEMS, NUM_ATTRIBUTES, generator=random) < 0.9
    pairs = torch.randint(NUM_ITEMS, (NUM_PAIRS, 2), generator=random)
    return [compare(gate, attributes, certain, pairs, device) for gate in LOOPS]


def compare(
    gate: Gate, attributes: torch.Tensor, certain: torch.Tensor, pairs: torch.Tensor, device: torch.device
) -> Row:
    """Label pairs in turn with a loop over some of them, once both have given the same labels."""
    names = tuple(map(str, range(NUM_ATTRIBUTES)))
    conditions = Conditions(
        attribute_index=torch.arange(NUM_ATTRIBUTES), gate=gate, num_labelled=NUM_ATTRIBUTES, names=names
    )
    labels = PairLabels.of(conditions, attributes.to(device), certain.to(device))
    assert labels is not None
    chunks = pairs.to(device).split(CHUNK[device.type])
    present, known, sample = attributes.tolist(), certain.tolist(), pairs[:SAMPLE].tolist()
    label = LOOPS[gate]

    def loop() -> list[list[tuple[bool, bool]]]:
        result: list[list[tuple[bool, bool]]] = []
        for first, second in sample:
            of_pair: list[tuple[bool, bool]] = []
            for a in range(NUM_ATTRIBUTES):
                both_certain = known[first][a] and known[second][a]
                of_pair.append((label(present[first][a], present[second][a]) and both_certain, both_certain))
            result.append(of_pair)
        return result

    values, masks = labels(pairs[:SAMPLE].to(device))
    assert masks is not None
    assert torch.equal(torch.tensor(loop()), torch.stack([values & masks, masks], dim=2).bool().transpose(0, 1).cpu())

    def fused() -> None:
        for chunk in chunks:
            labels(chunk)

    ours, of_sample = alternate(fused, loop)
    what = f"{gate}, {NUM_PAIRS} pairs x {NUM_ATTRIBUTES} attributes: Python loop / chunks of {CHUNK[device.type]}"
    return Row.less(what, ours, of_sample * NUM_PAIRS / SAMPLE, target=200)


if __name__ == "__main__":
    run_benchmark(parser(__doc__), measure)
