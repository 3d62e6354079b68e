"""The projection trained with the Proxy-Anchor loss; pytorch-metric-learning is the oracle of the loss."""

import numpy as np
import pytest
import torch
from pytorch_metric_learning.losses import ProxyAnchorLoss

from pan_model.data.splits import Split
from pan_model.scoring.baselines.choice import fit_baseline
from pan_model.scoring.baselines.class_means import fit_lda
from pan_model.scoring.baselines.proxy_anchor import (
    ProxyAnchorTraining,
    fit_proxy_anchor,
    leading_directions,
    proxy_anchor_loss,
)
from pan_model.scoring.baselines.setting import Setting
from pan_model.tasks.few_shot import FewShotTask

SETTING: Setting = {"learning_rate": 1e-2, "epochs": 3}


def test_the_loss_and_its_gradient_are_those_of_pytorch_metric_learning():
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(10, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 0, 1, 1, 1, 3, 3, 5, 5, 5])  # classes 2 and 4 are not in the batch
    oracle = ProxyAnchorLoss(num_classes=6, embedding_size=4, margin=0.1, alpha=32).double()
    proxies = oracle.proxies.detach().clone().requires_grad_()
    expected, found = oracle(embeddings, labels), proxy_anchor_loss(embeddings, labels, proxies)
    assert found.item() == pytest.approx(expected.item())
    of_ours, of_oracle = torch.autograd.grad(found, [proxies]), torch.autograd.grad(expected, [oracle.proxies])
    torch.testing.assert_close(of_ours, of_oracle)


def test_a_training_repeats_exactly_and_goes_on_where_a_shorter_one_ends(task: FewShotTask):
    features, items = task.featured.features, np.arange(len(task.featured.features))
    state = torch.get_rng_state()
    settings = [SETTING | {"epochs": epochs} for epochs in (1, 3, 2)]
    scores = [scorer(items[None], items[None, :, None]) for scorer in fit_proxy_anchor(task, settings, features)]
    for setting, expected in zip(settings, scores, strict=True):
        alone = fit_baseline("proxy_anchor", task, setting)(items[None], items[None, :, None])
        np.testing.assert_array_equal(alone, expected)
    assert abs(scores[0] - scores[1]).max() > 1e-3
    assert torch.equal(torch.get_rng_state(), state)


def test_before_training_it_is_whitened_features(noisy_task: FewShotTask):
    features = noisy_task.featured.features
    whitened: Setting = {"feature_power": 0.5, "shrinkage": 0.9, "unit_length": True}
    lda = next(fit_lda(noisy_task, [whitened], features))
    start = next(fit_proxy_anchor(noisy_task, [SETTING | {"epochs": 0}], features))
    accuracies = [noisy_task.evaluate(scorer, Split.VAL)["few_shot_accuracy"].mean() for scorer in (lda, start)]
    assert accuracies[0] == pytest.approx(accuracies[1], abs=1e-3)


def test_training_lowers_the_loss(task: FewShotTask):
    features = torch.from_numpy(task.featured.features - task.featured.features.mean(axis=0))
    training = ProxyAnchorTraining(task, features, leading_directions(features), 1e-3)
    for _ in range(20):
        training.run_epoch()
    assert training.losses[-1] < 0.8 * training.losses[0]
