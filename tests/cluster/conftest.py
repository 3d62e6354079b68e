"""A laptop, a head node and a worker on one machine: sshd on loopback, and Ray's commands between them."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from pan_model.data.demo import DemoConfig, draw_demo

ROOT = Path(__file__).parents[2]
MARK = "PAN_STUDY_LOOPBACK"
"""Of the environment of every process that is started here, on either side: so they are found again, and ended."""

TIMEOUT_S = 400.0

HEAD, WORKER = "127.0.0.2", "127.0.0.3"
"""All of 127.0.0.0/8 is loopback on Linux: two nodes, of one home folder, that nothing outside can reach."""

PORTS = (
    "sshd",
    "head",
    "dashboard",
    "agent",
    "agent_2",
    "client",
    "forwarded",
    "here_1",
    "there_1",
    "here_2",
    "there_2",
)

SSHD = """
Port {port}
ListenAddress {head}
ListenAddress {worker}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
MaxStartups 100
SetEnv HOME={folder}/head RAY_TMPDIR={folder}/h TMUX_TMPDIR={folder}/h {mark}={folder}
"""

# As typed, Ray's commands reach port 22 of another machine. Here the two are one: another port, and a forwarded port
# must have another number at this end than at that.
SSH = """#!/bin/bash
arguments=()
for argument in "$@"; do
    case "$last $argument" in
        *" {there_1}:localhost:{there_1}") arguments+=("127.0.0.1:{here_1}:127.0.0.1:{there_1}") ;;
        *" {there_2}:localhost:{there_2}") arguments+=("127.0.0.1:{here_2}:127.0.0.1:{there_2}") ;;
        "-i ~/"*) arguments+=("$HOME/${{argument#??}}") ;;  # of HOME, which ssh itself does not look at
        *) arguments+=("$argument") ;;
    esac
    last=$argument
