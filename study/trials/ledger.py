"""The ledger: one folder for each trial, from which all results of a study can be rebuilt.

The process of a trial writes its epochs, its completion and its failure. The driver writes that a scheduler stopped the
trial, or that its worker died too often. The first status written is final, except that the driver reopens a completed
trial that gets more epochs: first it writes the configuration with the new last epoch, then it removes the status. If
it dies in between, the trial is completed with fewer epochs than its configuration has, and is reopened again.

The order of writing makes a trial safe to kill at any time: config.json first; for each epoch the checkpoint, which
contains the record of the epoch and its scores, then best_epoch.json, then the line of val_questions.jsonl, then the
line of history.jsonl; status.json last.
"""

import errno
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import Field

from pan_model.errors import MachineFault, UserError, is_fault_text
from pan_model.flat import Scalar
from pan_model.objective import Objective
from pan_model.scores import EpochRecord
from study.storage.files import (
    append_line,
    exists,
    read_if_exists,
    remove,
    storage_of,
    write_file,
    write_json,
    write_text,
)
from study.storage.json_models import JsonModel, JsonScalar, parse_model
from study.storage.location import Location, local_path
from study.storage.times import Time, to_iso
from study.trials.question_scores import CheckedQuestionLists, parse_scores_line, scores_line, scores_line_start
from study.trials.selection.epoch_choice import choose_epoch

LEAVE_OUT = "move its folder away to leave the trial out"
RUN_AGAIN = "remove the file to run the trial again"
REMOVE = "remove it"
"""Ways out if a file of a trial is damaged."""

READ_BATCH_SIZE = 500
"""Number of trials whose files are read from a store concurrently; it bounds the memory for their contents."""


class Status(StrEnum):
    """The state of a trial.

    Attributes:
        COMPLETED: The trial reached its last epoch, or its early stopping ended it.
        STOPPED: A scheduler stopped the trial.
        FAILED: The trial raised an error, or its worker died too often.
        RUNNING: The trial has not ended; it runs or was interrupted.
    """

    COMPLETED = "completed"
    STOPPED = "stopped"
    FAILED = "failed"
    RUNNING = "running"


STATUS_ORDER = (Status.COMPLETED, Status.STOPPED, Status.FAILED, Status.RUNNING)
"""The order of statuses in messages."""


class ConfigFile(JsonModel, extra="forbid"):
    """The content of config.json.

    `number` is the position of the trial in the order of suggestions. `started` is the time at which the trial began;
    trials of version 0.1 lack it.
    """

    trial_id: str
    number: int
    started: Time | None = None
    config: dict[str, JsonScalar]


class StatusFile(JsonModel):
    """The content of status.json, which exists once a trial has ended.

    `error` is empty unless the trial failed. `ended` is the time of the end; trials of version 0.1 lack it.
    """

    status: Status
    error: str
    ended: Time | None = None


class BestEpoch(JsonModel, extra="forbid"):
    """The content of best_epoch.json: the score of every validation question in the best epoch of a trial.

    Attributes:
        epoch: The best epoch.
        questions: The scores of the model by metric.
        baselines: The scores of each baseline that depends on the trial.
        relevance: The mean relevance of each condition over random pairs of val images; empty in earlier studies.
    """

    epoch: int
    questions: CheckedQuestionLists
    baselines: dict[str, CheckedQuestionLists]
    relevance: dict[str, float] = Field(default_factory=dict[str, float])


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """The content of one trial's ledger.

    Attributes:
        trial_id: The id of the trial.
        number: The position of the trial in the order of suggestions, from 0.
        config: The flat configuration.
        status: The state of the trial.
        error: The error of a failed trial, or the fault of the machine that interrupted it; otherwise empty.
        history: The record of each epoch.
        best: The scores of all validation questions in the best epoch; None if they were not read or written.
        started: The time at which the trial began for the first time, in ISO 8601; None in trials of version 0.1.
        ended: The time at which the trial ended; None while it runs and in trials of version 0.1.
    """

    trial_id: str
    number: int
    config: dict[str, Scalar]
    status: Status
    error: str = ""
    history: list[EpochRecord] = field(default_factory=list[EpochRecord])
    best: BestEpoch | None = None
    started: str | None = field(default=None, compare=False)
    ended: str | None = field(default=None, compare=False)

    def best_epoch(self, objective: Objective) -> EpochRecord | None:
        """Return the record of the epoch that counts, see `choose_epoch`; None before the first epoch."""
        return choose_epoch(self.history, objective)

    @property
    def wall_s(self) -> float:
        """Seconds of training and evaluation, summed over all interruptions."""
        return math.fsum(value for record in self.history for key, value in record.items() if key.startswith("time/"))


