"""A copy of a study's results for people."""

from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from pan_model.errors import UserError
from study.reporting.collation import copy_results
from study.storage.files import write_text
from study.storage.location import Location
from study.storage.paths import StudyPaths

LOOKED_AT = ("study.json", "demo/optuna.log", "tensorboard/demo/abc/events.1", "demo/final/metrics.json")


def test_all_but_the_ledger_is_copied_over_what_was_there(anywhere: Location, tmp_path_factory: Any):
    results, folder = StudyPaths(anywhere / "demo"), tmp_path_factory.mktemp("laptop")
    for text in ("old", "new"):
        for name in (*LOOKED_AT, "demo/trials/abc/config.json", "demo/trials/abc/checkpoint/state.pt"):
            write_text(results.root.joinpath(*name.split("/")), text + name)
        assert copy_results(results, folder) == len(LOOKED_AT)
        copied = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
        assert copied == {name: text + name for name in LOOKED_AT}


def test_the_studys_own_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for root, folder in ((tmp_path, tmp_path), (Path("demo"), Path("demo")), (tmp_path / "demo", Path("demo"))):
        with pytest.raises(UserError, match="--copy must name another folder than the study's, got "):
            copy_results(StudyPaths(root), folder)


def test_a_store_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match=r"--copy must name a folder of this machine, got memory://bucket/look"):
        copy_results(StudyPaths(tmp_path), UPath("memory://bucket/look"))
