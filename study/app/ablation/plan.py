"""The trials of a controlled comparison: which rows and seeds it has, and which of its trials have ended.

All trials answer the questions of the winner's trial, whatever their seed is, so that differences are paired. They are
named as in a study. One with the seed of the study has the id that it would have there: if the study has completed it,
as it has the winner, it is not trained again, unless other code trained it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from pan_model.data.splits import ValQuestions
from pan_model.datasets import ReaderOptions
from pan_model.errors import UserError
from pan_model.flat import Scalar
from pan_model.objective import Objective
from study.app.ablation.config import DEFAULT_SEEDS, AblationConfig
from study.app.ablation.results import (
    AblationFile,
    MetricEntry,
    RowTrials,
    WinnerEntry,
    compare_rows,
    find_cautions,
    read_ablation,
)
from study.app.ablation.reuse import OTHER_CODE, Code, code_of, is_same_code, read_completed
from study.app.ablation.start import start_name
from study.app.ablation.variations import Variation, read_varied, vary_winner
from study.config.identity import as_begun, trial_id
from study.storage.files import exists
from study.storage.location import Location
from study.storage.paths import AblationPaths, DatasetPaths
from study.trials.ledger import Status, TrialLedger, TrialRecord, read_ledger
from study.trials.more_epochs import lacks_epochs
from study.trials.trial import TrialSpec


@dataclass(frozen=True, kw_only=True)
class AblationPlan:
    """A controlled comparison.

    Attributes:
        best: The content of best_config.json; if the comparison starts from another trial, with that trial.
        name: What the rows are compared with: the winner, or the trial of --trial.
        paths: The files of the comparison.
        study: The files of the winner's study on the dataset.
        seeds: The seeds of the trainings. The first is that of the study.
        winner: The row of the winner, without changes.
        variations: The other rows.
        provenance: The code and the libraries that run now.
        trained_by: Those that have trained rows, and that train the missing ones.
        records: The trials that the ledger, or that of the study, has already, by their id.
        of_study: The ids of those that are in the ledger of the study.
        notes: What the user should know of it.
    """

    best: Mapping[str, Any]
    name: str
    paths: AblationPaths
    study: Location
    seeds: tuple[int, ...]
    winner: Variation
    variations: tuple[Variation, ...]
    provenance: Mapping[str, str]
    trained_by: tuple[Code, ...]
    records: dict[str, TrialRecord] = field(default_factory=dict[str, TrialRecord])
    of_study: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    @property
    def dataset(self) -> str:
        """The name of the dataset."""
        return self.best["dataset"]

    @property
    def objective(self) -> Objective:
        """The metric that rows are compared by."""
        return Objective(self.best["metric"]["name"], self.best["metric"]["mode"])

    @property
    def files(self) -> DatasetPaths:
        """The ledger of the comparison."""
        return self.paths.dataset(self.dataset)

    @property
    def max_epochs(self) -> int:
        """The last epoch of a trial."""
        return int(self.best["config"]["max_epochs"])

    @cached_property
    def trials(self) -> dict[str, list[TrialSpec]]:
        """The trial of each seed, for the winner and then for each row, by the name of the row."""
        start, number = len(self.records), -1
        rows: dict[str, list[TrialSpec]] = {}
        for variation in (self.winner, *self.variations):
            rows[variation.name] = []
            for seed in self.seeds:
                spec = _specify(self.best, {**variation.config, "seed": seed})
                known = self.records.get(spec.trial_id)
                number += known is None
                place = start + number if known is None else known.number
                rows[variation.name].append(replace(spec, number=place))
        return rows

    @property
    def missing(self) -> list[tuple[str, TrialSpec]]:
        """The trials that have not ended, with their names."""
        return [
            (f"{row or self.name}, seed {spec.config['seed']}", spec)
            for row, specs in self.trials.items()
            for spec in specs
            if not self.has_ended(self.records.get(spec.trial_id))
        ]

    def has_ended(self, record: TrialRecord | None) -> bool:
        """Return whether a trial has ended; one that completed with fewer epochs than the winner has now has not."""
        if record is None or record.status is Status.RUNNING:
            return False
        return not lacks_epochs(record, self.objective, self.max_epochs)

    def read_again(self) -> None:
        """Read the trials that had not ended."""
        for _, spec in self.missing:
            ledger = TrialLedger(self.files.trials / spec.trial_id)
            if exists(ledger.folder / "config.json"):
                self.records[spec.trial_id] = ledger.read()

    def compare(self) -> AblationFile:
        """Compare the rows with the winner, as far as their trials have ended.

        Raises:
            UserError: If the scores of questions of a trial are lost or damaged.
        """
        start, *rows = (
            RowTrials(
                changes=variation.changes,
                config=variation.config,
                trials=[self._place(spec) for spec in self.trials[variation.name]],
            )
            for variation in (self.winner, *self.variations)
        )
        winner, entries = compare_rows(self.objective, self.seeds, start, rows)
        return AblationFile(
            dataset=self.dataset,
            metric=MetricEntry(name=self.objective.name, mode=self.objective.mode),
            grid=any(len(row.changes) > 1 for row in entries),
            seeds=list(self.seeds),
            winner=WinnerEntry(trial_id=winner_id(self.best), **winner.model_dump()),
            rows=entries,
            start=self.name,
            max_epochs=self.max_epochs,
            questions=start.num_questions(self.objective),
            cautions=find_cautions(self.name, self.seeds, len(entries), len(self.trained_by)),
            trained_by=list(self.trained_by),
            provenance=dict(self.provenance),
        )

    def _place(self, spec: TrialSpec) -> tuple[Location, TrialRecord | None]:
        """Return the folder of a trial, and its record; one that has not ended counts as running."""
        folder = self.study / "trials" if spec.trial_id in self.of_study else self.files.trials
        record = self.records.get(spec.trial_id)
        if record is not None and not self.has_ended(record):
            record = replace(record, status=Status.RUNNING)
        return folder / spec.trial_id, record


def make_plan(best: Mapping[str, Any], config: AblationConfig, provenance: Mapping[str, str]) -> AblationPlan:
    """Return the rows that are asked for and those that the folder has, and the trials that have begun.

    Args:
        best: The content of best_config.json.
        config: The flags.
        provenance: The code and the libraries that run now.

    Raises:
        UserError: If a parameter or a value is not one that the winner can have, a file of the folder is damaged, or
            the folder is of another winner.
    """
    paths = AblationPaths(config.folder)
    varied = read_varied(config.vary)
    earlier = read_ablation(paths)
    if earlier is not None:
        _check_same_winner(earlier, best, config)
    if earlier is None and not varied:
        raise UserError("--vary is missing: give parameters and values, such as --vary lambda=1e-5,1e-3,0.1,10.")
    variations = vary_winner(best, varied, config)
    plan = AblationPlan(
        best=best,
        name=start_name(best, config),
        paths=paths,
        study=config.best_config.parent,
        seeds=_choose_seeds(earlier, best, config),
        winner=Variation(changes={}, config=best["config"]),
        variations=tuple(_sort(_join(earlier, variations, best))),
        provenance=provenance,
        trained_by=tuple(earlier.trained_by) if earlier else (code_of(provenance),),
    )
    plan = _with_records(plan)
    now = code_of(provenance)
    return replace(plan, trained_by=(*plan.trained_by, now)) if plan.missing and now not in plan.trained_by else plan


def _specify(best: Mapping[str, Any], config: dict[str, Scalar], number: int = 0) -> TrialSpec:
    """Return the trial of a configuration with a seed, on the questions of the winner's trial."""
    options = ReaderOptions.from_json(best["data"].get("options", {}))
    asked: dict[str, Any] = {
        "task": options.task,
        "val_questions": ValQuestions(options.val_questions),
        "question_seed": best["config"]["seed"],
    }
    name = trial_id(best["data"]["fingerprint"], best["features"], config, **asked)
    return TrialSpec.from_flat(trial_id=name, number=number, dataset=best["dataset"], config=config, **asked)


