"""The ledger: one folder a trial, from which the whole study can be rebuilt.

The trial itself writes its epochs, its completion and its failure; the driver writes that ASHA stopped it, or that its
worker died too often. The first status written stands.

The order of writing makes every instant a good one to be killed at: config.json first; each epoch's checkpoint,
which carries the epoch's record, before best_epoch.json and the epoch's line of history.jsonl; status.json last.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from pan_model.errors import UserError
from pan_model.flat import Scalar
from pan_model.objective import Objective
from pan_model.scores import EpochRecord
from study.storage.files import (
    append_line,
    fetch,
    find_files,
    opened,
    parse_json,
    read_if_there,
    remove,
    remove_unfinished,
    write_json,
    write_text,
    write_whole,
)
from study.storage.location import Location
from study.trials.question_scores import QuestionLists, check_lists, check_methods


class Status(StrEnum):
    """How a trial stands.

    completed (at its last epoch, or ended by its own early stopping), stopped (by ASHA), failed, running (or cut).
    """

    COMPLETED = "completed"
    STOPPED = "stopped"
    FAILED = "failed"
    RUNNING = "running"


@dataclass(frozen=True, kw_only=True)
class BestEpoch:
    """What is kept of a trial's best epoch: the score of every validation question, the model's and a baseline's.

    questions has a list for each metric; baselines the same for each baseline that depends on the trial.
    """

    epoch: int
    questions: QuestionLists
    baselines: dict[str, QuestionLists]


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """What the ledger says of one trial; number orders trials as they were suggested."""

    trial_id: str
    number: int
    config: dict[str, Scalar]
    status: Status
    error: str = ""
    history: list[EpochRecord] = field(default_factory=list[EpochRecord])
    best: BestEpoch | None = None

    def best_epoch(self, objective: Objective) -> EpochRecord | None:
        """Return the record of the best epoch, the first of equals; None before the first epoch."""
        return max(self.history, key=lambda record: objective.signed(record[objective.name]), default=None)

    @property
    def wall_s(self) -> float:
        """Seconds of training and evaluation, over all interruptions."""
        return math.fsum(value for record in self.history for key, value in record.items() if key.startswith("time/"))


LEAVE_OUT = "move its folder away to leave the trial out"
RUN_AGAIN = "remove the file to run the trial again"
"""Ways out where a file of a trial is damaged."""

TOGETHER = 500
"""How many trials are read side by side from a store; it bounds the memory that their files take."""

BEST_FIELDS = set(BestEpoch.__dataclass_fields__)


class TrialLedger:
    """One trial's folder: config.json, checkpoint/state.pt, best_epoch.json, history.jsonl, status.json.

    fetched are contents that were read from a store already, together with those of other trials.
    """

    def __init__(self, folder: Location, fetched: Mapping[Location, bytes | None] | None = None) -> None:
        self.folder = folder
        self._config = folder / "config.json"
        self._history = folder / "history.jsonl"
        self.best_epoch_file = folder / "best_epoch.json"
        self._checkpoint = folder / "checkpoint" / "state.pt"
        self._status = folder / "status.json"
        self._fetched = fetched or {}

    @property
    def files(self) -> list[Location]:
        """The files that are read of a trial: all but the checkpoint; what is kept of the best epoch comes last."""
        return [self._config, self._status, self._history, self.best_epoch_file]

    def open(self, *, number: int, config: dict[str, Scalar]) -> None:
        """Write down what is tried, unless a run before this one did."""
        if self._read(self._config, LEAVE_OUT) is None:
            write_json(self._config, {"trial_id": self.folder.name, "number": number, "config": config})

    def add_epoch(self, record: EpochRecord, state: dict[str, Any], best: BestEpoch | None = None) -> None:
        """Save the checkpoint, then what is kept of an epoch that is the best so far, then the epoch's line."""
        import torch  # here, so that the ledger is read without it

        content = {"record": record, "state": state, "best": None if best is None else asdict(best)}
        write_whole(self._checkpoint, lambda path: torch.save(content, path))
        if best is not None:
            write_json(self.best_epoch_file, asdict(best))
        append_line(self._history, _line(record))

    def restore(self) -> dict[str, Any] | None:
        """The state after the last saved epoch, or None; the other files are mended to end with that very epoch."""
        import torch

        remove_unfinished(self._checkpoint)
        with opened(self._checkpoint) as file:
            saved = None if file is None else torch.load(file, weights_only=True, map_location="cpu")
        if saved is None:
            for orphan in (self._history, self.best_epoch_file):
                remove(orphan)
            return None
        last: EpochRecord = saved["record"]
        if saved["best"] is not None:
            write_json(self.best_epoch_file, saved["best"])
        kept = [record for record in self.history() if record["epoch"] < last["epoch"]]
        write_text(self._history, "".join(_line(record) for record in [*kept, last]))
        return saved["state"]

    def close(self, status: Status, error: str = "") -> None:
        """Write how the trial ended; the first word on it stands."""
        if self._read(self._status, RUN_AGAIN) is None:
            write_json(self._status, {"status": status, "error": error})

    def history(self) -> list[EpochRecord]:
        """The epochs so far; a last line that was cut while being written does not count."""
        content = self._read(self._history, LEAVE_OUT) or b""
        try:
            lines = content[: content.rfind(b"\n") + 1].decode("utf-8").splitlines()
            return [json.loads(line) for line in lines]
        except ValueError as error:
            raise UserError(f"{self._history}: must hold a JSON object a line ({error}); {LEAVE_OUT}.") from error

    def status(self) -> tuple[Status, str]:
        """How the trial stands, and the error of a failed one."""
        content = self._read(self._status, RUN_AGAIN)
        if content is None:
            return Status.RUNNING, ""
        written = parse_json(self._status, content, RUN_AGAIN)
        try:
            return Status(written["status"]), str(written["error"])
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{self._status}: must hold status and error; {RUN_AGAIN}.") from error

    def read(self, *, best: bool = True) -> TrialRecord:
        """Everything but the checkpoint, and, where best is False, but what is kept of the best epoch.

        From a store all files come side by side.
        """
        if not self._fetched and (fetched := fetch(self.files if best else self.files[:-1])):
            return TrialLedger(self.folder, fetched).read(best=best)
        content = self._read(self._config, LEAVE_OUT)
        if content is None:
            raise UserError(f"{self._config}: cannot be read (No such file or directory); {LEAVE_OUT}.")
        written = parse_json(self._config, content, LEAVE_OUT)
        if not isinstance(written, dict) or set(written) != {"trial_id", "number", "config"}:
            raise UserError(f"{self._config}: must hold trial_id, number and config; {LEAVE_OUT}.")
        status, error = self.status()
        kept = self._read_best() if best else None
        return TrialRecord(**written, status=status, error=error, history=self.history(), best=kept)

    def _read_best(self) -> BestEpoch | None:
        content = self._read(self.best_epoch_file, "remove it")
        if content is None:
            return None
        written = parse_json(self.best_epoch_file, content, "remove it")
        if not isinstance(written, dict) or set(written) != BEST_FIELDS:
            raise UserError(f"{self.best_epoch_file}: must hold epoch, questions and baselines; remove it.")
        return BestEpoch(
            epoch=written["epoch"],
            questions=check_lists(written["questions"], self.best_epoch_file, "questions"),
            baselines=check_methods(written["baselines"], self.best_epoch_file, "baselines"),
        )

    def _read(self, file: Location, way_out: str) -> bytes | None:
        return self._fetched[file] if file in self._fetched else read_if_there(file, way_out)


