"""Which sampler finds better trials? Simulates studies on a model of the objective, which costs seconds, not hours.

The model is fitted to the completed and stopped trials of finished studies: the mean of extremely randomised trees and
of a Gaussian process. Each simulated study runs the first trials of the search space and two trials at a time; a trial
reports the model's value with noise. What counts is the value without noise of the trial that the study picks. Studies
with the same seed have the same noise. A model is not the real thing: it cannot be better than its data, most of which
TPE and random search suggested, and no trial is stopped early. Needs scikit-learn, which is among the extra `dev`.

    .venv/bin/python benchmarks/samplers.py results/A results/B --dataset cub --num-trials 32 64
"""

import argparse
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from pan_model.datasets import DATASETS
from pan_model.flat import Scalar
from search_spaces import SPACES, SearchSpace
from study.config.search_space import replay
from study.config.space_description import explore_space, parameters_of, run_branch
from study.storage.paths import StudyPaths
from study.trials.ledger import read_ledger
from study.tuning.sampling.prior_sampler import PriorSampler
from study.tuning.sampling.sampler_memory import LEARNED_FROM

NUM_TREES = 50
SLOTS = 2
NOISE = 0.03
"""Standard deviation of a trial's noise, in parts of its error."""


class BranchSampler(BaseSampler):
    """TPE per branch: one TPE for the choices that open branches, and another for each branch.

    Args:
        space: The search space.
        seed: The seed of the random numbers.
    """

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self._suggest = space.suggest
        self._generator = np.random.default_rng(seed)
        self._random = RandomSampler(seed)
        first = explore_space(space.suggest)[0]
        self._opening = {
            name: distribution
            for name, distribution in first.distributions.items()
            if isinstance(distribution, CategoricalDistribution) and self._opens(first.values, name, distribution)
        }
        self._planned: dict[int, dict[str, Any]] = {}

    def _opens(self, values: Mapping[str, Scalar], name: str, distribution: CategoricalDistribution) -> bool:
        changed: list[dict[str, Any]] = [{**values, name: choice} for choice in distribution.choices]
        branches = [run_branch(self._suggest, params) for params in changed]
        return len({frozenset(branch.values) for branch in branches}) > 1

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the choices that open branches."""
        return dict(self._opening)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Suggest the choices that open branches, and plan the other parameters of the branch."""
        others = study.get_trials(deepcopy=False, states=(*LEARNED_FROM, TrialState.RUNNING))
        begun = [
            other for other in others if other.number != trial.number and self._opening.keys() <= other.params.keys()
        ]
        choices = self._ask(study, begun, self._opening, num_random=10)
        branch = run_branch(self._suggest, choices).distributions
        inner = {name: distribution for name, distribution in branch.items() if name not in choices}
        same = [
            other
            for other in begun
            if other.params.keys() >= inner.keys() and all(other.params[name] == choices[name] for name in choices)
        ]
        self._planned[trial.number] = choices | self._ask(study, same, inner, num_random=4)
        return choices

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return the planned value of a parameter."""
        planned = self._planned.get(trial.number, {})
        if param_name in planned:
            return planned[param_name]
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def _ask(
        self,
        study: optuna.Study,
        trials: list[FrozenTrial],
        distributions: Mapping[str, BaseDistribution],
        num_random: int,
    ) -> dict[str, Any]:
        sampler = TPESampler(seed=int(self._generator.integers(2**31)), n_startup_trials=num_random)
        part = optuna.create_study(direction=study.direction, sampler=sampler)
        for trial in trials:
            running = trial.state is TrialState.RUNNING  # constant liar: a running trial counts as bad
            part.add_trial(
                create_trial(
                    state=TrialState.PRUNED if running else trial.state,
                    value=trial.value,
                    params={name: trial.params[name] for name in distributions},
                    distributions=dict(distributions),
                )
            )
        return part.ask(dict(distributions)).params


class Objective:
    """A model of the objective: the mean of trees and of a Gaussian process, of -log10(1 - value).

    Args:
        space: The search space.
        trials: The parameters of trials, and their values between 0 and 1.
    """

    def __init__(self, space: SearchSpace, trials: list[tuple[dict[str, Scalar], float]]) -> None:
        self._distributions = parameters_of(space.suggest)
        inputs = np.array([self._encode(params) for params, _ in trials])
        targets = -np.log10(1 - np.array([min(value, 0.9999) for _, value in trials]))
        trees = ExtraTreesRegressor(NUM_TREES, max_features=0.5, random_state=0).fit(inputs, targets)
        self._trees = [tree.tree_ for tree in trees.estimators_]
        kernel = ConstantKernel() * RBF(2.0) + WhiteKernel(0.01)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # length scales at their bounds
            self._process = GaussianProcessRegressor(kernel, normalize_y=True).fit(inputs, targets)

    def __call__(self, params: Mapping[str, Scalar]) -> float:
        """Return the value of a trial without noise."""
        inputs = np.array([self._encode(params)])
        row = inputs.astype(np.float32)
        by_trees = np.mean([tree.predict(row)[0] for tree in self._trees])
        return float(1 - 10 ** -((by_trees + self._process.predict(inputs)[0]) / 2))

    def _encode(self, params: Mapping[str, Scalar]) -> list[float]:
        """Return the numbers of a trial on the scale of their ranges, one half if absent, and an indicator a choice."""
        encoded: list[float] = []
        for name, distribution in self._distributions.items():
            if isinstance(distribution, CategoricalDistribution):
                encoded += [float(params.get(name) == choice) for choice in distribution.choices]
            elif isinstance(distribution, FloatDistribution | IntDistribution) and name in params:
                values = np.array([distribution.low, params[name], distribution.high], dtype=float)
                low, value, high = np.log(values) if distribution.log else values
                encoded.append((value - low) / (high - low) if high > low else 0.5)
            else:
                encoded.append(0.5)
        return encoded


class Outcome(NamedTuple):
    """Result of a simulated study: the picked trial's value without noise, and whether it is a suggested trial."""

    value: float
    suggested: bool


