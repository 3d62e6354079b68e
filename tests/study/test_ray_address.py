import socket

import pytest

from pan_model.errors import BadInput
from study.ray_address import check_ray_address


@pytest.mark.parametrize("address", [None, "auto"])
def test_what_ray_finds_itself_is_not_tried(address: str | None):
    check_ray_address(address)


def test_a_port_that_is_listened_on_is_good():
    with socket.create_server(("127.0.0.1", 0)) as server:
        check_ray_address(f"127.0.0.1:{server.getsockname()[1]}")


def test_a_port_that_nobody_listens_on_is_told_at_once():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(BadInput, match=rf"--ray-address: no Ray cluster answers at '{address}' \(.+\); start one, or"):
        check_ray_address(address)


@pytest.mark.parametrize("address", ["", "head", "head:", ":6379", "head:port", "ray://head:10001", "local", "a:b:1"])
def test_what_is_no_address(address: str):
    with pytest.raises(BadInput, match=rf"ray_address must be HOST:PORT of a head node, or auto, got '{address}'\."):
        check_ray_address(address)


def test_a_port_too_large_is_no_port():
    with pytest.raises(BadInput, match=r"no Ray cluster answers at '127\.0\.0\.1:70000'"):
        check_ray_address("127.0.0.1:70000")
