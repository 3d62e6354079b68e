"""What a model's card says in words, from the numbers of metrics.json."""

from pathlib import Path
from typing import Any

import pytest
import torch

from pan_model.config import TrialConfig
from pan_model.model.pan import Scoring
from pan_model.tasks.few_shot import FewShotTask
from pan_model.training.trainer import Trainer
from study.reporting.model_card import write_model_card
from study.trials.preparation import PreparedDataset

METRIC = "few_shot_accuracy"
METRICS: dict[str, Any] = {
    "seeds": [0, 1],
    "epochs": 7,
    "metrics": {METRIC: {"mean": 0.5, "ci95": [0.4, 0.6]}},
    "baselines": {"paper_setting": {METRIC: {"mean": 0.25, "ci95": [0.2, 0.3]}}},
    "paired": {"paper_setting": {METRIC: {"difference": 0.25, "ci95": [0.125, 0.375]}}},
    "paper_setting": {"config": {}, "epochs": 45, "chosen_of_epochs": 60, "paper_epochs": 4000},
    "left_out": {},
    "settings": {"lda": {"shrinkage": 0.5}},
    "not_run": ["nearest_class_mean", "lda"],
}
AT_THE_END = {"paper_setting": {"config": {}, "epochs": 100, "chosen_of_epochs": 100, "paper_epochs": 100}}


@pytest.mark.parametrize(
    ("scoring", "words"),
    [
        (Scoring.PAIR_MEAN, "pair_mean:\nthe mean of its pair scores with the set's images."),
        (Scoring.LOG_ODDS, "log_odds:\nthe mean log-odds of its pair scores with the set's images."),
        (Scoring.SUPPORT_MEAN, "support_mean:\nthe log-odds of its pair score with the mean embedding of the set's"),
        (Scoring.MIXTURE, "mixture:\na mixture of a logistic regression on the embedding, fitted to the sets"),
        (Scoring.CONDITION_CLASSIFIER, "condition_classifier:\nthe mean log-odds of its pair scores with the set's"),
    ],
)
def test_the_card_says_how_sets_are_scored_and_what_pan_is_compared_with(
    tmp_path: Path, prepared: PreparedDataset, small_trial: dict[str, Any], scoring: Scoring, words: str
):
    config = small_trial | {"scoring": scoring.value, "learning_rate": 0.00123456789}
    task = FewShotTask(prepared.featured, seed=0)
    model = Trainer(task, TrialConfig.from_flat(config), torch.device("cpu")).model
    best = {
        "dataset": "demo",
        "features": prepared.features,
        "metric": {"name": METRIC, "value": 0.75},
        "study": {"name": "mine", "num_trials": 3},
        "trial_id": "abc",
        "config": config,
    }
    write_model_card(tmp_path / "model_card.md", best, METRICS | {"scoring": scoring.value}, model)
    card = (tmp_path / "model_card.md").read_text(encoding="utf-8")
    assert f"A query is scored against a set of images by {words}" in card
    assert f"# of a query against sets of images, by {scoring.value}\n" in card
    of_mixture = scoring is Scoring.MIXTURE
    of_others = scoring.is_fitted and not of_mixture
    assert ("; a single set, or sets of one image, by the mean log-odds of" in card) == of_others
    assert ("; sets of one image, such as a gallery's, by a mixture of the cosine of" in card) == of_mixture
    assert "from the first 60 of the paper's 4000" in " ".join(card.split())
    assert "| paper_setting | 0.2500 (ahead by 0.2500 [0.1250, 0.3750]) |" in card
    assert "trained on the same images for 45 epochs" in card
    assert "Of the data, no image left out." in card
    assert f"| scoring | {scoring.value} |" in card
    assert "| learning_rate | 0.001235 |" in card
    assert "**Caution**" not in card
    write_model_card(tmp_path / "model_card.md", best, METRICS | {"scoring": scoring.value} | AT_THE_END, model)
    card = (tmp_path / "model_card.md").read_text(encoding="utf-8")
    assert "\n\n**Caution**: the best epoch of paper_setting, 100, is the last of its epochs; " in card
    without = {name: value for name, value in METRICS.items() if name != "paper_setting"}
    none = without | {"baselines": {}, "paired": {}, "scoring": scoring.value}
    write_model_card(tmp_path / "model_card.md", best, none, model)
    card = (tmp_path / "model_card.md").read_text(encoding="utf-8")
    assert "No baseline was run: nothing here shows whether PAN is better than simpler methods." in card
    assert "paper_setting" not in card
    baselines = {"siamese_distance": METRICS["baselines"]["paper_setting"]}
    paired = {"siamese_distance": METRICS["paired"]["paper_setting"]}
    write_model_card(tmp_path / "model_card.md", best, none | {"baselines": baselines, "paired": paired}, model)
    card = (tmp_path / "model_card.md").read_text(encoding="utf-8")
    assert "not run: nearest_class_mean, lda." in card
    assert f"By {METRIC}: PAN compared with siamese_distance, the only baseline on test: ahead by 0.2500" in card
    assert "Settings of baselines were chosen on val: lda (shrinkage 0.5)." in card
    weak = {"siamese_distance": {METRIC: {"difference": 0.0, "ci95": [-0.1, 0.1]}}}
    write_model_card(tmp_path / "model_card.md", best, none | {"baselines": baselines, "paired": weak}, model)
    card = (tmp_path / "model_card.md").read_text(encoding="utf-8")
    assert "**Caution**: PAN is not ahead of siamese_distance, the best baseline on test, by more than the" in card
