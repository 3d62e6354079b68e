"""What Ray needs to start is found before any work, and mended where that is possible."""

from pathlib import Path

import pytest

from pan_model.errors import UserError
from study.nodes.ray_start import describe_ray_logs, prepare_ray_start


@pytest.mark.parametrize("name", ["TMPDIR", "RAY_TMPDIR"])
@pytest.mark.parametrize(
    ("folder", "problem"),
    [("/tmp/" + 60 * "l", "bytes too long for the paths of sockets"), ("/proc/none", r"cannot be written \(.+\)")],
)
def test_another_folder_replaces_one_that_ray_cannot_use(name: str, folder: str, problem: str):
    environment = {name: folder, "RAY_AUTH_MODE": "disabled"}
    said: list[str] = []
    prepare_ray_start(said.append, environment, Path("/dev/shm"))
    assert environment["RAY_TMPDIR"] == "/dev/shm"
    [hint] = said
    assert hint.startswith(f"hint: {name} {folder} ")
    assert hint.endswith("; Ray uses /dev/shm")
    with pytest.raises(UserError, match=rf"^Ray cannot start: {name} {folder} .*{problem}.*; set RAY_TMPDIR"):
        prepare_ray_start(said.append, {name: folder}, Path("/proc"))


def test_a_folder_that_fits_stays():
    environment = {"TMPDIR": "/tmp", "RAY_AUTH_MODE": "disabled"}
    prepare_ray_start(pytest.fail, environment)
    assert environment == {"TMPDIR": "/tmp", "RAY_AUTH_MODE": "disabled"}


def test_a_home_that_cannot_be_written_needs_no_token_file(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/dev/null")
    environment = {"TMPDIR": "/tmp"}
    prepare_ray_start(pytest.fail, environment)
    assert len(environment["RAY_AUTH_TOKEN"]) == 64


def test_the_last_error_of_the_logs_is_shown(tmp_path: Path):
    assert describe_ray_logs({"RAY_TMPDIR": str(tmp_path)}) == ""
    logs = tmp_path / "ray" / "session_2026-01-01_00-00-00_000000_1" / "logs"
    logs.mkdir(parents=True)
    assert describe_ray_logs({"RAY_TMPDIR": str(tmp_path)}) == f"its logs are in {logs}"
    (logs / "gcs_server.out").write_text("[I] started\n[2026 E 1 1] no port is free\n[I] ends\n")
    assert describe_ray_logs({"TMPDIR": str(tmp_path)}) == f"[2026 E 1 1] no port is free; its logs are in {logs}"