def winner_id(best: Mapping[str, Any]) -> str:
    """Return the id of the winner's trial; that of the file if its configuration was not edited."""
    return _specify(best, best["config"]).trial_id


def _check_same_winner(earlier: AblationFile, best: Mapping[str, Any], config: AblationConfig) -> None:
    now = winner_id(best)
    if earlier.dataset != best["dataset"] or earlier.winner.trial_id != now:
        start = f"{config.best_config} has" if config.trial is None else "--trial is"
        raise UserError(
            f"{config.folder / 'ablation.json'}: winner.trial_id is {earlier.winner.trial_id} of {earlier.dataset}, "
            f"but {start} {now} of {best['dataset']}; give --trial {earlier.winner.trial_id}, or another --output, or "
            "move the folder away."
        )
    if earlier.winner.config["max_epochs"] > best["config"]["max_epochs"]:
        raise UserError(
            f"{config.folder / 'ablation.json'}: its trials have {earlier.winner.config['max_epochs']} epochs, but "
            f"config.max_epochs of {config.best_config} is {best['config']['max_epochs']}; give the file that has as "
            "many, or another --output."
        )


def _choose_seeds(earlier: AblationFile | None, best: Mapping[str, Any], config: AblationConfig) -> tuple[int, ...]:
    first, before = int(best["config"]["seed"]), len(earlier.seeds) if earlier else 0
    if config.seeds is not None and config.seeds < before:
        raise UserError(
            f"seeds must be at least {before}, as many as {config.folder / 'ablation.json'} has, got {config.seeds}; "
            "give another --output for fewer."
        )
    count = config.seeds or before or DEFAULT_SEEDS
    return tuple(range(first, first + count))


