"""Commands of nodes: they set up from the lock, say where data and results are, and start Ray so that workers come."""

import re
from typing import Any

from cluster.finding import Finding, mapping, sequence, step
from cluster.placeholders import is_open
from cluster.versions import Locked, check_export

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
            if is_open(whole_url) or re.match(r"s3://[a-z0-9]|/|~/|\$HOME", whole_url):
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
