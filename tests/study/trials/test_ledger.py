"""The ledger may be cut at any instant: what is read, restored and gone on with then agrees."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from upath import UPath

from pan_model.errors import UserError
from pan_model.objective import Objective
from study.storage.files import storage_of
from study.storage.location import Location
from study.trials.ledger import BestEpoch, Status, TrialLedger, TrialRecord, count_by_status, count_ended, read_ledger

HIGHEST, LOWEST = Objective("few_shot_accuracy", "max"), Objective("few_shot_accuracy", "min")
NUM_EPOCHS = 3
CONFIG: dict[str, Any] = {"encoder": "siamese", "learning_rate": 0.1 + 0.2, "seed": 0}
TRUTH = [{"epoch": e, "accuracy": a, "time/train_s": 0.5} for e, a in enumerate((1 / 3, 0.25, 2 / 3), 1)]
BEST = {
    e: BestEpoch(epoch=e, questions={"accuracy": [0.1 + 0.2, e / 3]}, baselines={"untrained": {"accuracy": [1 / e, 0]}})
    for e in (1, 3)
}
"""What is kept of the epochs that were the best so far when they came."""
SCORES = {1: [0.0, 1.0, 0.1 + 0.2], 2: [1.0, 1 / 3, 1e-320], 3: [0.5, -0.25, 1.0625]}
"""The objective's score of each validation question in each epoch."""

Kill = Callable[..., AbstractContextManager[list[str]]]
Write = Callable[[Location, TrialRecord], None]
Make = Callable[..., TrialRecord]


@pytest.fixture
def ledger(tmp_path: Path) -> TrialLedger:
    ledger = TrialLedger(tmp_path / "trials" / "abc")
    ledger.open(number=4, config=CONFIG)
    return ledger


@pytest.fixture
def any_ledger(anywhere: Location) -> TrialLedger:
    ledger = TrialLedger(anywhere / "trials" / "abc")
    ledger.open(number=4, config=CONFIG)
    return ledger


def state(epoch: int) -> dict[str, Any]:
    return {"epoch": epoch, "weights": torch.full((3,), epoch / 3)}


def best_until(epoch: int) -> BestEpoch | None:
    return BEST[max(e for e in BEST if e <= epoch)] if epoch else None


def scores_until(epoch: int) -> dict[int, list[float]]:
    return {e: scores for e, scores in SCORES.items() if e <= epoch}


def go_on(folder: Location) -> None:
    """Run a trial from where its ledger stands."""
    ledger = TrialLedger(folder)
    ledger.open(number=4, config=CONFIG)
    if ledger.status()[0] is not Status.RUNNING:
        return
    saved = ledger.restore()
    for epoch in range(saved["epoch"] + 1 if saved else 1, NUM_EPOCHS + 1):
        ledger.add_epoch(TRUTH[epoch - 1], state(epoch), BEST.get(epoch), SCORES[epoch])
    ledger.close(Status.COMPLETED)


def check_what_is_left(folder: Location) -> None:
    """After a kill: what is read is a part of the truth, and what is restored is one epoch with its history."""
    for record in read_ledger(folder.parent):
        assert (record.trial_id, record.number, record.config) == (folder.name, 4, CONFIG)
        assert record.history == TRUTH[: len(record.history)]
        assert record.status is Status.RUNNING or record.history == TRUTH
        assert record.best in (best_until(len(record.history)), best_until(min(len(record.history) + 1, NUM_EPOCHS)))
        scores = TrialLedger(folder).question_scores()
        assert scores == scores_until(len(scores))
        assert len(scores) - len(record.history) in (0, 1)


