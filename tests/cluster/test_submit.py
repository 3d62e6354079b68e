"""A study on a cluster, as typed on a laptop: `ray up`, `ray submit`, `ray job submit`, and what is watched there."""

import csv
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.cluster, pytest.mark.ray, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
SMALL = ("--image-size", "32", "--max-epochs", "2", "--grace-epochs", "1")
SUBMIT = ("ray", "submit", "cluster/here.yaml", "study/run.py", "--")


def until(reached: Callable[[], Any], what: str, limit_s: float = 120.0) -> Any:
    end_s = time.monotonic() + limit_s
    while not (found := reached()):
        assert time.monotonic() < end_s, f"waited {limit_s:g} s for {what}"
        time.sleep(0.05)
    return found


def statuses(results: Path, name: str) -> list[str]:
    with (results / name / "demo" / "trials.csv").open(encoding="utf-8") as table:
        return [row["status"] for row in csv.DictReader(table)]


@contextmanager
def running(cluster: Any, *words: str, **environment: str) -> Generator["subprocess.Popen[str]"]:
    """A command of the laptop for as long as the block lasts, then ended as by a closed window."""
    with cluster.start(*words, **environment) as process:
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            said, _ = process.communicate(timeout=60)
            print(f"$ {' '.join(words)}\n{said}[{process.returncode}]")


def fetch(url: str, process: "subprocess.Popen[str]", **headers: str) -> str:
    def page() -> str | None:
        assert process.poll() is None, "it ended"
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5) as answer:
                return answer.read().decode()
        except OSError:
            return None

    return until(page, url)


@pytest.fixture(scope="module")
def cluster(loopback: Any) -> Any:
    """`ray up` as typed."""
    started_s = time.monotonic()
    up = loopback.type("ray", "up", "-y", "cluster/here.yaml")
    print(f"ray up: {time.monotonic() - started_s:.1f} s")
    assert up.code == 0, (loopback.folder / "sshd.log").read_text()
    return loopback


@pytest.fixture(scope="module")
def submitted(cluster: Any) -> tuple[Any, float, float]:
    """A short study as typed, with a value of two words; and when it was typed and when the prompt was there again."""
    typed_s = time.time()
    typed = cluster.type(*SUBMIT, "--dataset", "demo", "--name", "'two words'", "--num-trials", "2", *SMALL)
    return typed, typed_s, time.time()


def test_a_study_runs_as_typed(cluster: Any, submitted: tuple[Any, float, float]):
    typed, typed_s, prompt_s = submitted
    assert typed.code == 0
    assert f"joined the Ray cluster at 127.0.0.2:{cluster.ports['head']}: 2 nodes, 3 CPUs, 0 GPUs" in typed.said
    assert f"the code is PAN Study 0.1.0 of {cluster.head}/pan-study, commit " in typed.said
    assert len(statuses(cluster.results, "two words")) == 2
    trials = cluster.results / "two words" / "demo" / "trials"
    first_s = min(file.stat().st_mtime for file in trials.glob("*/config.json"))
    last_s = max(file.stat().st_mtime for file in trials.glob("*/status.json"))
    print(
        f"ray submit to the first trial: {first_s - typed_s:.1f} s; last trial to the prompt: {prompt_s - last_s:.1f} s"
    )


def test_code_that_the_cluster_does_not_have_is_recognised(cluster: Any):
    script, lock = cluster.checkout / "study" / "run.py", cluster.checkout / "requirements.lock"
    script.write_text(f"{script.read_text(encoding='utf-8')}# newer\n", encoding="utf-8")
    stale = cluster.type(*SUBMIT, "--dry-run")
    assert stale.code == 1, "Ray's own, whatever the script's was"
    assert "Traceback" not in stale.said
    assert f"error: {cluster.head}/run.py: is not the study/run.py of {cluster.head}/pan-study" in stale.said
    assert cluster.type("ray", "rsync-up", "cluster/here.yaml").code == 0
    fresh = cluster.type(*SUBMIT, "--dataset", "demo", "cub", "--dry-run")
    assert fresh.code == 0
    assert f"study demo-cub in {cluster.results}/demo-cub" in fresh.said
    lock.write_text(f"{lock.read_text(encoding='utf-8')}# newer\n", encoding="utf-8")
    assert cluster.type("ray", "rsync-up", "cluster/here.yaml").code == 0
    stale = cluster.type(*SUBMIT, "--dry-run")
    assert stale.code == 1
    assert "requirements.lock: is not what was installed in " in stale.said
    lock.write_text(lock.read_text(encoding="utf-8").removesuffix("# newer\n"), encoding="utf-8")
    assert cluster.type("ray", "rsync-up", "cluster/here.yaml").code == 0


