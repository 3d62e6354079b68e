"""Every family of torchvision's classification models gives pooled features by the same rule."""

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from pan_model.backbones.architectures import build_backbone, measure_feature_dim
from pan_model.backbones.config import BACKBONES, Pooling, check_backbone_name, check_pooling, own_preprocessing
from pan_model.backbones.weights import imagenet_url
from pan_model.errors import UserError
from pan_model.images.preprocessing import Preprocessing

FAMILIES = {
    "alexnet": 256,
    "convnext_tiny": 768,
    "densenet121": 1024,
    "efficientnet_b0": 1280,
    "googlenet": 1024,
    "inception_v3": 2048,
    "maxvit_t": 512,
    "mnasnet0_5": 1280,
    "mobilenet_v2": 1280,
    "mobilenet_v3_small": 576,
    "resnet18": 512,
    "shufflenet_v2_x0_5": 1024,
    "squeezenet1_1": 512,
    "swin_t": 768,
    "swin_v2_t": 768,
    "vgg11": 512,
    "vit_b_32": 768,
}
"""A small member of each family and its features; regnet, which cannot be built on the meta device, comes below."""


def images_of(size: int) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def input_of_classifier(network: nn.Module, images: Tensor) -> Tensor:
    """What torchvision's whole network hands to its classifier's first weight matrix."""
    seen: list[Tensor] = []
    classifier = list(network.children())[-1]
    matrix = next(layer for layer in classifier.modules() if isinstance(layer, nn.Linear))
    matrix.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    network(images)
    return seen[0]


@pytest.mark.parametrize(("name", "feature_dim"), FAMILIES.items())
@pytest.mark.parametrize("training", [False, True])
def test_every_family_gives_one_row_of_features_an_image(name: str, feature_dim: int, training: bool) -> None:
    with torch.device("meta"):  # shapes alone, without the cost of weights
        assert build_backbone(name).train(training)(torch.empty(2, 3, 224, 224)).shape == (2, feature_dim)


@pytest.mark.parametrize(
    "name", ["resnet18", "shufflenet_v2_x0_5", "mobilenet_v3_small", "regnet_y_400mf", "mnasnet0_5"]
)
def test_features_are_what_the_classifier_reads(name: str) -> None:
    backbone = build_backbone(name).eval()
    whole = models.get_model(name, weights=None).eval()
    own = backbone.network.state_dict()
    complete = whole.state_dict()
    assert set(complete) == set(own) | backbone.classifier_keys
    complete.update(own)
    whole.load_state_dict(complete)
    with torch.inference_mode():
        torch.testing.assert_close(backbone(images_of(64)), input_of_classifier(whole, images_of(64)))


def test_features_of_a_network_whose_classifier_reads_a_map_are_its_average() -> None:
    backbone = build_backbone("squeezenet1_1").eval()
    with torch.inference_mode():
        averages = backbone.network.features(images_of(64)).mean(dim=(2, 3))
        torch.testing.assert_close(backbone(images_of(64)), averages)


MAPS = {
    "alexnet": 128,
    "convnext_tiny": 64,
    "densenet121": 64,
    "efficientnet_b0": 64,
    "mnasnet0_5": 64,
    "mobilenet_v2": 64,
    "mobilenet_v3_small": 64,
    "regnet_y_400mf": 64,
    "resnet18": 64,
    "shufflenet_v2_x0_5": 64,
    "squeezenet1_1": 64,
    "swin_t": 64,
}
"""Families whose numbers are looked at, and a size in px at which the map has several cells."""


