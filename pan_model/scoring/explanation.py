"""Why a model finds two images similar: the score p = sum_m r_m s_m of a pair, condition by condition.

p is the score of the pair alone. Models with `scoring` log_odds or support_mean rank sets by the log-odds of p, which
orders pairs in the same way. Encoders that use a graph embed the two images without edges.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pan_model.backbones.architectures import Backbone
from pan_model.model.conditions import UNSUPERVISED, Followed
from pan_model.model.gates import Gate
from pan_model.model.pan import Pan, Scoring
from pan_model.shapes import Float


@dataclass(frozen=True, kw_only=True)
class ConditionShare:
    """The part of a condition in the score of a pair.

    Attributes:
        name: The name of the condition in the model.
        display: The name, and the label that an unsupervised condition follows.
        similarity: s, the similarity under the condition.
        relevance: r, the relevance of the condition to the pair; all relevances add up to 1.
        contribution: r s; all contributions add up to the score.
        follows: The label that the condition follows, for a labelled one its own, and how strongly; None if it follows
            none or that was not measured.
    """

    name: str
    display: str
    similarity: float
    relevance: float
    contribution: float
    follows: Followed | None = None

    @property
    def labelled(self) -> bool:
        """Whether an attribute has labelled the condition in training."""
        return not self.name.startswith(UNSUPERVISED)


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """The score of a pair and the part of each condition in it.

    Attributes:
        score: p, in [0, 1].
        conditions: All conditions, the largest contribution first.
    """

    score: float
    conditions: tuple[ConditionShare, ...]

    def top(self, k: int) -> tuple[ConditionShare, ...]:
        """Return the k conditions with the largest contributions."""
        return self.conditions[:k]

    def rest(self, k: int) -> float:
        """Return the contribution of all but the top k conditions together."""
        return math.fsum(condition.contribution for condition in self.conditions[k:])

    @property
    def labelled_contribution(self) -> float:
        """The contribution of all labelled conditions together."""
        return math.fsum(condition.contribution for condition in self.conditions if condition.labelled)

    @property
    def is_idle(self) -> bool:
        """Whether there are labelled conditions, which contribute next to nothing to the score."""
        has_labelled = any(condition.labelled for condition in self.conditions)
        return has_labelled and self.labelled_contribution < IDLE * self.score

    @property
    def labelled_relevance(self) -> float:
        """The relevance of all labelled conditions together."""
        return math.fsum(condition.relevance for condition in self.conditions if condition.labelled)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a labelled condition reads on a pair, whatever its relevance.

    Attributes:
        text: Such as "both have large".
        value: s or 1 - s, whichever is large if the text is true.
    """

    text: str
    value: float


LEARNT, READABLE = 0.1, 0.3
"""Correlations of a labelled condition with its own label: below the first, which is 1% of the variance, it has learnt
next to nothing of the label; from the second on, its similarity is read as an estimate of the label.
"""

IDLE = 0.01
"""Share of a score below which the labelled conditions contribute next to nothing."""

READINGS = {
    Gate.AND: ("both have", False),
    Gate.NAND: ("both have", True),
    Gate.XNOR: ("agree on", False),
    Gate.XOR: ("agree on", True),
    Gate.OR: ("at least one has", False),
    Gate.NOR: ("at least one has", True),
}
"""What a condition labelled by each gate reads, and whether its value is 1 - s instead of s."""


def read_labelled(explanation: Explanation, k: int) -> tuple[Reading, ...]:
    """Return what the labelled conditions read on a pair if they hardly contribute to its score; else nothing.

    Conditions that do not follow their own label on training pairs are left out, since their values mean nothing.

    Args:
        explanation: The explanation of the pair; without `follows` there are no readings.
        k: The most readings; those with the largest values are returned.
    """
    readings: list[Reading] = []
    for condition in explanation.conditions if explanation.is_idle else ():
        if condition.labelled and condition.follows is not None and condition.follows.strength >= READABLE:
            gate, _, attribute = condition.name.removesuffix(")").partition("(")
            words, inverted = READINGS[Gate(gate)]
            value = 1 - condition.similarity if inverted else condition.similarity
            readings.append(Reading(text=f"{words} {attribute}", value=value))
    return tuple(sorted(readings, key=lambda reading: -reading.value)[:k])


def describe_labelled(explanation: Explanation, *, is_measured: bool) -> list[str]:
    """Return how much the labelled conditions contribute to a score, and whether they can be believed.

    Args:
        explanation: The explanation of a pair.
        is_measured: Whether it was measured which labels the conditions follow.
    """
    labelled = [condition for condition in explanation.conditions if condition.labelled]
    if not labelled:
        return ["no condition of the model has labels, so attributes do not explain the score"]
    share = explanation.labelled_contribution / explanation.score if explanation.score else 0.0
    if not explanation.is_idle:
        return [f"the labelled conditions ({len(labelled)}) contribute {share:.0%} of the score"]
    described = f"the labelled conditions ({len(labelled)}) contribute {share:.2%} of the score"
    lines = [f"{described}: the attributes hardly explain it"]
    strengths = [condition.follows.strength for condition in labelled if condition.follows is not None]
    if is_measured and max(strengths, default=0.0) < READABLE:
        lines.append(
            "nor do they follow their labels on training images"
            f"{f' (correlations up to {max(strengths):.2f})' if strengths else ''}, so they tell nothing of this pair"
        )
    return lines


