"""Checks of node setup: setup and start commands, uploaded files, and the ssh login."""

import re
import stat
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

from cluster.check.documents import is_placeholder
from cluster.check.problem import Problem, mapping, sequence, step
from cluster.check.versions import Locked, check_export

SETUP = ("setup_commands", "head_setup_commands", "worker_setup_commands")
START = ("head_start_ray_commands", "worker_start_ray_commands")
BOOTSTRAP = "--autoscaling-config=~/ray_bootstrap_config.yaml"


def commands_of(config: dict[str, Any], keys: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return the commands under some keys, each with its path in the file."""
    return [(step(key, index), str(command)) for key in keys for index, command in enumerate(sequence(config.get(key)))]


def check_commands(config: dict[str, Any], locked: Locked, *, cloud: bool) -> list[Problem]:
    """Check the commands of a cluster file. Only cloud machines must be set up by them."""
    setup = commands_of(config, SETUP)
    problems = [*_check_installs(setup, locked), *check_export(setup, locked, required=cloud), *_check_output(setup)]
    if cloud:
        problems += [*_check_lock(config, setup), *_check_exports(setup)]
    return problems + _check_start(config)


def _check_lock(config: dict[str, Any], setup: list[tuple[str, str]]) -> list[Problem]:
    mounts = [place for place, source in mapping(config.get("file_mounts")).items() if source == "."]
    place = mounts[0].rstrip("/") if mounts else "~/pan-study"
    text = "\n".join(command for _, command in setup)
    problems: list[Problem] = []
    if not re.search(rf"cd {re.escape(place)} && make setup\b", text):
        what = f"no command installs requirements.lock; add: cd {place} && make setup"
        problems.append(Problem(where="setup_commands", what=what))
    elif not re.search(r"ln -s\S* \S+ (\S*/)?\.venv\b", text):
        what = (
            "no command replaces .venv by a link, as in cluster/config.yaml; Ray reads all mounted files for "
            "each worker."
        )
        problems.append(Problem(where="setup_commands", what=what))
    bin_of = place.removeprefix("~/")
    if not re.search(rf"PATH=(\$HOME|~)/{re.escape(bin_of)}/\.venv/bin:\$PATH", text):
        what = f"no command puts .venv/bin first on PATH; add: export PATH=$HOME/{bin_of}/.venv/bin:$PATH"
        problems.append(Problem(where="setup_commands", what=what))
    return problems


def _check_installs(setup: list[tuple[str, str]], locked: Locked) -> list[Problem]:
    problems: list[Problem] = []
    for where, command in setup:
        for install in re.findall(r"\b(?:pip3?|conda) install\s+([^;&|]*)", command):
            words = [re.split(r"[\[=<>~! @]", word.strip("'\""))[0] for word in install.split()]
            names = [word for word in words if word.lower() in locked.of]
            if names:
                rule = f"{', '.join(names)} must be installed from requirements.lock only"
                problems.append(Problem(where=where, what=f"{rule}, got '{command}'; remove the command."))
    return problems


def _check_exports(setup: list[tuple[str, str]]) -> list[Problem]:
    text = "\n".join(command for _, command in setup)
    consequences = {
        "PAN_STUDY_OUTPUT": "so results would be lost with the head's disk; set it to a bucket URL or a shared folder",
        "PAN_STUDY_DATA_ROOT": "so a study would read data from `data`; set it to a folder that every node has",
    }
    return [
        Problem(where="setup_commands", what=f"no command exports {name}, {consequence}.")
        for name, consequence in consequences.items()
        if f"export {name}=" not in text
    ]


def _check_output(setup: list[tuple[str, str]]) -> list[Problem]:
    """Check that results go where the locked packages can write: s3fs is among them, gcsfs is not."""
    text = "\n".join(command for _, command in setup)
    bucket = re.search(r"PAN_STUDY_BUCKET=[\"']?([^\s\"';]+)", text)
    problems: list[Problem] = []
    for where, command in setup:
        for url in re.findall(r"PAN_STUDY_OUTPUT=[\"']?([^\s\"';]+)", command):
            full_url = url.replace("$PAN_STUDY_BUCKET", bucket[1] if bucket else "$PAN_STUDY_BUCKET")
            if is_placeholder(full_url) or re.match(r"s3://[a-z0-9]|/|~/|\$HOME", full_url):
                continue
            what = (
                f"PAN_STUDY_OUTPUT must be s3://BUCKET/.. or a shared folder, got '{full_url}'; cluster/gcp.yaml "
                "mounts one."
            )
            problems.append(Problem(where=where, what=what))
    return problems


def _check_start(config: dict[str, Any]) -> list[Problem]:
    head, worker = (commands_of(config, (key,)) for key in START)
    grows = mapping(config.get("provider")).get("worker_ips") != []
    problems: list[Problem] = []
    starts = [(where, command) for where, command in head if "ray start" in command]
    for where, command in starts:
        if "--head" not in command:
            problems.append(Problem(where=where, what="the head's `ray start` must have --head; add it."))
        if grows and "--autoscaling-config" not in command:
            problems.append(
                Problem(where=where, what=f"the head's `ray start` must have {BOOTSTRAP}, or no worker starts; add it.")
            )
        if re.search(r"--dashboard-host[= ](0\.0\.0\.0|::)", command):
            what = (
                "--dashboard-host must be 127.0.0.1, because the dashboard runs code; `ray dashboard` tunnels "
                "through ssh."
            )
            problems.append(Problem(where=where, what=what))
    for where, command in worker:
        if "ray start" in command and "$RAY_HEAD_IP" not in command:
            what = "a worker's `ray start` must have --address=$RAY_HEAD_IP:6379, which Ray sets; add it."
            problems.append(Problem(where=where, what=what))
    for key, of in zip(START, (head, worker), strict=True):
        if (grows or key == START[0]) and not any("ray start" in command for _, command in of):
            what = (
                "no command is `ray start`; add it as in cluster/config.yaml, because Ray's default opens the "
                "dashboard to all."
            )
            problems.append(Problem(where=key, what=what))
    return problems


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
