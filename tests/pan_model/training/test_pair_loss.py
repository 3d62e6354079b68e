"""The fused losses and gradients of a step equal those of the straight form, which autograd differentiates."""

import math
from collections.abc import Generator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pan_model.model.conditions import Conditions
from pan_model.model.gates import Gate
from pan_model.model.pair_labels import PairLabels
from pan_model.model.precision import Precision
from pan_model.model.similarity import DROPPED, ConditionSimilarity, Joint, PairSimilarity, SimilarityConfig
from pan_model.reproducibility import computing_threads
from pan_model.training.loss import condition_loss, pair_losses
from pan_model.training.pair_logits import dropout_mask
from pan_model.training.pair_loss import StepPairs, chunk_size, losses_of_pairs, step_losses

TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-4}

seeds = st.integers(0, 2**32)
gates = st.none() | st.sampled_from(Gate)


class Case:
    """A similarity module, the embeddings of some items, and pairs of them, all at random."""

    def __init__(
        self,
        *,
        joint: Joint,
        dtype: torch.dtype = torch.float64,
        num_items: int = 9,
        num_pairs: int = 23,
        embedding_dim: int = 6,
        num_conditions: int = 5,
        gate: Gate | None = None,
        num_attributes: int = 3,
        share_certain: float = 0.7,
        lambda_: float = 0.5,
        scale: float = 1.0,
        seed: int = 0,
        dropout: float = 0.0,
        condition_dropout: float = 0.0,
        precision: Precision | None = None,
    ) -> None:
        self.random = torch.Generator().manual_seed(seed)
        config = SimilarityConfig(
            joint=joint, dropout=dropout, condition_dropout=condition_dropout, precision=precision
        )
        self.module = ConditionSimilarity(config, embedding_dim=embedding_dim, num_conditions=num_conditions).to(dtype)
        for weight in self.module.parameters():
            weight.data = (scale * torch.randn(weight.shape, generator=self.random, dtype=torch.float64)).to(dtype)
        values = torch.randn(num_items, embedding_dim, generator=self.random, dtype=torch.float64)
        self.embeddings = values.to(dtype).requires_grad_()
        self.places = torch.randint(num_items, (num_pairs, 2), generator=self.random)
        self.places[0, 1] = self.places[0, 0]  # an item with itself
        self.same = torch.rand(num_pairs, generator=self.random) < 0.5
        self.weights = torch.rand(num_pairs, generator=self.random, dtype=torch.float64).to(dtype)
        self.lambda_ = lambda_
        self.attributes = torch.rand(num_items, num_attributes, generator=self.random) < 0.5
        self.certain = torch.rand(num_items, num_attributes, generator=self.random) < share_certain
        available = 0 if gate is None else num_attributes * len(gate.parts)
        self.conditions = Conditions(
            attribute_index=torch.arange(num_attributes),
            gate=gate,
            num_labelled=min(num_conditions, available),
            names=tuple(map(str, range(num_conditions))),
        )

    def fused(self, size: int | None = None) -> tuple[Tensor, ...]:
        labels = PairLabels.of(self.conditions, self.attributes, self.certain)
        pairs = StepPairs(places=self.places, same=self.same, weights=self.weights, labels=labels, lambda_=self.lambda_)
        return step_losses(self.module, self.embeddings, pairs, size=size)

    def straight(self, given: PairSimilarity | None = None) -> tuple[Tensor, ...]:
        outputs = given or self.module.forward(*(self.embeddings[index] for index in self.places.t()))
        of_pairs = (self.weights * pair_losses(outputs, self.same)).sum()
        of_conditions = of_pairs.new_zeros(())
        if self.conditions.num_labelled > 0:
            targets, certain = self.conditions.targets(self.attributes, self.certain, *self.places.t())
            logits = outputs.similarity_logits[:, : self.conditions.num_labelled]
            of_conditions = condition_loss(logits, targets, certain)
        return of_pairs + self.lambda_ * of_conditions, of_pairs, of_conditions

    def gradients(self, loss: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad(loss, [self.embeddings, *self.module.parameters()]))


def assert_equal(case: Case, fused: tuple[Tensor, ...], straight: tuple[Tensor, ...], tolerance: float) -> None:
    for one, other in zip(fused, straight, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)
    gradients = zip(case.gradients(fused[0]), case.gradients(straight[0]), strict=True)
    for one, other in gradients:
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance * max(1.0, other.abs().max().item()))


