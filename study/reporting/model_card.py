"""The model card of a trained model: its configuration, its comparison with the baselines, and how to use it."""

from pathlib import Path
from typing import Any

from pan_model.command_line import counted
from pan_model.data.splits import Split
from pan_model.model.pan import Pan, Scoring
from study.config.choices import Regime
from study.reporting.cautions import find_short_paper, find_weak_leads
from study.reporting.comparison import describe_best, describe_settings, scores_on_test
from study.reporting.relevance import describe_relevance, find_idle_attributes
from study.reporting.tables import markdown_table, parameter_table
from study.trials.question_scores import describe_lead, from_entry

CARD = """# PAN trained on {dataset}

A pairwise attribute-informed similarity network (Mishra et al., ICCV 2021) over {features} of {backbone}
({weights} weights, images of {image_size} px). It says how similar two images are, under which of {num_conditions}
conditions, and how relevant each condition is to the pair. A query is scored against a set of images by {scoring}:
{how_scored}.{preprocessing}

## Results on the test split

{seeds}, {epochs} on train and val, with the configuration of the winner of {trials}.
Its {objective} on val is {value:.4f}, which is optimistic: trials were chosen by it{confirmed}.
The test split was read once, after training.

{results}

Intervals are 95% over questions, each averaged over the seeds, and clipped to the range of the metric: they cover
other questions about the same classes, not other classes, species or shops.
{baselines}Of the data, {left_out}.
{cautions}
{relevance}## How to use it

```python
from pathlib import Path

import numpy as np
import torch

from pan_model.scoring.pan_scorer import embedding_scorer
from pan_model.trained import load_backbone, load_model

backbone, model = load_backbone("final"), load_model("final")  # the folder of this card
suffixes = (".jpg", ".jpeg", ".png", ".webp")
paths = sorted(path for path in Path("images").rglob("*") if path.suffix.lower() in suffixes)  # three or more

with torch.inference_mode():
    features = backbone(torch.stack([backbone.preprocess(path) for path in paths]))  # (N, {feature_dim})
    pairs = model(features[:-1], features[1:])  # each image with the next
    score = embedding_scorer(model, model.embed(features))  # of a query against sets of images, by {scoring}
    scores = score(np.array([[0]]), np.array([[[1, 2]]]))  # (1, 1, 1): image 0 against the set of images 1 and 2
pairs.score  # (N - 1,) in [0, 1]
pairs.similarity, pairs.relevance  # (N - 1, {num_conditions}) each
model.condition_names  # what each condition stands for
```

## Configuration

Trial {trial_id} of study {study}, seed 0.

{config}
"""


HOW_SCORED = {
    Scoring.PAIR_MEAN: "the mean of its pair scores with the set's images",
    Scoring.LOG_ODDS: "the mean log-odds of its pair scores with the set's images",
    Scoring.SUPPORT_MEAN: "the log-odds of its pair score with the mean embedding of the set's images",
    Scoring.EMBEDDING_CLASSIFIER: "a logistic regression on the embedding, fitted to the sets of the question",
    Scoring.CONDITION_CLASSIFIER: "the mean log-odds of its pair scores with the set's images, corrected by a "
    "classifier on the conditions, fitted to the sets of the question",
    Scoring.ADAPTED_RELEVANCE: "the mean log-odds of its pair scores with the set's images, by a relevance that is "
    "adapted to the sets of the question",
    Scoring.MIXTURE: "a mixture of a logistic regression on the embedding, fitted to the sets of the question, and the "
    "log-odds of its pair score with the mean embedding of the set's images",
}
SINGLE_SET = "; a single set, or sets of one image, by the mean log-odds of its pair scores"
"""What is said of scorings that are fitted to several sets."""

OF_MIXTURE = (
    "; sets of one image, such as a gallery's, by a mixture of the cosine of the embeddings and the log-odds of the "
    "pair score; a single set by the mean log-odds of its pair scores"
)
"""The same of a mixture."""


def write_model_card(path: Path, best: dict[str, Any], metrics: dict[str, Any], model: Pan) -> None:
    """Write the card of a final training.

    Args:
        path: The file to write.
        best: The content of best_config.json.
        metrics: The content of metrics.json.
        model: The trained model.
    """
    features = best["features"]
    card = CARD.format(
        dataset=best["dataset"],
        features=_describe_features(features),
        backbone=features["backbone"],
        weights=features["weights"],
        image_size=features["image_size"],
        preprocessing=_describe_preprocessing(features),
        scoring=metrics["scoring"],
        how_scored=_describe_scoring(Scoring(metrics["scoring"])),
        baselines=_describe_baselines(metrics, best["metric"]["name"]),
        num_conditions=len(model.condition_names),
        seeds=counted(len(metrics["seeds"]), "seed"),
        epochs=counted(metrics["epochs"], "epoch"),
        trials=counted(best["study"]["num_trials"], "trial"),
        objective=best["metric"]["name"],
        value=best["metric"]["value"],
        confirmed=_describe_confirmation(best),
        results="\n".join(_results(metrics)),
        left_out=_left_out(metrics["left_out"]),
        cautions=_cautions(metrics, best["metric"]["name"]),
        relevance=_describe_conditions(metrics),
        feature_dim=model.feature_dim,
        trial_id=best["trial_id"],
        study=best["study"]["name"],
        config="\n".join(parameter_table(best["config"])),
    )
    path.write_text(card, encoding="utf-8")


