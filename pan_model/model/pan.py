"""PAN: normalised features -> embeddings -> conditions, relevance and score of a pair."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import torch
from torch import Tensor, nn

from pan_model.errors import UserError
from pan_model.model.conditions import Followed
from pan_model.model.encoders.encoder import Encoder, EncoderConfig
from pan_model.model.encoders.graph import GraphConfig
from pan_model.model.encoders.siamese import SiameseEncoder
from pan_model.model.normalisation import Normalisation, NormalisationConfig
from pan_model.model.pair_scores import PairScorer
from pan_model.model.similarity import ConditionSimilarity, Joint, PairSimilarity, SimilarityConfig
from pan_model.shapes import Float, Int


class Scoring(StrEnum):
    """How pair scores become the score of a query and a set.

    pair_mean: the mean of p over the set's items, as in the paper. log_odds: the mean of log p / (1 - p), in which one
    confident pair outweighs several uncertain ones. support_mean: the log-odds of the query and the set's mean
    embedding. For a set of one item all three rank queries alike.

    The others are fitted to the sets of a question, see `pan_model.scoring.fitted_scores`. embedding_classifier:
    logistic regression on the embedding. condition_classifier: the log-odds, corrected by a classifier on the
    conditions' log-odds. adapted_relevance: the log-odds with a relevance that is adapted to the question. mixture: of
    the embedding's classifier and support_mean. Where there is nothing to tell apart, with one set or sets of one item,
    they are log_odds, except that a mixture of several sets of one item is that of the embeddings' cosine and the
    log-odds, see `pan_model.scoring.pair_mixture`.
    """

    PAIR_MEAN = "pair_mean"
    LOG_ODDS = "log_odds"
    SUPPORT_MEAN = "support_mean"
    EMBEDDING_CLASSIFIER = "embedding_classifier"
    CONDITION_CLASSIFIER = "condition_classifier"
    ADAPTED_RELEVANCE = "adapted_relevance"
    MIXTURE = "mixture"

    @property
    def is_fitted(self) -> bool:
        """Whether the score is fitted to the sets of a question."""
        return self not in {Scoring.PAIR_MEAN, Scoring.LOG_ODDS, Scoring.SUPPORT_MEAN}


CLASSIFIER_C, MIXTURE_WEIGHT = 3.0, 0.5


@dataclass(frozen=True, kw_only=True)
class ScoringConfig:
    """How a query is scored against a set.

    Attributes:
        scoring: The rule.
        classifier_c: The inverse strength of the penalty of what is fitted; by default 3. None if nothing is fitted.
        mixture_weight: The share of the classifier, or of the cosine, in a mixture, by default 0.5. None for other
            rules.
    """

    scoring: Scoring = Scoring.PAIR_MEAN
    classifier_c: float | None = None
    mixture_weight: float | None = None

    def __post_init__(self) -> None:
        c, weight = self.classifier_c, self.mixture_weight
        if c is not None and not self.scoring.is_fitted:
            raise UserError(f"scoring {self.scoring} fits nothing: leave classifier_c out.")
        if c is not None and not (math.isfinite(c) and c > 0):
            raise UserError(f"classifier_c must be a positive number, got {c}.")
        if weight is not None and self.scoring is not Scoring.MIXTURE:
            raise UserError(f"scoring {self.scoring} is no mixture: leave mixture_weight out.")
        if weight is not None and not 0 <= weight <= 1:
            raise UserError(f"mixture_weight must lie in [0, 1], got {weight}.")


@dataclass(frozen=True, kw_only=True)
class PanConfig:
    """The components of a PAN.

    Attributes:
        encoder: Maps normalised features to embeddings.
        normalisation: Applied to the features before the encoder.
        similarity: The condition similarity module.
        scoring: How pair scores become the score of a query and a set.
        num_conditions: M, all outputs of the module.
        feature_dropout: The share of an item's normalised features that is dropped in training.
    """

    encoder: EncoderConfig
    normalisation: NormalisationConfig
    similarity: SimilarityConfig
    scoring: ScoringConfig
    num_conditions: int
    feature_dropout: float = 0.0


class Pan(nn.Module):
    """The pairwise attribute-informed similarity network over backbone features (PAN, section 3).

    Attributes:
        feature_dim: D, the number of backbone features.
        num_classes: The number of training classes.
        condition_names: The M outputs, labelled ones first: "XNOR(has_wing_color::blue)", "unsupervised_1".
        scoring: How pair scores become the score of a query and a set.
        classifier_c: The inverse strength of the penalty, if `scoring` is fitted.
        mixture_weight: The share of the classifier, or of the cosine, if `scoring` is a mixture.
        graph_context: The encoder's graph_context; 0 for encoders without a graph.
        followed: The labels that unsupervised conditions follow, by the name of the condition, see
            `pan_model.scoring.followed`. Conditions that follow none have no entry; None if it was not measured.
    """

    encoder: Encoder
    followed: Mapping[str, Followed] | None

    def __init__(
        self, config: PanConfig, *, feature_dim: int, num_classes: int, condition_names: tuple[str, ...]
    ) -> None:
        super().__init__()
        self.feature_dim = feature_dim
        self.num_classes = num_classes
        self.condition_names = condition_names
        self.followed = None
        self.scoring = config.scoring.scoring
        self.classifier_c = CLASSIFIER_C if config.scoring.classifier_c is None else config.scoring.classifier_c
        weight = config.scoring.mixture_weight
        self.mixture_weight = MIXTURE_WEIGHT if weight is None else weight
        graph_context = config.encoder.graph_context if isinstance(config.encoder, GraphConfig) else None
        self.graph_context = graph_context or 0
        self.normalisation = Normalisation(config.normalisation, feature_dim)
        self.feature_dropout = nn.Dropout(config.feature_dropout)
        self.encoder = config.encoder.build(feature_dim=feature_dim, num_classes=num_classes)
        self.similarity = ConditionSimilarity(
            config.similarity,
            embedding_dim=self.encoder.embedding_dim,
            num_conditions=config.num_conditions,
        )

    def embed(self, features: Float[Tensor, "N D"], edges: Int[Tensor, "2 L"] | None = None) -> Float[Tensor, "N E"]:
        """Embed N items from features as extracted. Encoders that use a graph take edges, pairs of rows."""
        return self.encode(self.normalisation(features), edges)

    def encode(self, inputs: Float[Tensor, "N D"], edges: Int[Tensor, "2 L"] | None = None) -> Float[Tensor, "N E"]:
        """Embed N items from normalised features; in training mode some entries are dropped."""
        return self.encoder(self.feature_dropout(inputs), edges)

    @property
    def keeps_inputs(self) -> bool:
        """Whether `encode` returns its inputs, normalised features, as they are."""
        drops = self.training and self.feature_dropout.p > 0
        return isinstance(self.encoder, SiameseEncoder) and self.encoder.projection is None and not drops

    def parameter_groups(self, learning_rate: float) -> list[dict[str, object]]:
        """Return all weights as parameter groups of a torch optimiser."""
        own: dict[str, object] = {"params": list(self.similarity.parameters()), "lr": learning_rate}
        return [own, *self.encoder.parameter_groups(learning_rate)]

    def forward(self, features_1: Float[Tensor, "P D"], features_2: Float[Tensor, "P D"]) -> PairSimilarity:
        """Compare P pairs of items, given features as extracted."""
        return self.similarity(self.embed(features_1), self.embed(features_2))

    @torch.inference_mode()
    def score_pairs(
        self,
        embeddings: Float[Tensor, "N E"],
        index_1: Int[np.ndarray, "P"],
        index_2: Int[np.ndarray, "P"],
        *,
        chunk_size: int | None = None,
    ) -> Float[np.ndarray, "P"]:
        """Score P pairs of embedded items in evaluation mode. Repeated pairs are computed once.

        Args:
            embeddings: The embeddings of N items.
            index_1: The first item of each pair.
            index_2: The second item of each pair.
            chunk_size: Pairs that are scored at a time; by default chosen by device and sizes.

        Returns:
            p if `scoring` is pair_mean, else its log-odds.
        """
        if self.similarity.joint.symmetric:
            index_1, index_2 = np.minimum(index_1, index_2), np.maximum(index_1, index_2)
        codes, place = np.unique(index_1 * len(embeddings) + index_2, return_inverse=True)
        pairs = np.stack(np.divmod(codes, len(embeddings)), axis=1)
        if self.similarity.joint is not Joint.ABSDIFF:  # the others compute something for each item
            items, pairs = _occurring(pairs, len(embeddings))
            embeddings = embeddings[torch.from_numpy(items).to(embeddings.device)]
        on_device = torch.from_numpy(pairs).to(embeddings.device)
        return self.pair_scorer().pairs(embeddings, on_device, chunk_size=chunk_size).cpu().numpy()[place]

    def pair_scorer(self) -> PairScorer:
        """Return a fast scorer of pairs of embeddings with the present weights, in evaluation mode.

        Its scores are p if `scoring` is pair_mean, else the log-odds.
        """
        return PairScorer(self.similarity, log_odds=self.scoring is not Scoring.PAIR_MEAN)


def _occurring(pairs: Int[np.ndarray, "P 2"], num_items: int) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "P 2"]]:
    """Return the items that occur in pairs, and the pairs as positions among them."""
    occurs = np.zeros(num_items, dtype=bool)
    occurs[pairs] = True
    return np.flatnonzero(occurs), (np.cumsum(occurs) - 1)[pairs]
