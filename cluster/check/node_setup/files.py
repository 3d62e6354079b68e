"""Checks of the files that `ray up` uploads, and of the ssh login."""

import stat
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

from cluster.check.documents import is_placeholder
from cluster.check.problem import Problem, mapping, sequence, step

NOT_UPLOADED = {
    ".venv": "it takes gigabytes and only works on this machine",
    "data": "nodes read data from the bucket or a shared folder",
    "results": "results are not part of the code",
}
"""Folders of a checkout that must not be uploaded, with the reason."""

CODE = ("study", "pan_model", "search_spaces", "cluster")


def check_files(config: dict[str, Any], here: Path, *, cloud: bool) -> list[Problem]:
    """Check file mounts, rsync's excludes and the ssh login; relative paths are relative to `here`."""
    mounts = mapping(config.get("file_mounts"))
    problems = [problem for place, source in mounts.items() for problem in _check_mount(place, source, here)]
    checkouts = [
        here / str(source) for source in mounts.values() if (here / str(source) / "requirements.lock").is_file()
    ]
    if checkouts:
        problems += _check_excludes(config, checkouts[0])
    elif cloud:
        what = 'no entry uploads this checkout, so nodes would have no code; add: {"~/pan-study": "."}'
        problems.append(Problem(where="file_mounts", what=what))
    return problems + _check_login(config)


def _check_mount(place: str, source: object, here: Path) -> list[Problem]:
    if is_placeholder(source):
        return []
    where = f"file_mounts['{place}']"
    path = here / Path(str(source)).expanduser()
    if not path.exists():
        return [
            Problem(where=where, what=f"'{source}' does not exist in {here}; run `ray up` in the root of the checkout.")
        ]
    if not place.startswith(("~", "/")):
        return [Problem(where=where, what=f"a path on the nodes must start with ~/ or /, got '{place}'.")]
    return []


def _check_excludes(config: dict[str, Any], checkout: Path) -> list[Problem]:
    patterns = [str(pattern) for pattern in sequence(config.get("rsync_exclude"))]
    ignored = ".gitignore" in sequence(config.get("rsync_filter"))
    problems = [
        Problem(where="rsync_exclude", what=f"'/{name}' is missing; add it, because {why}.")
        for name, why in NOT_UPLOADED.items()
        if not ignored and not any(pattern.strip("/") == name for pattern in patterns)
    ]
    if any(pattern.strip("/") == ".git" for pattern in patterns):
        what = "'.git' must be uploaded, because results record the git commit; remove this entry."
        problems.append(Problem(where="rsync_exclude", what=what))
    for index, pattern in enumerate(patterns):
        lost = _lost_code(pattern, checkout)
        if lost:
            what = f"'{pattern}' also excludes {lost}; write '/{pattern}' to exclude only the one in the root."
            problems.append(Problem(where=step("rsync_exclude", index), what=what))
    return problems


def _lost_code(pattern: str, checkout: Path) -> str | None:
    """Return a file or folder of the code that a pattern without a leading slash would exclude, or None."""
    if "/" in pattern.rstrip("/") or pattern.strip("/") in ("__pycache__", ""):
        return None
    lost = (path for path in _code_of(checkout) if fnmatch(path.name, pattern.rstrip("/")))
    return next((str(path.relative_to(checkout)) for path in lost), None)


@cache
def _code_of(checkout: Path) -> tuple[Path, ...]:
    """Return the files and folders of the code, without __pycache__."""
    paths = (path for package in CODE for path in (checkout / package, *sorted((checkout / package).rglob("*"))))
    return tuple(path for path in paths if "__pycache__" not in path.parts)


def _check_login(config: dict[str, Any]) -> list[Problem]:
    auth = mapping(config.get("auth"))
    problems = _check_key(auth.get("ssh_private_key"))
    if "ssh_user" not in auth:
        problems.append(Problem(where="auth.ssh_user", what="missing; add the user's name on the nodes."))
    return problems


def _check_key(key: object) -> list[Problem]:
    where = "auth.ssh_private_key"
    if not isinstance(key, str) or is_placeholder(key):
        return []
    path = Path(key).expanduser()
    if not path.is_file():
        return [
            Problem(
                where=where,
                what=f"file '{key}' does not exist; name your private key, or remove this key to let Ray create one.",
            )
        ]
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        what = f"'{key}' is readable by others (mode {mode:o}), so ssh refuses it; run: chmod 600 {key}"
        return [Problem(where=where, what=what)]
    return []