def _join(
    earlier: AblationFile | None, variations: Iterable[Variation], best: Mapping[str, Any]
) -> Iterable[Variation]:
    """Return the rows of the folder, then the new ones. All have the epochs that the winner has now."""
    epochs = {name: value for name, value in best["config"].items() if name in ("max_epochs", "schedule_epochs")}
    rows = [
        Variation(changes=row.changes, config={**row.config, **epochs}) for row in (earlier.rows if earlier else ())
    ]
    known = [as_begun(row.config) for row in rows]
    return [*rows, *(variation for variation in variations if as_begun(variation.config) not in known)]


def _sort(variations: Iterable[Variation]) -> list[Variation]:
    """Return rows by the parameters that they change, in the order of their first row; numbers ascend."""
    groups: dict[tuple[str, ...], list[Variation]] = {}
    for variation in variations:
        groups.setdefault(tuple(variation.changes), []).append(variation)
    return [row for rows in groups.values() for row in _ascending(rows)]


def _ascending(rows: list[Variation]) -> list[Variation]:
    names = [
        name
        for name in rows[0].changes
        if all(isinstance(row.changes[name], int | float) and row.changes[name] is not True for row in rows)
    ]
    return sorted(rows, key=lambda row: tuple(float(row.changes[name]) for name in names))


def _with_records(plan: AblationPlan) -> AblationPlan:
    """Return the plan with the trials that have begun."""
    records = {record.trial_id: record for record in read_ledger(plan.files.trials)}
    of_study: dict[str, TrialRecord] = {}
    for first, *_ in plan.trials.values():
        if not plan.has_ended(records.get(first.trial_id)):
            record = read_completed(plan.study, first, plan.objective)
            if record is not None and plan.has_ended(record):
                of_study[first.trial_id] = record
    other_code = bool(of_study) and not is_same_code(plan.study, plan.best, plan.trained_by)
    reused = {} if other_code else of_study
    return replace(
        plan, records={**records, **reused}, of_study=frozenset(reused), notes=(OTHER_CODE,) if other_code else ()
    )
