"""Commands of nodes: they set up from the lock, say where data and results are, and start Ray so that workers come."""

import re
import stat
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

from cluster.check.documents import is_placeholder
from cluster.check.finding import Finding, mapping, sequence, step
from cluster.check.versions import Locked, check_export

SETUP = ("setup_commands", "head_setup_commands", "worker_setup_commands")
START = ("head_start_ray_commands", "worker_start_ray_commands")
BOOTSTRAP = "--autoscaling-config=~/ray_bootstrap_config.yaml"


def commands_of(config: dict[str, Any], keys: tuple[str, ...]) -> list[tuple[str, str]]:
    """The commands under some keys, each with its place."""
    return [(step(key, index), str(c)) for key in keys for index, c in enumerate(sequence(config.get(key)))]


def check_commands(config: dict[str, Any], locked: Locked, *, cloud: bool) -> list[Finding]:
    """Commands of a cluster's file; a machine of one's own may be set up already, one of a cloud's is not."""
    setup = commands_of(config, SETUP)
    findings = [*_check_beside(setup, locked), *check_export(setup, locked, required=cloud), *_check_output(setup)]
    if cloud:
        findings += [*_check_lock(config, setup), *_check_places(setup)]
    return findings + _check_start(config)


def _check_lock(config: dict[str, Any], setup: list[tuple[str, str]]) -> list[Finding]:
    mounts = [place for place, source in mapping(config.get("file_mounts")).items() if source == "."]
    place = mounts[0].rstrip("/") if mounts else "~/pan-study"
    text = "\n".join(command for _, command in setup)
    findings: list[Finding] = []
    if not re.search(rf"cd {re.escape(place)} && make setup\b", text):
        what = f"none of them sets up from requirements.lock; add: cd {place} && make setup"
        findings.append(Finding(where="setup_commands", what=what))
    elif not re.search(r"ln -s\S* \S+ (\S*/)?\.venv\b", text):
        what = (
            "none of them links .venv to a folder elsewhere, as config.yaml does; the head reads all that is mounted."
        )
        findings.append(Finding(where="setup_commands", what=what))
    bin_of = place.removeprefix("~/")
    if not re.search(rf"PATH=(\$HOME|~)/{re.escape(bin_of)}/\.venv/bin:\$PATH", text):
        what = f"none of them puts the lock's ray and python first; add: export PATH=$HOME/{bin_of}/.venv/bin:$PATH"
        findings.append(Finding(where="setup_commands", what=what))
    return findings


def _check_beside(setup: list[tuple[str, str]], locked: Locked) -> list[Finding]:
    findings: list[Finding] = []
    for where, command in setup:
        for install in re.findall(r"\b(?:pip3?|conda) install\s+([^;&|]*)", command):
            words = [re.split(r"[\[=<>~! @]", word.strip("'\""))[0] for word in install.split()]
            names = [word for word in words if word.lower() in locked.of]
            if names:
                rule = f"{', '.join(names)} must come from requirements.lock alone"
                findings.append(Finding(where=where, what=f"{rule}, got '{command}'; take the command out."))
    return findings


def _check_places(setup: list[tuple[str, str]]) -> list[Finding]:
    text = "\n".join(command for _, command in setup)
    ways = {
        "PAN_STUDY_OUTPUT": "so results would stay on the head's disk, which goes with it; a bucket's URL or a share",
        "PAN_STUDY_DATA_ROOT": "so a study would look for data in the folder data; a folder that each node has",
    }
    return [
        Finding(where="setup_commands", what=f"none of them exports {name}, {way} belongs there.")
        for name, way in ways.items()
        if f"export {name}=" not in text
    ]


def _check_output(setup: list[tuple[str, str]]) -> list[Finding]:
    """Results go where the lock can write: s3fs is in it, gcsfs is not."""
    text = "\n".join(command for _, command in setup)
    bucket = re.search(r"PAN_STUDY_BUCKET=[\"']?([^\s\"';]+)", text)
    findings: list[Finding] = []
    for where, command in setup:
        for url in re.findall(r"PAN_STUDY_OUTPUT=[\"']?([^\s\"';]+)", command):
            whole_url = url.replace("$PAN_STUDY_BUCKET", bucket[1] if bucket else "$PAN_STUDY_BUCKET")
            if is_placeholder(whole_url) or re.match(r"s3://[a-z0-9]|/|~/|\$HOME", whole_url):
                continue
            what = f"results go to s3://BUCKET/.. or a shared folder, got '{whole_url}'; gcp.yaml mounts a share."
            findings.append(Finding(where=where, what=what))
    return findings


def _check_start(config: dict[str, Any]) -> list[Finding]:
    head, worker = (commands_of(config, (key,)) for key in START)
    grows = mapping(config.get("provider")).get("worker_ips") != []
    findings: list[Finding] = []
    starts = [(where, command) for where, command in head if "ray start" in command]
    for where, command in starts:
        if "--head" not in command:
            findings.append(Finding(where=where, what="the head's `ray start` must have --head; add it."))
        if grows and "--autoscaling-config" not in command:
            findings.append(Finding(where=where, what=f"without {BOOTSTRAP} no worker ever starts; add it."))
        if re.search(r"--dashboard-host[= ](0\.0\.0\.0|::)", command):
            what = "the dashboard runs what it is sent, so it must stay at 127.0.0.1; `ray dashboard` goes through ssh."
            findings.append(Finding(where=where, what=what))
    for where, command in worker:
        if "ray start" in command and "$RAY_HEAD_IP" not in command:
            what = "a worker's `ray start` must have --address=$RAY_HEAD_IP:6379, which Ray fills in; add it."
            findings.append(Finding(where=where, what=what))
    for key, of in zip(START, (head, worker), strict=True):
        if (grows or key == START[0]) and not any("ray start" in command for _, command in of):
            what = (
                "none of them is `ray start`; write it as in cluster/config.yaml: Ray's own opens the dashboard to all."
            )
            findings.append(Finding(where=key, what=what))
    return findings


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
    if is_placeholder(source):
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
    if not isinstance(key, str) or is_placeholder(key):
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