def test_a_killed_driver_goes_on_with_resume(cluster: Any):
    words = (*SUBMIT, "--name", "killed", "--num-trials", "5", *SMALL)
    ledger = cluster.results / "killed" / "demo" / "trials"
    with running(cluster, *words):
        until(lambda: list(ledger.glob("*/status.json")), "a first trial that has ended", 400)
        (driver,) = (
            pid for pid, command in cluster.processes().items() if re.match(r"python \S+/run\.py --name", command)
        )
        os.kill(driver, signal.SIGKILL)
        before = {file.parent.name for file in ledger.glob("*/status.json")}
    assert len(before) < 5
    typed = cluster.type(*words, "--resume")
    assert typed.code == 0
    assert "resuming study killed" in typed.said
    assert len(statuses(cluster.results, "killed")) == 5
    assert before <= {file.parent.name for file in ledger.glob("*/status.json")}


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux not there: Debian's tmux has it")
def test_a_study_outlives_its_window(cluster: Any):
    words = ("ray", "submit", "--tmux", *SUBMIT[2:], "--name", "alone", "--num-trials", "2", *SMALL)
    assert cluster.type(*words).code == 0
    end = cluster.results / "alone" / "summary.md"
    assert not end.exists(), "the window is closed, the study has hardly begun"
    until(end.exists, "the study to end by itself", 400)
    assert len(statuses(cluster.results, "alone")) == 2


def test_a_job_runs_the_code_that_it_brings(cluster: Any):
    token = cluster.laptop / ".ray" / "auth_token"
    assert cluster.type("ray", "rsync-down", "cluster/here.yaml", "~/.ray/auth_token", str(token)).code == 0
    ports = ("--port", str(cluster.ports["forwarded"]), "--remote-port", str(cluster.ports["dashboard"]))
    address = f"http://127.0.0.1:{cluster.ports['forwarded']}"
    job = ("ray", "job", "submit", "--address", address, "--working-dir", ".", "--", "python", "study/run.py")
    with running(cluster, "ray", "dashboard", "cluster/here.yaml", *ports) as dashboard:
        fetch(f"{address}/api/version", dashboard, Authorization=f"Bearer {token.read_text(encoding='utf-8')}")
        typed = cluster.type(*job, "--name", "a job", "--num-trials", "2", *SMALL, RAY_AUTH_MODE="token")
    assert typed.code == 0
    assert "joined the Ray cluster at " in typed.said
    assert re.search(r"the code is PAN Study 0\.1\.0 of \S+/working_dir_files/", typed.said)
    assert len(statuses(cluster.results, "a job")) == 2


@pytest.mark.usefixtures("submitted")
@pytest.mark.parametrize(
    ("viewer", "port", "pair", "title"),
    [
        ("tensorboard", "6006", "1", "<title>TensorBoard</title>"),
        ("optuna", "8080", "2", "<title>Optuna Dashboard</title>"),
    ],
)
def test_a_laptop_watches(cluster: Any, viewer: str, port: str, pair: str, title: str):
    page = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    pattern = rf"^ray exec cluster/config\.yaml --port-forward {port} '((?:python .* && )?{viewer}.*)'"
    (line,) = re.findall(pattern, page, flags=re.MULTILINE)
    command = line.replace("NAME", '"two words"').replace("cub", "demo")
    here, there = cluster.ports[f"here_{pair}"], str(cluster.ports[f"there_{pair}"])
    words = ("ray", "exec", "cluster/here.yaml", "--port-forward", there, f"{command} --port {there}")
    with running(cluster, *words) as process:
        assert title in fetch(f"http://127.0.0.1:{here}/", process)
    until(
        lambda: not [one for one in cluster.processes().values() if viewer in one], f"{viewer} to end with its window"
    )
