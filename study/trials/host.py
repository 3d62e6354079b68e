"""The host of a trial, stored in the trial's folder to distinguish a failure of the trial from the loss of its node."""

from dataclasses import asdict, dataclass

from study.storage.files import exists, read_json, remove, write_json
from study.storage.location import Location

HOST = "host.json"
"""Name of the file. After the end of a trial it holds the host on which the trial ran last."""


@dataclass(frozen=True, kw_only=True)
class TrialHost:
    """The process of a trial and its node.

    Attributes:
        node_id: The id of the node in Ray.
        address: The IP address of the node.
        hostname: The host name of the node.
        pid: The id of the process.
    """

    node_id: str
    address: str
    hostname: str
    pid: int


def write_host(folder: Location, host: TrialHost) -> None:
    """Write the host on which a trial runs."""
    write_json(folder / HOST, asdict(host))


def read_host(folder: Location) -> TrialHost | None:
    """Return the host on which a trial runs or ran last; None if it has not run since `forget_host`."""
    file = folder / HOST
    return TrialHost(**read_json(file, "remove it")) if exists(file) else None


def forget_host(folder: Location) -> None:
    """Remove the host of a trial that no longer runs there."""
    remove(folder / HOST)