def _describe_scoring(scoring: Scoring) -> str:
    if scoring is Scoring.MIXTURE:
        return HOW_SCORED[scoring] + OF_MIXTURE
    return HOW_SCORED[scoring] + (SINGLE_SET if scoring.is_fitted else "")


def _describe_features(features: dict[str, Any]) -> str:
    """Describe the features by the training of the backbone."""
    described = "features, trained with it," if features["regime"] == Regime.FINETUNE else "frozen features"
    if "backbone_training" in features:
        epochs = counted(features["backbone_epochs"], "epoch")
        described += f", after training by {features['backbone_training']} for {epochs},"
    return described


def _describe_confirmation(best: dict[str, Any]) -> str:
    """Describe the winner's value at confirmation; best_config.json of a winner that is not confirmed has none."""
    confirmation = best.get("confirmation")
    if confirmation is None:
        return ";\nthe choice was not confirmed by other seeds on fresh questions"
    seeds, questions = len(confirmation["seeds"]), confirmation["questions"]
    runs = f"{counted(seeds, 'other seed')} on {counted(questions, 'fresh question')}"
    chosen = f", the best of {counted(len(confirmation['candidates']), 'candidate')}"
    return f";\nat confirmation, by {runs}, it had {from_entry(confirmation, 'value')}{chosen}"


def _describe_baselines(metrics: dict[str, Any], objective: str) -> str:
    """Describe the baselines that were run, and name those that were not."""
    lines: list[str] = []
    if metrics["baselines"]:
        lines.append("In brackets after a baseline: how far PAN is ahead of it or behind it, question by question.\n")
        scores = scores_on_test(metrics, objective)
        lines.append(f"By {objective}: {describe_best(scores, Split.TEST)}\n")
        if len(scores) > 2:
            lines.append("The best baseline is found by the same questions, which favours it.\n")
    else:
        lines.append("No baseline was run: nothing here shows whether PAN is better than simpler methods.\n")
    if paper := metrics.get("paper_setting"):
        lines.append(
            f"paper_setting is the paper's supervised setting, trained on the same images for "
            f"{counted(paper['epochs'], 'epoch')}, a number chosen\non val as PAN's was{_describe_limit(paper)}.\n"
        )
    if settings := metrics.get("settings"):
        lines.append(f"Settings of baselines were chosen on val: {describe_settings(settings)}.\n")
    if metrics["baselines"] and metrics["not_run"]:
        lines.append(f"Baselines that were not run: {', '.join(metrics['not_run'])}.\n")
    return "".join(lines)


def _describe_preprocessing(features: dict[str, Any]) -> str:
    """Describe how images are preprocessed; empty for the usual transform of ImageNet."""
    values = features.get("preprocessing")
    if values is None:
        return ""
    channels = " and ".join(f"{name} {', '.join(f'{value:g}' for value in values[name])}" for name in ("mean", "std"))
    return f" Images: {values['interpolation']} to {values['resize_size']} px, {channels}."


def _describe_limit(paper: dict[str, Any]) -> str:
    """Describe the limit on the epochs of paper_setting; empty if they were not limited."""
    limit, paper_epochs = paper["chosen_of_epochs"], paper["paper_epochs"]
    if limit == paper_epochs:
        return ""
    return f" from the first {limit} of the paper's {paper_epochs}, since these would take too long"


def _results(metrics: dict[str, Any]) -> list[str]:
    names = list(metrics["metrics"])
    rows = [["**PAN**", *(from_entry(metrics["metrics"][name], "mean") for name in names)]]
    for baseline, values in metrics["baselines"].items():
        leads = {name: describe_lead(from_entry(metrics["paired"][baseline][name], "difference")) for name in names}
        cells = [f"{values[name]['mean']:.4f} ({leads[name]})" for name in names]
        rows.append([baseline, *cells])
    return markdown_table(["method", *names], rows)


def _cautions(metrics: dict[str, Any], objective: str) -> str:
    cautions = [*metrics.get("cautions", []), *find_weak_leads(scores_on_test(metrics, objective))]
    cautions += find_idle_attributes(metrics.get("relevance", {}))
    cautions += [*find_short_paper(metrics.get("paper_setting", {}))]
    return "".join(f"\n**Caution**: {caution}.\n" for caution in cautions)


def _describe_conditions(metrics: dict[str, Any]) -> str:
    lines = describe_relevance(
        metrics.get("relevance", {}), "random pairs of the training images (train and val), seed 0"
    )
    return "\n".join(["## Conditions", "", *lines, "", ""]) if lines else ""


def _left_out(left_out: dict[str, int]) -> str:
    return "; ".join(f"{count} left out ({reason})" for reason, count in left_out.items()) or "no image left out"