done
exec {ssh} -p {sshd} "${{arguments[@]}}"
"""

# What `make setup` leaves, without a network: an environment with the tests' own packages, and the checkout as ours.
SET_UP = """cd ~/pan-study && {{ [ -e .venv ] || {{
{python} -m venv --without-pip .venv
for folder in .venv/lib/python*/site-packages; do
    printf '%s\\n' "$PWD" 'import site; site.addsitedir("{packages}")' > $folder/pan-study.pth
done
for script in ray tensorboard optuna-dashboard; do
    sed "1s|.*|#!$PWD/.venv/bin/python|" {scripts}/$script > .venv/bin/$script && chmod +x .venv/bin/$script
done; }}; cat requirements.lock > .venv/.installed; }}
"""


def free_ports(number: int) -> list[int]:
    """Free ports below those that the system gives to any connection, which would take some before they are used."""
    ports: list[int] = []
    for port in random.SystemRandom().sample(range(20000, 32000), 12000):  # above those of Ray's workers
        with socket.socket() as one, suppress(OSError):
            one.bind(("127.0.0.1", port))
            ports.append(port)
        if len(ports) == number:
            break
    return ports


@dataclass(frozen=True)
class Typed:
    """A command as it was typed on the laptop, its exit code, and what it left on the screen."""

    words: tuple[str, ...]
    code: int
    said: str

    def __post_init__(self) -> None:
        print(f"$ {' '.join(self.words)}\n{self.said}[{self.code}]")


@dataclass(frozen=True)
class Loopback:
    """The two sides: laptop/ with a copy of the checkout, and head/, the home folder of both nodes."""

    folder: Path
    ports: dict[str, int]

    @property
    def head(self) -> Path:
        return self.folder / "head"

    @property
    def laptop(self) -> Path:
        return self.folder / "laptop"

    @property
    def checkout(self) -> Path:
        return self.folder / "laptop" / "pan-study"

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def start(self, *words: str, **environment: str) -> "subprocess.Popen[str]":
        """Start a command of the tests' environment in the laptop's checkout."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "PAN_", "OMP_"))}
        return subprocess.Popen(
            words,
            cwd=self.checkout,
            env={
                **inherited,
                "PATH": f"{self.folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
                "HOME": str(self.folder / "laptop"),
                "RAY_TMPDIR": str(self.folder / "l"),
                "TMPDIR": str(self.folder / "l"),
                "RAY_USAGE_STATS_ENABLED": "0",
                MARK: str(self.folder),
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def type(self, *words: str, **environment: str) -> Typed:
        """Run a command to its end."""
        process = self.start(*words, **environment)
        try:
            said, _ = process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            said = f"{process.communicate()[0]}\nno end after {TIMEOUT_S:g} s"
        return Typed(words, process.returncode, said)

    def processes(self) -> dict[int, str]:
        """The command lines of all that runs on either side, by process id."""
        found: dict[int, str] = {}
        for process in Path("/proc").iterdir():
            try:
                if f"{MARK}={self.folder}".encode() in (process / "environ").read_bytes().split(b"\0"):
                    found[int(process.name)] = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (OSError, ValueError):  # not a process, another user's, or gone by now
                continue
        return {pid: words for pid, words in found.items() if words}

    def stop(self) -> list[str]:
        """End all that runs on either side, each by its process id; gives what could not be ended."""
        for ending, within_s in ((signal.SIGTERM, 1.0), (signal.SIGKILL, 10.0)):
            end_s = time.monotonic() + within_s
            for pid in self.processes():
                try:
                    os.kill(pid, ending)
                except ProcessLookupError:
                    continue
            while self.processes() and time.monotonic() < end_s:
                time.sleep(0.2)
        return list(self.processes().values())


@pytest.fixture(scope="session")
def render() -> Callable[[Loopback], dict[str, Any]]:
    """cluster/onprem.yaml for two nodes on one machine, on which other Rays may run: what is changed is all here."""

    def render(loopback: Loopback) -> dict[str, Any]:
        text = (ROOT / "cluster" / "onprem.yaml").read_text(encoding="utf-8")
        text = text.replace("YOUR-SHARED-FOLDER", str(loopback.folder)).replace(
            ":$PATH", f":{loopback.folder}/bin:$PATH"
        )
        config = yaml.safe_load(text)
        config["cluster_name"] = loopback.folder.name
        config["provider"] |= {"head_ip": HEAD, "worker_ips": [WORKER]}
        config["auth"] = {
            "ssh_user": os.environ.get("USER") or "root",
            "ssh_private_key": f"{loopback.folder}/user_key",
        }
        packages = next(Path(place) for place in sys.path if place.endswith("site-packages"))
        scripts = Path(sys.executable).parent
        set_up = SET_UP.format(python=sys.executable, packages=packages, scripts=scripts)
        commands = config["setup_commands"]
        assert commands.count("cd ~/pan-study && make setup") == 1
        config["setup_commands"] = [set_up if command.endswith("make setup") else command for command in commands]
        # Every port, and no `ray stop`, which would end every Ray of this machine.
        head = "--port={head} --dashboard-port={dashboard} --dashboard-agent-listen-port={agent} "
        head += "--ray-client-server-port={client} --num-cpus=2 --node-ip-address=" + HEAD
        worker = "--dashboard-agent-listen-port={agent_2} --num-cpus=1 --node-ip-address=" + WORKER
        worker += f" --temp-dir={loopback.folder}/w"  # as on a disk of its own
        (_, start), (_, join) = config["head_start_ray_commands"], config["worker_start_ray_commands"]
        config["head_start_ray_commands"] = [start.replace("--port=6379", head.format_map(loopback.ports))]
        join = join.replace(":6379", f":{loopback.ports['head']} {worker.format_map(loopback.ports)}")
        config["worker_start_ray_commands"] = [join]
        return config

    return render


@pytest.fixture(scope="module")
def loopback(render: Callable[[Loopback], dict[str, Any]]) -> Generator[Loopback]:
    """Both sides and sshd between them; whatever runs at the end is ended by its process id."""
    tools = {tool: shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin") for tool in ("sshd", "rsync", "ssh")}
    if missing := [tool for tool, place in tools.items() if place is None]:
        pytest.skip(f"{' and '.join(missing)} not there: Debian's openssh-server and rsync have them")
    if not sys.platform.startswith("linux"):
        pytest.skip("processes are found again in /proc, which only Linux has")
    # A short path straight under /tmp: Ray makes Unix sockets in it.
    folder = Path(tempfile.mkdtemp(prefix="pan-", dir="/tmp"))
    loopback = Loopback(folder, dict(zip(PORTS, free_ports(len(PORTS)), strict=True)))
    _lay_out(loopback, tools, render(loopback))
    words = [tools["sshd"], "-D", "-f", folder / "sshd_config", "-E", folder / "sshd.log"]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, start_new_session=True) as sshd:
        try:
            yield loopback
        finally:
            left = loopback.stop()
            sshd.terminate()
    shutil.rmtree(folder, ignore_errors=True)
    assert left == []


def _lay_out(loopback: Loopback, tools: dict[str, Any], config: dict[str, Any]) -> None:
    folder, ports = loopback.folder, loopback.ports
    for name in ("head", "bin", "laptop/.ray", "h", "w", "l", "data", "results", "cache"):
        (folder / name).mkdir(parents=True)
    draw_demo(folder / "data" / "demo", DemoConfig(num_classes=24, images_per_class=12, image_size=32))
    for key in ("host_key", "user_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
    (folder / "bin" / "ssh").write_text(SSH.format(ssh=tools["ssh"], **ports), encoding="utf-8")
    (folder / "bin" / "ssh").chmod(0o755)
    copy = ["rsync", "-a", "--filter", "dir-merge,- .gitignore", "--exclude", ".venv", f"{ROOT}/", loopback.checkout]
    subprocess.run(copy, check=True)
    (loopback.checkout / "cluster" / "here.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (folder / "sshd_config").write_text(
        SSHD.format(folder=folder, port=ports["sshd"], mark=MARK, head=HEAD, worker=WORKER), encoding="utf-8"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
