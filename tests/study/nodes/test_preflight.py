"""The preflight, given the results of probes. Real nodes are probed in tests/end_to_end/nodes."""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from upath import UPath

from pan_model.errors import UserError
from study.config.study_config import StudyConfig
from study.nodes.node_probe import ABSENT, ProbeResult
from study.nodes.preflight import check_gpus, file_system, find_problems, hints, output_marker
from study.nodes.probe_nodes import NodeInfo, describe_problems
from study.nodes.resources import Node
from study.storage.object_store import StoreError

NODE = NodeInfo("a1", "10.0.0.3 (gpu-1)", has_gpu=True)


def result(**changes: Any) -> ProbeResult:
    good = {
        "versions": {"Python": "3.11.7", "torch": "2.11.0"},
        "code": {"study": "aa", "pan_model": "bb"},
        "token": False,
        "marker": "",
        "gpu": "",
    }
    return ProbeResult(**(good | changes))  # pyright: ignore[reportArgumentType]


def lines(node_result: ProbeResult, node: NodeInfo = NODE) -> list[str]:
    return [describe_problems([problem]) for problem in find_problems(node, node_result, result(), Path("results"))]


def test_an_equal_node_has_no_problems():
    assert lines(result()) == []


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"versions": {"Python": "3.11.7", "torch": "2.10.0"}},
            "node 10.0.0.3 (gpu-1) has torch 2.10.0 instead of 2.11.0; bring every node to one state: ",
        ),
        ({"versions": {"Python": "3.11.7"}}, "node 10.0.0.3 (gpu-1) has torch absent instead of 2.11.0; bring"),
        ({"code": {"study": "ab", "pan_model": "bb"}}, "node 10.0.0.3 (gpu-1) has other code of study; bring every"),
        ({"code": {"study": ABSENT, "pan_model": ABSENT}}, "node 10.0.0.3 (gpu-1) has no package study or pan_model; "),
        ({"marker": "not there"}, "node 10.0.0.3 (gpu-1) does not share the output results (not there); give --output"),
        ({"gpu": "torch 2.11.0+cpu is"}, "node 10.0.0.3 (gpu-1) has a GPU that cannot be used (torch 2.11.0+cpu is); "),
    ],
)
def test_a_problem_names_the_node_and_the_way_out(changes: dict[str, Any], line: str):
    [told] = lines(result(**changes))
    assert told.startswith(line)


def test_a_ray_without_the_token_of_this_command_is_a_problem():
    [problem] = find_problems(NODE, result(token=False), result(token=True), Path("results"))
    assert describe_problems([problem]) == (
        "node 10.0.0.3 (gpu-1) runs without the token that this command asks for; give RAY_AUTH_MODE=disabled to this "
        "command, or start Ray with RAY_AUTH_MODE=token on every node."
    )
    assert find_problems(NODE, result(token=True), result(token=True), Path("results")) == []


def test_versions_and_code_of_a_node_are_one_problem():
    [told] = lines(result(versions={"Python": "3.12.0", "torch": "2.10.0"}, code={"study": "x", "pan_model": "y"}))
    assert (
        "has Python 3.12.0 instead of 3.11.7, torch 2.10.0 instead of 2.11.0, other code of study and pan_model" in told
    )


def test_torch_without_cuda_matters_only_where_there_is_a_gpu():
    assert lines(result(gpu="torch 2.11.0+cpu"), NODE._replace(has_gpu=False)) == []


@pytest.mark.parametrize(("share", "gpus", "good"), [(0.5, 0, False), (0.5, 1, True), (0, 0, True), (None, 0, True)])
def test_a_gpu_that_no_node_has(study_config: Callable[..., StudyConfig], share: float | None, gpus: int, good: bool):
    study, nodes = study_config(gpus_per_trial=share), [Node(cpus=4, gpus=0), Node(cpus=4, gpus=gpus)]
    if good:
        check_gpus(study, nodes)
        return
    with pytest.raises(
        UserError, match=r"--gpus-per-trial 0\.5: no node of the cluster has a GPU, alive or yet to start"
    ):
        check_gpus(study, nodes)


def test_idle_gpus_are_a_hint(study_config: Callable[..., StudyConfig]):
    nodes = [Node(cpus=4, gpus=2), Node(cpus=4, gpus=1)]
    assert hints(study_config(gpus_per_trial=0), nodes, more_to_come=False) == [
        "hint: the cluster has 3 GPUs, which --gpus-per-trial 0 leaves idle"
    ]
    assert hints(study_config(), nodes, more_to_come=False) == []


def test_a_local_output_is_a_hint_when_nodes_are_yet_to_start(
    study_config: Callable[..., StudyConfig], monkeypatch: pytest.MonkeyPatch
):
    study = study_config()
    for kind, told in (("ext4", True), ("nfs4", False), ("fuse.s3fs", False), ("", False)):
        monkeypatch.setattr("study.nodes.preflight.file_system", lambda _, kind=kind: kind)
        said = hints(study, [], more_to_come=True)
        assert [f"lies on this machine's {kind}" in line for line in said] == [True] * told
        assert hints(study, [], more_to_come=False) == []


def test_the_file_system_is_that_of_the_nearest_mount(tmp_path: Path):
    mounts = tmp_path / "mounts"
    mounts.write_text(
        f"disk / ext4 rw 0 0\nserver:/x {tmp_path.resolve()}/shared nfs4 rw 0 0\n"
        f"tmpfs {tmp_path.resolve()}/my\\040disk tmpfs rw 0 0\n"
    )
    kinds = {name: file_system(tmp_path / name, mounts) for name in ("elsewhere", "shared/results", "my disk/results")}
    assert kinds == {"elsewhere": "ext4", "shared/results": "nfs4", "my disk/results": "tmpfs"}
    assert file_system(tmp_path, tmp_path / "none") == ""


@pytest.mark.parametrize("below", ["", "results", "results/deep"])
def test_the_marker_is_in_the_nearest_folder_and_is_always_removed(tmp_path: Path, below: str):
    with pytest.raises(OSError, match="gone"), output_marker(tmp_path / below) as marker:  # noqa: PT012
        assert [str(path) for path in tmp_path.iterdir()] == [marker.path]
        assert Path(marker.path).read_text() == marker.content
        raise OSError("gone")
    assert list(tmp_path.iterdir()) == []


def test_the_marker_of_a_store_is_an_object(tmp_path: Path):
    store = MemoryFileSystem()
    with output_marker(UPath(f"memory://{secrets.token_hex(4)}/results")) as marker:
        assert store.cat_file(marker.path) == marker.content.encode()
    assert not store.exists(marker.path)


def test_a_store_that_refuses_the_marker_is_an_error(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(MemoryFileSystem, "put_file", refuse)
    told = pytest.raises(
        StoreError, match=r"/results/\.pan-study-\w+: cannot be written \(Access Denied; check the cred"
    )
    with told, output_marker(UPath(f"memory://{secrets.token_hex(4)}/results")):
        pass
