"""Files that nodes are given: they are there, what must stay behind does, and nothing of the code is left out."""

import stat
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

from cluster.finding import Finding, mapping, sequence, step
from cluster.placeholders import is_open

STAYS_BEHIND = {
    ".venv": "it is gigabytes, made for this machine",
    "data": "nodes take data from the bucket or a share",
    "results": "they are the studies', not the code's",
}
"""Folders of a checkout that nodes must not be sent."""

CODE = ("study", "pan_model", "search_spaces", "cluster")


def check_files(config: dict[str, Any], here: Path, *, cloud: bool) -> list[Finding]:
    """File mounts, what rsync leaves out of them, and the ssh key; relative paths are seen from `here`."""
    mounts = mapping(config.get("file_mounts"))
    findings = [found for place, source in mounts.items() for found in _check_mount(place, source, here)]
    checkouts = [
        here / str(source) for source in mounts.values() if (here / str(source) / "requirements.lock").is_file()
    ]
    if checkouts:
        findings += _check_excludes(config, checkouts[0])
    elif cloud:
        what = 'none of them is this checkout, so nodes have no code; add: {"~/pan-study": "."}'
        findings.append(Finding(where="file_mounts", what=what))
    return findings + _check_login(config)


def _check_mount(place: str, source: object, here: Path) -> list[Finding]:
    if is_open(source):
        return []
    where = f"file_mounts['{place}']"
    path = here / Path(str(source)).expanduser()
    if not path.exists():
        return [
            Finding(where=where, what=f"there is no '{source}' in {here}; `ray up` is typed in the checkout's root.")
        ]
    if not place.startswith(("~", "/")):
        return [Finding(where=where, what="a node's path starts with ~/ or /; write it so.")]
    return []


def _check_excludes(config: dict[str, Any], checkout: Path) -> list[Finding]:
    patterns = [str(pattern) for pattern in sequence(config.get("rsync_exclude"))]
    ignored = ".gitignore" in sequence(config.get("rsync_filter"))
    findings = [
        Finding(where="rsync_exclude", what=f"'/{name}' is missing: {why}; add it.")
        for name, why in STAYS_BEHIND.items()
        if not ignored and not any(pattern.strip("/") == name for pattern in patterns)
    ]
    if any(pattern.strip("/") == ".git" for pattern in patterns):
        what = "'.git' must go along: results name the commit that made them; take it out."
        findings.append(Finding(where="rsync_exclude", what=what))
    for index, pattern in enumerate(patterns):
        lost = _lost_code(pattern, checkout)
        if lost:
            what = f"'{pattern}' leaves out {lost}, too; write '/{pattern}' for the root's alone."
            findings.append(Finding(where=step("rsync_exclude", index), what=what))
    return findings


def _lost_code(pattern: str, checkout: Path) -> str | None:
    """A file or folder of the code that rsync would leave out, for a pattern that counts at any depth."""
    if "/" in pattern.rstrip("/") or pattern.strip("/") in ("__pycache__", ""):
        return None
    lost = (path for path in _code_of(checkout) if fnmatch(path.name, pattern.rstrip("/")))
    return next((str(path.relative_to(checkout)) for path in lost), None)


@cache
def _code_of(checkout: Path) -> tuple[Path, ...]:
    """The code's files and folders, less what Python makes of them."""
    paths = (path for package in CODE for path in (checkout / package, *sorted((checkout / package).rglob("*"))))
    return tuple(path for path in paths if "__pycache__" not in path.parts)


def _check_login(config: dict[str, Any]) -> list[Finding]:
    auth = mapping(config.get("auth"))
    findings = _check_key(auth.get("ssh_private_key"))
    if "ssh_user" not in auth:
        findings.append(Finding(where="auth.ssh_user", what="it is missing; give the user's name on the nodes."))
    return findings


def _check_key(key: object) -> list[Finding]:
    where = "auth.ssh_private_key"
    if not isinstance(key, str) or is_open(key):
        return []
    path = Path(key).expanduser()
    if not path.is_file():
        return [
            Finding(
                where=where, what=f"there is no file '{key}'; name your key's, or leave it out where Ray makes one."
            )
        ]
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        what = f"others may read '{key}' (mode {mode:o}), so ssh refuses it; type: chmod 600 {key}"
        return [Finding(where=where, what=what)]
    return []
