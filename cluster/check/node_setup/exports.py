"""Checks of the environment variables that setup commands export: they must last, and folders must have their files."""

import re
from collections.abc import Iterator
from typing import Any

from cluster.check.documents import is_placeholder
from cluster.check.problem import Problem, mapping, sequence

STARTUP = re.compile(r"\.bashrc|\.profile|\.bash_profile|\.bash_login|/etc/profile|/etc/environment|/etc/bash")
"""Files that Ray's login shell reads before each command."""

EXPORT = re.compile(r"\bexport (\w+)=[\"']?([^\s\"';]*)")

TOKEN = "~/.ray/auth_token"

OUTPUT = "PAN_STUDY_OUTPUT"
DATA_ROOT = "PAN_STUDY_DATA_ROOT"
AUTH_MODE = "RAY_AUTH_MODE"

Commands = list[tuple[str, str]]
"""Pairs of a command's path in the file and the command."""


def check_exports(config: dict[str, Any], setup: Commands, *, cloud: bool) -> list[Problem]:
    """Check the variables that a study and Ray read on every node, and the folders that they name.

    Args:
        config: The cluster file.
        setup: The setup commands.
        cloud: Whether machines are new ones of a cloud, on which nothing is mounted or copied yet.
    """
    alone = mapping(config.get("provider")).get("worker_ips") == []
    problems = [*_check_missing(setup, cloud=cloud, alone=alone), *_check_lasting(setup), *_check_used(setup)]
    problems += _check_auth(config, setup, alone=alone)
    if cloud:
        problems += [*_check_mounted(setup), *_check_data(config, setup)]
    return problems


def _check_missing(setup: Commands, *, cloud: bool, alone: bool) -> list[Problem]:
    exported = {name for _, command in setup for name, _ in EXPORT.findall(command)}
    consequences = {
        OUTPUT: "so results would be lost with the head's disk; set it to a bucket URL or a shared folder",
        DATA_ROOT: "so a study would read data from `data`; set it to a folder that every node has",
        AUTH_MODE: "which all nodes must share; add: export RAY_AUTH_MODE=disabled",
    }
    if not cloud:
        consequences[OUTPUT] = "so workers would not see the results; set it to a shared folder or a bucket URL"
        consequences[AUTH_MODE] = "which all nodes must share; add: export RAY_AUTH_MODE=token"
        del consequences[DATA_ROOT]
    if alone:
        del consequences[OUTPUT]
    return [
        Problem(where="setup_commands", what=f"no command exports {name}, {consequence}.")
        for name, consequence in consequences.items()
        if name not in exported
    ]


def _check_lasting(setup: Commands) -> list[Problem]:
    """Check that exports are written to a file that Ray's shells read. A command's own exports end with it."""
    text = "\n".join(command for _, command in setup)
    problems: list[Problem] = []
    written = {name for _, command in setup if ">" in command for name, _ in EXPORT.findall(command)}
    for where, command in setup:
        names = [
            name for name, _ in EXPORT.findall(command) if name not in written and name.startswith(("PAN_", "RAY_"))
        ]
        if names:
            lost = ", ".join(names)
            what = f"the export of {lost} ends with this command; append it to ~/.bashrc, as `echo '..' >> ~/.bashrc`."
            problems.append(Problem(where=where, what=what))
    targets = [_target(command) for _, command in setup if EXPORT.search(command)]
    for target in dict.fromkeys(target for target in targets if target and not STARTUP.search(target)):
        name = re.escape(target.rsplit("/", 1)[-1])
        if not any(re.search(rf"(\.|source) \S*{name}\b", line) and STARTUP.search(line) for line in text.splitlines()):
            what = (
                f"no command makes ~/.bashrc read {target}, which has the exports; add: echo '. {target}' >> ~/.bashrc"
            )
            problems.append(Problem(where="setup_commands", what=what))
    return problems


def _target(command: str) -> str | None:
    """Return the file to which a command writes its exports, or None.

    >>> _target("echo 'export A=1' >> ~/.bashrc"), _target("export A=1 && make > /dev/null")
    ('~/.bashrc', None)
    """
    written = re.search(
        r"(?:\b(?:echo|printf)\b.*?export.*?|\bcat\s*|\btee\b.*?)>{1,2}\s*([^\s;&|<]+)", command, re.DOTALL
    )
    return written[1] if written else None