@pytest.fixture(autouse=True)
def _two_threads() -> Generator[None]:
    with computing_threads(2):
        yield


@given(
    joint=st.sampled_from(Joint),
    gate=gates,
    num_items=st.integers(1, 12),
    num_pairs=st.integers(1, 40),
    embedding_dim=st.integers(1, 10),
    num_conditions=st.integers(1, 9),
    num_attributes=st.integers(1, 10),
    share_certain=st.sampled_from([0.0, 0.5, 1.0]),
    lambda_=st.sampled_from([0.0, 0.3, 10.0]),
    size=st.integers(1, 50),
    dtype=st.sampled_from(list(TOLERANCE)),
    seed=seeds,
)
def test_losses_and_gradients_are_those_of_the_straight_form(size: int, dtype: torch.dtype, **changes: Any):
    case = Case(dtype=dtype, **changes)
    assert_equal(case, case.fused(size), case.straight(), TOLERANCE[dtype])


@pytest.mark.parametrize("num_conditions", [1, 33, 70])
@pytest.mark.parametrize("joint", Joint)
def test_few_and_many_conditions(joint: Joint, num_conditions: int):
    """Few conditions are computed with the pairs as rows, many with the conditions as rows."""
    case = Case(joint=joint, num_conditions=num_conditions, gate=Gate.AND_XOR, num_attributes=40, num_pairs=150)
    assert_equal(case, case.fused(), case.straight(), 1e-9)


@pytest.mark.parametrize("share_certain", [0.5, 1.0])
@pytest.mark.parametrize("scale", [10.0, 100.0, 1000.0])
@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("joint", Joint)
def test_nothing_saturates_at_extreme_logits(joint: Joint, dtype: torch.dtype, scale: float, share_certain: float):
    case = Case(joint=joint, dtype=dtype, gate=Gate.XNOR, scale=scale, share_certain=share_certain)
    fused, straight = case.fused(8), case.straight()
    assert fused[1] > 1
    assert all(value.isfinite() for value in fused)
    assert_equal(case, fused, straight, TOLERANCE[dtype] * (1 if dtype == torch.float64 else 10))


def test_a_single_confident_pair_has_the_loss_of_its_logit():
    case = Case(joint=Joint.ABSDIFF, dtype=torch.float32, num_conditions=1, num_pairs=2)
    for weight in case.module.parameters():
        weight.data.zero_()
    case.module.similarity.bias.data.fill_(1000)
    case.same = torch.tensor([True, False])
    losses = losses_of_pairs(case.module, case.embeddings, case.places, case.same)
    assert losses.tolist() == [0, 1000]


def test_losses_that_are_not_numbers_stay_so():
    case = Case(joint=Joint.ABSDIFF, gate=Gate.AND)
    case.module.similarity.weight.data[0, 0] = math.nan
    assert all(value.isnan() for value in case.fused())


@pytest.mark.parametrize("joint", Joint)
def test_losses_of_pairs_are_those_of_the_straight_form(joint: Joint):
    case = Case(joint=joint, dropout=0.5, condition_dropout=0.5)
    case.module.eval()
    expected = pair_losses(case.module(*(case.embeddings[index] for index in case.places.t())), case.same)
    losses = losses_of_pairs(case.module, case.embeddings, case.places, case.same, size=5)
    torch.testing.assert_close(losses, expected)
    assert not losses.requires_grad


@pytest.mark.parametrize("joint", Joint)
def test_embeddings_without_gradient_change_no_other_gradient(joint: Joint):
    case = Case(joint=joint, gate=Gate.OR)
    with_embeddings = case.gradients(case.fused(7)[0])[1:]
    case.embeddings = case.embeddings.detach()
    without = torch.autograd.grad(case.fused(7)[0], list(case.module.parameters()))
    for one, other in zip(without, with_embeddings, strict=True):
        torch.testing.assert_close(one, other)


def test_gradients_scale_with_the_loss():
    case = Case(joint=Joint.PRODUCT, gate=Gate.OR)
    once, thrice = case.gradients(case.fused()[0]), case.gradients(3 * case.fused()[0])
    for one, other in zip(once, thrice, strict=True):
        torch.testing.assert_close(3 * one, other)