def test_a_trial_may_be_killed_at_every_instant(tmp_path: Path, killed_at: Kill):
    died: list[str] = []
    for instant in count():
        folder = tmp_path / f"trials{instant}" / "abc"
        with killed_at(folder, instant, cut=7) as here:
            go_on(folder)
        check_what_is_left(folder)
        seen = len(TrialLedger(folder).history())
        saved = TrialLedger(folder).restore() if folder.exists() else None
        epoch = saved["epoch"] if saved else 0
        assert epoch in (seen, seen + 1)
        assert TrialLedger(folder).history() == TRUTH[:epoch]
        assert TrialLedger(folder).question_scores() == scores_until(epoch)
        assert [record.best for record in read_ledger(folder.parent)] in ([], [best_until(epoch)])
        assert saved is None or torch.equal(saved["weights"], state(epoch)["weights"])
        go_on(folder)
        assert read_ledger(folder.parent) == [
            TrialRecord(
                trial_id="abc", number=4, config=CONFIG, status=Status.COMPLETED, history=TRUTH, best=best_until(3)
            )
        ]
        assert TrialLedger(folder).question_scores() == SCORES
        died += here
        if not here:
            break
    # config; checkpoint and two lines of each epoch, and what is kept of those that were the best; status
    assert len(died) == 2 * (2 + NUM_EPOCHS * 4 + len(BEST) * 2 + 2)
    assert {what.split(" of ")[0] for what in died} == {
        f"{w} {op}" for w in ("before", "after") for op in ("fsync", "replace")
    }


@contextmanager
def killed_before_change(folder: UPath, number: int) -> Iterator[list[str]]:
    """Die before one of the requests that change a store, counted from 0; the list names it when it came to it."""
    died: list[str] = []
    passed = 0

    def watch(name: str) -> Callable[..., None]:
        call = getattr(folder.fs, name)

        def watched(*arguments: Any) -> None:
            nonlocal passed
            if passed == number:
                died.append(f"{name} of {arguments[-1]}")
                raise KeyboardInterrupt
            passed += 1
            call(*arguments)

        return watched

    with patch.object(folder.fs, "put_file", watch("put_file")), patch.object(folder.fs, "rm_file", watch("rm_file")):
        try:
            yield died
        except KeyboardInterrupt:
            return


def test_a_trial_in_a_store_may_be_killed_between_all_changes(bucket: UPath):
    for number in count():
        folder = bucket / f"trials{number}" / "abc"
        with killed_before_change(folder, number) as died:
            go_on(folder)
        check_what_is_left(folder)
        if not died:
            break
        go_on(folder)
        (record,) = read_ledger(folder.parent)
        assert (record.history, record.best, record.status) == (TRUTH, best_until(3), Status.COMPLETED)
        assert TrialLedger(folder).question_scores() == SCORES
    # config; checkpoint and two lines of each epoch, and what is kept of those that were the best; status
    assert number == 1 + 3 + 3 * NUM_EPOCHS + len(BEST) + 1  # at first three files are removed that are not there


@settings(max_examples=25)
@given(kills=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 60)), min_size=1, max_size=5))
def test_however_often_a_trial_is_killed_it_ends_the_same(
    tmp_path_factory: pytest.TempPathFactory, killed_at: Kill, kills: list[tuple[int, int]]
):
    folder = tmp_path_factory.mktemp("ledger") / "abc"
    for instant, cut in kills:
        with killed_at(folder, instant, cut=cut):
            go_on(folder)
        check_what_is_left(folder)
    go_on(folder)
    record = TrialLedger(folder).read()
    assert (record.history, record.best, record.status) == (TRUTH, best_until(NUM_EPOCHS), Status.COMPLETED)
    assert TrialLedger(folder).question_scores() == SCORES


def test_a_line_cut_at_any_byte_does_not_count_and_is_mended(ledger: TrialLedger):
    for epoch in (1, 2):
        ledger.add_epoch(TRUTH[epoch - 1], state(epoch))
    file = ledger.folder / "history.jsonl"
    whole = file.read_bytes()
    start = whole.index(b"\n") + 1
    for end in range(start, len(whole)):
        file.write_bytes(whole[:end])
        assert ledger.history() == TRUTH[:1]
        saved = TrialLedger(ledger.folder).restore()
        assert saved is not None
        assert saved["epoch"] == 2
        assert file.read_bytes() == whole


def test_a_line_of_scores_cut_at_any_byte_does_not_count_and_is_mended(ledger: TrialLedger):
    for epoch in (1, 2):
        ledger.add_epoch(TRUTH[epoch - 1], state(epoch), None, SCORES[epoch])
    file = ledger.val_questions_file
    whole = file.read_bytes()
    for end in range(whole.index(b"\n") + 1, len(whole)):
        file.write_bytes(whole[:end])
        assert ledger.question_scores() == scores_until(1)
        assert ledger.question_scores_at(2) is None
        TrialLedger(ledger.folder).restore()
        assert file.read_bytes() == whole


