"""Edits of valid files that leave them valid: what Ray or the operator fills in, and other ways to say the same."""

import codecs
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.check import check_file, main

CHECKOUT = Path(__file__).parents[3]

AWS, GCP, KUBERAY, LOCAL = "config.yaml", "gcp.yaml", "kuberay.yaml", "onprem.yaml"

RULES = """deletionStrategy:
    deletionRules:
      - {policy: DeleteCluster, condition: {jobStatus: SUCCEEDED, ttlSeconds: 600}}
      - {policy: DeleteSelf, condition: {jobStatus: FAILED, ttlSeconds: 3600}}
"""

POLICIES = "deletionStrategy: {onSuccess: {policy: DeleteCluster}, onFailure: {policy: DeleteCluster}}\n"

SHUTDOWN = "shutdownAfterJobFinishes: true  # delete the cluster when the study ends\n"

UTF_16 = (
    "expected UTF-8 text, got UTF-16, which PowerShell's > writes; save it with the encoding UTF-8 "
    "(in PowerShell: | Out-File -Encoding utf8)."
)

TTL = "  ttlSecondsAfterFinished: 600  # after ten minutes, to read the logs\n"

EDITS: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "no resources, which Ray looks up on AWS": (AWS, (("    resources: {CPU: 8, GPU: 1}", "    #"),)),
    "some resources": (AWS, (("resources: {CPU: 8, GPU: 1}", "resources: {CPU: 8}"),)),
    "no numbers of workers": (
        AWS,
        (("    min_workers: 0", "    #"), ("    max_workers: 4\n", ""), ("max_workers: 4  #", "#")),
    ),
    "no max_workers of the head": (GCP, (("    max_workers: 0  # one head", "    #"),)),
    "no login": (AWS, (("auth:\n  ssh_user: ubuntu", "#"),)),
    "the head's type named as Ray's": (
        AWS,
        (("head_node_type: head\n", ""), ("\n  head:\n", "\n  ray.head.default:\n")),
    ),
    "the head's type named as Ray's on Google Cloud": (
        GCP,
        (("head_node_type: head\n", ""), ("\n  head:\n", "\n  ray_head_default:\n")),
    ),
    "empty keys of early versions": (AWS, (("head_node_type: head", "head_node: {}\nhead_node_type: head"),)),
    "workers without a GPU": (
        AWS,
        (("resources: {CPU: 8, GPU: 1}", "resources: {CPU: 8}"), ("InstanceType: g6.2x", "InstanceType: m7i.2x")),
    ),
    "results on a mounted share": (
        AWS,
        (
            ("PAN_STUDY_OUTPUT=$PAN_STUDY_BUCKET/results", "PAN_STUDY_OUTPUT=/mnt/efs/results"),
            ("  - cd ~/pan-study && make", "  - sudo mount -t nfs4 fs:/ /mnt/efs\n  - cd ~/pan-study && make"),
        ),
    ),
    "exports in .bashrc": (
        AWS,
        (
            ("~/.pan-study  #", "~/.bashrc  #"),
            ("grep -qs pan-study ~/.bashrc || echo '. ~/.pan-study' >> ~/.bashrc", "echo none"),
        ),
    ),
    "a token on AWS": (
        AWS,
        (
            ("RAY_AUTH_MODE=disabled", "RAY_AUTH_MODE=token"),
            ("head_setup_commands: []", "head_setup_commands: [ray get-auth-token --generate]"),
            ("cluster_name:", "cluster_synced_files: [~/.ray/auth_token]\ncluster_name:"),
        ),
    ),
    "another port": (AWS, (("--port=6379", "--port=6400"), ("$RAY_HEAD_IP:6379", "$RAY_HEAD_IP:6400"))),
    "narrow scopes of a worker": (
        GCP,
        (
            (
                '*worker_account, scopes: ["https://www.googleapis.com/auth/cloud-platform"]',
                '*worker_account, scopes: ["https://www.googleapis.com/auth/devstorage.read_only"]',
            ),
        ),
    ),
    "no external addresses": (
        GCP,
        (
            ("          accessConfigs: [{name: External NAT, type: ONE_TO_ONE_NAT}]\n", ""),
            ("provider:\n", "provider:\n  use_internal_ips: true\n"),
        ),
    ),
    "machines that were set up by hand": (
        LOCAL,
        (("file_mounts:\n  ~/pan-study: .", "file_mounts: {}"), ("cd ~/pan-study && make setup", "echo none")),
    ),
    "one on-premise machine": (
        LOCAL,
        (("[10.0.0.2, 10.0.0.3]", "[]"), ("export RAY_enable_autoscaler_v2=0;", "")),
    ),
    "autoscaler v1 for one command": (
        LOCAL,
        (
            ("export RAY_enable_autoscaler_v2=0;", ""),
            ("ray start --head", "RAY_enable_autoscaler_v2=0 ray start --head"),
        ),
    ),
    "deletion rules": (KUBERAY, ((SHUTDOWN, RULES), (TTL, ""))),
    "deletion policies": (KUBERAY, ((SHUTDOWN, POLICIES), (TTL, ""))),
    "deletion policies besides a shutdown": (KUBERAY, ((SHUTDOWN, f"{SHUTDOWN}  {POLICIES}"),)),
    "a fixed number of workers": (
        KUBERAY,
        (
            ("enableInTreeAutoscaling: true", "enableInTreeAutoscaling: false"),
            ("autoscalerOptions:", "#"),
            ("  idleTimeoutSeconds: 600", "#"),
            ("replicas: 0  # no cost", "replicas: 4  #"),
            ("maxReplicas: 4", "maxReplicas: 8"),
        ),
    ),
    "workers without a GPU on Kubernetes": (
        KUBERAY,
        ((", nvidia.com/gpu: 1", ""), ("4 x CPU=7,GPU=1", "4 x CPU=7")),
    ),
    "0 GPUs on Kubernetes": (KUBERAY, (("nvidia.com/gpu: 1", "nvidia.com/gpu: 0"), ("4 x CPU=7,GPU=1", "4 x CPU=7"))),
    "other resources in the same file": (
        KUBERAY,
        (
            (
                "apiVersion: ray.io/v1\nkind: RayCluster",
                "apiVersion: v1\nkind: ServiceAccount\n---\napiVersion: ray.io/v1\nkind: RayCluster",
            ),
        ),
    ),
}