@given(
    joint=st.sampled_from(Joint),
    gate=gates,
    num_items=st.integers(3, 12),
    num_pairs=st.integers(30, 60),
    embedding_dim=st.integers(1, 40),
    num_conditions=st.sampled_from([1, 5, 40]),
    num_attributes=st.integers(1, 40),
    dropout=st.sampled_from([0.0, 0.3]),
    size=st.integers(10, 60),
    dtype=st.sampled_from(list(TOLERANCE)),
    seed=seeds,
)
def test_products_in_bfloat16_differ_by_their_rounding_alone(size: int, dtype: torch.dtype, **changes: Any):
    case = Case(dtype=torch.float64, scale=0.3, share_certain=1.0, **changes)
    rounded = Case(dtype=dtype, scale=0.3, share_certain=1.0, precision=Precision.BFLOAT16, **changes)
    for one in (case, rounded):  # the gradient of |h1 - h2| depends on the sign of a difference, however small
        one.embeddings.data = one.embeddings.data.bfloat16().to(one.embeddings.dtype)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        exact = case.fused(size)
        torch.manual_seed(0)
        fused = rounded.fused(size)
    for one, other in zip(fused, exact, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=0.02, atol=0.02)
    gradients = zip(rounded.gradients(fused[0]), case.gradients(exact[0]), strict=True)
    for one, other in gradients:
        assert one.dtype == dtype
        assert (one.double() - other).norm() <= 0.05 * (1 + other.norm())


@pytest.mark.parametrize("num_conditions", [8, 70])
@pytest.mark.parametrize("joint", [Joint.ABSDIFF, Joint.PRODUCT])
def test_gradients_in_bfloat16_have_no_bias(joint: Joint, num_conditions: int):
    """Over many pairs the rounding of bfloat16, 1 / 512 of a value, averages out."""
    shape = {"num_items": 40, "num_pairs": 2000, "embedding_dim": 64, "num_conditions": num_conditions, "scale": 0.1}
    case, rounded = (
        Case(joint=joint, dtype=torch.float32, gate=Gate.AND, precision=precision, **shape)
        for precision in (Precision.FLOAT32, Precision.BFLOAT16)
    )
    exact, fused = (one.gradients(one.fused(256)[0]) for one in (case, rounded))
    of_embeddings, *of_weights = ((one - other).norm() / other.norm() for one, other in zip(fused, exact, strict=True))
    assert 0 < of_embeddings < 0.05  # the sign of a difference is 0 if both round to the same value
    assert all(0 < error < 0.02 for error in of_weights)


@pytest.mark.parametrize("joint", Joint)
@pytest.mark.parametrize(("dropout", "condition_dropout"), [(0.4, 0.0), (0.0, 0.4)])
def test_dropout_draws_from_torch_s_seed_alone(joint: Joint, dropout: float, condition_dropout: float):
    case = Case(joint=joint, num_pairs=60, dropout=dropout, condition_dropout=condition_dropout)

    def loss(seed: int) -> tuple[float, list[Tensor]]:
        torch.manual_seed(seed)
        total = case.fused(8)[0]
        return total.item(), case.gradients(total)

    with torch.random.fork_rng():
        first, again, another = loss(1), loss(1), loss(2)
    assert first[0] == again[0] != another[0]
    assert all(torch.equal(one, other) for one, other in zip(first[1], again[1], strict=True))
    case.module.eval()
    assert_equal(case, case.fused(8), case.straight(), 1e-9)


@pytest.mark.parametrize("joint", Joint)
def test_dropout_of_the_joint_is_that_of_the_straight_form_on_the_same_entries(joint: Joint):
    case = Case(joint=joint, num_pairs=30, dropout=0.4, gate=Gate.AND)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        fused = case.fused(30)
        torch.manual_seed(0)
        seed = torch.randint(2**62, (1,)).item()
    represented = case.module.represent(*(case.embeddings[index] for index in case.places.t()))
    generator = torch.Generator().manual_seed(int(seed))
    mask = dropout_mask(represented, 0.4, generator)
    dropped = represented * mask
    relevance = torch.log_softmax(case.module.relevance(dropped), dim=1)
    straight = case.straight(PairSimilarity(case.module.similarity(dropped), relevance))
    assert_equal(case, fused, straight, 1e-9)
    assert 0 < (mask > 0).double().mean() < 1


