"""Checks of the commands that set up a node and start Ray on it."""

import re
from pathlib import Path
from typing import Any

from cluster.check.documents import is_placeholder
from cluster.check.node_setup.exports import check_exports
from cluster.check.node_setup.ray_start import check_start
from cluster.check.problem import Problem, commands_of, mapping, sequence
from cluster.check.versions import Locked, check_export

SETUP = ("setup_commands", "head_setup_commands", "worker_setup_commands")


def check_commands(config: dict[str, Any], locked: Locked, here: Path, *, cloud: bool) -> list[Problem]:
    """Check the commands of a cluster file.

    Commands must set up the machines of a cloud, and on-premise machines to which the file uploads this checkout.
    Other on-premise machines may be set up by hand.

    Args:
        config: The cluster file.
        locked: Versions of this checkout.
        here: The folder to which paths in the file are relative.
        cloud: Whether the machines are those of a cloud.
    """
    setup = commands_of(config, SETUP)
    place = checkout_place(config, here)
    problems = [*_check_installs(setup, locked), *_check_output(setup), *check_start(config)]
    if (cloud or place) and not sequence(config.get("setup_commands")):
        what = (
            "missing, so Ray would install another Ray than requirements.lock has; copy those of cluster/config.yaml."
        )
        if not cloud:
            what = "missing, so nothing is installed on the machines; copy those of cluster/onprem.yaml."
        return [*problems, Problem(where="setup_commands", what=what)]
    if cloud and "head_setup_commands" not in config:
        what = (
            "missing, so Ray would run its default, which installs packages for the cloud besides those of "
            f"requirements.lock; add those of cluster/{'config' if _is_aws(config) else 'gcp'}.yaml."
        )
        problems.append(Problem(where="head_setup_commands", what=what))
    if cloud or place:
        problems += [*_check_lock(place or "~/pan-study", setup), *check_exports(config, setup, cloud=cloud)]
    return [*problems, *check_export(setup, locked, required=cloud)]


def _is_aws(config: dict[str, Any]) -> bool:
    return mapping(config.get("provider")).get("type") == "aws"


def checkout_place(config: dict[str, Any], here: Path) -> str | None:
    """Return the folder on the nodes to which the file uploads a checkout, or None."""
    mounts = mapping(config.get("file_mounts")).items()
    places = [
        place for place, source in mounts if (here / Path(str(source)).expanduser() / "requirements.lock").is_file()
    ]
    return places[0].rstrip("/") if places else None


def _check_lock(place: str, setup: list[tuple[str, str]]) -> list[Problem]:
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
    if not re.search(rf"PATH=\"?(\$HOME|~)/{re.escape(bin_of)}/\.venv/bin:\$PATH", text):
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