def display_name(name: str, follows: Followed | None) -> str:
    """Return the name of a condition with the label that it follows, or with a word that it does not follow its own.

    >>> display_name("unsupervised_3", Followed(attribute="XNOR(red)", strength=0.712))
    'unsupervised_3 (follows XNOR(red), 0.71)'
    >>> display_name("XNOR(red)", Followed(attribute="XNOR(red)", strength=0.012))
    'XNOR(red) (does not follow its label, 0.01)'
    """
    if follows is None:
        return name
    if name.startswith(UNSUPERVISED):
        return f"{name} (follows {follows.attribute}, {follows.strength:.2f})"
    return name if follows.strength >= LEARNT else f"{name} (does not follow its label, {follows.strength:z.2f})"


def short_number(value: float) -> str:
    """Format a part of a score with three decimals, and small ones with two digits.

    >>> short_number(0.3471), short_number(0.00423), short_number(0.0)
    ('0.347', '0.0042', '0.000')
    """
    return f"{value:.3f}" if value >= 0.01 or value == 0 else f"{value:.2g}"


def explain_pairs(model: Pan, features_1: Float[Tensor, "P D"], features_2: Float[Tensor, "P D"]) -> list[Explanation]:
    """Break the scores of P pairs down into the contributions of the conditions, in evaluation mode.

    Args:
        model: The trained model.
        features_1: The features of the first image of each pair, as extracted: the model normalises them.
        features_2: Those of the second image.

    Returns:
        An explanation of each pair. Its contributions add up to its score.
    """
    model.eval()
    with torch.inference_mode():
        return explain_embedded(model, model.embed(features_1), model.embed(features_2))


def explain_embedded(model: Pan, h1: Float[Tensor, "P E"], h2: Float[Tensor, "P E"]) -> list[Explanation]:
    """Break the scores of P pairs of embedded images down, see `explain_pairs`."""
    model.eval()
    with torch.inference_mode():
        pairs = model.similarity(h1, h2)
        relevance = torch.softmax(pairs.log_relevance.double(), dim=1).tolist()  # adds up to 1 in double precision
        similarity = torch.sigmoid(pairs.similarity_logits.double()).tolist()
    followed = model.followed or {}
    names = [(name, followed.get(name)) for name in model.condition_names]
    return [_explain(names, s, r) for s, r in zip(similarity, relevance, strict=True)]


def _explain(names: list[tuple[str, Followed | None]], similarity: list[float], relevance: list[float]) -> Explanation:
    conditions = [
        ConditionShare(
            name=name,
            display=display_name(name, follows),
            similarity=s,
            relevance=r,
            contribution=r * s,
            follows=follows,
        )
        for (name, follows), s, r in zip(names, similarity, relevance, strict=True)
    ]
    ordered = sorted(conditions, key=lambda condition: (-condition.contribution, -condition.relevance))
    score = math.fsum(condition.contribution for condition in ordered)
    return Explanation(score=min(score, 1.0), conditions=tuple(ordered))


def describe_limits(model: Pan) -> list[str]:
    """Return what a reader of a model's explanations should know, one sentence each."""
    lines: list[str] = []
    if model.encoder.uses_graph:
        lines.append("the encoder uses a graph; the two images are compared without one")
    if model.scoring.is_fitted:
        lines.append(
            f"the score shown is p; the model scores sets by {model.scoring}, which is fitted to them, and ranks "
            "single images by the log-odds log(p / (1 - p)), which puts pairs in the same order"
        )
    elif model.scoring is not Scoring.PAIR_MEAN:
        lines.append(
            f"the score shown is p; the model ranks by {model.scoring}, the log-odds log(p / (1 - p)), which puts "
            "pairs in the same order"
        )
    if model.followed is None:
        lines.append(
            "which labels the conditions follow was not measured; a final training of this release measures it"
        )
    return lines


class Explainer:
    """Explains pairs of image files by a trained model.

    Args:
        model: The trained model.
        backbone: Its backbone, whose `preprocess` loads an image.
    """

    def __init__(self, model: Pan, backbone: Backbone) -> None:
        self.model = model.eval()
        self.backbone = backbone.eval()

    @torch.inference_mode()
    def features(self, *images: Path | str) -> Float[Tensor, "N D"]:
        """Return the backbone's features of image files.

        Raises:
            UserError: An image cannot be read.
        """
        return self.backbone(torch.stack([self.backbone.preprocess(Path(image)) for image in images]))

    def explain(self, image_1: Path | str, image_2: Path | str) -> Explanation:
        """Explain why the model finds two images similar.

        Raises:
            UserError: An image cannot be read.
        """
        features = self.features(image_1, image_2)
        (explanation,) = explain_pairs(self.model, features[:1], features[1:])
        return explanation