def test_scores_read_back_exactly_and_are_short(any_ledger: TrialLedger):
    scores = [1.0, 0.0, 0.1 + 0.2, 1e-320, 1 / 3, 17 / 16, -1.0]
    any_ledger.add_epoch(TRUTH[0], state(1), None, scores)
    any_ledger.add_epoch({**TRUTH[0], "epoch": 11}, state(11), None, scores[::-1])
    assert any_ledger.question_scores() == {1: scores, 11: scores[::-1]}
    assert (any_ledger.question_scores_at(1), any_ledger.question_scores_at(11)) == (scores, scores[::-1])
    assert any_ledger.question_scores_at(2) is None
    content = storage_of(any_ledger.folder).read(any_ledger.val_questions_file)
    assert content is not None
    assert content.startswith(b'{"epoch":1,"scores":[1,0,0.30000000000000004,')


def test_a_trial_without_scores_goes_on_and_has_them_from_then_on(any_ledger: TrialLedger):
    any_ledger.add_epoch(TRUTH[0], state(1))
    assert any_ledger.restore() is not None
    assert not any_ledger.question_scores()
    any_ledger.add_epoch(TRUTH[1], state(2), None, SCORES[2])
    any_ledger.restore()
    assert any_ledger.question_scores() == {2: SCORES[2]}


@pytest.mark.parametrize("line", ["[1]", "{scores}", '{"epoch":1,"scores":3}', '{"epoch":1,"scores":["a"]}', "{}"])
def test_damaged_scores_are_refused_by_the_file(ledger: TrialLedger, line: str):
    ledger.val_questions_file.write_text(f"{line}\n", encoding="utf-8")
    rule = f'val_questions.jsonl: every line must be {{"epoch": N, "scores": [number, ..]}}, got {line!r}; remove it.'
    with pytest.raises(UserError, match=re.escape(rule)):
        ledger.question_scores()


def test_a_checkpoint_without_a_line_gives_the_line(any_ledger: TrialLedger):
    any_ledger.add_epoch(TRUTH[0], state(1))
    (any_ledger.folder / "history.jsonl").unlink()
    assert any_ledger.history() == []
    saved = any_ledger.restore()
    assert saved is not None
    assert any_ledger.history() == TRUTH[:1]


def test_what_a_checkpoint_without_its_best_epoch_lacks_is_written(any_ledger: TrialLedger):
    any_ledger.add_epoch(TRUTH[0], state(1), BEST[1])
    (any_ledger.folder / "best_epoch.json").unlink()
    assert any_ledger.read().best is None
    any_ledger.restore()
    assert any_ledger.read().best == BEST[1]


def test_an_epoch_that_is_not_the_best_leaves_the_best_one_alone(any_ledger: TrialLedger):
    any_ledger.add_epoch(TRUTH[0], state(1), BEST[1])
    any_ledger.add_epoch(TRUTH[1], state(2))
    assert any_ledger.read().best == BEST[1]
    any_ledger.restore()
    assert any_ledger.read().best == BEST[1]


def test_lines_without_a_checkpoint_are_begun_again(any_ledger: TrialLedger):
    for name in ("history.jsonl", "best_epoch.json", "val_questions.jsonl"):
        (any_ledger.folder / name).write_text('{"epoch": 1, "accur', encoding="utf-8")
    assert any_ledger.restore() is None
    assert [path.name for path in any_ledger.folder.iterdir()] == ["config.json"]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("{}", "lacks epoch, questions, baselines"),
        ("[]", "the whole file must be an object, got []"),
        ('{"epoch": 1}', "lacks questions, baselines"),
        ('{"epoch": 1, "questions": {"a": [1]}, "baselines": {}, "a": 1}', "a is an unknown field"),
        ('{"epoch": 1, "questions": {}, "baselines": {}}', "questions must have at least 1 item(s), got {}"),
        (
            '{"epoch": 1, "questions": {"a": [1, "2"]}, "baselines": {}}',
            'questions.a.1 must be a valid number, got "2"',
        ),
        (
            '{"epoch": 1, "questions": {"a": [1]}, "baselines": {"b": {"a": [NaN]}}}',
            "baselines.b.a.0 must be a finite number, got NaN",
        ),
        ('{"epoch": 1, "questions": {"a": [1]}, "baselines": 3}', "baselines must be an object, got 3"),
    ],
)
def test_a_damaged_best_epoch_is_refused_by_file_and_field(ledger: TrialLedger, text: str, rule: str):
    ledger.best_epoch_file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=re.escape(f"best_epoch.json: {rule}; remove it.")):
        ledger.read()


