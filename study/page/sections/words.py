"""The words of the page, each in a line: a folded table."""

from study.analysis.study_data import DatasetData
from study.page.blocks import Table

WORDS = (
    (
        "PAN",
        "pairwise attribute-informed similarity network: scores a pair of images, p = sum of r x s over conditions",
    ),
    ("condition", "a respect in which two images are compared; s, from 0 to 1, is their similarity in it"),
    ("relevance", "r, the weight that the model gives a condition for a pair; those of all conditions add up to 1"),
    (
        "supervision",
        "unsupervised: no condition has attribute labels; hybrid: at most half; supervised: as many as fit",
    ),
    ("gate f_a", "makes the label of a pair from an attribute of its images: AND both have it, XNOR both or neither"),
    ("λ", "the weight of the attribute loss in the training loss"),
    ("encoder siamese", "the backbone's features, with or without a linear layer added to them"),
    ("encoder proxynca", "features, normalised and projected, trained with ProxyNCA++'s loss of classes too"),
    ("encoder graph", "graph convolutions over the features of neighbouring items"),
    (
        "first trial",
        "a trial that a search space begins with: the paper's settings, and recipes that start as nearest class mean",
    ),
    (
        "confirmation",
        "the candidates for the winner, trained again from other seeds and judged once on fresh questions, which no "
        "trial was asked, about other classes where items have classes",
    ),
    ("full-length trial", "a completed trial: it ended by itself, with its last epoch or after epochs without gain"),
    ("rung", "an epoch after which the trials that are then the weakest are stopped"),
    (
        "nearest_class_mean",
        "baseline, not trained: the closest mean of the features as extracted (else: of single items)",
    ),
    ("centred_l2", "baseline, not trained: the same after subtracting the training images' mean (SimpleShot)"),
    ("lda", "baseline: the same after a linear discriminant analysis of the training classes"),
    ("nearest_class_mean_normalised", "baseline, not trained: the same after the winner's normalisation of features"),
    (
        "reranked",
        "baseline, not trained: nearest neighbours in whitened features, re-ranked by neighbours that are mutual",
    ),
    (
        "logistic_regression",
        "baseline: logistic regression fitted to the labelled images of each question, normalised as the winner's",
    ),
    ("siamese_distance", "baseline, not trained: the mean distance of features over pairs"),
    (
        "attributes_only",
        "baseline: attributes predicted linearly from the features, and images compared by the predictions alone",
    ),
    ("proxy_anchor", "baseline: a linear projection of the features trained with the Proxy-Anchor loss, no PAN"),
    ("set_transformer", "baseline: a small set transformer trained to score an item with the other items of an outfit"),
    ("paper_setting", "baseline, trained: PAN with the paper's supervised parameters, on this study's features"),
)
"""Each word with its meaning."""

EPOCHS_WITHOUT_GAIN = "after epochs without gain"


def glossary(data: DatasetData) -> Table:
    """Return the words that the page uses; a full-length trial is defined with the winner's patience."""
    patience = data.winner.config.get("patience") if data.winner else None
    gain = (
        EPOCHS_WITHOUT_GAIN if patience is None else f"{EPOCHS_WITHOUT_GAIN} (its patience, {patience} for the winner)"
    )
    return Table(
        caption="Words on this page",
        heads=("word", "meaning"),
        rows=[[word, meaning.replace(EPOCHS_WITHOUT_GAIN, gain)] for word, meaning in WORDS],
        folded=True,
    )