def simulate(space: SearchSpace, objective: Objective, sampler: BaseSampler, num_trials: int, seed: int) -> Outcome:
    """Simulate a study of which SLOTS trials run at a time and end in random order."""
    study = optuna.create_study(sampler=sampler, direction="maximize")
    for params in space.first_trials:
        study.enqueue_trial(params)
    order, noise = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1]).normal(0, NOISE, num_trials)
    running = list[optuna.Trial]()
    picked, best, num_started = Outcome(0.0, suggested=False), -np.inf, 0
    while num_started < num_trials or running:
        while num_started < num_trials and len(running) < SLOTS:
            running.append(study.ask())
            space.suggest(running[-1])
            num_started += 1
        trial = running.pop(int(order.integers(len(running))))
        value = objective(trial.params)
        reported = 1 - (1 - value) * float(np.exp(noise[trial.number]))
        study.tell(trial, reported)
        if reported > best:
            best, picked = reported, Outcome(value, trial.number >= len(space.first_trials))
    return picked


def samplers_of(space: SearchSpace) -> dict[str, Callable[[int], BaseSampler]]:
    """Return what builds each sampler from a seed. TPE per branch is compared here, and is no choice of a study."""

    def grouped(seed: int) -> BaseSampler:
        return TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)

    return {
        "random": RandomSampler,
        "tpe": lambda seed: TPESampler(seed=seed),
        "tpe-grouped": grouped,
        "tpe-branches": lambda seed: BranchSampler(space, seed),
        "prior": lambda seed: PriorSampler(space.first_trials, seed=seed),
    }


def read_trials(space: SearchSpace, dataset: str, folders: list[Path]) -> list[tuple[dict[str, Scalar], float]]:
    """Return the parameters and the best value of each trial of some studies that the space can suggest."""
    name, trials = DATASETS[dataset].task.objective.name, dict[str, tuple[dict[str, Scalar], float]]()
    for folder in folders:
        for record in read_ledger(StudyPaths(folder).dataset(dataset).trials, best=False):
            try:
                params = replay(space, record.config).values
            except ValueError:  # from another space
                continue
            if record.history:
                trials[repr(sorted(params.items()))] = params, max(float(epoch[name]) for epoch in record.history)
    return list(trials.values())


def difference(values: list[float], peer: list[float]) -> str:
    """Format the mean of paired differences with its 95% interval."""
    differences = np.subtract(values, peer)
    return f"{differences.mean():+.5f} ± {1.96 * differences.std(ddof=1) / np.sqrt(len(differences)):.5f}"


def main() -> None:
    """Print a table for each number of trials."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", help="folders of studies, such as results/birds")
    parser.add_argument("--dataset", choices=SPACES, required=True)
    parser.add_argument("--num-trials", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--studies", type=int, default=30, help="simulated studies of each sampler")
    parser.add_argument("--samplers", nargs="+", default=[], help="all by default; random is always among them")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    space = SPACES[arguments.dataset]
    trials = read_trials(space, arguments.dataset, arguments.folders)
    objective, samplers = Objective(space, trials), samplers_of(space)
    best_first = max(objective(params) for params in space.first_trials)
    print(f"{arguments.dataset}: a model of {len(trials)} trials, by which the best first trial has {best_first:.4f}\n")
    print("| trials | sampler | picked trial | minus random | minus tpe | suggested trial picked |")
    print("| --- | --- | --- | --- | --- | --- |")
    chosen = [name for name in samplers if name in {"random", "tpe", *(arguments.samplers or samplers)}]
    for num_trials in arguments.num_trials:
        values = dict[str, list[float]]()
        for name in chosen:
            outcomes = [
                simulate(space, objective, samplers[name](seed), num_trials, seed) for seed in range(arguments.studies)
            ]
            values[name] = [outcome.value for outcome in outcomes]
            picked, suggested = np.mean(values[name]), np.mean([outcome.suggested for outcome in outcomes])
            by_peer = [difference(values[name], values[peer]) if peer in values else "" for peer in ("random", "tpe")]
            cells = (num_trials, name, f"{picked:.5f}", *by_peer, f"{suggested:.0%}")
            print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
