"""The probe of this machine."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from study.nodes import node_probe
from study.nodes.node_probe import ABSENT, LIBRARIES, PACKAGES, ProbeRequest, code_digest, marker_problem, probe


def request(marker: str = "", content: str = "so it is") -> ProbeRequest:
    return ProbeRequest(marker=marker, content=content, marker_timeout_s=0.0, gpu=False)


def test_a_probe_reports_versions_and_code():
    result = probe(request())
    assert list(result["versions"]) == ["Python", *LIBRARIES]
    assert ABSENT not in result["versions"].values()
    assert list(result["code"]) == list(PACKAGES)
    assert ABSENT not in result["code"].values()
    assert (result["marker"], result["gpu"]) == ("", "")


@pytest.mark.parametrize(("mode", "token"), [(None, False), ("disabled", False), ("token", True), ("Token", True)])
def test_a_probe_reports_whether_ray_requires_a_token(monkeypatch: pytest.MonkeyPatch, mode: str | None, token: bool):
    monkeypatch.delenv("RAY_AUTH_MODE")
    if mode is not None:
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
    assert probe(request())["token"] is token


def test_the_source_of_the_probe_runs_without_the_project():
    space: dict[str, Any] = {"__name__": "node_probe"}
    exec(Path(node_probe.__file__).read_text(encoding="utf-8"), space)
    assert space["probe"](request()) == probe(request())


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "pan_probed"
    (folder / "inner").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "inner" / "thing.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def test_a_digest_depends_on_sources_only(package: Path):
    before = code_digest(["pan_probed"])
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "thing.pyc").write_bytes(b"compiled")
    (package / "notes.txt").write_text("of no matter")
    assert code_digest(["pan_probed"]) == before
    os.utime(package / "inner" / "thing.py", (0, 0))
    assert code_digest(["pan_probed"]) == before


@pytest.mark.parametrize("change", ["content", "name", "more"])
def test_a_digest_changes_with_any_source(package: Path, change: str):
    before, file = code_digest(["pan_probed"]), package / "inner" / "thing.py"
    if change == "content":
        file.write_text("x = 2\n")
    elif change == "name":
        file.rename(file.with_name("other.py"))
    else:
        shutil.copy(file, package / "other.py")
    assert code_digest(["pan_probed"]) != before


def test_a_missing_package_is_absent():
    assert code_digest(["no_such_package"]) == ABSENT


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_marker_must_have_its_content(tmp_path: Path, scheme: str):
    marker = tmp_path / "marker"
    assert marker_problem(request(f"{scheme}{marker}")) != ""
    marker.write_text("so it is")
    assert marker_problem(request(f"{scheme}{marker}")) == ""
    assert marker_problem(request(f"{scheme}{marker}", "so it was")) == "another file"
    assert [path.name for path in tmp_path.iterdir()] == ["marker"]


def test_a_store_that_cannot_be_reached_is_reported():
    assert marker_problem(request("no-such-store://bucket/marker")).startswith("ValueError: Protocol not known")
