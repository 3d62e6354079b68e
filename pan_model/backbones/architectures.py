"""Backbones: torchvision's classification networks, cut before their classifier."""

import warnings
from collections import OrderedDict

import torch
from torch import Tensor, nn

from pan_model.backbones.config import Pooling, check_backbone_name, check_pooling
from pan_model.errors import UserError
from pan_model.shapes import Float

POOLED_LAYERS = (nn.AdaptiveAvgPool2d, nn.Flatten, nn.LayerNorm)
"""Layers that some families keep inside their classifier although they only pool and normalise the features."""


class Backbone(nn.Module):
    """A network that maps N images to N pooled feature vectors.

    `network` keeps torchvision's own state-dict keys; `classifier_keys` are those of the layers that were cut away,
    auxiliary classifiers among them.
    """

    def __init__(self, name: str, network: nn.Module, classifier_keys: frozenset[str]) -> None:
        super().__init__()
        self.name = name
        self.network = network
        self.classifier_keys = classifier_keys

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return next(self.network.parameters()).device

    @property
    def on_cpu(self) -> bool:
        """Whether the weights lie in the CPU's memory."""
        return self.device.type == "cpu"

    def forward(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N D"]:
        """Pooled features of normalised images (pan_model.images.decoding); D depends on the network alone."""
        return self.network(images)


def build_backbone(name: str, pooling: Pooling | str = Pooling.AVG) -> Backbone:
    """Build a backbone with random weights, the same at every call (seed 0).

    The caller's random state is left as it was. Raises UserError for an unknown name, and for a pooling that the
    backbone does not have.

    >>> backbone = build_backbone("shufflenet_v2_x0_5").eval()
    >>> backbone(torch.zeros(2, 3, 64, 64)).shape
    torch.Size([2, 1024])
    >>> sorted(backbone.classifier_keys)
    ['fc.bias', 'fc.weight']
    """
    from torchvision import models

    check_backbone_name(name)
    check_pooling(name, Pooling(pooling))
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # torch.manual_seed would also seed every GPU, which fork_rng does not restore here.
        torch.default_generator.manual_seed(0)
        # Two families announce that their first weights will be drawn otherwise in the future.
        warnings.filterwarnings("ignore", message="The default weight initialization", category=FutureWarning)
        network = models.get_model(name, weights=None)
    classifier_keys = _cut_classifier(network)
    if Pooling(pooling) is Pooling.MAX:
        _pool_maximum(network)
    return Backbone(name, network, classifier_keys)


def measure_feature_dim(backbone: Backbone, image_size: int) -> int:
    """Number of features D, measured on one black image; the backbone is left in its mode.

    Raises UserError when the backbone cannot take images of `image_size` px: too small, or not the size it is made for.
    """
    image = torch.zeros(1, 3, image_size, image_size, device=backbone.device)
    was_training = backbone.training
    try:
        with torch.inference_mode():
            return backbone.eval()(image).shape[1]
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"backbone {backbone.name} cannot take images of {image_size} px ({reason}); give another --image-size, "
            "224 fits nearly every backbone."
        ) from error
    finally:
        backbone.train(was_training)


def _cut_classifier(network: nn.Module) -> frozenset[str]:
    """Cut the classifiers out of a torchvision network, in place; return the state-dict keys that went with them."""
    keys = frozenset(network.state_dict())
    name, classifier = list(network.named_children())[-1]  # torchvision registers the classifier last
    setattr(network, name, _pooling_part(classifier))
    _pool_to_one_cell(network)
    _cut_auxiliary_classifiers(network)
    return keys - frozenset(network.state_dict())


def _pooling_part(classifier: nn.Module) -> nn.Sequential:
    """What of a classifier still belongs to the features; nothing, hence the identity, for most families."""
    layers = classifier.named_children()
    return nn.Sequential(OrderedDict((name, layer) for name, layer in layers if isinstance(layer, POOLED_LAYERS)))


def _pool_to_one_cell(network: nn.Module) -> None:
    """Average over the whole map where a family's classifier reads several cells (alexnet 6 x 6, vgg 7 x 7)."""
    if isinstance(getattr(network, "avgpool", None), nn.AdaptiveAvgPool2d):
        network.avgpool = nn.AdaptiveAvgPool2d(1)


def _pool_maximum(network: nn.Module) -> None:
    """Take the maximum where torchvision takes the average; the network keeps its state-dict keys.

    Most families average by a layer, at the top or in what is left of the classifier. The others do it in a line of
    their `forward`, behind their last layer: there the map is made one cell, which is its own average.
    """
    *layers, (name, classifier) = network.named_children()
    if isinstance(getattr(network, "avgpool", None), nn.AdaptiveAvgPool2d):
        network.avgpool = nn.AdaptiveMaxPool2d(1)
        return
    averages = [place for place, layer in classifier.named_children() if isinstance(layer, nn.AdaptiveAvgPool2d)]
    for place in averages:
        setattr(getattr(network, name), place, nn.AdaptiveMaxPool2d(1))
    if not averages:
        layers[-1][1].register_forward_hook(_one_cell)


def _one_cell(_layer: nn.Module, _inputs: object, output: Float[Tensor, "N D H W"]) -> Float[Tensor, "N D 1 1"]:
    return output.amax(dim=(2, 3), keepdim=True)


def _cut_auxiliary_classifiers(network: nn.Module) -> None:
    """Cut the side classifiers of googlenet and inception, which act in training only."""
    from torchvision import models

    for name, _ in list(network.named_children()):
        if name.lower().startswith("aux"):
            setattr(network, name, None)
    if isinstance(network, models.GoogLeNet | models.Inception3):
        network.aux_logits = False
        # Their ImageNet weights were trained on inputs in -1..1; torchvision then converts from the usual mean and std.
        network.transform_input = True
