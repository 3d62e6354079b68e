"""The baselines of a final training: chosen on val after fitting on train, fitted on train + val, and tested once."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pan_model.command_line import counted
from pan_model.data.splits import Split
from pan_model.scores import QuestionScores
from pan_model.scoring.baselines.choice import PAPER_SETTING, choose_baseline, fit_baseline, settings_of
from pan_model.scoring.baselines.setting import Setting
from pan_model.scoring.baselines.untrained import normalised_features
from pan_model.scoring.pan_scorer import pan_scorer
from pan_model.shapes import Float
from search_spaces import SPACES
from study.app.final.final_input import FinalInput
from study.app.processes.jobs import Link
from study.config.final_config import NONE
from study.reporting.comparison import describe_setting
from study.terminal import duration
from study.trials.baselines import QUICK, own_names, slow_names, slow_on_val
from study.trials.paper_setting import ChosenEpochs, choose_epochs, train_on_train_and_val

TRAIN_PAPER = "baseline paper_setting"
FITTING = "other baselines"
TESTING = "testing"
"""Parts of the time that a final training takes."""


@dataclass(frozen=True, kw_only=True)
class PaperResult:
    """The baseline paper_setting: its configuration, numbers of epochs and scores on the test split."""

    config: dict[str, Any]
    epochs: ChosenEpochs
    scores: QuestionScores


@dataclass(frozen=True, kw_only=True)
class BaselineResult:
    """A baseline: its scores on the test split, and the setting that was chosen on val."""

    scores: QuestionScores
    setting: Setting


def quick_names(final: FinalInput) -> list[str]:
    """Return the baselines to compare with that take moments."""
    return [name for name in final.names if name in QUICK]


def names_on_inputs(final: FinalInput) -> list[str]:
    """Return the baselines to compare with that have the winner's normalised features."""
    return [name for name in own_names(final.task) if name in final.names]


def names_apart(final: FinalInput) -> list[str]:
    """Return the baselines to compare with of which each is a job of its own, without paper_setting."""
    return [name for name in slow_names(final.task) if name in final.names]


def score_quick(final: FinalInput, link: Link) -> dict[str, BaselineResult]:
    """Test the quick baselines."""
    return {name: _score(final, link, name) for name in quick_names(final)}


def score_on_inputs(final: FinalInput, link: Link) -> dict[str, BaselineResult]:
    """Test the baselines that have the winner's normalised features, before any trained layer."""
    with link.timed(FITTING):
        on_train, on_both = (
            normalised_features(task, final.trial.normalisation) for task in (final.choosing_task, final.task)
        )
    return {name: _score(final, link, name, (on_train, on_both)) for name in names_on_inputs(final)}


def score_apart(final: FinalInput, link: Link, *, name: str) -> dict[str, BaselineResult]:
    """Test a baseline that is trained or compares many images."""
    result = _score(final, link, name)
    setting = f", {describe_setting(result.setting)} by val" if result.setting else ""
    link.say(f"baseline {name}: fitted on train and val{setting}")
    return {name: result}


def _score(
    final: FinalInput,
    link: Link,
    name: str,
    inputs: tuple[Float[np.ndarray, "N D"], Float[np.ndarray, "N D"]] | None = None,
) -> BaselineResult:
    on_train, on_both = inputs or (None, None)
    link.show(lambda: f"baseline {name}")
    with link.timed(FITTING):
        setting = _choose(final, link, name, on_train)
        scorer = fit_baseline(name, final.task, setting, inputs=on_both)
    with link.timed(TESTING):
        return BaselineResult(scores=final.task.evaluate_fully(scorer, Split.TEST), setting=setting)


def _choose(final: FinalInput, link: Link, name: str, inputs: Float[np.ndarray, "N D"] | None) -> Setting:
    """Return the setting that is best on val. The study has left that of a slow baseline in the cache."""
    settings = settings_of(name, final.choosing_task)
    if len(settings) == 1:
        return settings[0]
    if name in slow_names(final.choosing_task):
        cache_dir = final.config.cache_dir
        return slow_on_val(final.prepared, name, seed=final.seed, cache_dir=cache_dir, show=link.show).setting
    return choose_baseline(name, final.choosing_task, inputs=inputs).setting


def choose_paper_epochs(final: FinalInput, link: Link) -> ChosenEpochs:
    """Choose the number of epochs of paper_setting on val."""
    others = [name for name in final.names if name != PAPER_SETTING] or [NONE]
    space = SPACES[final.prepared.dataset]

    def announce(epochs: int, epoch_s: float) -> None:
        link.say(
            f"baseline {PAPER_SETTING}: up to {counted(epochs, 'epoch')} of all pairs, of which the best on val is "
            f"chosen, at most about {duration(epochs * epoch_s)}; then as many on train and val; leave it out with "
            f"--baselines {' '.join(others)}"
        )

    with link.timed(TRAIN_PAPER):
        return choose_epochs(
            final.prepared,
            space.paper_setting,
            paper_epochs=space.paper_epochs,
            cache_dir=final.config.cache_dir,
            show=link.show,
            announce=announce,
            improved=link.announce,
        )


def train_paper(final: FinalInput, link: Link) -> PaperResult:
    """Train paper_setting on train + val for the chosen number of epochs, and test it."""
    with link.timed(TRAIN_PAPER):
        paper = train_on_train_and_val(
            final.prepared,
            SPACES[final.prepared.dataset].paper_setting,
            link.followed(),
            cache_dir=final.config.cache_dir,
            show=link.show,
        )
    link.say(f"baseline paper_setting: trained {counted(paper.epoch, 'epoch')} on train and val")
    with link.timed(TESTING):
        scores = final.task.evaluate_fully(pan_scorer(paper.model, final.task, Split.TEST, paper.device), Split.TEST)
    return PaperResult(config=paper.config.to_flat(), epochs=ChosenEpochs(paper.epoch, paper.max_epochs), scores=scores)