def map_and_rest(network: nn.Module, images: Tensor) -> tuple[Tensor, nn.Module]:
    """The map that a network, cut for averages, takes them of, and what comes behind the average."""
    *_, last, classifier = network.children()
    layers = (getattr(network, "avgpool", None), *classifier.children())
    pools = [layer for layer in layers if isinstance(layer, nn.AdaptiveAvgPool2d)]
    seen: list[Tensor] = []
    if pools:
        handle = pools[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    else:
        handle = last.register_forward_hook(lambda _, __, output: seen.append(output))
    network(images)
    handle.remove()
    behind = [layer for layer in classifier.children() if isinstance(layer, nn.LayerNorm)]
    return (seen[0].relu() if isinstance(network, models.DenseNet) else seen[0]), nn.Sequential(*behind)


@pytest.mark.parametrize(("name", "size"), MAPS.items())
def test_average_and_maximum_are_those_of_the_same_map(name: str, size: int) -> None:
    average, maximum = (build_backbone(name, pooling).eval() for pooling in Pooling)
    images = images_of(size)
    with torch.inference_mode():
        cells, rest = map_and_rest(average.network, images)
        assert cells.ndim == 4
        assert cells.shape[2] * cells.shape[3] > 1
        for backbone, pooled in (
            (average, cells.mean(dim=(2, 3), keepdim=True)),
            (maximum, cells.amax(dim=(2, 3), keepdim=True)),
        ):
            torch.testing.assert_close(backbone(images), rest(pooled).flatten(1))
        assert not torch.equal(maximum(images), average(images))
    assert maximum.network.state_dict().keys() == average.network.state_dict().keys()
    assert maximum.classifier_keys == average.classifier_keys


@pytest.mark.parametrize(("name", "feature_dim"), [item for item in FAMILIES.items() if item[0] != "vit_b_32"])
@pytest.mark.parametrize("training", [False, True])
def test_every_family_with_a_map_gives_one_row_of_maxima_an_image(name: str, feature_dim: int, training: bool) -> None:
    with torch.device("meta"):
        backbone = build_backbone(name, "max").train(training)
        assert backbone(torch.empty(2, 3, 224, 224)).shape == (2, feature_dim)


@pytest.mark.parametrize("name", ["vit_b_16", "vit_b_32", "vit_h_14"])
def test_a_family_without_a_map_has_no_maximum(name: str) -> None:
    with pytest.raises(UserError, match=rf"pooling max: backbone {name} has no map of features to pool; choose avg"):
        build_backbone(name, Pooling.MAX)


def test_normalisation_inside_a_classifier_belongs_to_the_features() -> None:
    with torch.device("meta"):
        backbones = {name: build_backbone(name) for name in ("convnext_tiny", "maxvit_t")}
    assert backbones["convnext_tiny"].classifier_keys == {"classifier.2.weight", "classifier.2.bias"}
    assert "classifier.0.weight" in backbones["convnext_tiny"].network.state_dict()
    assert backbones["maxvit_t"].classifier_keys == {"classifier.3.weight", "classifier.3.bias", "classifier.5.weight"}
    assert "classifier.2.weight" in backbones["maxvit_t"].network.state_dict()


def test_side_classifiers_are_cut_too() -> None:
    with torch.device("meta"):
        backbone = build_backbone("googlenet")
    assert {key.split(".")[0] for key in backbone.classifier_keys} == {"fc", "aux1", "aux2"}


def test_names_are_those_of_torchvision() -> None:
    assert tuple(models.list_models(module=models)) == BACKBONES


@pytest.mark.parametrize("name", BACKBONES)
def test_vision_transformers_alone_have_no_feature_map(name: str) -> None:
    is_transformer = models.get_model_builder(name).__module__.endswith("vision_transformer")
    with pytest.raises(UserError, match="no map of features") if is_transformer else nullcontext():
        check_pooling(name, Pooling.MAX)


def test_every_model_belongs_to_a_family_above() -> None:
    families = {models.get_model_builder(name).__module__ for name in [*FAMILIES, "regnet_y_400mf"]}
    assert {models.get_model_builder(name).__module__ for name in BACKBONES} == families


def test_weights_are_the_same_at_every_call_and_leave_the_random_state_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = build_backbone("shufflenet_v2_x0_5").network.state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    second = build_backbone("shufflenet_v2_x0_5").network.state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_unknown_name_is_answered_with_the_closest() -> None:
    with pytest.raises(UserError, match=r"unknown backbone 'resnet51'; choose .* such as resnet"):
        build_backbone("resnet51")
    with pytest.raises(UserError, match=r"unknown backbone 'fcn_resnet50'"):
        check_backbone_name("fcn_resnet50")  # torchvision has it, but for segmentation
    with pytest.raises(UserError, match=r"unknown backbone ''; .* resnet50"):
        check_backbone_name("")


def test_feature_dim_is_measured_without_leaving_evaluation_or_training_mode() -> None:
    backbone = build_backbone("shufflenet_v2_x0_5")
    assert measure_feature_dim(backbone.train(), 64) == 1024
    assert backbone.training
    assert measure_feature_dim(backbone.eval(), 64) == 1024
    assert not backbone.training


@pytest.mark.parametrize(("name", "image_size"), [("vit_b_32", 64), ("squeezenet1_1", 8)])
def test_image_size_that_a_backbone_cannot_take(name: str, image_size: int) -> None:
    with pytest.raises(UserError, match=rf"backbone {name} cannot take images of {image_size} px .*--image-size"):
        measure_feature_dim(build_backbone(name), image_size)


@pytest.mark.parametrize("name", BACKBONES)
def test_preprocessing_is_that_of_the_published_weights(name: str) -> None:
    url = imagenet_url(name)
    transform = next(version for version in models.get_model_weights(name) if version.url == url).transforms()
    own = own_preprocessing(name, None)
    assert ([own.resize_size], [own.image_size]) == (transform.resize_size, transform.crop_size)
    assert (list(own.mean), list(own.std)) == (transform.mean, transform.std)
    assert own.interpolation == transform.interpolation.value


def test_defaults_of_earlier_studies_keep_the_usual_preprocessing() -> None:
    assert own_preprocessing("resnet50", None) == Preprocessing.usual(224)
    assert own_preprocessing("efficientnet_b3", None, weights="random", default_size=64) == Preprocessing.usual(64)
    assert own_preprocessing("swin_t", None, default_size=64).image_size == 64
    assert own_preprocessing("swin_v2_t", None, default_size=64).image_size == 256
