"""Optuna's journal, and its copy in a store."""

from pathlib import Path
from typing import Any

from study.storage.files import exists
from study.storage.location import Location
from study.tuning.journal_copy import KEEP_S, JournalCopy


def test_on_a_disk_the_journal_is_the_results_own(tmp_path: Path):
    journal = JournalCopy(tmp_path / "demo" / "optuna.log", tmp_path / "elsewhere")
    assert journal.file == tmp_path / "demo" / "optuna.log"
    journal.keep(now=True)
    assert not list(tmp_path.iterdir())


def test_a_copy_is_made_now_and_then_and_when_it_is_asked_for(store: Any, bucket: Location, tmp_path: Path):
    now_s = 0.0
    journal = JournalCopy(bucket / "optuna.log", tmp_path, clock=lambda: now_s)
    assert journal.file == tmp_path / "optuna.log"
    for text, at_s, now, kept in [
        ("a", KEEP_S - 1, False, None),
        ("b", KEEP_S, False, "b"),
        ("c", 2 * KEEP_S - 1, False, "b"),
        ("d", 2 * KEEP_S - 1, True, "d"),
    ]:
        journal.file.write_text(text)
        now_s = at_s
        journal.keep(now=now)
        assert exists(bucket / "optuna.log") is (kept is not None)
        assert kept is None or (bucket / "optuna.log").read_text() == kept
