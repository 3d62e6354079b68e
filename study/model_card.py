"""The model card: what a trained model is, how well it does beside simple baselines, and what the numbers cover."""

from pathlib import Path
from typing import Any

from pan_model.model import Pan

CARD = """# PAN trained on {dataset}

A pairwise attribute-informed similarity network (Mishra et al., ICCV 2021) over frozen features of {backbone}
({weights} weights, images of {image_size} px). It says how similar two images are, under which of {num_conditions}
conditions, and how relevant each condition is to the pair.

## How it does on the test split

{num_seeds} seeds, {epochs} epochs on train and val, from the best of {num_trials} trials by {objective} on val
({value:.4f} there, which is optimistic: the trial was chosen by it). The test split was read once, after training.

| method | {heads} |
| --- |{rules}
{rows}

Intervals are 95% over questions, each averaged over the seeds: they cover other questions about the same classes, not
other classes, species or shops. In brackets behind a baseline: how far PAN is ahead of it, question by question.

## How to use it

```python
from pan_model.trained import load_model

model = load_model("{folder}")
pairs = model(features_1, features_2)  # (P, {feature_dim}) each, as the backbone gives them
pairs.score                            # (P,) in [0, 1]
pairs.similarity, pairs.relevance      # (P, {num_conditions}) each
model.condition_names                  # what each condition stands for
```

## Configuration

Trial {trial_id} of study {study}, seed 0.

| parameter | value |
| --- | --- |
{config}
"""


def write_model_card(path: Path, best: dict[str, Any], metrics: dict[str, Any], model: Pan) -> None:
    """Write the card of a model trained from a best_config.json, with the content of metrics.json."""
    names = list(metrics["metrics"])
    rows = [_row("**PAN**", [_with_interval(metrics["metrics"][name], "mean") for name in names])]
    for baseline, values in metrics["baselines"].items():
        paired = metrics["paired"][baseline]
        cells = [f"{values[name]['mean']:.4f} ({_with_interval(paired[name], 'difference')})" for name in names]
        rows.append(_row(baseline, cells))
    card = CARD.format(
        dataset=best["dataset"],
        backbone=best["features"]["backbone"],
        weights=best["features"]["weights"],
        image_size=best["features"]["image_size"],
        num_conditions=len(model.condition_names),
        num_seeds=len(metrics["seeds"]),
        epochs=metrics["epochs"],
        num_trials=best["study"]["num_trials"],
        objective=best["metric"]["name"],
        value=best["metric"]["value"],
        heads=" | ".join(names),
        rules=" --- |" * len(names),
        rows="\n".join(rows),
        folder="final",
        feature_dim=model.feature_dim,
        trial_id=best["trial_id"],
        study=best["study"]["name"],
        config="\n".join(_row(key, [str(value)]) for key, value in best["config"].items()),
    )
    path.write_text(card, encoding="utf-8")


def _row(name: str, cells: list[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"


def _with_interval(value: dict[str, Any], key: str) -> str:
    low, high = value["ci95"]
    return f"{value[key]:.4f} [{low:.4f}, {high:.4f}]"
