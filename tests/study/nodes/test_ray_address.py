import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pan_model.errors import UserError
from study.nodes.ray_address import (
    RAY_ENVIRONMENT,
    check_ray_address,
    cluster_file,
    configure_ray_environment,
    find_cluster,
)


@pytest.mark.parametrize("address", [None, "auto", "local"])
def test_auto_and_local_need_no_connection(address: str | None):
    check_ray_address(address)


def test_an_address_that_answers_is_fine():
    with socket.create_server(("127.0.0.1", 0)) as server:
        check_ray_address(f"127.0.0.1:{server.getsockname()[1]}")


def nobody() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def test_an_address_where_nothing_listens_is_rejected():
    address = nobody()
    with pytest.raises(
        UserError, match=rf"^--ray-address: no Ray cluster answers at '{address}' \(.+\); start one, or"
    ):
        check_ray_address(address)


@pytest.mark.parametrize("address", ["", "frog", "127.0.0.1", ":1", "a:b", "ray://a:1", "a:1:2", "a:-1"])
def test_a_malformed_address_is_rejected(address: str):
    told = rf"ray_address must be HOST:PORT of a head node, auto or local, got '{address}'\."
    with pytest.raises(UserError, match=told):
        check_ray_address(address)


def test_a_port_out_of_range_is_rejected():
    with pytest.raises(UserError, match=r"no Ray cluster answers at '127.0.0.1:70000' \(.+\)"):
        check_ray_address("127.0.0.1:70000")


@pytest.fixture
def head(tmp_path: Path) -> Path:
    """A head node as `ray up` leaves it, but for a Ray that runs."""
    (tmp_path / "bootstrap.yaml").write_text("{}", encoding="utf-8")
    (tmp_path / "ray").mkdir()
    return tmp_path


def find(given: str | None, head: Path, **environment: str) -> str | None:
    return find_cluster(given, {"RAY_TMPDIR": str(head), **environment}, head / "bootstrap.yaml")


def test_on_a_laptop_a_study_starts_ray_itself(tmp_path: Path):
    (tmp_path / "ray").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        noted = f"127.0.0.1:{server.getsockname()[1]}"
        (tmp_path / "ray" / "ray_current_cluster").write_text(noted, encoding="utf-8")
        assert find(None, tmp_path) is None


def test_on_the_head_of_a_cluster_a_study_joins_it(head: Path):
    assert find(None, head) is None, "no Ray was ever started"
    with socket.create_server(("127.0.0.1", 0)) as server:
        noted = f"127.0.0.1:{server.getsockname()[1]}"
        (head / "ray" / "ray_current_cluster").write_text(noted, encoding="utf-8")
        assert find(None, head) == noted
        assert find_cluster(None, {"TMPDIR": str(head)}, head / "bootstrap.yaml") == noted
        assert find("local", head) is None
    assert find(None, head) is None, "the Ray was stopped"


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("auto", True),
        ("127.0.0.1:6379", True),
        ("[::1]:6379", True),
        ("192.0.2.200:6379", False),
        ("no.such.host.invalid:6379", False),
        (None, False),
    ],
)
def test_the_yaml_of_this_head_does_not_describe_a_cluster_elsewhere(head: Path, address: str | None, here: bool):
    file = head / "bootstrap.yaml"
    assert cluster_file(address, file) == (file if here else None)
    assert cluster_file(address, head / "none.yaml") is None


def test_a_flag_overrides_the_address_of_the_environment(head: Path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert find(None, head, RAY_ADDRESS=address) == address
        assert find("auto", head, RAY_ADDRESS=address) == "auto"
        assert find("local", head, RAY_ADDRESS=address) is None
    assert find(None, head, RAY_ADDRESS="local") is None
    assert find(None, head, RAY_ADDRESS="") is None


def test_an_error_in_the_environment_names_the_variable(head: Path):
    told = (
        r"^RAY_ADDRESS must be HOST:PORT of a head node, auto or local, got 'http://a:1'; unset RAY_ADDRESS, or give "
    )
    with pytest.raises(UserError, match=told):
        find(None, head, RAY_ADDRESS="http://a:1")
    with pytest.raises(
        UserError, match=r"^RAY_ADDRESS: no Ray cluster answers at '127.+'; start one|unset RAY_ADDRESS\.$"
    ):
        find(None, head, RAY_ADDRESS=nobody())


def test_importing_the_package_leaves_the_environment_alone():
    program = "import os; before = dict(os.environ); import study.app.commands; assert dict(os.environ) == before"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_values_of_the_user_win(monkeypatch: pytest.MonkeyPatch):
    for name in RAY_ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_AIR_NEW_OUTPUT", "1")
    configure_ray_environment()
    assert {name: os.environ[name] for name in RAY_ENVIRONMENT} == RAY_ENVIRONMENT | {"RAY_AIR_NEW_OUTPUT": "1"}
