"""Backbones: classification networks of torchvision or timm without their classifiers."""

import warnings
from collections import OrderedDict

import torch
from torch import Tensor, nn

from pan_model.backbones.config import TIMM, Pooling, check_backbone_name, check_pooling, own_preprocessing
from pan_model.backbones.timm_models import build_timm
from pan_model.errors import UserError
from pan_model.images.preprocessing import Preprocessing
from pan_model.shapes import Float

POOLED_LAYERS = (nn.AdaptiveAvgPool2d, nn.Flatten, nn.LayerNorm)
"""Layers that pool or normalise the features; some families keep them in their classifier."""


class Backbone(nn.Module):
    """A network that maps N images to N pooled feature vectors.

    Attributes:
        name: The torchvision name, or `timm:` and the name of timm.
        network: The network without its classifiers, with the state-dict keys of its library.
        classifier_keys: The state-dict keys of the classifiers that were removed, auxiliary ones included.
        preprocess: Loads an image as the network takes it: `preprocess(path)`, shape (3, H, W). `load_backbone` sets
            that of the study; otherwise it is that of the published weights.
        weights_part: The part of a weights file that was loaded (`pan_model.backbones.weights`); empty for all of it.
    """

    def __init__(self, name: str, network: nn.Module, classifier_keys: frozenset[str]) -> None:
        super().__init__()
        self.name = name
        self.network = network
        self.classifier_keys = classifier_keys
        self.preprocess: Preprocessing = own_preprocessing(name, None)
        self.weights_part = ""

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.network.parameters()).device

    @property
    def on_cpu(self) -> bool:
        """Whether the weights are on the CPU."""
        return self.device.type == "cpu"

    def forward(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N D"]:
        """Return the pooled features of normalised images (`pan_model.images.decoding`); D depends on the network."""
        return self.network(images)


def build_backbone(name: str, pooling: Pooling | str = Pooling.AVG) -> Backbone:
    """Build a backbone with random weights, the same at every call (seed 0). Torch's random state is kept.

    Args:
        name: A name of `pan_model.backbones.config.BACKBONES`, or `timm:` and a name of timm.
        pooling: How each feature is pooled over the feature map.

    Raises:
        UserError: The name is unknown, or the backbone does not support the pooling.

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
        # Two families warn that their initialisation will change in a future version.
        warnings.filterwarnings("ignore", message="The default weight initialization", category=FutureWarning)
        if name.startswith(TIMM):
            return Backbone(name, *build_timm(name, Pooling(pooling)))
        network = models.get_model(name, weights=None)
    classifier_keys = _remove_classifier(network)
    if Pooling(pooling) is Pooling.MAX:
        _pool_maximum(network)
    return Backbone(name, network, classifier_keys)


def measure_feature_dim(backbone: Backbone, image_size: int) -> int:
    """Measure the number of features D on one black image. The backbone keeps its training or evaluation mode.

    Args:
        backbone: The backbone to measure.
        image_size: Side of the square image, in px.

    Raises:
        UserError: The backbone does not accept images of this size.
    """
    image = torch.zeros(1, 3, image_size, image_size, device=backbone.device)
    was_training = backbone.training
    try:
        with torch.inference_mode():
            features = backbone.eval()(image)
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"backbone {backbone.name} cannot take images of {image_size} px ({reason}); give another --image-size, "
            "224 fits nearly every backbone."
        ) from error
    finally:
        backbone.train(was_training)
    if features.ndim != 2:
        raise UserError(
            f"backbone {backbone.name} returns features of shape {tuple(features.shape)} instead of (N, D); choose "
            "another backbone."
        )
    return features.shape[1]


def check_image_size(name: str, pooling: Pooling, image_size: int) -> None:
    """Raise UserError if a backbone does not accept images of this size. Weights are neither drawn nor read.

    Args:
        name: The name of the backbone.
        pooling: How each feature is pooled over the feature map.
        image_size: Side of the square image, in px.
    """
    measure_feature_dim(build_backbone_shapes(name, pooling), image_size)


def build_backbone_shapes(name: str, pooling: Pooling | str = Pooling.AVG) -> Backbone:
    """Build a backbone whose weights have shapes but no values, where its library can do that; see `build_backbone`."""
    try:
        with torch.device("meta"):
            return build_backbone(name, pooling)
    except NotImplementedError:  # torchvision's regnets read a value while they are built
        return build_backbone(name, pooling)


def _remove_classifier(network: nn.Module) -> frozenset[str]:
    """Remove the classifiers from a torchvision network in place, and return their state-dict keys."""
    keys = frozenset(network.state_dict())
    name, classifier = list(network.named_children())[-1]  # torchvision registers the classifier last
    setattr(network, name, _pooling_layers(classifier))
    _pool_to_one_cell(network)
    _remove_auxiliary_classifiers(network)
    return keys - frozenset(network.state_dict())


def _pooling_layers(classifier: nn.Module) -> nn.Sequential:
    """Return the layers of a classifier that belong to the features; none for most families."""
    layers = classifier.named_children()
    return nn.Sequential(OrderedDict((name, layer) for name, layer in layers if isinstance(layer, POOLED_LAYERS)))


def _pool_to_one_cell(network: nn.Module) -> None:
    """Average over the whole map if the classifier reads several cells (alexnet 6 x 6, vgg 7 x 7)."""
    if isinstance(getattr(network, "avgpool", None), nn.AdaptiveAvgPool2d):
        network.avgpool = nn.AdaptiveAvgPool2d(1)


def _pool_maximum(network: nn.Module) -> None:
    """Replace average pooling by maximum pooling. The state-dict keys do not change.

    Most families have a pooling layer, at the top level or in the classifier. The others average in `forward`, after
    their last layer: a hook reduces the map to one cell, of which the average is the maximum.
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


def _remove_auxiliary_classifiers(network: nn.Module) -> None:
    """Remove the auxiliary classifiers of googlenet and inception, which are used in training only."""
    from torchvision import models

    for name, _ in list(network.named_children()):
        if name.lower().startswith("aux"):
            setattr(network, name, None)
    if isinstance(network, models.GoogLeNet | models.Inception3):
        network.aux_logits = False
        # Their ImageNet weights expect inputs in -1..1; torchvision then converts from the usual mean and std.
        network.transform_input = True
