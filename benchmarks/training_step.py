"""How close does a training step come to the products of matrices that it cannot do without?

Run `.venv/bin/python benchmarks/training_step.py`; it takes about 2 minutes, with `--full` about 30. A row compares a
step, from embeddings of items, pairs and labels to losses and gradients, with its bound: the product of the pairs'
joint representations and the weights, and that of the logits' gradient and the joint representations, for all P pairs
at once and with the joint representations given. `concat` needs no such products and is compared with the straight
form. All conditions are labelled. Rows "embeddings too" also compute the gradient of the embeddings; their bound is the
same. Rows of bfloat16 compare a step whose products have operands in bfloat16 with the same products in bfloat16.
Memory is that of tensors which exist at the same time.
"""

import argparse
from collections.abc import Callable, Iterator
from itertools import product

import torch
from measure import Row, alternate, parser, peak_memory, run_benchmark

from pan_model.model.conditions import Conditions
from pan_model.model.gates import Gate
from pan_model.model.pair_labels import PairLabels
from pan_model.model.precision import Precision, as_operand
from pan_model.model.similarity import ConditionSimilarity, Joint, SimilarityConfig
from pan_model.reproducibility import computing_threads
from pan_model.training.loss import condition_loss, pair_losses
from pan_model.training.pair_loss import StepPairs, step_losses

NUM_ITEMS = 1500
LAMBDA = 1.0
QUICK = [(8192, 1280, 8), (8192, 1280, 50), (8192, 1280, 312)]
FULL = list(product((8192, 32768), (512, 1280, 2048), (8, 50, 312)))


class Step:
    """A training step of random embeddings, pairs and labels."""

    def __init__(
        self,
        joint: Joint,
        num_pairs: int,
        dim: int,
        num_conditions: int,
        device: torch.device,
        precision: Precision = Precision.FLOAT32,
    ) -> None:
        random = torch.Generator().manual_seed(0)
        config = SimilarityConfig(joint=joint, precision=precision)
        self.module = ConditionSimilarity(config, embedding_dim=dim, num_conditions=num_conditions)
        self.module.to(device)
        self.embeddings = torch.randn(NUM_ITEMS, dim, generator=random).to(device)
        self.places = torch.randint(NUM_ITEMS, (num_pairs, 2), generator=random).to(device)
        self.same = (torch.rand(num_pairs, generator=random) < 0.5).to(device)
        self.weights = torch.full((num_pairs,), 1 / num_pairs, device=device)
        self.attributes = (torch.rand(NUM_ITEMS, num_conditions, generator=random) < 0.1).to(device)
        self.certain = (torch.rand(NUM_ITEMS, num_conditions, generator=random) < 0.9).to(device)
        names = tuple(map(str, range(num_conditions)))
        self.conditions = Conditions(
            attribute_index=torch.arange(num_conditions), gate=Gate.XNOR, num_labelled=num_conditions, names=names
        )
        labels = PairLabels.of(self.conditions, self.attributes, self.certain)
        self.pairs = StepPairs(places=self.places, same=self.same, weights=self.weights, labels=labels, lambda_=LAMBDA)

    def fused(self, *, train_embeddings: bool = False) -> None:
        """Compute the gradients as training does."""
        self.module.zero_grad()
        embeddings = self.embeddings.requires_grad_() if train_embeddings else self.embeddings.detach()
        step_losses(self.module, embeddings, self.pairs).total.backward()
        self.embeddings = self.embeddings.detach()

    def straight(self) -> None:
        """Compute the gradients as the formulas are written, differentiated by autograd."""
        self.module.zero_grad()
        first, second = self.places.unbind(dim=1)
        outputs = self.module(self.embeddings[first], self.embeddings[second])
        of_pairs = (self.weights * pair_losses(outputs, self.same)).sum()
        targets, certain = self.conditions.targets(self.attributes, self.certain, first, second)
        (of_pairs + LAMBDA * condition_loss(outputs.similarity_logits, targets, certain)).backward()

    def bound(self) -> Callable[[], None]:
        """Return the two products on joint representations that are already there."""
        precision = self.module.precision
        with torch.no_grad():
            represented = self.module.represent(*(self.embeddings[index] for index in self.places.unbind(dim=1)))
        weight = torch.cat([self.module.similarity.weight, self.module.relevance.weight]).detach()
        gradient = torch.randn(len(self.same), len(weight), device=weight.device)
        represented, weight, gradient = (as_operand(values, precision) for values in (represented, weight, gradient))
        logits, of_weight = torch.empty_like(gradient), torch.empty_like(weight)

        def products() -> None:
            torch.mm(represented, weight.T, out=logits)
            torch.mm(gradient.T, represented, out=of_weight)

        return products


