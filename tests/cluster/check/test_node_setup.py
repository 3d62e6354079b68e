"""Setup commands of a node export what a study reads, and may run repeatedly."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

CLUSTER = Path(__file__).parents[3] / "cluster"

OF_THE_NODE = ("apt-get", "make setup", "aws s3", "gcloud", "mount", "chown")
"""Commands that only work on a cloud machine."""

OUTPUT = {"config.yaml": "s3://birds/results", "gcp.yaml": "/mnt/pan-study/results"}


@pytest.mark.parametrize("name", OUTPUT)
def test_setup_exports_version_data_and_output_however_often_it_runs(
    name: str, filled: Callable[[str], str], tmp_path: Path
):
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    (tmp_path / "pan-study" / ".venv" / "bin").mkdir(parents=True)

    def run(command: str) -> str:
        words = ["bash", "-c", f"[ ! -e ~/.bashrc ] || source ~/.bashrc; ({command})"]
        return subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout

    for _ in range(2):
        for command in yaml.safe_load(filled(name))["setup_commands"]:
            if not any(word in command for word in OF_THE_NODE):
                run(command)
    exported = run("echo $PAN_STUDY_VERSION $PAN_STUDY_OUTPUT $PAN_STUDY_DATA_ROOT ${PATH%%:*}").split()
    assert exported == ["0.1.0", OUTPUT[name], f"{tmp_path}/data", f"{tmp_path}/pan-study/.venv/bin"]
    assert (tmp_path / ".bashrc").read_text(encoding="utf-8").count("pan-study") == 1
    assert (tmp_path / "pan-study" / ".venv").resolve() == tmp_path / ".pan-study-venv"
    assert (tmp_path / "pan-study" / ".venv" / "bin").is_dir()


@pytest.mark.parametrize("name", ["trust", "head", "worker"])
def test_rights_are_written_as_aws_reads_them(name: str):
    policy = json.loads((CLUSTER / "aws" / f"{name}.json").read_text(encoding="utf-8"))
    assert policy["Version"] == "2012-10-17"
    assert all(rule["Effect"] == "Allow" and "*" not in rule["Action"] for rule in policy["Statement"])
