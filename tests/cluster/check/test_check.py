"""The command: shipped files have placeholders only, are valid once filled in, and need no network to check."""

import copy
import json
import os
import random
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.check import check_file, main

CHECKOUT = Path(__file__).parents[3]

FILES = ("config.yaml", "gcp.yaml", "kuberay.yaml", "onprem.yaml")

STARTS = {
    "config.yaml": "head m7i.2xlarge, then 0 to 4 g6.2xlarge of 1 GPU (24 GB): at most 4 GPUs and 5 machines",
    "gcp.yaml": "head n2-standard-8, then 0 to 4 g2-standard-8 of 1 GPU (24 GB): at most 4 GPUs and 5 machines",
    "kuberay.yaml": "RayCluster: a head and 0 to 4 pods 'gpu' of 1 GPU, at most 4 GPUs; RayJob:",
    "onprem.yaml": "head 10.0.0.1 and up to 2 workers",
}

ASKED = {
    "config.yaml": {"YOUR-BUCKET", "YOUR-SECURITY-GROUP", "YOUR-IMAGE"},
    "gcp.yaml": {"YOUR-PROJECT", "YOUR-BUCKET", "YOUR-FILESTORE-ADDRESS"},
    "kuberay.yaml": {"YOUR-BUCKET", "YOUR-REGISTRY"},
    "onprem.yaml": {"YOUR-HEAD", "YOUR-WORKER-1", "YOUR-WORKER-2", "YOUR-USER", "YOUR-KEY", "YOUR-SHARED-FOLDER"},
}


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the check used the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.usefixtures("no_network")
def test_a_file_that_is_filled_in_is_valid(name: str, filled: Callable[[str], str], tmp_path: Path):
    path = tmp_path / name
    path.write_text(filled(name), encoding="utf-8")
    problems, outline = check_file(path, CHECKOUT)
    assert [str(problem) for problem in problems] == []
    assert outline.startswith(STARTS[name])


@pytest.mark.parametrize("name", ASKED)
def test_a_shipped_file_has_its_placeholders_and_no_other_problem(name: str):
    problems, outline = check_file(CHECKOUT / "cluster" / name, CHECKOUT)
    asked = [match[1] for problem in problems if (match := re.match(r"fill in (YOUR[A-Z0-9-]+)", problem.what))]
    assert len(asked) == len(problems)
    assert set(asked) == ASKED[name]
    assert outline == ""


@pytest.mark.parametrize("name", ASKED)
def test_every_line_of_a_shipped_file_fits_and_every_choice_has_its_comment(name: str):
    lines = (CHECKOUT / "cluster" / name).read_text(encoding="utf-8").splitlines()
    assert max(len(line) for line in lines) <= 120
    choices = (
        "InstanceType",
        "MarketType",
        "min_workers",
        "idle_timeout_minutes",
        "machineType",
        "maxReplicas",
        "head_ip",
    )
    first = [next((line for line in lines if line.strip().startswith(choice)), None) for choice in choices]
    lines_of_choices = [line for line in first if line is not None]
    assert lines_of_choices
    assert all("  # " in line for line in lines_of_choices)


def test_the_two_kinds_of_kubernetes_have_the_same_cluster():
    text = (CHECKOUT / "cluster" / "kuberay.yaml").read_text(encoding="utf-8")
    values, cluster, job = yaml.safe_load_all(text)
    assert cluster["spec"] == job["spec"]["rayClusterSpec"]
    assert [document["metadata"]["labels"]["start"] for document in (values, cluster, job)] == [
        "always",
        "cluster",
        "job",
    ]


def test_a_placeholder_is_reported_once_with_all_its_places(tmp_path: Path, filled: Callable[[str], str]):
    path = tmp_path / "gcp.yaml"
    path.write_text(filled("gcp.yaml").replace("birds-123", "YOUR-PROJECT"), encoding="utf-8")
    problems, _ = check_file(path, CHECKOUT)
    assert [str(problem) for problem in problems] == [
        "metadata.project: fill in YOUR-PROJECT, the Google Cloud project's id; "
        "also used in metadata.head_account, metadata.worker_account."
    ]