def _line(record: EpochRecord) -> str:
    return json.dumps(record, allow_nan=False) + "\n"


def read_ledger(trials: Location, *, best: bool = True) -> list[TrialRecord]:
    """All trials of a dataset in the order in which they were suggested; a folder without config.json is none yet.

    best says whether to read what is kept of every trial's best epoch: the score of every validation question.
    """
    ledgers = [TrialLedger(file.parent) for file in find_files(trials, "config.json")]
    records: list[TrialRecord] = []
    for start in range(0, len(ledgers), TOGETHER):
        some = ledgers[start : start + TOGETHER]
        fetched = fetch([file for ledger in some for file in (ledger.files if best else ledger.files[:-1])])
        records += [TrialLedger(ledger.folder, fetched).read(best=best) for ledger in some]
    return sorted(records, key=lambda record: (record.number, record.trial_id))


def count_ended(records: list[TrialRecord]) -> int:
    """How many trials are over: completed, stopped or failed."""
    return sum(record.status is not Status.RUNNING for record in records)


STATUS_ORDER = (Status.COMPLETED, Status.STOPPED, Status.FAILED, Status.RUNNING)


def count_by_status(records: Iterable[TrialRecord], *, over: bool = False) -> str:
    """Return the number of trials of each status, such as "3 completed, 5 stopped".

    Args:
        records: The trials of a dataset.
        over: Whether the study has ended: trials that are running in the ledger were then interrupted.
    """
    return name_counts(Counter(record.status for record in records), over=over)


def name_counts(counts: Mapping[Status, int], *, over: bool = False) -> str:
    """Return the counts that are not 0 in words; see `count_by_status`."""
    words = {status: "interrupted" if over and status is Status.RUNNING else status.value for status in STATUS_ORDER}
    return ", ".join(f"{counts[status]} {words[status]}" for status in STATUS_ORDER if counts.get(status)) or "none yet"


def best_completed(records: list[TrialRecord], objective: Objective) -> tuple[TrialRecord, float, int] | None:
    """Return the best completed trial, its best value and the epoch of that value.

    The earliest of equally good trials wins. Returns None when no trial completed.
    """
    scored = [
        (record, float(best[objective.name]), int(best["epoch"]))
        for record in records
        if record.status is Status.COMPLETED and (best := record.best_epoch(objective)) is not None
    ]
    return max(scored, key=lambda scored_trial: objective.signed(scored_trial[1]), default=None)
