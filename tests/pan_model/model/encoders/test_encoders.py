"""What every encoder does: a new row of ENCODERS needs an example here."""

import pytest
import torch
from torch import Tensor, nn

from pan_model.errors import UserError
from pan_model.model.encoders import ENCODERS
from pan_model.model.encoders.encoder import Encoder, EncoderConfig, encoder_name, find_encoder
from pan_model.model.encoders.graph import GraphConfig
from pan_model.model.encoders.proxynca import ProxyNCAConfig, ProxyNCAEncoder
from pan_model.model.encoders.siamese import Projection, SiameseConfig, SiameseEncoder

EXAMPLES: list[EncoderConfig] = [
    SiameseConfig(),
    SiameseConfig(projection=Projection.RESIDUAL),
    ProxyNCAConfig(embedding_dim=5, proxy_learning_rate_factor=30.0),
    ProxyNCAConfig(embedding_dim=8),
    GraphConfig(graph_layers=1, graph_width=9, layer_dropout=0.0),
    GraphConfig(graph_width=5),
]
CLASSES = torch.tensor([0, 2, 1, 0, 2, 2, 1, 0])


@pytest.fixture(params=EXAMPLES, ids=str)
def config(request: pytest.FixtureRequest) -> EncoderConfig:
    return request.param


@pytest.fixture
def encoder(config: EncoderConfig) -> Encoder:
    torch.manual_seed(0)
    return config.build(feature_dim=6, num_classes=3)


@pytest.fixture
def features() -> Tensor:
    return 4 + torch.randn(8, 6, generator=torch.Generator().manual_seed(1))


def parameters(encoder: Encoder) -> list[nn.Parameter]:
    assert isinstance(encoder, nn.Module)
    return list(encoder.parameters())


def test_registered_name_and_configuration_belong_together(config: EncoderConfig):
    assert find_encoder(encoder_name(config)) is type(config)
    assert {encoder_name(example) for example in EXAMPLES} == ENCODERS.keys()


def test_every_item_has_an_embedding_of_the_promised_width(encoder: Encoder, features: Tensor):
    embeddings = encoder(features)
    assert embeddings.shape == (8, encoder.embedding_dim)
    assert embeddings.dtype is torch.float32
    assert embeddings.isfinite().all()


def test_an_item_s_embedding_does_not_depend_on_its_batch_or_place(encoder: Encoder, features: Tensor):
    assert isinstance(encoder, nn.Module)
    encoder.eval()
    order = torch.tensor([3, 1, 7])
    torch.testing.assert_close(encoder(features[order]), encoder(features)[order])


def test_different_items_have_different_embeddings(encoder: Encoder, features: Tensor):
    assert len(encoder(features).detach().unique(dim=0)) == len(features)


def test_own_loss_is_a_number_of_at_least_zero_that_moves_what_it_depends_on(encoder: Encoder, features: Tensor):
    loss = encoder.own_loss(encoder(features), CLASSES)
    assert loss.shape == ()
    assert loss.item() >= 0
    assert loss.requires_grad == (loss.item() > 0)
    if loss.requires_grad:
        before = loss.item()
        loss.backward()
        with torch.no_grad():
            for weight in parameters(encoder):
                assert weight.grad is not None
                weight.sub_(1e-3 * weight.grad)
        assert encoder.own_loss(encoder(features), CLASSES).item() < before


def test_every_weight_is_in_exactly_one_group_of_the_optimiser(encoder: Encoder):
    groups = encoder.parameter_groups(0.125)
    grouped = [id(weight) for group in groups for weight in group["params"]]
    assert sorted(grouped) == sorted(id(weight) for weight in parameters(encoder))
    assert all(group["lr"] > 0 for group in groups)
    if groups:
        torch.optim.AdamW(groups, weight_decay=0.5)


@pytest.mark.parametrize("keep_distances", [False, True])
def test_first_weights_come_from_torch_s_seed(config: EncoderConfig, keep_distances: bool):
    def first_weights(seed: int) -> list[Tensor]:
        torch.manual_seed(seed)
        encoder = config.build(feature_dim=6, num_classes=3)
        if keep_distances and not encoder.uses_graph:
            encoder.keep_distances()
        return parameters(encoder)

    one, again, other = first_weights(1), first_weights(1), first_weights(2)
    assert all(torch.equal(w, same) for w, same in zip(one, again, strict=True))
    drawn = any(not torch.equal(w, another) for w, another in zip(one, other, strict=True))
    assert drawn == any(w.any() for w in one)  # what is not drawn starts at 0