def test_all_mistakes_of_a_file_are_reported(tmp_path: Path, filled: Callable[[str], str]):
    path = tmp_path / "config.yaml"
    text = filled("config.yaml").replace("spot\n", "spott\n").replace("max_workers: 4  #", "max_workers: 40  #")
    text = text.replace("InstanceType: g6", "InstanceType: g66").replace("/.venv, ", "")
    text = text.replace("MarketType: spot ", "MarketType: spott ")
    path.write_text(text, encoding="utf-8")
    wheres = {problem.where.rsplit(".", 1)[-1] for problem in check_file(path, CHECKOUT)[0]}
    assert wheres >= {"max_workers", "MarketType", "InstanceType", "rsync_exclude"}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "the file is empty."),
        ("- a\n- b\n", "a cluster file must be a single mapping of keys; see cluster/config.yaml."),
        ("a: 1\n---\nb: 2\n", "a cluster file must be a single mapping of keys; see cluster/config.yaml."),
        (
            "available_node_types: 3\nprovider: 4\n",
            "provider: Ray's schema rejects this value: 4 is not of type 'object'.",
        ),
        ("kind: Pod\n", "kind: the file must contain a RayCluster or a RayJob, got Pod."),
    ],
)
def test_a_file_of_another_form_is_reported(text: str, line: str, tmp_path: Path):
    path = tmp_path / "odd.yaml"
    path.write_text(text, encoding="utf-8")
    assert line in [str(problem) for problem in check_file(path, CHECKOUT)[0]]


def places(value: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of every value in a document."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield (*place, key)
        yield from places(part, (*place, key))


def spoil(document: Any, place: tuple[str | int, ...], broken: object) -> Any:
    """Return the document with another value at one place."""
    spoiled = copy.deepcopy(document)
    *path, last = place
    part = spoiled
    for key in path:
        part = part[key]
    part[last] = broken
    return spoiled


@pytest.mark.parametrize("name", FILES)
def test_any_value_may_be_missing_or_of_another_type_without_a_traceback(
    name: str, filled: Callable[[str], str], tmp_path: Path
):
    path = tmp_path / name
    documents = list(yaml.safe_load_all(filled(name)))
    chance = random.Random(0)
    for place in chance.choices([*places(documents)], k=20):
        broken = chance.choice([None, 7, "text", [], {}, [3], {"a": {"b": 1}}])
        spoiled = spoil(documents, place, broken)
        path.write_text("\n---\n".join(map(json.dumps, spoiled)), encoding="utf-8")
        check_file(path, CHECKOUT)


def test_a_private_key_that_is_readable_by_others_is_reported(tmp_path: Path, key: Path, filled: Callable[[str], str]):
    path, open_key = tmp_path / "onprem.yaml", tmp_path / "birds"
    path.write_text(filled("onprem.yaml").replace(str(key), str(open_key)), encoding="utf-8")
    open_key.touch(mode=0o644)
    assert [str(problem) for problem in check_file(path, CHECKOUT)[0]] == [
        f"auth.ssh_private_key: '{open_key}' is readable by others (mode 644), so ssh refuses it; "
        f"run: chmod 600 {open_key}"
    ]
    open_key.chmod(0o600)
    assert check_file(path, CHECKOUT)[0] == []


def test_the_command_prints_problems_on_stderr_and_valid_files_on_stdout(
    tmp_path: Path, filled: Callable[[str], str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(CHECKOUT)
    good = tmp_path / "good.yaml"
    good.write_text(filled("gcp.yaml"), encoding="utf-8")
    assert main([str(good)]) == 0
    assert capsys.readouterr().out.startswith(f"{good}: good; head n2-standard-8")
    assert main(["cluster/config.yaml", str(good), "none.yaml"]) == 2
    printed = capsys.readouterr()
    assert "cluster/config.yaml: metadata.bucket: fill in YOUR-BUCKET, the bucket's name." in printed.err.splitlines()
    assert "none.yaml: the file cannot be read: No such file or directory." in printed.err.splitlines()
    assert printed.out.count("\n") == 1
    assert main([]) == 2
    assert "error: the following arguments are required: FILE" in capsys.readouterr().err


def test_the_command_runs_as_it_is_typed(tmp_path: Path, filled: Callable[[str], str]):
    path = tmp_path / "config.yaml"
    path.write_text(filled("config.yaml").replace("g6.2xlarge", "g6.2xlage"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "cluster.check", str(path)],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"{path}: available_node_types.gpu.node_config.InstanceType: "
        "unknown machine 'g6.2xlage'; did you mean 'g6.2xlarge'?\n"
    )
