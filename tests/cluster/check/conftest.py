"""The shipped files with their placeholders filled in, as a user would."""

from collections.abc import Callable
from pathlib import Path

import pytest

SHIPPED = Path(__file__).parents[3] / "cluster"

VALUES = {
    "YOUR-BUCKET": "birds",
    "YOUR-SECURITY-GROUP": "sg-0123456789abcdef0",
    "YOUR-IMAGE": "ami-0123456789abcdef0",
    "YOUR-PROJECT": "birds-123",
    "YOUR-FILESTORE-ADDRESS": "10.0.0.2",
    "YOUR-REGISTRY": "ghcr.io/birds",
}

ONPREM = """
cluster_name: pan-study
max_workers: 2
min_workers: 2
provider: {type: local, head_ip: 10.0.0.1, worker_ips: [10.0.0.2, 10.0.0.3]}
auth: {ssh_user: ubuntu}
file_mounts: {"~/pan-study": "."}
rsync_exclude: [/.venv, /results, /data]
setup_commands:
  - cd ~/pan-study && make setup
head_start_ray_commands:
  - ray start --head --port=6379 --autoscaling-config=~/ray_bootstrap_config.yaml
worker_start_ray_commands:
  - ray start --address=$RAY_HEAD_IP:6379
"""
"""A small file for machines of one's own."""


@pytest.fixture(scope="session")
def filled() -> Callable[[str], str]:
    """The text of a shipped file by its name, filled in; onprem.yaml is the small one."""

    def fill(name: str) -> str:
        text = ONPREM if name == "onprem.yaml" else (SHIPPED / name).read_text(encoding="utf-8")
        for placeholder, value in VALUES.items():
            text = text.replace(placeholder, value)
        return text

    return fill
