"""The verdict on a dataset: who won, what its metric means, how it stands against the baselines, what to conclude."""

import statistics
from collections.abc import Sequence

from pan_model.command_line import counted
from pan_model.data.splits import Split
from study.analysis.study_data import DatasetData
from study.page.commands import SMALL_LEAD
from study.page.formats import describe_config, interval_text, lead_text, metric_name, trial_name
from study.reporting.cautions import UNTRAINED
from study.reporting.comparison import MethodScores, rank_baselines
from study.reporting.final_metrics import FinalScores, read_final
from study.reporting.relevance import FREE
from study.reporting.selection import describe_gain
from study.trials.ledger import TrialRecord

DEFINITIONS = {
    "few_shot_accuracy": "5-way 5-shot: given five images of each of five classes that are absent from training, "
    "classify others of these classes; chance is 0.2",
    "recall@1": "the share of query images whose most similar gallery image is of the same class or product",
    "score": "the mean of the accuracy in fill-in-the-blank questions and the AUC in compatibility questions; random "
    "answers score about 0.3",
}
"""What each objective measures."""


def verdict(data: DatasetData, winner: TrialRecord, value: float) -> str:
    """Return lines: who won with which value, what the value means, the lead over the baselines, the conclusion."""
    pan, *baselines = data.summary.scores
    scores = f"{interval_text(pan.val) or f'{value:.4f}'} on val"
    scores += f", {interval_text(pan.test)} on test" if pan.test is not None else ""
    return "\n".join(
        [
            f"{trial_name(winner).capitalize()} won on {data.dataset}: {metric_name(data.objective.name)} {scores}.",
            f"It is: {describe_config(winner.config)}.",
            *_gain(data),
            _define(data, winner),
            *_against_best(baselines, data),
            *_what_training_adds(baselines, data),
            _attributes(winner),
        ]
    )


def _gain(data: DatasetData) -> list[str]:
    """Return what the search has gained over the first trials of its space, if the winner is confirmed."""
    gain = describe_gain(data.summary.selection)
    return [f"At confirmation: {gain}."] if gain else []


def final_scores(data: DatasetData) -> FinalScores | None:
    """Return the scores of the winner's final training; None if there was none of this winner."""
    final = read_final(data.files.final_metrics, data.objective.name)
    return final if final is not None and data.winner and final.trial_id == data.winner.trial_id else None


def split_of(data: DatasetData) -> Split:
    """Return the split on which PAN is compared with the baselines: test if it has been read, otherwise val."""
    return Split.VAL if data.summary.scores[0].test is None else Split.TEST


def _define(data: DatasetData, winner: TrialRecord) -> str:
    name = data.objective.name
    on_val = len(winner.best.questions.get(name, ())) if winner.best else 0
    final = final_scores(data)
    counts = [
        f"{count} questions on {split}"
        for split, count in (("val", on_val), ("test", final.num_questions if final else 0))
        if count
    ]
    asked = f"; {', '.join(counts)}" if counts else ""
    words = name.replace("_", " ").replace("few shot", "few-shot").capitalize()
    return f"{words} is {DEFINITIONS.get(name, 'the objective of the trials')}{asked}."


def _against_best(baselines: Sequence[MethodScores], data: DatasetData) -> list[str]:
    """Return how the winner stands against the best baseline, on test if that is known, and the conclusion."""
    split = split_of(data)
    on_test, leads = split is Split.TEST, rank_baselines(baselines, split)
    if not leads:
        return ["No baseline has been scored on the same questions, so nothing can be said of its lead."]
    method, score, lead = leads[0]
    favoured = f", the best of {len(leads)} by these questions, which favours it" if len(leads) > 1 else ""
    against = (
        f"The strongest baseline on {split} is {method} with {interval_text(score)}{favoured}; PAN's lead over it is"
    )
    if lead.low > 0:
        judged = "more than the noise of the questions."
        small = ", but it is small" if lead.mean < SMALL_LEAD else ""
        believed = (
            f"The lead holds on test questions that no choice has seen{small}; it says nothing of other classes or "
            "data."
            if on_test
            else "But the winner was chosen on val: only the final training shows whether the lead holds on test."
        )
    elif lead.high < 0:
        judged, believed = "negative by more than the noise.", "So far, use the baseline: no trial of PAN is better."
    else:
        judged = "an interval that contains 0."
        believed = "So this study does not show that PAN is better than that baseline."
    if on_test:
        judged += _on_val(baselines, method) + _over_seeds(data)
    return [f"{against} {lead_text(lead)}, {judged}", believed]


def _on_val(baselines: Sequence[MethodScores], method: str) -> str:
    lead = next((entry.val_ahead for entry in baselines if entry.method == method), None)
    if lead is None:
        return ""
    noise = "within the noise" if lead.low <= 0 <= lead.high else "more than the noise"
    return f" On val it is {lead_text(lead)}, {noise}."


def _over_seeds(data: DatasetData) -> str:
    final = final_scores(data)
    seeds = list(final.per_seed.values()) if final else []
    if len(seeds) < 2:
        return ""
    return (
        f" Over {len(seeds)} training seeds PAN's test value is {min(seeds):.4f} to {max(seeds):.4f} (standard "
        f"deviation {statistics.stdev(seeds):.4f})."
    )


def _what_training_adds(baselines: Sequence[MethodScores], data: DatasetData) -> list[str]:
    """Return how much of a score on frozen features training adds to the strongest baseline without training."""
    untrained = rank_baselines([entry for entry in baselines if entry.method in UNTRAINED], split_of(data))
    if not untrained or data.entry.get("features", {}).get("regime", "frozen") != "frozen":
        return []
    method, score, lead = untrained[0]
    if lead.low <= 0:
        return [f"Training adds nothing that can be told from noise to {method}, which is not trained."]
    most = "Most of the score comes from the frozen features: " if lead.mean < score.mean / 2 else ""
    added = f"training adds {lead.mean:.4f} to {method}, which is not trained."
    return [most + added if most else f"{added[:1].upper()}{added[1:]}"]


def _attributes(winner: TrialRecord) -> str:
    """Return what the attributes contribute to the winner."""
    if winner.config.get("supervision") == "unsupervised":
        return "Attributes contribute nothing to it: its conditions were learnt without their labels."
    relevance = winner.best.relevance if winner.best else {}
    labelled = [value for name, value in relevance.items() if not name.startswith(FREE)]
    if not relevance:
        return "What the attributes contribute to it is not known: the relevance of its conditions was not recorded."
    return (
        f"The {counted(len(labelled), 'condition')} with attribute labels have {sum(labelled):.1%} of the relevance on "
        f"val; the other {len(relevance) - len(labelled)} have the rest."
    )