@pytest.mark.parametrize("what", EDITS)
def test_a_file_stays_valid(what: str, filled: Callable[[str], str], tmp_path: Path):
    name, edits = EDITS[what]
    text = filled(name)
    for before, after in edits:
        assert before in text
        text = text.replace(before, after)
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    problems, outline = check_file(path, CHECKOUT)
    assert [str(problem) for problem in problems] == []
    assert outline


def test_a_cron_job_is_checked_as_its_job(filled: Callable[[str], str], tmp_path: Path):
    values: dict[str, Any]
    job: dict[str, Any]
    values, _, job = yaml.safe_load_all(filled(KUBERAY))
    spec = {"schedule": "0 2 * * *", "jobTemplate": job["spec"]}
    cron = {**job, "kind": "RayCronJob", "spec": spec}
    path = tmp_path / KUBERAY
    path.write_text(yaml.safe_dump_all([values, cron]), encoding="utf-8")
    problems, outline = check_file(path, CHECKOUT)
    assert problems == []
    assert outline == "RayCronJob: a head and 0 to 4 pods 'gpu' of 1 GPU, at most 4 GPUs"
    del job["spec"]["shutdownAfterJobFinishes"]
    del spec["schedule"]
    path.write_text(yaml.safe_dump_all([values, cron]), encoding="utf-8")
    assert [str(problem) for problem in check_file(path, CHECKOUT)[0]] == [
        "RayCronJob.spec.schedule: must be five fields as of cron, such as '0 2 * * *', got ''.",
        "RayCronJob.spec.jobTemplate.shutdownAfterJobFinishes: must be true, got nothing; otherwise the cluster keeps "
        "running and costs money.",
    ]


@pytest.mark.parametrize(
    "encode", [lambda text: codecs.BOM_UTF8 + text.encode(), lambda text: text.replace("\n", "\r\n").encode()]
)
def test_a_byte_order_mark_and_windows_line_ends_are_read(
    encode: Callable[[str], bytes], filled: Callable[[str], str], tmp_path: Path
):
    path = tmp_path / AWS
    path.write_bytes(encode(filled(AWS)))
    assert check_file(path, CHECKOUT)[0] == []


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("a: b\n".encode("utf-16"), UTF_16),
        ("a: b\n".encode("utf-16-le"), UTF_16),
        (
            b"a: b\r\nc: \xe9\n",
            "expected UTF-8 text, got b'\\xe9' in line 2; save the file with the encoding UTF-8.",
        ),
        (b"a: b\nc: \0\n", "line 2: contains a NUL character, as in a binary file; save it as UTF-8 text."),
        (b"", "the file is empty."),
        (b"# only a comment\n", "the file is empty."),
        (b"text\n", "a cluster file must be a single mapping of keys; see cluster/config.yaml."),
        (
            b'{"schema": "pan-study/best-config/1", "dataset": "cub"}',
            "the file describes no cluster: it has neither provider nor cluster_name; see cluster/config.yaml.",
        ),
        (b"a: &a [*a]\n", "the file is not valid YAML: Circular reference detected."),
        (b"a:\n\tb: 1\n", "line 2: indented with a tab, which YAML forbids; use spaces."),
    ],
)
def test_another_file_is_reported_in_one_line(
    content: bytes, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "odd.yaml"
    path.write_bytes(content)
    assert main([str(path)]) == 2
    assert capsys.readouterr().err == f"{path}: {line}\n"


def test_a_folder_is_reported_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main([str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"{tmp_path}: the file cannot be read: Is a directory.\n"


def test_a_value_of_several_lines_is_printed_in_one(
    filled: Callable[[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / KUBERAY
    script = "\\n".join(f"echo \\t step {number} \\e[31m" for number in range(300))
    text = filled(KUBERAY).replace("entrypoint: >-", f'entrypoint: "{script}"\n  # entrypoint: >-', 1)
    job = text.index("    /home/ray/pan-study/.venv/bin/python")
    path.write_text(text[:job] + text[text.index("  shutdownAfterJob", job) :], encoding="utf-8")
    assert main([str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{path}: RayJob.spec.entrypoint: must run study/run.py, got 'echo step 0 [31m echo step 1 ")
    assert line.endswith("'; see cluster/kuberay.yaml.")
    assert line.isprintable()
    assert len(line) <= 500