def sizes(full: bool) -> Iterator[tuple[Joint, int, int, int]]:
    """Yield what to measure: joint, P, D and M. concat forms no joint representations of pairs and needs few sizes."""
    for num_pairs, dim, num_conditions in FULL if full else QUICK:
        for joint in Joint:
            if joint is not Joint.CONCAT or (num_conditions == 50 and num_pairs == 8192):
                yield joint, num_pairs, dim, num_conditions


def measure(arguments: argparse.Namespace) -> list[Row]:
    """Measure every size with one thread and with two, or on a GPU."""
    device = torch.device(arguments.device)
    rows: list[Row] = []
    for num_threads in [1] if device.type == "cuda" else sorted({1, 2, arguments.threads}):
        with computing_threads(num_threads):
            for size in sizes(arguments.full):
                for precision in Precision:
                    rows += measure_speed(*size, precision, device=device, repeats=arguments.repeats)
    for joint in Joint:
        rows += measure_memory(joint, device)
    return rows


def measure_speed(
    joint: Joint,
    num_pairs: int,
    dim: int,
    num_conditions: int,
    precision: Precision,
    *,
    device: torch.device,
    repeats: int,
) -> list[Row]:
    """Measure a step in turn with its bound, concat with the straight form."""
    if precision is Precision.BFLOAT16 and joint is Joint.CONCAT:
        return []
    step = Step(joint, num_pairs, dim, num_conditions, device, precision)
    threads = f"{torch.get_num_threads()} threads" if device.type == "cpu" else device.type
    what = f"{joint}, P {num_pairs}, D {dim}, M {num_conditions}, {threads}"
    if joint is Joint.CONCAT:
        return [Row.less(f"{what}: straight form / step", *alternate(step.fused, step.straight, repeats), target=5)]
    bound = step.bound()
    if precision is Precision.BFLOAT16:
        target = 0.75 if num_conditions == 312 else None
        float32 = Step(joint, num_pairs, dim, num_conditions, device)
        what = f"{what}, bfloat16"
        return [
            Row.less(f"{what}: bound / step", *alternate(step.fused, bound, repeats), target=target),
            Row.less(f"{what}: step in float32 / step", *alternate(step.fused, float32.fused, repeats)),
        ]
    target = 0.8 if num_conditions >= 50 else 0.6
    ours, peer = alternate(step.fused, bound, repeats)
    with_embeddings = alternate(lambda: step.fused(train_embeddings=True), bound, repeats)
    return [
        Row.less(f"{what}: bound / step", ours, peer, target=target),
        Row.less(f"{what}: bound / step, embeddings too", *with_embeddings),
    ]


def measure_memory(joint: Joint, device: torch.device) -> list[Row]:
    """Measure the memory of a step above its inputs: that of the straight form, and of four times the pairs."""
    step, larger = (Step(joint, num_pairs, 1280, 50, device) for num_pairs in (8192, 32768))
    ours, most = peak_memory(step.fused), peak_memory(larger.fused)
    what = f"{joint}, D 1280, M 50, bytes"
    return [
        Row.less(f"{what}: straight form / step, P 8192", ours, peak_memory(step.straight), target=20),
        Row.less(f"{what}: straight form / step, P 32768", most, peak_memory(larger.straight), target=20),
        Row.less(f"{what}: P 8192 / P 32768", most, ours),
    ]


def main() -> None:
    """Measure and print the rows."""
    arguments = parser(__doc__)
    arguments.add_argument("--full", action="store_true", help="all sizes instead of those of D = 1280 and P = 8192")
    arguments.add_argument("--repeats", type=int, default=5, help="rounds of each comparison")
    run_benchmark(arguments, measure)


if __name__ == "__main__":
    main()
