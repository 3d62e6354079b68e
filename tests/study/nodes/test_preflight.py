"""What is made of nodes' answers; the nodes themselves are in end_to_end/nodes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pan_model.errors import UserError
from study.config.study_config import StudyConfig
from study.nodes.finding import tell_all
from study.nodes.node import Node
from study.nodes.node_probe import ABSENT, ProbeResult
from study.nodes.preflight import check_gpus, compare, hints
from study.nodes.probe_nodes import NodeInfo

NODE = NodeInfo("a1", "10.0.0.3 (gpu-1)", has_gpu=True)


def said(**changes: Any) -> ProbeResult:
    good = {
        "versions": {"Python": "3.11.7", "torch": "2.11.0"},
        "code": {"study": "aa", "pan_model": "bb"},
        "token": False,
        "marker": "",
        "gpu": "",
    }
    return ProbeResult(**(good | changes))  # pyright: ignore[reportArgumentType]


def lines(there: ProbeResult, node: NodeInfo = NODE) -> list[str]:
    return [tell_all([finding]) for finding in compare(node, there, said(), Path("results"))]


def test_a_node_that_is_as_here_is_good():
    assert lines(said()) == []


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
def test_what_is_wrong_is_told_with_the_node_and_the_way_out(changes: dict[str, Any], line: str):
    [told] = lines(said(**changes))
    assert told.startswith(line)


def test_a_ray_that_does_not_use_the_token_of_this_command_is_told():
    [finding] = compare(NODE, said(token=False), said(token=True), Path("results"))
    assert tell_all([finding]) == (
        "node 10.0.0.3 (gpu-1) runs without the token that this command asks for; give RAY_AUTH_MODE=disabled to this "
        "command, or start Ray with RAY_AUTH_MODE=token on every node."
    )
    assert compare(NODE, said(token=True), said(token=True), Path("results")) == []


def test_versions_and_code_of_a_node_are_one_finding():
    [told] = lines(said(versions={"Python": "3.12.0", "torch": "2.10.0"}, code={"study": "x", "pan_model": "y"}))
    assert (
        "has Python 3.12.0 instead of 3.11.7, torch 2.10.0 instead of 2.11.0, other code of study and pan_model" in told
    )


def test_torch_without_cuda_matters_only_where_there_is_a_gpu():
    assert lines(said(gpu="torch 2.11.0+cpu"), NODE._replace(has_gpu=False)) == []


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


def test_gpus_that_stay_idle_are_told(study_config: Callable[..., StudyConfig]):
    nodes = [Node(cpus=4, gpus=2), Node(cpus=4, gpus=1)]
    assert hints(study_config(gpus_per_trial=0), nodes, more_to_come=False) == [
        "hint: the cluster has 3 GPUs, which --gpus-per-trial 0 leaves idle"
    ]
    assert hints(study_config(), nodes, more_to_come=False) == []


def test_an_output_on_a_disk_of_this_machine_is_told_when_nodes_are_yet_to_start(
    study_config: Callable[..., StudyConfig], monkeypatch: pytest.MonkeyPatch
):
    study = study_config()
    for kind, told in (("ext4", True), ("nfs4", False), ("fuse.s3fs", False), ("", False)):
        monkeypatch.setattr("study.nodes.preflight.file_system", lambda _, kind=kind: kind)
        said = hints(study, [], more_to_come=True)
        assert [f"lies on this machine's {kind}" in line for line in said] == [True] * told
        assert hints(study, [], more_to_come=False) == []