def _check_used(setup: Commands) -> list[Problem]:
    """Check that every variable of a study that a command reads is exported by a command."""
    exported = {name for _, command in setup for name in re.findall(r"\b(PAN_STUDY_\w+)=", command)}
    used = {name: where for where, command in reversed(setup) for name in re.findall(r"\$\{?(PAN_STUDY_\w+)", command)}
    return [
        Problem(
            where=where, what=f"uses ${name}, which no command exports; see the file of the same cloud in cluster/."
        )
        for name, where in used.items()
        if name not in exported
    ]


def _check_auth(config: dict[str, Any], setup: Commands, *, alone: bool) -> list[Problem]:
    modes = [(where, value) for where, name, value in _exports(setup) if name == AUTH_MODE]
    problems = [
        Problem(where=where, what=f"{AUTH_MODE} must be token or disabled, got '{value}'.")
        for where, value in modes
        if value not in ("token", "disabled")
    ]
    if not any(value == "token" for _, value in modes):
        return problems
    mounted = any(_home(place) == TOKEN for place in mapping(config.get("file_mounts")))
    text = "\n".join(command for _, command in setup)
    if mounted or "RAY_AUTH_TOKEN=" in text:
        return problems
    if "get-auth-token" not in text:
        what = f"no command creates the token of {AUTH_MODE}=token; add: ray get-auth-token --generate > /dev/null"
        problems.append(Problem(where="head_setup_commands", what=what))
    if not alone and not any(_home(str(path)) == TOKEN for path in sequence(config.get("cluster_synced_files"))):
        what = f"must contain {TOKEN}, or workers have no token and cannot join; add it."
        problems.append(Problem(where="cluster_synced_files", what=what))
    return problems


def _check_mounted(setup: Commands) -> list[Problem]:
    """Check that a folder of results is mounted: on a cloud machine, any other folder is its own disk."""
    problems: list[Problem] = []
    for where, name, value in _exports(setup):
        path = _home(value)
        if name != OUTPUT or not path.startswith(("/", "~")) or is_placeholder(path):
            continue
        folders = [path, *(path[: match.start()] for match in re.finditer("/", path) if match.start() > 0)]
        at = [
            command
            for _, command in setup
            if any(
                re.search(rf"\s{re.escape(folder)}(\s|/?$)", f"{_home(command)} ")
                for folder in folders
                if folder not in ("~", "/mnt")
            )
        ]
        if any("gcsfuse" in command for command in at):
            what = "results need a share that can rename, append to and lock files, which gcsfuse cannot; mount NFS."
            problems.append(Problem(where=where, what=what))
        elif not any("mount" in command for command in at):
            what = (
                f"no command mounts a share at {value}, so results stay on each machine's disk; see cluster/gcp.yaml."
            )
            problems.append(Problem(where=where, what=what))
    return problems


def _check_data(config: dict[str, Any], setup: Commands) -> list[Problem]:
    """Check that a data folder in the home folder of a new machine is filled."""
    mounts = [_home(place).rstrip("/") for place in mapping(config.get("file_mounts"))]
    problems: list[Problem] = []
    for where, name, value in _exports(setup):
        path = _home(value).rstrip("/")
        if name != DATA_ROOT or not path.startswith("~/"):
            continue
        others = [_home(command) for _, command in setup if f"export {DATA_ROOT}=" not in command]
        filled = any(re.search(rf"{re.escape(path)}(?![\w.-])", command) for command in others)
        if not filled and not any(path == mount or path.startswith(f"{mount}/") for mount in mounts):
            what = f"no command copies the datasets to {value}; add one as in cluster/config.yaml or cluster/gcp.yaml."
            problems.append(Problem(where=where, what=what))
    return problems


def _exports(setup: Commands) -> Iterator[tuple[str, str, str]]:
    """Yield each export: the command's path in the file, the variable and its value."""
    for where, command in setup:
        for name, value in EXPORT.findall(command):
            yield where, name, value


def _home(text: str) -> str:
    """Return a text with `~` for the home folder."""
    return re.sub(r"\$HOME|\$\{HOME\}", "~", text)
