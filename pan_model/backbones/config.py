"""The choice of a backbone: its name, weights, pooling and preprocessing. Imports neither torch nor torchvision.

Names `timm:NAME` are checked with timm, which is imported for them only.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import Any

from pan_model.errors import UserError
from pan_model.images.preprocessing import Interpolation, Preprocessing

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
"""The name prefix of torchvision's only family without a feature map. Its features are those of the class token, and it
takes images of one size."""

TIMM = "timm:"
"""The prefix of the names of timm's models."""


def _own(resize_size: int, image_size: int, interpolation: str = "bilinear", **values: Any) -> Preprocessing:
    return Preprocessing(
        image_size=image_size, resize_size=resize_size, interpolation=Interpolation(interpolation), **values
    )


OWN_PREPROCESSING = {
    "convnext_base": _own(232, 224),
    "convnext_large": _own(232, 224),
    "convnext_small": _own(230, 224),
    "convnext_tiny": _own(236, 224),
    "efficientnet_b0": _own(256, 224, "bicubic"),
    "efficientnet_b1": _own(256, 240, "bicubic"),
    "efficientnet_b2": _own(288, 288, "bicubic"),
    "efficientnet_b3": _own(320, 300, "bicubic"),
    "efficientnet_b4": _own(384, 380, "bicubic"),
    "efficientnet_b5": _own(456, 456, "bicubic"),
    "efficientnet_b6": _own(528, 528, "bicubic"),
    "efficientnet_b7": _own(600, 600, "bicubic"),
    "efficientnet_v2_l": _own(480, 480, "bicubic", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    "efficientnet_v2_m": _own(480, 480),
    "efficientnet_v2_s": _own(384, 384),
    "inception_v3": _own(342, 299),
    "maxvit_t": _own(224, 224, "bicubic"),
    "mnasnet0_75": _own(232, 224),
    "mnasnet1_3": _own(232, 224),
    "regnet_y_128gf": _own(384, 384, "bicubic"),
    "resnext101_64x4d": _own(232, 224),
    "shufflenet_v2_x1_5": _own(232, 224),
    "shufflenet_v2_x2_0": _own(232, 224),
    "swin_b": _own(238, 224, "bicubic"),
    "swin_s": _own(246, 224, "bicubic"),
    "swin_t": _own(232, 224, "bicubic"),
    "swin_v2_b": _own(272, 256, "bicubic"),
    "swin_v2_s": _own(260, 256, "bicubic"),
    "swin_v2_t": _own(260, 256, "bicubic"),
    "vit_h_14": _own(224, 224, "bicubic"),
    "vit_l_16": _own(242, 224),
}
"""The evaluation transforms of torchvision's ImageNet weights (`weights.transforms()`) that are not the usual one; a
test compares them with the installed torchvision."""


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
        backbone: A name of `BACKBONES`, or `timm:` and a name of timm.
        weights: imagenet, random, or the path of a state-dict file.
        image_size: Side of the square images, in px.
        pooling: How each feature is pooled over the feature map.
        preprocessing: How images become the backbone's input. None stands for the usual transform of ImageNet at
            `image_size`, which is the only one of releases before 0.2.
    """

    backbone: str = "resnet50"
    weights: str = "imagenet"
    image_size: int = 224
    pooling: Pooling = Pooling.AVG
    preprocessing: Preprocessing | None = None

    def __post_init__(self) -> None:
        check_backbone_name(self.backbone)
        check_pooling(self.backbone, self.pooling)
        if not self.weights:
            raise UserError("weights must be imagenet, random or a state-dict file, got ''.")
        transform = self.transform  # raises UserError if image_size is invalid
        if transform == Preprocessing.usual(self.image_size):
            object.__setattr__(self, "preprocessing", None)  # equal configurations compare equal
        if transform.image_size != self.image_size:
            raise UserError(
                f"preprocessing.image_size must be image_size, {self.image_size}, got {transform.image_size}."
            )
        own_size = (
            own_preprocessing(self.backbone, None).image_size if is_fixed_size(self.backbone) else self.image_size
        )
        if self.image_size != own_size:
            raise UserError(
                f"backbone {self.backbone} takes images of {own_size} px only, got image_size {self.image_size}; leave "
                "--image-size out, or choose another backbone."
            )

    @property
    def transform(self) -> Preprocessing:
        """How images become the backbone's input."""
        return self.preprocessing or Preprocessing.usual(self.image_size)


def is_fixed_size(name: str) -> bool:
    """Return whether a backbone of torchvision takes images of one size only."""
    return name.startswith(VISION_TRANSFORMERS)


def own_preprocessing(
    backbone: str, image_size: int | None, *, weights: str = WeightsSource.IMAGENET, default_size: int = 224
) -> Preprocessing:
    """Return the preprocessing with which a backbone's published weights are evaluated, also for a file of weights.

    Random weights of torchvision's models have none, and take the usual one.

    Args:
        backbone: A name of `BACKBONES`, or `timm:` and a name of timm.
        image_size: Side of the square images, px; by default the size of the model's configuration (timm), or of its
            published weights if that is not 224.
        weights: imagenet, random, or the path of a state-dict file.
        default_size: Side of the images, px, for models of torchvision whose weights take 224.

    Raises:
        UserError: The name is unknown, or a model of timm does not take the images.

    >>> own_preprocessing("resnet50", None) == Preprocessing.usual(224)
    True
    >>> own_preprocessing("efficientnet_b3", None).resize_size, own_preprocessing("swin_t", 448).resize_size
    (320, 464)
    """
    if backbone.startswith(TIMM):
        from pan_model.backbones.timm_models import timm_preprocessing  # imports torch

        return timm_preprocessing(backbone, image_size)
    own = None if weights == WeightsSource.RANDOM else OWN_PREPROCESSING.get(backbone)
    if own is None:
        return Preprocessing.usual(default_size if image_size is None else image_size)
    own_size = default_size if own.image_size == Preprocessing.image_size else own.image_size
    return own.at(own_size if image_size is None else image_size)


def timm_name(backbone: str) -> str:
    """Return the name that timm has for a backbone.

    >>> timm_name("timm:resnet50.a1_in1k")
    'resnet50.a1_in1k'
    """
    return backbone.removeprefix(TIMM)


def check_backbone_name(name: str) -> None:
    """Raise UserError, with the closest names, unless torchvision has a classification model of that name, or timm."""
    if name.startswith(TIMM):
        from pan_model.backbones.timm_models import check_timm_name  # imports torch

        check_timm_name(name)
    elif name not in BACKBONES:
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
