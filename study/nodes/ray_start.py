"""Conditions under which Ray starts on this machine. They are checked before any work, since Ray only times out."""

import os
import re
import resource
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path

from pan_model.command_line import counted
from pan_model.errors import UserError
from pan_model.files import existing_parent, file_size

MAX_SOCKET_PATH_BYTES = 107
"""Length of the path of a Unix socket, at most."""

LONGEST_SOCKET = f"/ray/session_2026-01-01_00-00-00_000000_{os.getpid()}/sockets/plasma_store"
"""The longest path of a socket below the temporary folder."""

SESSION_BYTES = 50 * 10**6
"""Free space that the session folder needs at least: logs and object store metadata."""

MIN_OPEN_FILES = 256
"""Number of files that the processes of Ray must be able to open."""

DEFAULT_FOLDER = Path("/tmp")


def prepare_ray_start(
    say: Callable[[str], None] = print,
    environment: MutableMapping[str, str] = os.environ,
    default: Path = DEFAULT_FOLDER,
) -> None:
    """Make this process and its environment fit for a Ray on this machine, or raise before any work begins.

    - RAY_TMPDIR is set to `default` if the paths of sockets below the temporary folder would be too long, or the folder
      cannot be written or is full.
    - RAY_AUTH_TOKEN is set if the home folder, where Ray keeps its token, cannot be written.
    - The soft limit of open files is raised to the hard limit.

    Args:
        say: Prints a line about a folder that was replaced.
        environment: The environment variables of the process.
        default: The folder that replaces the temporary folder.

    Raises:
        UserError: If Ray cannot start. The message names the variable or limit to set.
    """
    _raise_open_files()
    name = next((name for name in ("RAY_TMPDIR", "TMPDIR") if environment.get(name)), "")
    folder = Path(environment.get(name, "") or default)
    if problem := _session_problem(folder):
        second = _session_problem(default)
        if second:
            also = "" if folder == default else f", and {default} {second}"
            raise UserError(
                f"Ray cannot start: {name or 'the temporary folder'} {folder} {problem}{also}; set RAY_TMPDIR to a "
                f"short path of a folder with {file_size(SESSION_BYTES)} of free space."
            )
        say(f"hint: {name} {folder} {problem}; Ray uses {default}")
        environment["RAY_TMPDIR"] = str(default)
    if "RAY_AUTH_TOKEN" not in environment and not _keeps_token(environment):
        environment["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def describe_ray_logs(environment: MutableMapping[str, str] = os.environ, default: Path = DEFAULT_FOLDER) -> str:
    """Return the last error line of the logs of the last Ray session, and the folder of the logs; empty without one."""
    folder = Path(environment.get("RAY_TMPDIR") or environment.get("TMPDIR") or default) / "ray"
    sessions = sorted(folder.glob("session_2*"), key=lambda session: session.name)
    if not sessions:
        return ""
    logs = sessions[-1] / "logs"
    last = next(_error_lines(logs), "")
    return f"{last}; its logs are in {logs}" if last else f"its logs are in {logs}"


def _session_problem(folder: Path) -> str:
    """Return why Ray cannot keep its session in a folder; empty if it can."""
    longest = len(os.fsencode(folder.absolute())) + len(LONGEST_SOCKET)
    if longest > MAX_SOCKET_PATH_BYTES:
        return f"is {counted(longest - MAX_SOCKET_PATH_BYTES, 'byte')} too long for the paths of sockets"
    existing = existing_parent(folder / "ray")
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        return f"cannot be written ({error.strerror})"
    free = shutil.disk_usage(existing).free
    return f"has only {file_size(free)} of free space" if free < SESSION_BYTES else ""


def _keeps_token(environment: MutableMapping[str, str]) -> bool:
    """Return whether Ray can read its token from the home folder, or write it there, or uses none."""
    if environment.get("RAY_AUTH_MODE") == "disabled" or environment.get("RAY_AUTH_TOKEN_PATH"):
        return True
    folder = Path("~/.ray").expanduser()
    if os.access(folder / "auth_token", os.R_OK):
        return True
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0" * 64)
            file.flush()
    except (OSError, RuntimeError):
        return False
    return True


def _raise_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if wanted < MIN_OPEN_FILES:
        raise UserError(
            f"Ray cannot start: the limit of open files must be at least {MIN_OPEN_FILES}, got {wanted}; raise it with "
            "ulimit -n, or give --executor serial."
        )


def _error_lines(logs: Path) -> Iterator[str]:
    """Yield the last error line of each log of Ray's own processes that has one."""
    for name in ("gcs_server.err", "gcs_server.out", "raylet.err", "raylet.out"):
        try:
            lines = (logs / name).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        yield from [line.strip() for line in reversed(lines) if re.search(r" [EC] |rror|atal", line)][:1]
