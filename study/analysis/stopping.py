"""What early stopping did: trials stopped at each rung, epochs saved, and how far a rung's value can be trusted.

A rung is an epoch at which trials are stopped. ASHA stops a trial at a rung if its value is below those of the best
1 / reduction_factor of the trials that reached it before. The one-epoch rule (top-k) has a single rung. The paired rule
decides after every epoch; those at which it stopped a trial are its rungs.

Whether a stopped trial would have become the best one is unknown: it did not run. Two observations bound it. Of the
suggested trials that went on although their value at the rung was no better than that of a trial stopped there, some
may have become the best one; first trials of the search space are never stopped, so they do not count. And the trials
that went on gained some amount after the rung, which can be compared with what a stopped trial needed to reach the
winner.
"""

import math
from dataclasses import dataclass

from pan_model.command_line import counted
from pan_model.scores import Interval
from study.analysis.study_data import DatasetData
from study.analysis.uncertainty import MIN_RANKED, kendall, spearman, upper_bound
from study.trials.ledger import Status, TrialRecord
from study.trials.selection.candidates import is_one_of
from study.trials.selection.confirmation import first_trials_in

SAYS_NOTHING = 0.5
"""An upper bound of a chance above which it says nothing."""

SELDOM = 0.25
"""Share of the trials that went on which gained as much as a stopped trial needed, up to which that is seldom."""

MOST_NAMED = 3
"""The most trials that a sentence names."""

UNLIKELY = "Could it have stopped a better trial? Unlikely, not excluded."
UNKNOWN = "Could it have stopped a better trial? That is not known."


@dataclass(frozen=True, kw_only=True)
class WrongStops:
    """The evidence on whether a trial that was stopped at a rung would have become the best one.

    Attributes:
        num_comparable: The full-length suggested trials whose value at the rung was no better than that of the best
            one stopped.
        num_became_best: How many of these became the winner, 0 or 1.
        bound: The 95% upper bound (Clopper-Pearson) of the chance that such a trial becomes the winner; 1 without any
            comparable trial.
        needed: What the best of the stopped trials needed from the rung to reach the winner.
        num_gained: How many of the trials that went on gained at least as much after the rung.
        largest_gain: The largest gain after the rung of the trials that went on; None if none did.
        sentence: All of it in words.
    """

    num_comparable: int
    num_became_best: int
    bound: float
    needed: float
    num_gained: int
    largest_gain: float | None
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Rung:
    """What happened at a rung.

    Attributes:
        epoch: The epoch.
        num_reached: The trials that ran to the epoch, of any status.
        num_stopped: The trials that were stopped there.
        num_ended: The completed trials that ended there by themselves, since they no longer gained.
        num_went_on: The full-length trials that ran beyond it; the correlations are over these.
        num_best_before: How many of these had their best epoch at the rung or before, so that the rung's value and
            the final one are partly the same measurement.
        spearman: The rank correlation of the value at the rung with the final value, with its 95% interval; None if
            there are too few trials, see `verdict`.
        kendall: The same as Kendall's tau-b.
        wrong_stops: The evidence on wrongly stopped trials; None if none was stopped there or no trial completed.
        verdict: What the correlation says, in a sentence.
    """

    epoch: int
    num_reached: int
    num_stopped: int
    num_ended: int
    num_went_on: int
    num_best_before: int
    spearman: Interval | None
    kendall: Interval | None
    wrong_stops: WrongStops | None
    verdict: str


@dataclass(frozen=True, kw_only=True)
class Stopping:
    """What early stopping did.

    Attributes:
        scheduler: The scheduler, such as asha; "none" stops no trial.
        reduction_factor: Its factor between rungs; None without one.
        rungs: The rungs in the order of epochs.
        num_stopped: The stopped trials.
        num_stopped_above: Stopped trials that had a better value before their stop than the winner ever has.
        num_stopped_elsewhere: Stopped trials that ended at none of the rungs, such as those of a study that later got
            more epochs.
        epochs_spent: The epochs of all trials.
        epochs_saved: The epochs that stopped trials did not run.
        epochs_saved_by_patience: The epochs that completed trials did not run, since they ended themselves.
        missing: Why there are no rungs; otherwise empty.
    """

    scheduler: str
    reduction_factor: float | None
    rungs: tuple[Rung, ...]
    num_stopped: int
    num_stopped_above: int
    num_stopped_elsewhere: int
    epochs_spent: int
    epochs_saved: int
    epochs_saved_by_patience: int
    missing: str