def balanced_and_of_equal_length(features: Tensor) -> Tensor:
    """Vectors whose entries have mean 0 and variance 1, which a LayerNorm leaves as they are."""
    return nn.functional.layer_norm(features, features.shape[1:], eps=0)


def test_an_encoder_that_keeps_distances_has_wide_enough_embeddings_as_far_apart_as_the_features(
    encoder: Encoder, features: Tensor
):
    features = balanced_and_of_equal_length(features)
    if encoder.uses_graph:
        with pytest.raises(UserError, match=r"first_weights distance needs .* choose xavier"):
            encoder.keep_distances()
        return
    encoder.keep_distances()
    kept = torch.pdist(encoder(features)) / torch.pdist(features)
    if encoder.embedding_dim >= 6:
        torch.testing.assert_close(kept, torch.ones_like(kept), rtol=1e-4, atol=1e-4)
    else:
        assert (kept <= 1 + 1e-4).all()


def test_a_narrow_embedding_that_keeps_distances_shrinks_them_about_alike():
    torch.manual_seed(0)
    encoder = ProxyNCAConfig(embedding_dim=256).build(feature_dim=512, num_classes=3)
    encoder.keep_distances()
    features = balanced_and_of_equal_length(torch.randn(20, 512))
    kept = torch.pdist(encoder(features)) / torch.pdist(features)
    torch.testing.assert_close(kept, torch.full_like(kept, 0.5**0.5), rtol=0.15, atol=0)


def test_siamese_embedding_is_the_feature_vector_itself(features: Tensor):
    encoder = SiameseConfig().build(feature_dim=6, num_classes=3)
    assert encoder(features) is features
    assert encoder.own_loss(features, CLASSES).item() == 0
    assert not parameters(encoder)


def test_a_residual_projection_starts_as_the_feature_vector_and_adds_a_linear_map_of_it(features: Tensor):
    encoder = SiameseConfig(projection=Projection.RESIDUAL).build(feature_dim=6, num_classes=3)
    assert isinstance(encoder, SiameseEncoder)
    assert encoder.projection is not None
    assert torch.equal(encoder(features), features)
    matrix = torch.randn(6, 6, generator=torch.Generator().manual_seed(2))
    encoder.projection.weight.data.copy_(matrix)
    torch.testing.assert_close(encoder(features), features + features @ matrix.T)
    assert len(parameters(encoder)) == 1


@pytest.fixture
def proxynca() -> ProxyNCAEncoder:
    torch.manual_seed(0)
    config = ProxyNCAConfig(embedding_dim=5, proxy_learning_rate_factor=30.0, proxy_loss_weight=0.5)
    return config.build(feature_dim=6, num_classes=3)


def test_proxynca_embedding_is_a_linear_layer_on_the_normed_features(proxynca: ProxyNCAEncoder, features: Tensor):
    x = features.double()
    centred = x - x.mean(dim=1, keepdim=True)
    normed = centred / (centred.square().mean(dim=1, keepdim=True) + 1e-5).sqrt()
    expected = normed @ proxynca.embedding.weight.double().T + proxynca.embedding.bias.double()
    torch.testing.assert_close(proxynca(features), expected.float())


def test_proxies_learn_at_their_own_rate_and_without_any_decay(proxynca: ProxyNCAEncoder):
    of_embedding, of_proxies = torch.optim.AdamW(proxynca.parameter_groups(0.125), weight_decay=0.5).param_groups
    assert of_proxies["params"] == [proxynca.proxies]
    assert (of_proxies["lr"], of_proxies["weight_decay"], of_proxies["start_decay"]) == (30 * 0.125, 0, 0)
    assert (of_embedding["lr"], of_embedding["weight_decay"]) == (0.125, 0.5)


def test_proxies_are_one_a_class_and_start_as_an_eighth_of_normal():
    torch.manual_seed(0)
    proxies = ProxyNCAConfig(embedding_dim=400).build(feature_dim=2, num_classes=50).proxies
    assert proxies.shape == (50, 400)
    assert proxies.std().item() == pytest.approx(1 / 8, rel=0.02)


def test_proxy_loss_weight_multiplies_the_own_loss(proxynca: ProxyNCAEncoder, features: Tensor):
    whole = ProxyNCAConfig(embedding_dim=5, proxy_loss_weight=1.0).build(feature_dim=6, num_classes=3)
    whole.load_state_dict(proxynca.state_dict())
    embeddings = proxynca(features)
    assert proxynca.own_loss(embeddings, CLASSES).item() == pytest.approx(
        0.5 * whole.own_loss(embeddings, CLASSES).item()
    )