class TrialLedger:
    """Read and write one trial's folder.

    Its files are config.json, checkpoint/state.pt, best_epoch.json, val_questions.jsonl, history.jsonl and status.json.

    The trial itself writes baselines.json, of the baselines that depend on its normalisation, when it completes.

    Args:
        folder: The folder of the trial, named by its trial_id.
        fetched: Contents of files that were read from a store in advance; they may include files of other trials.
        clock: Returns Unix seconds.
    """

    def __init__(
        self,
        folder: Location,
        fetched: Mapping[Location, bytes | None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder = folder
        self._clock = clock
        self._config = folder / "config.json"
        self._history = folder / "history.jsonl"
        self.best_epoch_file = folder / "best_epoch.json"
        self.val_questions_file = folder / "val_questions.jsonl"
        self.baselines_file = folder / "baselines.json"
        self._checkpoint = folder / "checkpoint" / "state.pt"
        self._status = folder / "status.json"
        self._fetched = fetched or {}

    def files(self, *, best: bool) -> list[Location]:
        """Return the files that `read` reads."""
        return [self._config, self._status, self._history, *([self.best_epoch_file] if best else [])]

    def open(self, *, number: int, config: dict[str, Scalar]) -> None:
        """Write config.json, unless it exists.

        Args:
            number: The position of the trial in the order of suggestions.
            config: The flat configuration.
        """
        if self._read(self._config, LEAVE_OUT) is None:
            started = to_iso(self._clock())
            content = {"trial_id": self.folder.name, "number": number, "started": started, "config": config}
            write_json(self._config, content)

    def reopen(self, config: dict[str, Scalar]) -> None:
        """Let a trial that is completed or running go on with a configuration that has more epochs.

        Do nothing for a new trial, or if the trial runs with this configuration.

        Args:
            config: The flat configuration.
        """
        content = self._read(self._config, LEAVE_OUT)
        if content is None:
            return
        written = parse_model(self._config, content, ConfigFile, LEAVE_OUT)
        if written.config != config:
            reopened = written.model_copy(update={"config": config})
            write_json(self._config, reopened.model_dump(exclude_none=True))
        if self.status()[0] is Status.COMPLETED:
            remove(self._status)

    def has_checkpoint(self) -> bool:
        """Return whether a checkpoint exists; without one, a trial starts again from its first epoch."""
        return exists(self._checkpoint)

    def add_epoch(
        self,
        record: EpochRecord,
        state: dict[str, Any],
        best: BestEpoch | None = None,
        scores: Sequence[float] | None = None,
    ) -> None:
        """Write an epoch: the checkpoint, best_epoch.json, the line of val_questions.jsonl, the line of history.jsonl.

        Args:
            record: The numbers of the epoch.
            state: The state of the trainer after this epoch.
            best: The scores of this epoch if it is the best so far.
            scores: The objective's score of each validation question.

        Raises:
            MachineFault: If the trial's folder is gone, or a file cannot be written because of the machine.
        """
        import torch  # here, so that reading a ledger does not need it

        self._require_folder()
        best_content = None if best is None else best.model_dump()
        line = None if scores is None else scores_line(int(record["epoch"]), scores)
        content = {"record": record, "state": state, "best": best_content, "scores": line}

        def save(path: Path) -> None:
            with path.open("wb") as file:  # given a path, torch does not report why it cannot write
                torch.save(content, file)

        write_file(self._checkpoint, save)
        if best_content is not None:
            write_json(self.best_epoch_file, best_content)
        if line is not None:
            append_line(self.val_questions_file, line)
        append_line(self._history, _line(record))

    def restore(self) -> dict[str, Any] | None:
        """Return the trainer's state after the last saved epoch, or None; make the other files end with that epoch."""
        storage_of(self._checkpoint).remove_unfinished(self._checkpoint)
        saved = self._load_checkpoint()
        if saved is None:
            for orphan in (self._history, self.val_questions_file, self.best_epoch_file):
                remove(orphan)
            return None
        last: EpochRecord = saved["record"]
        if saved["best"] is not None:
            write_json(self.best_epoch_file, saved["best"])
        self._restore_scores(int(last["epoch"]), saved.get("scores"))
        kept = [record for record in self.history() if record["epoch"] < last["epoch"]]
        write_text(self._history, "".join(_line(record) for record in [*kept, last]))
        return saved["state"]

    def _restore_scores(self, last_epoch: int, last_line: str | None) -> None:
        """Make val_questions.jsonl end with the last saved epoch; `last_line` is None in trials of earlier releases."""
        kept = [line.decode() for line in self._score_lines() if self._parse_scores(line)[0] < last_epoch]
        lines = kept if last_line is None else [*kept, last_line]
        if lines or exists(self.val_questions_file):
            write_text(self.val_questions_file, "".join(lines))

    def last_state(self) -> dict[str, Any]:
        """Return the trainer's state after the last saved epoch, which need not be the best one. Nothing is written.

        Raises:
            UserError: If there is no checkpoint.
        """
        saved = self._load_checkpoint()
        if saved is None:
            raise UserError(f"{self._checkpoint}: no such file; the trial's weights are not there any more.")
        return saved["state"]

    def _load_checkpoint(self) -> dict[str, Any] | None:
        import torch

        with storage_of(self._checkpoint).open(self._checkpoint) as file:
            return None if file is None else torch.load(file, weights_only=True, map_location="cpu")

    def close(self, status: Status, error: str = "") -> None:
        """Write the final status, unless one was written before."""
        if self.status()[0] is Status.RUNNING:
            write_json(self._status, {"status": status, "error": error, "ended": to_iso(self._clock())})

    def history(self) -> list[EpochRecord]:
        """Return the record of each epoch; a truncated last line is ignored.

        Raises:
            UserError: If a line is not the record of an epoch.
        """
        content = self._read(self._history, LEAVE_OUT) or b""
        try:
            lines = content[: content.rfind(b"\n") + 1].decode("utf-8-sig").splitlines()
            records = [json.loads(line) for line in lines]
        except ValueError as error:
            raise UserError(f"{self._history}: must hold a JSON object a line ({error}); {LEAVE_OUT}.") from error
        for number, record in enumerate(records, 1):
            if not isinstance(record, dict) or "epoch" not in record:
                raise UserError(
                    f"{self._history}: line {number} must be an object with an epoch, got {record}; {LEAVE_OUT}."
                )
        return records

    def question_scores(self) -> dict[int, list[float]]:
        """Return the objective's score of each validation question, by epoch; a truncated last line is ignored.

        Trials of earlier releases have none. A trial that was interrupted may have one epoch more than its history.

        Raises:
            UserError: If a line does not hold the scores of an epoch.
        """
        return dict(self._parse_scores(line) for line in self._score_lines())

    def question_scores_at(self, epoch: int) -> list[float] | None:
        """Return the objective's score of each validation question in one epoch, None if there are none.

        Raises:
            UserError: If the line of the epoch is damaged.
        """
        start = scores_line_start(epoch).encode()
        found = [line for line in self._score_lines() if line.startswith(start)]
        return self._parse_scores(found[-1])[1] if found else None

    def _score_lines(self) -> list[bytes]:
        content = self._read(self.val_questions_file, REMOVE) or b""
        return content[: content.rfind(b"\n") + 1].splitlines(keepends=True)

    def _parse_scores(self, line: bytes) -> tuple[int, list[float]]:
        return parse_scores_line(self.val_questions_file, line, REMOVE)

    def status(self) -> tuple[Status, str]:
        """Return the state of the trial, and the error of a failed one.

        A trial that earlier releases closed as failed because of a fault of the machine, such as a full disk, is
        running: it has no result yet, and its error is the fault.
        """
        end = self._read_end()
        return end.status, end.error

    def _read_end(self) -> StatusFile:
        """Return the content of status.json; that of a running trial if the file does not exist or is of a fault."""
        content = self._read(self._status, RUN_AGAIN)
        if content is None:
            return StatusFile(status=Status.RUNNING, error="")
        written = parse_model(self._status, content, StatusFile, RUN_AGAIN)
        is_fault = written.status is Status.FAILED and is_fault_text(written.error)
        return StatusFile(status=Status.RUNNING, error=written.error) if is_fault else written

    def read(self, *, best: bool = True) -> TrialRecord:
        """Read all files except the checkpoint; files in a store are read concurrently.

        Args:
            best: Whether to read best_epoch.json.

        Raises:
            UserError: If there is no such trial, or one of its files is damaged.
        """
        if not self._fetched and (fetched := storage_of(self.folder).prefetch(self.files(best=best))):
            return TrialLedger(self.folder, fetched).read(best=best)
        content = self._read(self._config, LEAVE_OUT)
        if content is None:
            raise UserError(f"{self._config}: cannot be read (No such file or directory); {LEAVE_OUT}.")
        written = parse_model(self._config, content, ConfigFile, LEAVE_OUT)
        end = self._read_end()
        return TrialRecord(
            trial_id=written.trial_id,
            number=written.number,
            config=written.config,
            status=end.status,
            error=end.error,
            history=self.history(),
            best=self.read_best() if best else None,
            started=written.started,
            ended=end.ended,
        )

    def read_best(self) -> BestEpoch | None:
        """Return the scores of all validation questions in the best epoch; None before the first epoch.

        Raises:
            UserError: If the file is damaged.
        """
        content = self._read(self.best_epoch_file, REMOVE)
        return None if content is None else parse_model(self.best_epoch_file, content, BestEpoch, REMOVE)

    def _require_folder(self) -> None:
        """Raise MachineFault if the folder that `open` made on a disk is gone, which a write would create again."""
        path = local_path(self._config)
        if path is not None and not path.exists():
            raise MachineFault(errno.ENOENT, str(self.folder))

    def _read(self, file: Location, way_out: str) -> bytes | None:
        return self._fetched[file] if file in self._fetched else read_if_exists(file, way_out)


def _line(record: EpochRecord) -> str:
    return json.dumps(record, allow_nan=False) + "\n"


def read_ledger(trials: Location, *, best: bool = True) -> list[TrialRecord]:
    """Read all trials of a dataset, in the order in which they were suggested.

    Folders without config.json are ignored.

    Args:
        trials: The folder that contains one folder for each trial.
        best: Whether to read best_epoch.json, the score of every validation question, of every trial.

    Raises:
        UserError: If a file is damaged.
    """
    storage = storage_of(trials)
    ledgers = [TrialLedger(file.parent) for file in storage.find_in_subfolders(trials, "config.json")]
    records: list[TrialRecord] = []
    for start in range(0, len(ledgers), READ_BATCH_SIZE):
        batch = ledgers[start : start + READ_BATCH_SIZE]
        fetched = storage.prefetch([file for ledger in batch for file in ledger.files(best=best)])
        records += [TrialLedger(ledger.folder, fetched).read(best=best) for ledger in batch]
    return sorted(records, key=lambda record: (record.number, record.trial_id))


def count_ended(records: Iterable[TrialRecord]) -> int:
    """Return the number of trials that are completed, stopped or failed."""
    return sum(record.status is not Status.RUNNING for record in records)


def count_by_status(records: Iterable[TrialRecord], *, over: bool = False) -> str:
    """Return the number of trials of each status, such as "3 completed, 5 stopped".

    Args:
        records: The trials of a dataset.
        over: Whether the study has ended: trials that are running in the ledger were then interrupted.
    """
    return name_counts(Counter(record.status for record in records), over=over)


def name_counts(counts: Mapping[Status, int], *, over: bool = False) -> str:
    """Return the counts that are not 0, such as "3 completed, 5 stopped"; see `count_by_status`."""
    words = {status: "interrupted" if over and status is Status.RUNNING else status.value for status in STATUS_ORDER}
    return ", ".join(f"{counts[status]} {words[status]}" for status in STATUS_ORDER if counts.get(status)) or "none yet"


def rank_completed(records: Sequence[TrialRecord], objective: Objective) -> list[tuple[TrialRecord, float, int]]:
    """Return the completed trials with their values and chosen epochs: the best first, the earlier of equals first."""
    scored = [
        (record, float(chosen[objective.name]), int(chosen["epoch"]))
        for record in records
        if record.status is Status.COMPLETED and (chosen := record.best_epoch(objective)) is not None
    ]
    return sorted(scored, key=lambda scored_trial: -objective.signed(scored_trial[1]))


def best_completed(records: Sequence[TrialRecord], objective: Objective) -> tuple[TrialRecord, float, int] | None:
    """Return the first of `rank_completed`; None if no trial completed."""
    return next(iter(rank_completed(records, objective)), None)