def rung_epochs(data: DatasetData) -> tuple[int, ...]:
    """Return the epochs after which the study's scheduler stops trials; empty without a scheduler that does.

    Those of ASHA are grace_epochs times powers of the reduction factor, below max_epochs. A rung between two epochs is
    at the later one. That of the one-epoch rule is 1. Those of the paired rule are the epochs at which it stopped a
    trial.
    """
    match data.signed.get("scheduler"):
        case "asha":
            return _asha_rungs(data)
        case "top-k":
            return (1,) if data.max_epochs > 1 else ()
        case "paired":
            return tuple(sorted({len(record.history) for record in data.with_status(Status.STOPPED)} - {0}))
        case _:
            return ()


def _asha_rungs(data: DatasetData) -> tuple[int, ...]:
    factor, grace = data.signed.get("reduction_factor"), data.entry.get("grace_epochs")
    if not factor or not grace or factor <= 1:
        return ()
    epochs: list[int] = []
    milestone = float(grace)
    while math.ceil(milestone) < data.max_epochs:
        epochs.append(math.ceil(milestone))
        milestone *= factor
    return tuple(dict.fromkeys(epochs))


def find_stopping(data: DatasetData) -> Stopping:
    """Return what early stopping did, rung by rung."""
    epochs = rung_epochs(data)
    stopped, scheduler = data.with_status(Status.STOPPED), str(data.signed.get("scheduler", "not recorded"))
    return Stopping(
        scheduler=scheduler,
        reduction_factor=data.signed.get("reduction_factor"),
        rungs=tuple(_rung(data, epoch) for epoch in epochs),
        num_stopped=len(stopped),
        num_stopped_above=_count_above_winner(data, stopped),
        num_stopped_elsewhere=sum(len(record.history) not in epochs for record in stopped),
        epochs_spent=sum(len(record.history) for record in data.records),
        epochs_saved=sum(data.max_epochs - len(record.history) for record in stopped),
        epochs_saved_by_patience=sum(data.max_epochs - len(record.history) for record in data.completed),
        missing="" if epochs else _why_missing(data, scheduler),
    )


def _why_missing(data: DatasetData, scheduler: str) -> str:
    if scheduler == "paired":
        return "The paired rule stopped no trial: none was shown to be too far behind the best completed one."
    if scheduler == "top-k":
        return "Trials have a single epoch, so that none can be stopped early."
    if scheduler != "asha":
        return f"The study ran with --scheduler {scheduler}: no trial was stopped early."
    return f"There is no rung: grace_epochs are not below max_epochs, {data.max_epochs}."


def _count_above_winner(data: DatasetData, stopped: list[TrialRecord]) -> int:
    winner = data.best_value(data.winner) if data.winner else None
    if winner is None:
        return 0
    best = [data.best_value(record) for record in stopped]
    return sum(value is not None and data.objective.is_better(value, than=winner) for value in best)


def _value_at(data: DatasetData, record: TrialRecord, epoch: int) -> float | None:
    """Return the value of a trial in an epoch; None if it did not run it."""
    return next((float(row[data.objective.name]) for row in record.history if row["epoch"] == epoch), None)


def _rung(data: DatasetData, epoch: int) -> Rung:
    reached = [record for record in data.records if _value_at(data, record, epoch) is not None]
    stopped = [record for record in reached if record.status is Status.STOPPED and len(record.history) == epoch]
    went_on = [(record, value) for record, value in data.full_length if len(record.history) > epoch]
    at_rung = [_value_at(data, record, epoch) or 0.0 for record, _ in went_on]
    final = [value for _, value in went_on]
    best_epochs = [best["epoch"] for record, _ in went_on if (best := record.best_epoch(data.objective))]
    correlation, num_before = spearman(at_rung, final), sum(best <= epoch for best in best_epochs)
    return Rung(
        epoch=epoch,
        num_reached=len(reached),
        num_stopped=len(stopped),
        num_ended=sum(record.status is Status.COMPLETED and len(record.history) == epoch for record in reached),
        num_went_on=len(went_on),
        num_best_before=num_before,
        spearman=correlation,
        kendall=kendall(at_rung, final),
        wrong_stops=_wrong_stops(data, epoch, stopped, went_on),
        verdict=_verdict(correlation, len(went_on), num_before),
    )