@pytest.mark.parametrize(
    ("file", "text", "rule"),
    [
        ("config.json", "{}", "lacks trial_id, number, config; move its folder away"),
        ("config.json", "[]", "the whole file must be an object, got []; move its folder away"),
        ("config.json", '{"trial_id": "a", "number": "1", "config": {}}', 'number must be a valid integer, got "1"'),
        ("config.json", '{"trial_id": "a", "number": 1, "config": {}, "b": 1}', "b is an unknown field"),
        (
            "config.json",
            '{"trial_id": "a", "number": 1, "config": {"lambda": null}}',
            "config.lambda must be a string, a number or a boolean, got null",
        ),
        ("status.json", "{}", "lacks status, error; remove the file to run the trial again"),
        (
            "status.json",
            '{"status": "lost", "error": ""}',
            "status must be 'completed', 'stopped', 'failed' or 'running', got \"lost\"",
        ),
        ("history.jsonl", "[1]\n", "line 1 must be an object with an epoch, got [1]; move its folder away"),
        ("history.jsonl", '{"epoch": 1}\n{"loss": 1}\n', "line 2 must be an object with an epoch, got {'loss': 1}"),
        ("history.jsonl", "{epoch}\n", "must hold a JSON object a line ("),
    ],
)
def test_a_damaged_file_is_refused_by_its_name(ledger: TrialLedger, file: str, text: str, rule: str):
    (ledger.folder / file).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=re.escape(f"{file}: {rule}")):
        ledger.read()


def test_lines_after_the_checkpoint_are_dropped(ledger: TrialLedger):
    for epoch in (1, 2):
        ledger.add_epoch(TRUTH[epoch - 1], state(epoch))
    older = (ledger.folder / "checkpoint" / "state.pt").read_bytes()
    ledger.add_epoch(TRUTH[2], state(3))
    (ledger.folder / "checkpoint" / "state.pt").write_bytes(older)
    ledger.restore()
    assert ledger.history() == TRUTH[:2]


def test_restoring_twice_is_restoring_once(any_ledger: TrialLedger):
    any_ledger.add_epoch(TRUTH[0], state(1))
    first, second = any_ledger.restore(), any_ledger.restore()
    assert first is not None
    assert second is not None
    assert torch.equal(first["weights"], second["weights"])
    assert any_ledger.history() == TRUTH[:1]


def test_half_written_files_of_a_dead_process_do_not_matter(ledger: TrialLedger):
    ledger.add_epoch(TRUTH[0], state(1))
    for name in ("config.json", "best_epoch.json", "status.json", "history.jsonl"):
        (ledger.folder / f".{name}.1").write_bytes(b'{"epo')
    (ledger.folder / "checkpoint" / ".state.pt.1").write_bytes(b'{"epo')
    go_on(ledger.folder)
    assert [record.history for record in read_ledger(ledger.folder.parent)] == [TRUTH]
    assert [path.name for path in (ledger.folder / "checkpoint").iterdir()] == ["state.pt"]


def test_a_trial_leaves_its_six_files_and_nothing_else(any_ledger: TrialLedger):
    go_on(any_ledger.folder)
    files = {
        "/".join(file.parts[len(any_ledger.folder.parts) :])
        for file in storage_of(any_ledger.folder).list_below(any_ledger.folder)
    }
    lines = {"history.jsonl", "val_questions.jsonl"}
    assert files == {"config.json", "best_epoch.json", "checkpoint/state.pt", "status.json"} | lines


