"""Where a trial runs, in its folder from when it starts or goes on: so a failure is known from the loss of a node."""

from dataclasses import asdict, dataclass

from study.storage.files import exists, read_json, remove, write_json
from study.storage.location import Location

HOST = "host.json"
"""In the trial's folder; after its end it says where the trial ran last."""


@dataclass(frozen=True, kw_only=True)
class TrialHost:
    """A node and the process there: Ray's name of the node, its address and host name."""

    node_id: str
    address: str
    hostname: str
    pid: int


def write_host(folder: Location, host: TrialHost) -> None:
    """Write down where a trial runs from now on."""
    write_json(folder / HOST, asdict(host))


def read_host(folder: Location) -> TrialHost | None:
    """Where a trial runs or ran last; None for one that has not run, or not since `forget_host`."""
    file = folder / HOST
    return TrialHost(**read_json(file, "remove it")) if exists(file) else None


def forget_host(folder: Location) -> None:
    """Let nobody take the trial for one that runs there still."""
    remove(folder / HOST)