def test_dropped_conditions_take_no_part_in_a_pair_s_score():
    case = Case(joint=Joint.ABSDIFF, num_pairs=40, num_conditions=3, condition_dropout=0.5, gate=Gate.AND)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        fused = case.fused(40)
        torch.manual_seed(0)
        seed = torch.randint(2**62, (1,)).item()
    represented = case.module.represent(*(case.embeddings[index] for index in case.places.t()))
    drawn = (
        torch.empty(3, 40, dtype=torch.float64).uniform_(generator=torch.Generator().manual_seed(int(seed))) < 0.5
    ).t()
    drawn = drawn & ~drawn.all(dim=1, keepdim=True)
    assert drawn.any()
    relevance = torch.log_softmax(case.module.relevance(represented).masked_fill(drawn, DROPPED), dim=1)
    straight = case.straight(PairSimilarity(case.module.similarity(represented), relevance))
    assert_equal(case, fused, straight, 1e-9)


@pytest.mark.parametrize("num_threads", [1, 2, 3])
def test_threads_repeat_their_numbers_and_keep_the_process_s_setting(num_threads: int):
    case = Case(joint=Joint.ABSDIFF, gate=Gate.XOR, num_pairs=200, dropout=0.3)
    with computing_threads(num_threads), torch.random.fork_rng():
        results: list[list[Tensor]] = []
        for _ in range(5):
            torch.manual_seed(3)
            results.append(case.gradients(case.fused(16)[0]))
            assert torch.get_num_threads() == num_threads
    for gradients in results[1:]:
        assert all(torch.equal(one, other) for one, other in zip(gradients, results[0], strict=True))


@given(num_pairs=st.integers(1, 10**6), width=st.integers(1, 10**5), num_threads=st.integers(1, 16))
def test_chunks_fit_in_the_cache_and_give_every_thread_a_share(num_pairs: int, width: int, num_threads: int):
    size = chunk_size(num_pairs, width, torch.device("cpu"), num_threads=num_threads)
    assert 1 <= size <= min(1024, max(512, 2**20 // width))
    assert -(-num_pairs // size) >= min(num_threads, num_pairs // 128)


@given(gate=st.sampled_from(Gate), num_attributes=st.integers(1, 20), num_labelled=st.integers(1, 40), seed=seeds)
def test_pair_labels_are_the_targets(gate: Gate, num_attributes: int, num_labelled: int, seed: int):
    generator = torch.Generator().manual_seed(seed)
    attributes = torch.rand(7, num_attributes, generator=generator) < 0.5
    certain = torch.rand(7, num_attributes, generator=generator) < 0.8
    pairs = torch.randint(7, (20, 2), generator=generator)
    same = torch.rand(20, generator=generator) < 0.5
    conditions = Conditions(
        attribute_index=torch.arange(num_attributes),
        gate=gate,
        num_labelled=min(num_labelled, num_attributes * len(gate.parts)),
        names=(),
    )
    targets, both_certain = (table.t() for table in conditions.targets(attributes, certain, *pairs.t()))
    labels = PairLabels.of(conditions, attributes, certain)
    assert labels is not None
    for items, of_items in ((None, pairs), (torch.arange(6, -1, -1), 6 - pairs)):
        chosen = labels if items is None else labels.of_items(items)
        plain, known = chosen(of_items)
        agreeing, _ = chosen(of_items, same)
        known = torch.ones_like(plain) if known is None else known
        assert torch.equal(known.bool(), both_certain)
        assert torch.equal(plain.bool()[both_certain], targets[both_certain])
        assert torch.equal(agreeing.bool()[both_certain], (targets == same)[both_certain])
        assert plain.max() <= 1


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(share: float):
    generator = torch.Generator().manual_seed(1)
    mask = dropout_mask(torch.empty(301, 1001), share, generator)
    assert mask.unique().tolist() == pytest.approx([0.0, 1 / (1 - share)], rel=1e-3)
    assert float((mask == 0).double().mean()) == pytest.approx(share, abs=5e-3)
    for stride in range(1, 5):  # entries that share random bits are independent, too
        kept = (mask.view(-1) > 0).double()
        assert float(torch.corrcoef(torch.stack([kept[:-stride], kept[stride:]]))[0, 1]) == pytest.approx(0, abs=0.01)
    again = dropout_mask(torch.empty(301, 1001), share, generator.manual_seed(1))
    assert torch.equal(mask, again)