def _verdict(correlation: Interval | None, num_went_on: int, num_before: int) -> str:
    if correlation is None:
        return (
            f"Too few trials to say how well this rung predicts the end: {num_went_on} full-length trials went on, and "
            f"a correlation needs {MIN_RANKED} that differ."
        )
    known = f" ({num_before} of them with their best epoch up to it)" if num_before else ""
    return (
        f"Over the {num_went_on} full-length trials that went on{known}, the rank at this rung and the final rank "
        f"correlate with {correlation.mean:.2f} [{correlation.low:.2f}, {correlation.high:.2f}]; with the stopped "
        "trials, mostly the weakest, it would usually be more."
    )


def _wrong_stops(
    data: DatasetData, epoch: int, stopped: list[TrialRecord], went_on: list[tuple[TrialRecord, float]]
) -> WrongStops | None:
    winner, signed = data.winner, data.objective.signed
    best = data.best_value(winner) if winner else None
    if not stopped or winner is None or best is None:
        return None
    highest = max(signed(_value_at(data, record, epoch) or 0.0) for record in stopped)
    at_rung = {record.trial_id: signed(_value_at(data, record, epoch) or 0.0) for record, _ in went_on}
    first_trials = first_trials_in(data.entry)
    exempt = {record.trial_id for record, _ in went_on if is_one_of(record, first_trials)}
    comparable = [trial_id for trial_id, value in at_rung.items() if value <= highest and trial_id not in exempt]
    gains = [signed(value) - at_rung[record.trial_id] for record, value in went_on]
    gained = [
        f"trial {record.number}, {record.trial_id}"
        for (record, _), gain in zip(went_on, gains, strict=True)
        if gain >= signed(best) - highest
    ]
    needed, became_best = signed(best) - highest, comparable.count(winner.trial_id)
    bound = upper_bound(became_best, len(comparable))
    return WrongStops(
        num_comparable=len(comparable),
        num_became_best=became_best,
        bound=bound,
        needed=needed,
        num_gained=len(gained),
        largest_gain=max(gains, default=None),
        sentence=_describe(epoch, len(stopped), len(comparable), became_best, bound, needed, gained, gains),
    )


def _describe(
    epoch: int,
    num_stopped: int,
    num_comparable: int,
    became_best: int,
    bound: float,
    needed: float,
    gained: list[str],
    gains: list[float],
) -> str:
    """Return the question, the answer, and what the answer rests on."""
    stopped = "The stopped trial" if num_stopped == 1 else f"The best of the {num_stopped} stopped trials"
    behind = f"{needed:.4f} below" if needed > 0 else f"{-needed:.4f} above"
    text = f"{stopped} was {behind} the winner's best value at epoch {epoch}. "
    if gains:
        named = f" ({'; '.join(gained[:MOST_NAMED])}{'; ..' if len(gained) > MOST_NAMED else ''})" if gained else ""
        count = len(gained) or "none"
        text += (
            f"Of {counted(len(gains), 'full-length trial')} that went on, {count}{named} later gained that much (at "
            f"most {max(gains):.4f}). "
        )
    else:
        text += "No full-length trial went on, which could show how much is usually gained. "
    seldom = len(gains) >= MIN_RANKED and len(gained) <= SELDOM * len(gains)
    answer = UNLIKELY if seldom and needed > 0 else UNKNOWN
    weak = counted(num_comparable, "suggested trial")
    if not num_comparable:
        return (
            f"{UNKNOWN} {text}No full-length suggested trial was as weak here as the stopped ones, so nothing bounds "
            "the chance."
        )
    became = "1 became" if became_best else "none became"
    text += f"Of {weak} no better here than the best stopped one, {became} the winner: "
    if bound > SAYS_NOTHING:
        return f"{answer} {text}too few for a rate."
    return f"{answer} {text}the chance of that is at most {bound:.0%} (95% bound)."
