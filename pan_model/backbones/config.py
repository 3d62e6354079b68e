"""The choice of a backbone: its name, weights, pooling and image size. Imports neither torch nor torchvision."""

from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum

from pan_model.errors import UserError

_NAMES = """
alexnet convnext_base convnext_large convnext_small convnext_tiny densenet121 densenet161 densenet169 densenet201
efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_b5 efficientnet_b6
efficientnet_b7 efficientnet_v2_l efficientnet_v2_m efficientnet_v2_s googlenet inception_v3 maxvit_t mnasnet0_5
mnasnet0_75 mnasnet1_0 mnasnet1_3 mobilenet_v2 mobilenet_v3_large mobilenet_v3_small regnet_x_16gf regnet_x_1_6gf
regnet_x_32gf regnet_x_3_2gf regnet_x_400mf regnet_x_800mf regnet_x_8gf regnet_y_128gf regnet_y_16gf regnet_y_1_6gf
regnet_y_32gf regnet_y_3_2gf regnet_y_400mf regnet_y_800mf regnet_y_8gf resnet101 resnet152 resnet18 resnet34 resnet50
resnext101_32x8d resnext101_64x4d resnext50_32x4d shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5
shufflenet_v2_x2_0 squeezenet1_0 squeezenet1_1 swin_b swin_s swin_t swin_v2_b swin_v2_s swin_v2_t vgg11 vgg11_bn vgg13
vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn vit_b_16 vit_b_32 vit_h_14 vit_l_16 vit_l_32 wide_resnet101_2 wide_resnet50_2
"""
BACKBONES = tuple(_NAMES.split())
"""The names of torchvision's classification models, sorted; a test compares them with the installed torchvision."""

VISION_TRANSFORMERS = "vit_"
"""The name prefix of the only family without a feature map. Its features are those of the class token."""


class Pooling(StrEnum):
    """How each feature is pooled over the feature map: by its average (torchvision) or its maximum (ProxyNCA++)."""

    AVG = "avg"
    MAX = "max"


class WeightsSource(StrEnum):
    """Where a backbone's weights come from."""

    IMAGENET = "imagenet"
    RANDOM = "random"
    FILE = "file"

    @classmethod
    def of(cls, weights: str) -> "WeightsSource":
        """Return the source of a `--weights` value: imagenet, random, or a file for anything else.

        >>> WeightsSource.of("random"), WeightsSource.of("birds.pth")
        (<WeightsSource.RANDOM: 'random'>, <WeightsSource.FILE: 'file'>)
        """
        return cls(weights) if weights in (cls.IMAGENET, cls.RANDOM) else cls.FILE


@dataclass(frozen=True, kw_only=True)
class FeaturesConfig:
    """The features that a study extracts.

    Attributes:
        backbone: A name of `BACKBONES`.
        weights: imagenet, random, or the path of a state-dict file.
        image_size: Side of the square images, in px.
        pooling: How each feature is pooled over the feature map.
    """

    backbone: str = "resnet50"
    weights: str = "imagenet"
    image_size: int = 224
    pooling: Pooling = Pooling.AVG

    def __post_init__(self) -> None:
        check_backbone_name(self.backbone)
        check_pooling(self.backbone, self.pooling)
        if not self.weights:
            raise UserError("weights must be imagenet, random or a state-dict file, got ''.")
        if self.image_size < 1:
            raise UserError(f"image_size must be at least 1 px, got {self.image_size}.")


def check_backbone_name(name: str) -> None:
    """Raise UserError, with the closest names, unless torchvision has a classification model of that name."""
    if name not in BACKBONES:
        closest = get_close_matches(name, BACKBONES, n=3, cutoff=0.3) or ["resnet50"]
        raise UserError(
            f"unknown backbone {name!r}; choose a torchvision classification model such as {', '.join(closest)}."
        )


def check_pooling(name: str, pooling: Pooling) -> None:
    """Raise UserError if `pooling` is max and the backbone has no feature map."""
    if pooling is Pooling.MAX and name.startswith(VISION_TRANSFORMERS):
        raise UserError(
            f"pooling max: backbone {name} has no map of features to pool; choose avg, or another backbone."
        )
