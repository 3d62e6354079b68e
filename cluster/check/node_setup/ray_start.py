"""Checks of the commands that start Ray: on the head, where the autoscaler runs, and on the workers, which join it."""

import re
from typing import Any

from cluster.check.problem import Problem, commands_of, mapping

START = ("head_start_ray_commands", "worker_start_ray_commands")
BOOTSTRAP = "--autoscaling-config=~/ray_bootstrap_config.yaml"
PORT = 6379
"""Ray's default port of the head."""

LOOPBACK = re.compile(r"127\.0\.0\.1|localhost|::1")
OFF = re.compile(r"RAY_enable_autoscaler_v2=[\"']?(0|false)\b", re.IGNORECASE)
"""`ray up` sets this variable to 1 before each command, so it must be set in the command that starts Ray."""


def check_start(config: dict[str, Any]) -> list[Problem]:
    """Check `ray start` on the head and on the workers. Without workers, only the head's."""
    provider = mapping(config.get("provider"))
    head, worker = (commands_of(config, (key,)) for key in START)
    grows = provider.get("worker_ips") != []
    problems: list[Problem] = []
    for where, command in head:
        if "ray start" in command:
            problems += _check_head(where, command, local=provider.get("type") == "local", grows=grows)
    for where, command in worker:
        if "ray start" in command:
            problems += _check_worker(where, command, _port(head))
    for key, commands in zip(START, (head, worker), strict=True):
        if grows or key == START[0]:
            problems += _check_order(key, [command for _, command in commands], local=provider.get("type") == "local")
    return problems


def _check_head(where: str, command: str, *, local: bool, grows: bool) -> list[Problem]:
    problems: list[Problem] = []
    if "--head" not in command:
        problems.append(Problem(where=where, what="the head's `ray start` must have --head; add it."))
    given = re.search(r"--autoscaling-config[= ](\S+)", command)
    if grows and (given is None or not given[1].strip("\"'").endswith("/ray_bootstrap_config.yaml")):
        got = f", got {given[1]}" if given else ""
        what = f"the head's `ray start` must have {BOOTSTRAP}, or no worker starts{got}; add it."
        problems.append(Problem(where=where, what=what))
    if local and grows and not OFF.search(command.partition("ray start")[0]):
        what = (
            "RAY_enable_autoscaler_v2=0 must be set before `ray start`, or no worker joins: version 2 of the "
            "autoscaler, which `ray up` selects, does not support on-premise machines; add: "
            "export RAY_enable_autoscaler_v2=0;"
        )
        problems.append(Problem(where=where, what=what))
    dashboard = re.search(r"--dashboard-host[= ][\"']?([^\s\"';]+)", command)
    if dashboard and not LOOPBACK.fullmatch(dashboard[1]):
        what = (
            "--dashboard-host must be 127.0.0.1, because the dashboard runs code; `ray dashboard` tunnels through ssh."
        )
        problems.append(Problem(where=where, what=what))
    return problems


def _check_worker(where: str, command: str, port: int) -> list[Problem]:
    if "--head" in command:
        return [Problem(where=where, what="a worker's `ray start` must not have --head, which starts another cluster.")]
    if not re.search(r"\$\{?RAY_HEAD_IP\b", command):
        what = f"a worker's `ray start` must have --address=$RAY_HEAD_IP:{port}, which Ray sets; add it."
        return [Problem(where=where, what=what)]
    joined = re.search(r"\$\{?RAY_HEAD_IP\}?[\"']?:(\d+)", command)
    if joined is None or int(joined[1]) != port:
        got = joined[1] if joined else "none"
        what = f"a worker must join port {port}, on which the head's `ray start` listens, got {got}; change one."
        return [Problem(where=where, what=what)]
    return []


def _port(head: list[tuple[str, str]]) -> int:
    """Return the port on which the head listens."""
    ports = [re.search(r"--port[= ](\d+)", command) for _, command in head if "ray start" in command]
    return next((int(port[1]) for port in ports if port), PORT)


def _check_order(key: str, commands: list[str], *, local: bool) -> list[Problem]:
    """Check that Ray is started, and that a Ray of an earlier `ray up` is stopped before."""
    if not any("ray start" in command for command in commands):
        what = (
            "no command is `ray start`; add it as in cluster/config.yaml, because Ray's default opens the "
            "dashboard to all."
        )
        if local:
            what = "no command is `ray start` as in cluster/onprem.yaml; add it: by Ray's default, workers do not join."
        return [Problem(where=key, what=what)]
    if "ray stop" not in "\n".join(commands).partition("ray start")[0]:
        what = "no command runs `ray stop` before `ray start`, which fails when Ray is running; add: ray stop"
        return [Problem(where=key, what=what)]
    return []
