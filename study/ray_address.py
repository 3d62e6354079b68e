"""--ray-address, tried before any work is done: Ray itself would wait for minutes where nobody listens."""

import socket

from pan_model.errors import BadInput

TIMEOUT_S = 5


def check_ray_address(address: str | None) -> None:
    """BadInput when an address is not HOST:PORT or auto, or when nothing listens there."""
    if address in (None, "auto"):
        return
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdecimal()) or "/" in host or ":" in host.strip("[]"):
        raise BadInput(f"ray_address must be HOST:PORT of a head node, or auto, got '{address}'.")
    try:
        socket.create_connection((host, int(port)), timeout=TIMEOUT_S).close()
    except (OSError, OverflowError) as error:
        raise BadInput(
            f"--ray-address: no Ray cluster answers at '{address}' ({error}); start one, or leave it out."
        ) from error
