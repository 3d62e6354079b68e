"""A cluster on which a study would fail later: nodes with other code, another disk, a GPU that is none."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pan_model.errors import UserError
from study.config.study_config import StudyConfig
from study.nodes.node_probe import PACKAGES
from study.nodes.preflight import check_cluster, output_marker
from study.nodes.probe_nodes import alive_nodes, probe_nodes
from study.nodes.ray_session import ray_session
from study.nodes.resources import Node
from study.terminal import Terminal

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

HEAD, STALE, APART = "127.0.0.1", "127.0.0.2", "127.0.0.3"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all nodes see but the one whose disk is its own."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def stale(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages with another module in one of them, beside a torch of another version."""
    folder = tmp_path_factory.mktemp("stale")
    for package in PACKAGES:
        shutil.copytree(pytestconfig.rootpath / package, folder / package)
    (folder / "study" / "terminal.py").write_text("# of an earlier time\n")
    (folder / "torch-1.9.dist-info").mkdir()
    (folder / "torch-1.9.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 1.9\n")
    return folder


@pytest.fixture(scope="module")
def odd_cluster(
    cluster: Any, stale: Path, shared: Path, apart: Callable[[Path], list[str]], wait_until: Any, joined: Any
) -> Any:
    """A head, a node with stale code and a GPU that is none, and a node with a disk of its own."""
    cluster.add("--num-gpus=1", PYTHONPATH=str(stale))
    cluster.add(wrap=apart(shared))
    with joined(cluster.address) as addresses:
        wait_until(lambda: len(addresses()) == 3, "three nodes")
    return cluster


@pytest.fixture
def shared_within_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait a second for a file of another node to appear, not ten."""
    monkeypatch.setattr("study.nodes.preflight.SHARE_TIMEOUT_S", 1.0)


@pytest.fixture
def config(odd_cluster: Any, shared: Path, tmp_path: Path) -> Callable[..., StudyConfig]:
    folders = {"output": shared / "results", "data_root": tmp_path / "data", "cache_dir": tmp_path / "cache"}
    return lambda **flags: StudyConfig(**(folders | {"ray_address": odd_cluster.address} | flags))


@pytest.mark.usefixtures("shared_within_a_second")
def test_all_that_would_fail_is_told_at_once(
    config: Callable[..., StudyConfig], shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # Ray's workers import from where the driver was started, the checkout for one
    study = config()
    with ray_session(study) as nodes:
        with pytest.raises(UserError, match="of study") as told:
            check_cluster(study, nodes, Terminal())
        line = str(told.value)
        assert line.count("\n") == 0
        assert "has torch 1.9 instead of " in line
        assert "other code of study; bring every node to one state" in line
        assert "pan_model" not in line  # that package is as here
        assert "has a GPU that cannot be used (torch " in line
        assert f"does not share the output {study.output} (not there); give --output on a file system" in line
        assert line.count(STALE) == 2
        assert line.count(APART) == 1
        assert HEAD not in line
        assert "And 2 more: " in line
        assert list(shared.iterdir()) == []

        with output_marker(study.output) as marker:
            assert [path.name for path in shared.iterdir()] == [Path(marker.path).name]


@pytest.mark.usefixtures("shared_within_a_second")
def test_the_command_ends_before_it_writes_anything(
    config: Callable[..., StudyConfig],
    run_here: Callable[..., Any],
    shared: Path,
    data_root: Path,
    cache_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    study = config()
    words = ["--output", study.output, "--data-root", data_root, "--cache-dir", cache_dir]
    ended = run_here(*words, "--ray-address", study.ray_address)
    assert capfd.readouterr().err == ""
    assert (ended.code, ended.err.count("\n")) == (2, 1), ended
    assert "error: node " in ended.err
    assert list(shared.iterdir()) == []


def test_a_ray_without_the_token_that_is_asked_for_here_is_told(
    make_cluster: Callable[..., Any], commands: Any, tmp_path: Path, data_root: Path, cache_dir: Path
) -> None:
    """Such a Ray cannot tell the driver from a dead one, and ends every trial of it as soon as it begins."""
    bare = make_cluster(RAY_AUTH_MODE="disabled")
    words = ["--output", tmp_path / "results", "--data-root", data_root, "--cache-dir", cache_dir]
    ended = commands.run("run", *words, "--ray-address", bare.address)
    assert (ended.code, ended.err.count("\n")) == (2, 1), ended
    assert ended.err.startswith("error: node ")
    assert ") runs without the token that this command asks for; give RAY_AUTH_MODE=disabled to this comm" in ended.err
    assert not (tmp_path / "results").exists()
    words += ["--image-size", 32, "--max-epochs", 1, "--grace-epochs", 1, "--num-trials", 1]
    script = commands.checkout / "study" / "run.py"
    more = commands.launch(sys.executable, script, *words, "--ray-address", bare.address, RAY_AUTH_MODE="disabled")
    done = more.finish()
    assert (done.code, done.err) == (0, "")


def test_a_ray_that_asks_for_a_token_which_the_command_has_not_is_told(
    cluster: Any, commands: Any, data_root: Path
) -> None:
    words = ["--data-root", data_root, "--ray-address", cluster.address]
    script = commands.checkout / "study" / "run.py"
    ended = commands.launch(sys.executable, script, *words, RAY_AUTH_MODE="disabled").finish()
    assert (ended.code, ended.err.count("\n")) == (2, 1), ended
    assert f"error: --ray-address: the Ray cluster at '{cluster.address}' asks for a token that this comm" in ended.err


def test_a_node_that_does_not_answer_is_told(config: Callable[..., StudyConfig]) -> None:
    with ray_session(config()):
        [head, *_] = alive_nodes()
        request: Any = {"marker": "", "content": "", "marker_timeout_s": 0.0, "gpu": False}
        [(node_id, problem)] = probe_nodes([head], request, timeout_s=0.0).items()
        assert node_id == head.node_id
        assert "did not answer within 0 s" in str(problem)
        gone = head._replace(node_id="00" * 28)
        assert probe_nodes([gone], request) == {}
        assert check_gpus_of_none(config()) is None


def check_gpus_of_none(study: StudyConfig) -> None:
    from study.nodes.preflight import check_gpus

    return check_gpus(study, [Node(cpus=1, gpus=0)])
