import os
import shutil
from importlib.metadata import version
from pathlib import Path

import pytest

from pan_model.errors import UserError
from study.nodes.deployment import (
    PACKAGE,
    check_code,
    check_output_stays,
    describe_code,
    is_submitted,
    use_all_threads,
)

JOB = {"RAY_JOB_CONFIG_JSON_ENV_VAR": "{}"}


@pytest.fixture
def head(tmp_path: Path) -> Path:
    """A head node: the package, its environment, and the copy of run.py that `ray submit` makes."""
    (tmp_path / "pan-study" / "study").mkdir(parents=True)
    (tmp_path / "env").mkdir()
    for copy in (tmp_path / "run.py", tmp_path / "pan-study" / "study" / "run.py"):
        shutil.copy(PACKAGE / "run.py", copy)
    (tmp_path / "pan-study" / "requirements.lock").write_text("torch==1\n", encoding="utf-8")
    (tmp_path / "env" / ".installed").write_text("/root/pan-study\n[project]\ntorch==1\n", encoding="utf-8")
    return tmp_path


def check(head: Path, script: str = "run.py", **environment: str) -> None:
    check_code(head / script, environment, head / "pan-study" / "study", head / "env")


def test_a_copy_of_the_same_code_may_run(head: Path):
    check(head)
    check(head, PAN_STUDY_VERSION=version("pan-study"))
    check(head, PAN_STUDY_VERSION="")
    check_code()


def test_a_release_is_another_script(head: Path):
    script = (PACKAGE / "run.py").read_text(encoding="utf-8")
    assert f'VERSION = "{version("pan-study")}"' in script
    (head / "run.py").write_text(script.replace(version("pan-study"), "9.9.9"), encoding="utf-8")
    with pytest.raises(UserError, match=r"run\.py: is not the study/run\.py of "):
        check(head)


def test_a_copy_with_other_line_ends_is_the_same(head: Path):
    (head / "run.py").write_bytes((PACKAGE / "run.py").read_bytes().replace(b"\n", b"\r\n"))
    check(head)


def test_a_copy_of_other_code_is_rejected_with_the_way_out(head: Path):
    (head / "run.py").write_text("# newer\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"run\.py: is not the study/run\.py of .+/pan-study, .+`ray rsync-up cluster/"):
        check(head)


def test_another_version_than_the_cluster_requires_is_rejected(head: Path):
    with pytest.raises(
        UserError, match=r"^PAN_STUDY_VERSION must be the version that is installed, .+ got '9\.9\.9'; .+`ray up"
    ):
        check(head, PAN_STUDY_VERSION="9.9.9")


@pytest.mark.parametrize(("script", "job"), [("run.py", False), ("pan-study/study/run.py", True)])
def test_an_environment_of_another_lock_is_rejected(head: Path, script: str, job: bool):
    (head / "pan-study" / "requirements.lock").write_text("torch==2\n", encoding="utf-8")
    environment = {"RAY_JOB_CONFIG_JSON_ENV_VAR": "{}"} if job else {}
    with pytest.raises(UserError, match=r"requirements\.lock: is not what was installed in .+/env; .+`ray up cluster/"):
        check(head, script, **environment)


def test_the_lock_is_not_checked_on_a_laptop(head: Path):
    (head / "pan-study" / "requirements.lock").write_text("torch==2\n", encoding="utf-8")
    check(head, "pan-study/study/run.py")


@pytest.mark.parametrize("absent", ["env/.installed", "pan-study/requirements.lock"])
def test_an_environment_without_make_setup_is_accepted(head: Path, absent: str):
    (head / absent).unlink()
    check(head)


def test_the_code_that_runs_is_named():
    assert describe_code().startswith(f"the code is PAN Study {version('pan-study')} of {PACKAGE.parent}, commit ")


def test_a_copy_of_the_script_and_a_job_are_submitted(head: Path):
    package = head / "pan-study" / "study"
    assert is_submitted(head / "run.py", {}, package)
    assert is_submitted(package / "run.py", JOB, package)
    assert is_submitted(None, JOB, package)


@pytest.mark.parametrize("script", [None, PACKAGE / "run.py"])
def test_a_slurm_script_is_not_submitted_and_keeps_its_limit(script: Path | None):
    environment = {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    assert not is_submitted(script, environment)
    assert use_all_threads(script, environment) is None


def test_a_job_may_not_write_into_its_own_folder():
    check_output_stays(Path("/shared/results"), JOB)
    check_output_stays(Path("results"), {})
    with pytest.raises(
        UserError, match=r"^output must be absolute in a Ray job, .+ got 'results'; give --output or set PAN"
    ):
        check_output_stays(Path("results"), JOB)


def test_a_limit_other_than_rays_is_kept(head: Path):
    assert use_all_threads(None, {**JOB, "OMP_NUM_THREADS": "3"}) is None
    assert use_all_threads(head / "run.py", {}) is None


@pytest.mark.parametrize("job", [False, True])
def test_rays_thread_limit_is_undone(head: Path, job: bool, monkeypatch: pytest.MonkeyPatch):
    threads: list[int] = []
    monkeypatch.setattr("torch.set_num_threads", threads.append)
    script = PACKAGE / "run.py" if job else head / "run.py"
    cores = use_all_threads(script, {"OMP_NUM_THREADS": "1", **(JOB if job else {})})
    assert threads == [cores]
    assert cores == len(os.sched_getaffinity(0))