@pytest.mark.parametrize(("instant", "file", "best"), [(3, ".state.pt", False), (7, ".best_epoch.json", True)])
def test_the_checkpoint_comes_first_then_the_best_epoch_then_its_line(
    ledger: TrialLedger, killed_at: Kill, instant: int, file: str, best: bool
):
    with killed_at(ledger.folder, instant) as died:
        ledger.add_epoch(TRUTH[0], state(1), BEST[1])
    assert died == [f"after replace of {file}." + died[0].rsplit(".", 1)[1]]
    assert (ledger.folder / "checkpoint" / "state.pt").exists()
    assert (ledger.folder / "best_epoch.json").exists() is best
    assert not (ledger.folder / "history.jsonl").exists()


def test_the_first_configuration_and_the_first_status_stand(any_ledger: TrialLedger):
    any_ledger.open(number=9, config={"encoder": "other"})
    any_ledger.close(Status.STOPPED)
    any_ledger.close(Status.FAILED, "too late")
    assert any_ledger.read() == TrialRecord(trial_id="abc", number=4, config=CONFIG, status=Status.STOPPED)


def test_numbers_and_errors_read_back_exactly(any_ledger: TrialLedger):
    values = [0.1 + 0.2, 1e-320, -0.0, 1 / 3, 1.7976931348623157e308]
    for epoch, value in enumerate(values, 1):
        any_ledger.add_epoch({"epoch": epoch, "accuracy": value}, state(epoch))
    any_ledger.close(Status.FAILED, 'ValueError: "ä", b')
    record = any_ledger.read()
    assert [repr(epoch["accuracy"]) for epoch in record.history] == list(map(repr, values))
    assert record.error == 'ValueError: "ä", b'
    assert record.config == CONFIG


def test_nan_has_no_place_in_a_history(any_ledger: TrialLedger):
    with pytest.raises(ValueError, match="not JSON compliant"):
        any_ledger.add_epoch({"epoch": 1, "accuracy": float("nan")}, state(1))
    assert any_ledger.history() == []


def test_a_running_study_is_read_as_it_stands(anywhere: Location, record: Make, write_trial: Write):
    written = [
        record(0, Status.COMPLETED, 0.5, 0.6, best=BEST[1]),
        record(2, Status.RUNNING, 0.4),
        record(1, Status.FAILED, error="it broke"),
        record(3, Status.RUNNING),
        record(10, Status.STOPPED, 0.1),
    ]
    for one in written:
        write_trial(anywhere / "trials", one)
    (anywhere / "trials" / "just-made").mkdir()
    records = read_ledger(anywhere / "trials")
    assert records == sorted(written, key=lambda one: one.number)
    assert records[0].best == BEST[1]
    assert count_ended(records) == 3


def test_no_study_is_no_trials(anywhere: Location):
    assert read_ledger(anywhere / "trials") == []
    assert count_ended([]) == 0


def test_trials_of_one_number_are_ordered_by_name(anywhere: Location, record: Make, write_trial: Write):
    for name in ("b", "a"):
        write_trial(anywhere, record(0, Status.RUNNING, trial_id=name))
    assert [one.trial_id for one in read_ledger(anywhere)] == ["a", "b"]


def test_the_best_epoch_is_the_first_of_equals(record: Make):
    one = record(0, Status.COMPLETED, 0.3, 0.7, 0.1, 0.7, 0.1)
    best, worst = one.best_epoch(HIGHEST), one.best_epoch(LOWEST)
    assert best is not None
    assert worst is not None
    assert (best["epoch"], worst["epoch"]) == (2, 3)
    assert record(0, Status.FAILED).best_epoch(HIGHEST) is None


def test_wall_time_is_all_times_of_all_epochs(record: Make):
    assert record(0, Status.RUNNING, 0.1, 0.2, 0.3).wall_s == 4.5
    assert record(0, Status.RUNNING).wall_s == 0


def test_counts_by_status(record: Make):
    records = [record(n, s) for n, s in enumerate((Status.FAILED, Status.STOPPED, Status.FAILED, Status.COMPLETED))]
    assert count_by_status(records) == "1 completed, 1 stopped, 2 failed"
    assert count_by_status([]) == "none yet"


def test_when_all_is_over_no_trial_is_running(record: Make):
    records = [record(0, Status.COMPLETED), record(1, Status.RUNNING)]
    assert count_by_status(records) == "1 completed, 1 running"
    assert count_by_status(records, over=True) == "1 completed, 1 interrupted"
