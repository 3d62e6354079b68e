"""Mistakes planted in valid files: each is one edit, and the line that the check must print for it."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from cluster.check import check_file

CHECKOUT = Path(__file__).parents[3]

AWS, GCP, KUBERAY, LOCAL = "config.yaml", "gcp.yaml", "kuberay.yaml", "onprem.yaml"


class Mistake(NamedTuple):
    """A mistake: its description, the file, the text before and after the edit, and the start of the expected line."""

    what: str
    file: str
    before: str
    after: str
    line: str


MISTAKES = [
    Mistake(
        "a key twice",
        AWS,
        "max_workers: 4  #",
        "max_workers: 2\nmax_workers: 4  #",
        "line 19: duplicate key 'max_workers', first given on line 18; remove one of the two.",
    ),
    Mistake(
        "a key that is a number",
        AWS,
        "provider:\n  type: aws",
        "provider:\n  3: 3\n  type: aws",
        "line 23: keys must be strings, got 3; quote it or remove it.",
    ),
    Mistake(
        "a tab",
        AWS,
        "  type: aws",
        "\ttype: aws",
        "line 23: indented with a tab, which YAML forbids; use spaces.",
    ),
    Mistake(
        "a quote that does not end",
        AWS,
        "cluster_name: pan-study",
        "cluster_name: 'pan-study",
        (
            "line 28: invalid YAML: expected <block end>, but found '<scalar>', got 'ssh_user: ubuntu  # of "
            "Ubuntu's images; the first `ray up` creates a key pair in ~/.ssh'."
        ),
    ),
    Mistake(
        "an anchor that is not there",
        AWS,
        "ImageId: *image",
        "ImageId: *imge",
        (
            "line 37: invalid YAML: found undefined alias 'imge', got 'ImageId: *imge  # the same image as the "
            "workers', so that all nodes have the same Python'."
        ),
    ),
    Mistake(
        "indentation",
        AWS,
        "  region: *region\n",
        " region: *region\n",
        "line 24: invalid YAML: expected <block end>, but found '<block mapping start>', got 'region: *region'.",
    ),
    Mistake(
        "a key of Ray's misspelt",
        AWS,
        "idle_timeout_minutes: 10",
        "idle_timeout_minute: 10",
        "idle_timeout_minute: Ray has no such key; did you mean 'idle_timeout_minutes'?",
    ),
    Mistake(
        "a node type's key misspelt",
        AWS,
        "    min_workers: 0",
        "    min_worker: 0",
        "available_node_types.gpu.min_worker: Ray has no such key; did you mean 'min_workers'?",
    ),
    Mistake(
        "text for a number",
        AWS,
        "max_workers: 4  #",
        "max_workers: four  #",
        "max_workers: Ray's schema rejects this value: 'four' is not of type 'integer'.",
    ),
    Mistake(
        "a command that is no list",
        AWS,
        "head_setup_commands: []",
        "head_setup_commands: echo",
        "head_setup_commands: Ray's schema rejects this value: 'echo' is not of type 'array'.",
    ),
    Mistake(
        "no provider",
        AWS,
        "provider:\n  type: aws",
        "metadat:\n  type: aws",
        "metadat: Ray has no such key; did you mean 'metadata'?",
    ),
    Mistake(
        "a provider of another name",
        AWS,
        "  type: aws",
        "  type: awss",
        "provider.type: must be one of aws, gcp, local, got 'awss'; did you mean 'aws'?",
    ),
    Mistake(
        "half a GPU",
        AWS,
        "GPU: 1}",
        "GPU: 0.5}",
        "available_node_types.gpu.resources.GPU: Ray's schema rejects this value: 0.5 is not of type 'integer'.",
    ),
    Mistake(
        "a head that is not there",
        AWS,
        "head_node_type: head",
        "head_node_type: haed",
        "head_node_type: must be one of head, gpu, got 'haed'; did you mean 'head'?",
    ),
    Mistake(
        "more heads",
        AWS,
        "    max_workers: 0  # one head",
        "    max_workers: 2",
        "available_node_types.head.max_workers: must be 0 for the head, got 2; otherwise Ray may start more heads.",
    ),
    Mistake(
        "min above max",
        AWS,
        "    min_workers: 0",
        "    min_workers: 9",
        "max_workers: must be at least 9, the sum of all min_workers, got 4; raise it or lower them.",
    ),
    Mistake(
        "max_workers that is never reached",
        AWS,
        "max_workers: 4  #",
        "max_workers: 40  #",
        "max_workers: must be at most 4, the sum of the node types' max_workers, got 40; raise theirs or lower it.",
    ),
    Mistake(
        "no worker at all",
        AWS,
        "max_workers: 4  #",
        "max_workers: 0  #",
        "max_workers: no worker can start, so no trial can run; allow at least one.",
    ),
    Mistake(
        "no idle timeout",
        AWS,
        "idle_timeout_minutes: 10",
        "# idle_timeout_minutes: 10",
        "idle_timeout_minutes: missing; set the minutes after which an idle worker is terminated.",
    ),
    Mistake(
        "an idle timeout in seconds",
        AWS,
        "idle_timeout_minutes: 10",
        "idle_timeout_minutes: 600",
        (
            "idle_timeout_minutes: must be between 1 and 60, got 600; less ends workers between two trials, more "
            "pays for idle machines."
        ),
    ),
    Mistake(
        "no resources",
        GCP,
        "resources: {CPU: 8, GPU: 1}",
        "resources: {}",
        (
            "available_node_types.gpu.resources: must contain the machine's CPUs, such as {CPU: 8}, got nothing; "
            "a study plans with them."
        ),
    ),
    Mistake(
        "workers without CPUs",
        AWS,
        "resources: {CPU: 8, GPU: 1}",
        "resources: {CPU: 0, GPU: 1}",
        "available_node_types.gpu.resources: CPU must be at least 1, got 0; every trial needs one.",
    ),
    Mistake(
        "min_workers where it does not count",
        AWS,
        "max_workers: 4  #",
        "min_workers: 1\nmax_workers: 4  #",
        "min_workers: Ray ignores it here, got 1; set it in a node type.",
    ),
    Mistake(
        "a provider without a check",
        AWS,
        "  type: aws",
        "  type: azure",
        (
            "provider.type: must be one of aws, gcp, local, got 'azure'; other providers are checked against "
            "Ray's schema only."
        ),
    ),
    Mistake(
        "a region that is none",
        AWS,
        "&region us-east-1",
        "&region us-east1",
        "provider.region: AWS has no region 'us-east1'; did you mean 'us-east-1'?",
    ),
    Mistake(
        "a zone of another region",
        AWS,
        "  region: *region\n",
        "  region: *region\n  availability_zone: us-east-1a, us-west-2b\n",
        (
            "provider.availability_zone: must name zones of us-east-1, such as us-east-1a, got 'us-west-2b'; "
            "correct it or remove the key."
        ),
    ),
    Mistake(
        "InstanceTyp",
        AWS,
        "InstanceType: g6.2xlarge",
        "InstanceTyp: g6.2xlarge",
        "available_node_types.gpu.node_config.InstanceTyp: EC2 has no such key; did you mean 'InstanceType'?",
    ),
    Mistake(
        "an instance type misspelt",
        AWS,
        "InstanceType: g6.2xlarge",
        "InstanceType: g6.2xlage",
        "available_node_types.gpu.node_config.InstanceType: unknown machine 'g6.2xlage'; did you mean 'g6.2xlarge'?",
    ),
    Mistake(
        "an instance type not in the table",
        AWS,
        "InstanceType: g6.2xlarge",
        "InstanceType: g6f.2xlarge",
        (
            "available_node_types.gpu.node_config.InstanceType: 'g6f.2xlarge' is not in "
            "cluster/instance_types.toml; add a line there with its CPUs and GPUs."
        ),
    ),
    Mistake(
        "a machine without a GPU",
        AWS,
        "InstanceType: g6.2xlarge",
        "InstanceType: m7i.2xlarge",
        (
            "available_node_types.gpu.node_config.InstanceType: resources declare a GPU, but 'm7i.2xlarge' has "
            "none; choose g4dn, g5, g6, g6e, p4d or p5."
        ),
    ),
    Mistake(
        "resources of another machine",
        AWS,
        "InstanceType: g6.2xlarge",
        "InstanceType: g6.12xlarge",
        (
            "available_node_types.gpu.resources: CPU must be 48, as g6.12xlarge has, got 8; a study plans with it"
            " before workers start."
        ),
    ),
    Mistake(
        "a GPU too old",
        AWS,
        "InstanceType: g6.2xlarge",
        "InstanceType: p3.2xlarge",
        (
            "available_node_types.gpu.node_config.InstanceType: torch in requirements.lock uses CUDA 13, which "
            "needs compute capability 7.5 or higher, got 'p3.2xlarge' with 7; choose a newer machine."
        ),
    ),
    Mistake(
        "an image by its name",
        AWS,
        "&image ami-0123456789abcdef0",
        "&image ubuntu-24.04",
        (
            "available_node_types.head.node_config.ImageId: must be ami- and 17 hexadecimal digits, got "
            "'ubuntu-24.04'; cluster/config.yaml shows how to find the newest."
        ),
    ),
    Mistake(
        "a truncated image id",
        AWS,
        "&image ami-0123456789abcdef0",
        "&image ami-0123456789",
        (
            "available_node_types.head.node_config.ImageId: must be ami- and 17 hexadecimal digits, got "
            "'ami-0123456789'; cluster/config.yaml shows how to find the newest."
        ),
    ),
    Mistake(
        "a market misspelt",
        AWS,
        "MarketType: spot",
        "MarketType: spott",
        (
            "available_node_types.gpu.node_config.InstanceMarketOptions.MarketType: EC2 does not accept 'spott' "
            "here; did you mean 'spot'?"
        ),
    ),
    Mistake(
        "no market",
        AWS,
        "        MarketType: spot",
        "        # MarketType: spot",
        (
            "available_node_types.gpu.node_config.InstanceMarketOptions.MarketType: missing; choose spot, or "
            "on-demand for machines that AWS never reclaims, at more than twice the price."
        ),
    ),
    Mistake(
        "a head on spot",
        AWS,
        "MetadataOptions: {HttpTokens: required}  #",
        "InstanceMarketOptions: {MarketType: spot}  #",
        (
            "available_node_types.head.node_config.InstanceMarketOptions: the head must not be a spot machine, "
            "got MarketType 'spot': losing it ends the study; remove these lines."
        ),
    ),
    Mistake(
        "persistent spot",
        AWS,
        "SpotInstanceType: one-time",
        "SpotInstanceType: persistent",
        (
            "available_node_types.gpu.node_config.InstanceMarketOptions.SpotOptions.SpotInstanceType: must be "
            "one-time, got 'persistent': AWS would start machines that Ray does not manage."
        ),
    ),
    Mistake(
        "spot machines that stop",
        AWS,
        "InstanceInterruptionBehavior: terminate",
        "InstanceInterruptionBehavior: stop",
        (
            "available_node_types.gpu.node_config.InstanceMarketOptions.SpotOptions.InstanceInterruptionBehavior:"
            " must be terminate, got 'stop': stopped machines still cost money."
        ),
    ),
    Mistake(
        "a price as a number",
        AWS,
        "SpotInstanceType: one-time",
        "MaxPrice: 0.6",
        (
            "available_node_types.gpu.node_config.InstanceMarketOptions.SpotOptions.MaxPrice: EC2 requires a "
            "string here, got 0.6."
        ),
    ),
    Mistake(
        "a price with a sign",
        AWS,
        "SpotInstanceType: one-time",
        "MaxPrice: $0.60",
        (
            "available_node_types.gpu.node_config.InstanceMarketOptions.SpotOptions.MaxPrice: must be US dollars "
            "per hour as a string, such as '0.60', got '$0.60'; correct it or remove it."
        ),
    ),
    Mistake(
        "a disk too small",
        AWS,
        "VolumeSize: 150",
        "VolumeSize: 30",
        (
            "available_node_types.gpu.node_config.BlockDeviceMappings[0].Ebs.VolumeSize: must be at least 100 GB "
            "for image, .venv and data, got 30; raise it."
        ),
    ),
    Mistake(
        "a disk's size as text",
        AWS,
        "VolumeSize: 150",
        "VolumeSize: 150GB",
        (
            "available_node_types.gpu.node_config.BlockDeviceMappings[0].Ebs.VolumeSize: EC2 requires a whole "
            "number here, got '150GB'."
        ),
    ),
    Mistake(
        "gp2",
        AWS,
        "VolumeSize: 150, VolumeType: gp3",
        "VolumeSize: 150, VolumeType: gp2",
        (
            "available_node_types.gpu.node_config.BlockDeviceMappings[0].Ebs.VolumeType: must be gp3, which is "
            "faster and cheaper, got 'gp2'."
        ),
    ),
    Mistake(
        "a disk that stays",
        AWS,
        "VolumeSize: 150, VolumeType: gp3, DeleteOnTermination: true",
        "VolumeSize: 150, VolumeType: gp3, DeleteOnTermination: false",
        (
            "available_node_types.gpu.node_config.BlockDeviceMappings[0].Ebs.DeleteOnTermination: must be true; "
            "otherwise disks remain, and cost money, after their machines are terminated."
        ),
    ),
    Mistake(
        "Amazon Linux's root",
        AWS,
        "DeviceName: /dev/sda1  #",
        "DeviceName: /dev/xvda  #",
        (
            "available_node_types.head.node_config.BlockDeviceMappings: must contain the root disk /dev/sda1, got"
            " '/dev/xvda'; otherwise it is only as large as the image."
        ),
    ),
    Mistake(
        "no security group",
        AWS,
        "SecurityGroupIds: [*security_group]\n",
        "# none\n",
        (
            "available_node_types.head.node_config.SecurityGroupIds: missing, so Ray would create a group with "
            "ssh open to 0.0.0.0/0; name a group that allows your address only."
        ),
    ),
    Mistake(
        "a security group by its name",
        AWS,
        "&security_group sg-0123456789abcdef0",
        "&security_group my-group",
        (
            "available_node_types.head.node_config.SecurityGroupIds: must be group ids, sg- and 17 hexadecimal "
            "digits, got 'my-group'; see `aws ec2 describe-security-groups`."
        ),
    ),
    Mistake(
        "a port for everybody",
        AWS,
        "  cache_stopped_nodes",
        (
            "  security_group: {IpPermissions: [{FromPort: 8265, ToPort: 8265, IpProtocol: tcp, IpRanges: "
            "[{CidrIp: 0.0.0.0/0}]}]}\n  cache_stopped_nodes"
        ),
        (
            "provider.security_group.IpPermissions[0]: ports 8265 to 8265 would be open to the internet, got "
            "0.0.0.0/0; use `ray dashboard`, which tunnels through ssh."
        ),
    ),
    Mistake(
        "no rights on the bucket",
        AWS,
        "IamInstanceProfile: {Name: pan-study-worker}",
        "# IamInstanceProfile: {Name: pan-study-worker}",
        (
            "available_node_types.gpu.node_config.IamInstanceProfile: missing, so the machine cannot read the "
            "bucket; name the instance profile created in cluster/README.md."
        ),
    ),
    Mistake(
        "rights misspelt",
        AWS,
        "IamInstanceProfile: {Name: pan-study-worker}",
        "IamInstanceProfile: {Nam: pan-study-worker}",
        "available_node_types.gpu.node_config.IamInstanceProfile.Nam: EC2 has no such key; did you mean 'Name'?",
    ),
    Mistake(
        "a key file that is not there",
        AWS,
        "  ssh_user: ubuntu",
        "  ssh_private_key: ~/.ssh/none.pem\n  ssh_user: ubuntu",
        "available_node_types.head.node_config.KeyName: missing; name the key pair of auth.ssh_private_key.",
    ),
    Mistake(
        "a key pair without its file",
        AWS,
        "ImageId: *image  #",
        "KeyName: birds\n      ImageId: *image  #",
        (
            "available_node_types.head.node_config.KeyName: requires auth.ssh_private_key, the private key of "
            "'birds'; add it or remove both."
        ),
    ),
    Mistake(
        "a login without its user",
        AWS,
        "  ssh_user: ubuntu",
        "  ssh_proxy_command: nc %h %p #",
        "auth.ssh_user: missing; add the user's name on the nodes.",
    ),
    Mistake(
        "no code on the nodes",
        AWS,
        '{"~/pan-study": "."}',
        '{"~/docs": docs}',
        'file_mounts: no entry uploads this checkout, so nodes would have no code; add: {"~/pan-study": "."}',
    ),
    Mistake(
        "a mount that is not there",
        AWS,
        '{"~/pan-study": "."}',
        '{"~/pan-study": ".", "~/masks": masks}',
        "file_mounts['~/masks']: 'masks' does not exist in ",
    ),
    Mistake(
        "a mount's place that is no path",
        AWS,
        '{"~/pan-study": "."}',
        '{"~/pan-study": ".", "masks": docs}',
        "file_mounts['masks']: a path on the nodes must start with ~/ or /, got 'masks'.",
    ),
    Mistake(
        "the environment is sent",
        AWS,
        "/.venv, ",
        "",
        "rsync_exclude: '/.venv' is missing; add it, because it takes gigabytes and only works on this machine.",
    ),
    Mistake(
        "data that is code",
        AWS,
        "/results, /data,",
        "/results, data,",
        "rsync_exclude[3]: 'data' also excludes pan_model/data; write '/data' to exclude only the one in the root.",
    ),
    Mistake(
        "the commit is left behind",
        AWS,
        "[/.venv, ",
        "[.git, /.venv, ",
        "rsync_exclude: '.git' must be uploaded, because results record the git commit; remove this entry.",
    ),
    Mistake(
        "no setup from the lock",
        AWS,
        "cd ~/pan-study && make setup",
        "cd ~/pan-study && make stup",
        "setup_commands: no command installs requirements.lock; add: cd ~/pan-study && make setup",
    ),
    Mistake(
        "the environment in the mount",
        AWS,
        "ln -s ~/.pan-study-venv .venv",
        "cp -r ~/.pan-study-venv .venv",
        (
            "setup_commands: no command replaces .venv by a link, as in cluster/config.yaml; Ray reads all "
            "mounted files for each worker."
        ),
    ),
    Mistake(
        "Ray installed besides the lock",
        AWS,
        "head_setup_commands: []",
        "head_setup_commands: ['pip install -U \"ray[default]\" boto3']",
        (
            "head_setup_commands[0]: ray, boto3 must be installed from requirements.lock only, got 'pip install "
            '-U "ray[default]" boto3\'; remove the command.'
        ),
    ),
    Mistake(
        "the lock's ray is not first",
        AWS,
        "export PATH=$HOME/pan-study/.venv/bin:$PATH",
        "export PTH=x",
        "setup_commands: no command puts .venv/bin first on PATH; add: export PATH=$HOME/pan-study/.venv/bin:$PATH",
    ),
    Mistake(
        "another version",
        AWS,
        "PAN_STUDY_VERSION=0.1.0",
        "PAN_STUDY_VERSION=0.0.9",
        (
            "setup_commands[1]: PAN_STUDY_VERSION must be 0.1.0, as in pyproject.toml, got '0.0.9'; the file "
            "belongs to another checkout; compare it with the file in this one."
        ),
    ),
    Mistake(
        "no version",
        AWS,
        "PAN_STUDY_VERSION=0.1.0",
        "VERSION=0.1.0",
        "setup_commands: no command exports the version of this package; add: export PAN_STUDY_VERSION=0.1.0",
    ),
    Mistake(
        "results on the head",
        AWS,
        "export PAN_STUDY_OUTPUT=",
        "export PAN_STUDY_OUT=",
        (
            "setup_commands: no command exports PAN_STUDY_OUTPUT, so results would be lost with the head's disk; "
            "set it to a bucket URL or a shared folder."
        ),
    ),
    Mistake(
        "results on gs://",
        GCP,
        "PAN_STUDY_OUTPUT=/mnt/pan-study/results",
        "PAN_STUDY_OUTPUT=$PAN_STUDY_BUCKET/results",
        (
            "setup_commands[3]: PAN_STUDY_OUTPUT must be s3://BUCKET/.. or a shared folder, got "
            "'gs://birds/results'; cluster/gcp.yaml mounts one."
        ),
    ),
    Mistake(
        "a bucket without its scheme",
        AWS,
        "PAN_STUDY_BUCKET=s3://birds",
        "PAN_STUDY_BUCKET=birds",
        (
            "setup_commands[2]: PAN_STUDY_OUTPUT must be s3://BUCKET/.. or a shared folder, got 'birds/results'; "
            "cluster/gcp.yaml mounts one."
        ),
    ),
    Mistake(
        "no data root",
        AWS,
        "export PAN_STUDY_DATA_ROOT=",
        "export PAN_STUDY_DATA=",
        (
            "setup_commands: no command exports PAN_STUDY_DATA_ROOT, so a study would read data from `data`; set "
            "it to a folder that every node has."
        ),
    ),
    Mistake(
        "a dashboard for all",
        AWS,
        "--dashboard-host=127.0.0.1",
        "--dashboard-host=0.0.0.0",
        (
            "head_start_ray_commands[1]: --dashboard-host must be 127.0.0.1, because the dashboard runs code; "
            "`ray dashboard` tunnels through ssh."
        ),
    ),
    Mistake(
        "workers that never start",
        AWS,
        "--autoscaling-config=~/ray_bootstrap_config.yaml ",
        "",
        (
            "head_start_ray_commands[1]: the head's `ray start` must have "
            "--autoscaling-config=~/ray_bootstrap_config.yaml, or no worker starts; add it."
        ),
    ),
    Mistake(
        "a worker that finds no head",
        AWS,
        "--address=$RAY_HEAD_IP:6379",
        "--address=auto",
        (
            "worker_start_ray_commands[1]: a worker's `ray start` must have --address=$RAY_HEAD_IP:6379, which "
            "Ray sets; add it."
        ),
    ),
    Mistake(
        "Ray's own start",
        AWS,
        (
            "worker_start_ray_commands:  # the dashboard is reached by `ray dashboard cluster/config.yaml`, "
            "through ssh\n  - ray stop\n  - ulimit -n 65536; ray start --address=$RAY_HEAD_IP:6379 "
            "--object-manager-port=8076\n"
        ),
        "",
        (
            "worker_start_ray_commands: no command is `ray start`; add it as in cluster/config.yaml, because "
            "Ray's default opens the dashboard to all."
        ),
    ),
    Mistake(
        "a zone for a region",
        GCP,
        "&region us-central1\n",
        "&region us-central1-a\n",
        (
            "provider.region: must be a region such as us-central1, got 'us-central1-a'; a zone such as "
            "us-central1-a belongs in availability_zone."
        ),
    ),
    Mistake(
        "a zone of another region",
        GCP,
        "&zone us-central1-a",
        "&zone us-east1-b",
        "provider.availability_zone: must be a zone of us-central1, such as us-central1-a, got 'us-east1-b'.",
    ),
    Mistake(
        "no project",
        GCP,
        "  project_id: *project\n",
        "",
        "provider.project_id: missing; add your project's id.",
    ),
    Mistake(
        "machineTyp",
        GCP,
        "machineType: g2-standard-8",
        "machineTyp: g2-standard-8",
        "available_node_types.gpu.node_config.machineTyp: unknown key; did you mean 'machineType'?",
    ),
    Mistake(
        "a machine misspelt",
        GCP,
        "machineType: g2-standard-8",
        "machineType: g2-standrd-8",
        (
            "available_node_types.gpu.node_config.machineType: unknown machine 'g2-standrd-8'; did you mean "
            "'g2-standard-8'?"
        ),
    ),
    Mistake(
        "a machine without a GPU",
        GCP,
        "machineType: g2-standard-8",
        "machineType: n1-standard-8",
        (
            "available_node_types.gpu.node_config.machineType: resources declare a GPU, but 'n1-standard-8' has "
            "none; choose g2 or a2, or n1 with guestAccelerators."
        ),
    ),
    Mistake(
        "a GPU added to g2",
        GCP,
        "machineType: g2-standard-8",
        (
            "guestAccelerators: [{acceleratorType: nvidia-tesla-t4, acceleratorCount: 1}]\n      machineType: "
            "g2-standard-8"
        ),
        (
            "available_node_types.gpu.node_config.guestAccelerators: only n1 machines accept added GPUs, got "
            "'g2-standard-8'; remove the lines or choose n1."
        ),
    ),
    Mistake(
        "a GPU too old",
        GCP,
        "machineType: g2-standard-8",
        (
            "guestAccelerators: [{acceleratorType: nvidia-tesla-v100, acceleratorCount: 1}]\n      machineType: "
            "n1-standard-8"
        ),
        (
            "available_node_types.gpu.node_config.machineType: torch in requirements.lock uses CUDA 13, which "
            "needs compute capability 7.5 or higher, got 'n1-standard-8' with 7; choose a newer machine."
        ),
    ),
    Mistake(
        "an accelerator misspelt",
        GCP,
        "machineType: g2-standard-8",
        (
            "guestAccelerators: [{acceleratorType: nvidia-tesla-t5, acceleratorCount: 1}]\n      machineType: "
            "n1-standard-8"
        ),
        (
            "available_node_types.gpu.node_config.guestAccelerators: unknown machine 'nvidia-tesla-t5'; did you "
            "mean 'nvidia-tesla-t4'?"
        ),
    ),
    Mistake(
        "spot misspelt",
        GCP,
        "provisioningModel: SPOT",
        "provisioningModel: SPOTT",
        (
            "available_node_types.gpu.node_config.scheduling.provisioningModel: must be SPOT, or STANDARD at more"
            " than twice the price, got 'SPOTT'; did you mean 'SPOT'?"
        ),
    ),
    Mistake(
        "a GPU machine that migrates",
        GCP,
        "onHostMaintenance: TERMINATE",
        "onHostMaintenance: MIGRATE",
        (
            "available_node_types.gpu.node_config.scheduling.onHostMaintenance: must be TERMINATE, because "
            "machines with a GPU cannot migrate, got 'MIGRATE'."
        ),
    ),
    Mistake(
        "a machine that stops",
        GCP,
        "instanceTerminationAction: DELETE",
        "instanceTerminationAction: STOP",
        (
            "available_node_types.gpu.node_config.scheduling.instanceTerminationAction: must be DELETE, got "
            "'STOP': stopped machines still cost money."
        ),
    ),
    Mistake(
        "a disk that stays",
        GCP,
        "autoDelete: true\n",
        "autoDelete: false\n",
        (
            "available_node_types.gpu.node_config.disks[0].autoDelete: must be true; otherwise disks remain, and "
            "cost money, after their machines are terminated."
        ),
    ),
    Mistake(
        "a disk too small",
        GCP,
        "diskSizeGb: 150",
        "diskSizeGb: 50",
        (
            "available_node_types.gpu.node_config.disks[0].initializeParams.diskSizeGb: must be at least 100 GB "
            "for image, .venv and data, got 50."
        ),
    ),
    Mistake(
        "a disk of another zone",
        GCP,
        "zones/us-central1-a/diskTypes",
        "zones/us-central1-b/diskTypes",
        (
            "available_node_types.head.node_config.disks[0].initializeParams.diskType: must be a disk type of the"
            " cluster's zone, such as zones/us-central1-a/diskTypes/pd-balanced, got "
            "'zones/us-central1-b/diskTypes/pd-balanced'."
        ),
    ),
    Mistake(
        "an old driver",
        GCP,
        "common-cu129-ubuntu-2404-nvidia-580",
        "common-cu128-ubuntu-2404-nvidia-570",
        (
            "available_node_types.head.node_config.disks[0].initializeParams.sourceImage: torch in "
            "requirements.lock uses CUDA 13, which needs NVIDIA driver 580 or newer, got 570; choose a newer "
            "image."
        ),
    ),
    Mistake(
        "an image's family alone",
        GCP,
        "projects/deeplearning-platform-release/global/images/family/common",
        "common",
        (
            "available_node_types.head.node_config.disks[0].initializeParams.sourceImage: must be "
            "projects/PROJECT/global/images/family/FAMILY, got 'common-cu129-ubuntu-2404-nvidia-580'."
        ),
    ),
    Mistake(
        "the default network",
        GCP,
        "global/networks/pan-study",
        "global/networks/default",
        (
            "available_node_types.head.node_config.networkInterfaces: must not be the default network, which is "
            "open to ssh from everywhere, got 'global/networks/default'; create one as in cluster/README.md."
        ),
    ),
    Mistake(
        "no account",
        GCP,
        "serviceAccounts: [{email: *worker",
        "# serviceAccounts: [{email: *worker",
        (
            "available_node_types.gpu.node_config.serviceAccounts: missing, so the machine cannot read the "
            "bucket; name the service account created in cluster/README.md."
        ),
    ),
    Mistake(
        "an image of another Ray",
        KUBERAY,
        "pan-study:0.1.0-ray2.60.0",
        "pan-study:0.1.0-ray2.50.0",
        (
            "RayCluster.spec.headGroupSpec.template.spec.containers[0].image: the image's tag must contain "
            "version 2.60.0 of Ray, as in this checkout, got 'ghcr.io/birds/pan-study:0.1.0-ray2.50.0'; rebuild "
            "it with cluster/Dockerfile, or check out the version it contains."
        ),
    ),
    Mistake(
        "an image of another version",
        KUBERAY,
        "pan-study:0.1.0-ray",
        "pan-study:0.0.9-ray",
        (
            "RayCluster.spec.headGroupSpec.template.spec.containers[0].image: the image's tag must contain "
            "version 0.1.0 of the package, as in this checkout, got 'ghcr.io/birds/pan-study:0.0.9-ray2.60.0'; "
            "rebuild it with cluster/Dockerfile, or check out the version it contains."
        ),
    ),
    Mistake(
        "Ray's image alone",
        KUBERAY,
        "ghcr.io/birds/pan-study:0.1.0-ray2.60.0",
        "pytorch/pytorch:2.9",
        (
            "RayCluster.spec.headGroupSpec.template.spec.containers[0].image: the image must be "
            ".../pan-study:0.1.0-ray2.60.0, built with cluster/Dockerfile, got 'pytorch/pytorch:2.9'; its "
            "versions are read from the tag."
        ),
    ),
    Mistake(
        "another rayVersion",
        KUBERAY,
        "rayVersion: 2.60.0",
        "rayVersion: 2.50.0",
        "RayCluster.spec.rayVersion: must be '2.60.0', as in requirements.lock, got '2.50.0'.",
    ),
    Mistake(
        "no GPU",
        KUBERAY,
        "nvidia.com/gpu: 1}\n                limits: {cpu: 7, memory: 24Gi, nvidia.com/gpu: 1}",
        "nvidia.com/gpu: 1}\n                limits: {cpu: 7, memory: 24Gi}",
        (
            "RayCluster.spec.workerGroupSpecs[0].template.spec.containers[0].resources.limits: nvidia.com/gpu "
            "must be at least 1, or no trial has a GPU, got nothing; add it."
        ),
    ),
    Mistake(
        "no autoscaling",
        KUBERAY,
        "enableInTreeAutoscaling: true",
        "enableInTreeAutoscaling: false",
        "RayCluster.spec.enableInTreeAutoscaling: must be true, or workers are neither started nor removed.",
    ),
    Mistake(
        "autoscaling misspelt",
        KUBERAY,
        "enableInTreeAutoscaling: true",
        "enableInTreeAutoscalin: true",
        "RayCluster.spec.enableInTreeAutoscalin: unknown key; did you mean 'enableInTreeAutoscaling'?",
    ),
    Mistake(
        "idle for days",
        KUBERAY,
        "idleTimeoutSeconds: 600",
        "idleTimeoutSeconds: 86400",
        (
            "RayCluster.spec.autoscalerOptions.idleTimeoutSeconds: must be between 60 and 3600, the seconds after"
            " which an idle worker is removed, got 86400."
        ),
    ),
    Mistake(
        "an open service",
        KUBERAY,
        "serviceType: ClusterIP",
        "serviceType: LoadBalancer",
        (
            "RayCluster.spec.headGroupSpec.serviceType: must be ClusterIP, got 'LoadBalancer', which would expose"
            " the dashboard; use kubectl port-forward."
        ),
    ),
    Mistake(
        "trials on the head",
        KUBERAY,
        'num-cpus: "0", ',
        "",
        (
            'RayCluster.spec.headGroupSpec.rayStartParams: num-cpus must be "0", so that no trial runs next to '
            "the driver; add it."
        ),
    ),
    Mistake(
        "no bound",
        KUBERAY,
        "maxReplicas: 4",
        "# maxReplicas: 4",
        "RayCluster.spec.workerGroupSpecs[0].maxReplicas: must be at least 1, got nothing; it limits the cost.",
    ),
    Mistake(
        "replicas above the bound",
        KUBERAY,
        "replicas: 0 ",
        "replicas: 9 ",
        "RayCluster.spec.workerGroupSpecs[0].replicas: must be between minReplicas, 0, and maxReplicas, 4, got 9.",
    ),
    Mistake(
        "no memory limit",
        KUBERAY,
        "limits: {cpu: 7, memory: 24Gi}}",
        "limits: {cpu: 7}}",
        (
            "RayCluster.spec.headGroupSpec.template.spec.containers[0].resources.limits: memory is missing; Ray "
            "takes a pod's size from its limits."
        ),
    ),
    Mistake(
        "results in the pod",
        KUBERAY,
        "PAN_STUDY_OUTPUT: s3://birds/results",
        "PAN_STUDY_OUTPUT: results",
        (
            "RayCluster.spec.headGroupSpec.template.spec.containers[0].envFrom: PAN_STUDY_OUTPUT must be "
            "s3://BUCKET/.. or in a mounted volume, got 'results'; otherwise results are lost with the pod."
        ),
    ),
    Mistake(
        "a ConfigMap misspelt",
        KUBERAY,
        (
            "envFrom: [{configMapRef: {name: pan-study}}]\n            volumeMounts: [{name: data, mountPath: "
            "/data}]\n        containers:\n          - name: ray-head"
        ),
        (
            "envFrom: [{configMapRef: {name: pan-stdy}}]\n            volumeMounts: [{name: data, mountPath: "
            "/data}]\n        containers:\n          - name: ray-head"
        ),
        (
            "RayCluster.spec.headGroupSpec.template.spec.initContainers[0].envFrom: no ConfigMap "
            "'pan-stdy' in this file; did you mean 'pan-study'?"
        ),
    ),
    Mistake(
        "a cluster that stays",
        KUBERAY,
        "shutdownAfterJobFinishes: true",
        "shutdownAfterJobFinishes: false",
        (
            "RayJob.spec.shutdownAfterJobFinishes: must be true, got False; otherwise the cluster keeps running "
            "and costs money."
        ),
    ),
    Mistake(
        "another program",
        KUBERAY,
        "study/run.py --ray",
        "run.py --ray",
        (
            "RayJob.spec.entrypoint: must run study/run.py, got '/home/ray/pan-study/.venv/bin/python "
            "/home/ray/pan-study/run.py --ray-address auto --dataset cub inshop polyvore --num-trials 256 "
            "--resume'; see cluster/kuberay.yaml."
        ),
    ),
    Mistake(
        "a retry that cannot go on",
        KUBERAY,
        " --resume\n",
        "\n",
        (
            "RayJob.spec.entrypoint: must contain --resume, because backoffLimit runs it again and an existing "
            "study is an error; add it."
        ),
    ),
    Mistake(
        "fewer workers declared than may start",
        KUBERAY,
        "4 x CPU=7,GPU=1",
        "2 x CPU=7,GPU=1",
        (
            "RayCluster.spec.headGroupSpec.template.spec.containers[0].envFrom: PAN_STUDY_WORKERS must match "
            "workerGroupSpecs at maxReplicas, '4 x CPU=7,GPU=1', got '2 x CPU=7,GPU=1'; change one of the two."
        ),
    ),
    Mistake(
        "CPUs of a pod in words",
        KUBERAY,
        "limits: {cpu: 7, memory: 24Gi, nvidia.com/gpu: 1}",
        "limits: {cpu: seven, memory: 24Gi, nvidia.com/gpu: 1}",
        (
            "RayCluster.spec.workerGroupSpecs[0].template.spec.containers[0].resources.limits: cpu must be a "
            "number of CPUs, such as 7 or 7500m, got 'seven'."
        ),
    ),
    Mistake(
        "workers declared in another format",
        KUBERAY,
        "4 x CPU=7,GPU=1",
        "four GPUs",
        (
            "RayCluster.spec.headGroupSpec.template.spec.containers[0].envFrom: PAN_STUDY_WORKERS must be a "
            "number of workers and what each has, as in "
        ),
    ),
    Mistake(
        "no workers declared",
        KUBERAY,
        "  PAN_STUDY_WORKERS: 4 x",
        "  PAN_STUDY_WORKER: 4 x",
        (
            "RayCluster.spec.headGroupSpec.template.spec.containers[0].envFrom: PAN_STUDY_WORKERS is missing; a "
            "study plans with it before workers start; add PAN_STUDY_WORKERS: 4 x CPU=7,GPU=1"
        ),
    ),
    Mistake(
        "a kind misspelt",
        KUBERAY,
        "kind: RayJob",
        "kind: RayJobs",
        "kind: unknown kind 'RayJobs'; did you mean 'RayJob'?",
    ),
    Mistake(
        "an old API",
        KUBERAY,
        "apiVersion: ray.io/v1\n",
        "apiVersion: ray.io/v1alpha1\n",
        "RayCluster.apiVersion: must be ray.io/v1, got 'ray.io/v1alpha1'.",
    ),
    Mistake(
        "more workers than machines",
        LOCAL,
        "idle_timeout_minutes: 60",
        "max_workers: 3\nidle_timeout_minutes: 60",
        "max_workers: must be at most 2, the number of worker_ips, got 3.",
    ),
    Mistake(
        "the head among the workers",
        LOCAL,
        "[10.0.0.2, 10.0.0.3]",
        "[10.0.0.1, 10.0.0.3]",
        "provider.worker_ips: '10.0.0.1' is listed 2 times, head included; list every machine once.",
    ),
    Mistake(
        "a user in an address",
        LOCAL,
        "10.0.0.3]",
        "me@10.0.0.3]",
        "provider.worker_ips[1]: must be a host name or address, without user or port, got 'me@10.0.0.3'.",
    ),
    Mistake(
        "no head",
        LOCAL,
        "  head_ip: 10.0.0.1",
        "",
        "provider.head_ip: missing; add the head's address.",
    ),
    Mistake(
        "node types on on-premise machines",
        LOCAL,
        "idle_timeout_minutes: 60",
        "available_node_types: {gpu: {resources: {}, node_config: {}}}\nidle_timeout_minutes: 60",
        (
            "Ray rejects the file, ClickException: The field available_node_types is not supported for on-premise"
            " clusters."
        ),
    ),
    Mistake(
        "no type of the head",
        AWS,
        "head_node_type: head\n",
        "",
        "head_node_type: missing, and Ray's default is none of head, gpu; add head_node_type: head",
    ),
    Mistake(
        "no node types",
        AWS,
        "available_node_types:\n",
        "metadata_2:\n",
        "available_node_types: missing; declare a head and a worker, as in cluster/config.yaml.",
    ),
    Mistake(
        "a node type without its machine",
        AWS,
        "    node_config:\n      InstanceType: g6",
        "    nod_config:\n      InstanceType: g6",
        "available_node_types.gpu: 'node_config' is missing; add it.",
    ),
    Mistake(
        "a machine as early versions of Ray describe it",
        AWS,
        "head_node_type: head",
        "worker_nodes: {InstanceType: g6.2xlarge}\nhead_node_type: head",
        "worker_nodes: Ray no longer accepts this key; describe the machine in available_node_types",
    ),
    Mistake(
        "machines that stop",
        AWS,
        "cache_stopped_nodes: false",
        "# ",
        ("provider.cache_stopped_nodes: must be false; otherwise Ray stops idle machines instead of terminating them"),
    ),
    Mistake(
        "machines that stop",
        GCP,
        "  type: gcp",
        "  type: gcp\n  cache_stopped_nodes: true",
        ("provider.cache_stopped_nodes: must be false; otherwise Ray stops idle machines instead of terminating them"),
    ),
    Mistake(
        "another image of the workers",
        AWS,
        (
            "g6.2xlarge  # 8 vCPUs for 8 trials on one L4 with 24 GB; cores limit trials on features\n      "
            "ImageId: *image"
        ),
        "g6.2xlarge\n      ImageId: ami-0123456789abcdef1",
        (
            "available_node_types.gpu.node_config.ImageId: must be the head's image, 'ami-0123456789abcdef0', so "
            "that all nodes have the same Python, got 'ami-0123456789abcdef1'."
        ),
    ),
    Mistake(
        "another image of the workers",
        GCP,
        "diskSizeGb: 150, diskType: *disk, sourceImage: *image",
        "diskSizeGb: 150, diskType: *disk, sourceImage: projects/birds/global/images/worker",
        "available_node_types.gpu.node_config.disks: must be the head's image, ",
    ),
    Mistake(
        "the workers' rights on the head",
        AWS,
        "{Name: pan-study-head}",
        "{Name: pan-study-worker}",
        (
            "available_node_types.head.node_config.IamInstanceProfile: the head's instance profile must be one "
            "that may start workers, such as pan-study-head, got 'pan-study-worker'."
        ),
    ),
    Mistake(
        "the workers' rights on the head",
        GCP,
        "email: *head_account",
        "email: *worker_account",
        (
            "available_node_types.head.node_config.serviceAccounts: the head's service account must be one that "
            "may start workers"
        ),
    ),
    Mistake(
        "credentials for forged requests",
        AWS,
        "HttpTokens: required",
        "HttpTokens: optional",
        "available_node_types.head.node_config.MetadataOptions.HttpTokens: must be required, got 'optional'",
    ),
    Mistake(
        "no client of Google's",
        GCP,
        " && python -m pip install google-api-python-client",
        "",
        ("head_setup_commands: no command installs google-api-python-client, without which the head starts no workers"),
    ),
    Mistake(
        "Ray's own setup of the head",
        GCP,
        "head_setup_commands:\n  - python -m ensurepip && python -m pip install google-api-python-client",
        "# ",
        "head_setup_commands: missing, so Ray would run its default, which installs packages for the cloud besides",
    ),
    Mistake(
        "Ray's own setup of the head",
        AWS,
        "head_setup_commands: []\n",
        "",
        "head_setup_commands: missing, so Ray would run its default, which installs packages for the cloud besides",
    ),
    Mistake(
        "no setup at all",
        AWS,
        "setup_commands:  # run on every node",
        "initialization_commands:  # ",
        "setup_commands: missing, so Ray would install another Ray than requirements.lock has",
    ),
    Mistake(
        "no driver",
        GCP,
        '      metadata: {items: [{key: install-nvidia-driver, value: "True"}]}',
        "      # ",
        (
            "available_node_types.gpu.node_config.metadata: must contain {key: install-nvidia-driver, value: "
            '"True"}, or the machine has no driver'
        ),
    ),
    Mistake(
        "no wait for the driver",
        GCP,
        "until nvidia-smi >",
        "until true >",
        "worker_setup_commands: no command waits for the GPU's driver, which the first start installs",
    ),
    Mistake(
        "no external address",
        GCP,
        "          accessConfigs: [{name: External NAT, type: ONE_TO_ONE_NAT}]\n",
        "",
        (
            "available_node_types.head.node_config.networkInterfaces: the head has no external address for ssh; "
            "add accessConfigs"
        ),
    ),
    Mistake(
        "an account without scopes",
        GCP,
        ', scopes: ["https://www.googleapis.com/auth/cloud-platform"]',
        "",
        (
            "available_node_types.head.node_config.serviceAccounts: scopes must contain "
            "https://www.googleapis.com/auth/cloud-platform, got none"
        ),
    ),
    Mistake(
        "spot machines that stop",
        GCP,
        "        instanceTerminationAction: DELETE",
        "        # ",
        (
            "available_node_types.gpu.node_config.scheduling.instanceTerminationAction: must be DELETE, got '': "
            "stopped machines still cost money."
        ),
    ),
    Mistake(
        "a spot machine that restarts",
        GCP,
        "automaticRestart: false",
        "automaticRestart: true",
        "available_node_types.gpu.node_config.scheduling.automaticRestart: must be false, got True",
    ),
    Mistake(
        "a share that is not mounted",
        GCP,
        "(mountpoint -q /mnt/pan-study || sudo mount -t nfs $PAN_STUDY_SHARE /mnt/pan-study)",
        "true",
        (
            "setup_commands[3]: no command mounts a share at /mnt/pan-study/results, so results stay on each "
            "machine's disk"
        ),
    ),
    Mistake(
        "a bucket as a share",
        GCP,
        "sudo mount -t nfs $PAN_STUDY_SHARE /mnt/pan-study",
        "gcsfuse birds /mnt/pan-study",
        (
            "setup_commands[3]: results need a share that can rename, append to and lock files, which gcsfuse "
            "cannot; mount NFS."
        ),
    ),
    Mistake(
        "a share without its address",
        GCP,
        "  - *share\n",
        "",
        "setup_commands[9]: uses $PAN_STUDY_SHARE, which no command exports; see",
    ),
    Mistake(
        "results in the home folder of each machine",
        AWS,
        "PAN_STUDY_OUTPUT=$PAN_STUDY_BUCKET/results",
        "PAN_STUDY_OUTPUT=$HOME/results",
        "setup_commands[2]: no command mounts a share at $HOME/results, so results stay on each machine's disk",
    ),
    Mistake(
        "no copy of the datasets",
        AWS,
        "  - aws s3 sync --only-show-errors $PAN_STUDY_BUCKET/data ~/data",
        "  # ",
        "setup_commands[3]: no command copies the datasets to $HOME/data; add one as in cluster/config.yaml",
    ),
    Mistake(
        "no mode of Ray's ports",
        AWS,
        "export RAY_AUTH_MODE=",
        "export AUTH_MODE=",
        (
            "setup_commands: no command exports RAY_AUTH_MODE, which all nodes must share; add: export "
            "RAY_AUTH_MODE=disabled"
        ),
    ),
    Mistake(
        "another mode of Ray's ports",
        AWS,
        "RAY_AUTH_MODE=disabled",
        "RAY_AUTH_MODE=off",
        "setup_commands[4]: RAY_AUTH_MODE must be token or disabled, got 'off'.",
    ),
    Mistake(
        "exports that no shell reads",
        AWS,
        "  - grep -qs pan-study ~/.bashrc || echo '. ~/.pan-study' >> ~/.bashrc",
        "  # ",
        (
            "setup_commands: no command makes ~/.bashrc read ~/.pan-study, which has the exports; add: echo '. "
            "~/.pan-study' >> ~/.bashrc"
        ),
    ),
    Mistake(
        "an export that ends at once",
        AWS,
        "echo 'export RAY_AUTH_MODE=disabled' >> ~/.pan-study",
        "export RAY_AUTH_MODE=disabled",
        "setup_commands[4]: the export of RAY_AUTH_MODE ends with this command; append it to ~/.bashrc",
    ),
    Mistake(
        "a head that starts over a running Ray",
        AWS,
        "head_start_ray_commands:\n  - ray stop\n",
        "head_start_ray_commands:\n",
        (
            "head_start_ray_commands: no command runs `ray stop` before `ray start`, which fails when Ray is "
            "running; add: ray stop"
        ),
    ),
    Mistake(
        "a worker at another port",
        AWS,
        "$RAY_HEAD_IP:6379",
        "$RAY_HEAD_IP:6380",
        (
            "worker_start_ray_commands[1]: a worker must join port 6379, on which the head's `ray start` listens, "
            "got 6380"
        ),
    ),
    Mistake(
        "another file for the autoscaler",
        AWS,
        "--autoscaling-config=~/ray_bootstrap_config.yaml",
        "--autoscaling-config=~/cluster.yaml",
        (
            "head_start_ray_commands[1]: the head's `ray start` must have "
            "--autoscaling-config=~/ray_bootstrap_config.yaml, or no worker starts, got ~/cluster.yaml"
        ),
    ),
    Mistake(
        "a dashboard on the network",
        AWS,
        "--dashboard-host=127.0.0.1",
        "--dashboard-host=10.0.0.1",
        "head_start_ray_commands[1]: --dashboard-host must be 127.0.0.1",
    ),
    Mistake(
        "a worker that is a head",
        AWS,
        "ray start --address=$RAY_HEAD_IP:6379",
        "ray start --head",
        "worker_start_ray_commands[1]: a worker's `ray start` must not have --head",
    ),
    Mistake(
        "version 2 of the autoscaler",
        LOCAL,
        "    export RAY_enable_autoscaler_v2=0;\n",
        "",
        "head_start_ray_commands[1]: RAY_enable_autoscaler_v2=0 must be set before `ray start`, or no worker joins",
    ),
    Mistake(
        "version 2 of the autoscaler by its value",
        LOCAL,
        "RAY_enable_autoscaler_v2=0",
        "RAY_enable_autoscaler_v2=1",
        "head_start_ray_commands[1]: RAY_enable_autoscaler_v2=0 must be set before `ray start`, or no worker joins",
    ),
    Mistake(
        "the autoscaler's version without effect",
        LOCAL,
        "    export RAY_enable_autoscaler_v2=0;\n",
        "    RAY_enable_autoscaler=0;\n",
        "head_start_ray_commands[1]: RAY_enable_autoscaler_v2=0 must be set before `ray start`, or no worker joins",
    ),
    Mistake(
        "no token",
        LOCAL,
        "  - ray get-auth-token --generate > /dev/null",
        "  - echo",
        (
            "head_setup_commands: no command creates the token of RAY_AUTH_MODE=token; add: ray get-auth-token "
            "--generate"
        ),
    ),
    Mistake(
        "workers without the token",
        LOCAL,
        "cluster_synced_files: [~/.ray/auth_token]",
        "cluster_synced_files: []",
        "cluster_synced_files: must contain ~/.ray/auth_token, or workers have no token and cannot join; add it.",
    ),
    Mistake(
        "no mode of Ray's ports",
        LOCAL,
        "export RAY_AUTH_MODE=token",
        "# ",
        (
            "setup_commands: no command exports RAY_AUTH_MODE, which all nodes must share; add: export "
            "RAY_AUTH_MODE=token"
        ),
    ),
    Mistake(
        "results that workers do not see",
        LOCAL,
        "export PAN_STUDY_OUTPUT=",
        "export OUTPUT=",
        "setup_commands: no command exports PAN_STUDY_OUTPUT, so workers would not see the results",
    ),
    Mistake(
        "no setup from the lock",
        LOCAL,
        "make setup",
        "make stup",
        "setup_commands: no command installs requirements.lock; add: cd ~/pan-study && make setup",
    ),
    Mistake(
        "no environment on PATH",
        LOCAL,
        'export PATH="$HOME/pan-study/.venv/bin:$PATH"',
        "# ",
        "setup_commands: no command puts .venv/bin first on PATH",
    ),
    Mistake(
        "exports that no shell reads",
        LOCAL,
        "  - grep -q pan-study.sh ~/.bashrc || echo '. ~/.pan-study.sh' >> ~/.bashrc",
        "  # ",
        "setup_commands: no command makes ~/.bashrc read ~/.pan-study.sh",
    ),
    Mistake(
        "the environment in the mount",
        LOCAL,
        "ln -s ~/.pan-study-venv .venv",
        "cp -r ~/.pan-study-venv .venv",
        "setup_commands: no command replaces .venv by a link",
    ),
    Mistake(
        "a worker over a running Ray",
        LOCAL,
        "worker_start_ray_commands:\n  - ray stop\n",
        "worker_start_ray_commands:\n",
        "worker_start_ray_commands: no command runs `ray stop` before `ray start`",
    ),
    Mistake(
        "no bounds for the autoscaler",
        LOCAL,
        " --autoscaling-config=~/ray_bootstrap_config.yaml",
        "",
        "head_start_ray_commands[1]: the head's `ray start` must have --autoscaling-config",
    ),
    Mistake(
        "a machine not in the table: n1-standard-2",
        GCP,
        "machineType: g2-standard-8",
        "machineType: n1-standard-2",
        (
            "available_node_types.gpu.node_config.machineType: 'n1-standard-2' is not in "
            "cluster/instance_types.toml; add a line there with its CPUs and GPUs."
        ),
    ),
    Mistake(
        "a machine not in the table: c3-standard-8",
        GCP,
        "machineType: g2-standard-8",
        "machineType: c3-standard-8",
        (
            "available_node_types.gpu.node_config.machineType: 'c3-standard-8' is not in "
            "cluster/instance_types.toml; add a line there with its CPUs and GPUs."
        ),
    ),
    Mistake(
        "a machine not in the table: a3-highgpu-8g",
        GCP,
        "machineType: g2-standard-8",
        "machineType: a3-highgpu-8g",
        (
            "available_node_types.gpu.node_config.machineType: 'a3-highgpu-8g' is not in "
            "cluster/instance_types.toml; add a line there with its CPUs and GPUs."
        ),
    ),
    Mistake(
        "a machine newer than the list of names",
        AWS,
        "InstanceType: g6.2xlarge",
        "InstanceType: g9.2xlarge",
        (
            "available_node_types.gpu.node_config.InstanceType: 'g9.2xlarge' is not in "
            "cluster/instance_types.toml; add a line"
        ),
    ),
    Mistake(
        "an accelerator that n1 does not accept",
        GCP,
        "machineType: g2-standard-8",
        "guestAccelerators: [{acceleratorType: nvidia-l4, acceleratorCount: 1}]\n      machineType: n1-standard-8",
        (
            "available_node_types.gpu.node_config.guestAccelerators: n1 machines accept nvidia-tesla-t4, "
            "nvidia-tesla-p4, nvidia-tesla-v100, nvidia-tesla-p100, got 'nvidia-l4'"
        ),
    ),
    Mistake(
        "two ways to delete the cluster",
        KUBERAY,
        (
            "  shutdownAfterJobFinishes: true  # delete the cluster when the study ends\n  "
            "ttlSecondsAfterFinished: 600  # after ten minutes, to read the logs\n"
        ),
        (
            "  shutdownAfterJobFinishes: true  # delete the cluster when the study ends\n  "
            "ttlSecondsAfterFinished: 600  # after ten minutes, to read the logs\n  deletionStrategy:\n    "
            "deletionRules:\n      - {policy: DeleteCluster, condition: {jobStatus: SUCCEEDED}}\n      - {policy: "
            "DeleteCluster, condition: {jobStatus: FAILED}}\n"
        ),
        (
            "RayJob.spec.deletionStrategy.deletionRules: the operator refuses deletionRules together with "
            "shutdownAfterJobFinishes; remove one of the two."
        ),
    ),
    Mistake(
        "old and new ways to delete the cluster",
        KUBERAY,
        (
            "  shutdownAfterJobFinishes: true  # delete the cluster when the study ends\n  "
            "ttlSecondsAfterFinished: 600  # after ten minutes, to read the logs\n"
        ),
        (
            "  deletionStrategy:\n    deletionRules:\n      - {policy: DeleteCluster, condition: {jobStatus: "
            "SUCCEEDED}}\n      - {policy: DeleteCluster, condition: {jobStatus: FAILED}}\n    onSuccess: "
            "{policy: DeleteCluster}\n"
        ),
        (
            "RayJob.spec.deletionStrategy.deletionRules: the operator refuses deletionRules together with "
            "onSuccess; remove one of the two."
        ),
    ),
    Mistake(
        "a cluster that stays after a failure",
        KUBERAY,
        (
            "  shutdownAfterJobFinishes: true  # delete the cluster when the study ends\n  "
            "ttlSecondsAfterFinished: 600  # after ten minutes, to read the logs\n"
        ),
        (
            "  deletionStrategy:\n    deletionRules:\n      - {policy: DeleteCluster, condition: {jobStatus: "
            "SUCCEEDED}}\n"
        ),
        (
            "RayJob.spec.deletionStrategy.deletionRules: no rule deletes the cluster after FAILED, so it keeps "
            "running and costs money; add {policy: DeleteCluster, condition: {jobStatus: FAILED, ttlSeconds: 600}}"
        ),
    ),
    Mistake(
        "a head that stays",
        KUBERAY,
        (
            "  shutdownAfterJobFinishes: true  # delete the cluster when the study ends\n  "
            "ttlSecondsAfterFinished: 600  # after ten minutes, to read the logs\n"
        ),
        (
            "  deletionStrategy:\n    deletionRules:\n      - {policy: DeleteNone, condition: {jobStatus: "
            "SUCCEEDED}}\n      - {policy: DeleteNone, condition: {jobStatus: FAILED}}\n"
        ),
        "RayJob.spec.deletionStrategy.deletionRules: no rule deletes the cluster after SUCCEEDED or FAILED",
    ),
    Mistake(
        "workers deleted under the autoscaler",
        KUBERAY,
        (
            "  shutdownAfterJobFinishes: true  # delete the cluster when the study ends\n  "
            "ttlSecondsAfterFinished: 600  # after ten minutes, to read the logs\n"
        ),
        (
            "  deletionStrategy:\n    deletionRules:\n      - {policy: DeleteWorkers, condition: {jobStatus: "
            "SUCCEEDED}}\n      - {policy: DeleteCluster, condition: {jobStatus: SUCCEEDED}}\n      - {policy: "
            "DeleteCluster, condition: {jobStatus: FAILED}}\n"
        ),
        (
            "RayJob.spec.deletionStrategy.deletionRules[0].policy: the operator refuses DeleteWorkers with "
            "enableInTreeAutoscaling; write DeleteCluster."
        ),
    ),
    Mistake(
        "a policy misspelt",
        KUBERAY,
        (
            "  shutdownAfterJobFinishes: true  # delete the cluster when the study ends\n  "
            "ttlSecondsAfterFinished: 600  # after ten minutes, to read the logs\n"
        ),
        (
            "  deletionStrategy:\n    deletionRules:\n      - {policy: DelteCluster, condition: {jobStatus: "
            "SUCCEEDED}}\n      - {policy: DeleteCluster, condition: {jobStatus: FAILED}}\n"
        ),
        (
            "RayJob.spec.deletionStrategy.deletionRules[0].policy: must be one of DeleteCluster, DeleteWorkers, "
            "DeleteSelf, DeleteNone, got 'DelteCluster'; did you mean 'DeleteCluster'?"
        ),
    ),
    Mistake(
        "a job deleted before its cluster",
        KUBERAY,
        (
            "  shutdownAfterJobFinishes: true  # delete the cluster when the study ends\n  "
            "ttlSecondsAfterFinished: 600  # after ten minutes, to read the logs\n"
        ),
        (
            "  deletionStrategy:\n    deletionRules:\n      - {policy: DeleteCluster, condition: {jobStatus: "
            "SUCCEEDED, ttlSeconds: 60}}\n      - {policy: DeleteSelf, condition: {jobStatus: SUCCEEDED}}\n      "
            "- {policy: DeleteCluster, condition: {jobStatus: FAILED}}\n"
        ),
        (
            "RayJob.spec.deletionStrategy.deletionRules: ttlSeconds of DeleteSelf after SUCCEEDED must be at "
            "least 60, that of DeleteCluster, got 0."
        ),
    ),
    Mistake(
        "a rule without its condition",
        KUBERAY,
        (
            "  shutdownAfterJobFinishes: true  # delete the cluster when the study ends\n  "
            "ttlSecondsAfterFinished: 600  # after ten minutes, to read the logs\n"
        ),
        "  deletionStrategy:\n    deletionRules:\n      - {policy: DeleteCluster}\n",
        (
            "RayJob.spec.deletionStrategy.deletionRules[0].condition: must contain jobStatus: SUCCEEDED or "
            "FAILED, or jobDeploymentStatus: Failed, got nothing."
        ),
    ),
    Mistake(
        "a policy for success alone",
        KUBERAY,
        (
            "  shutdownAfterJobFinishes: true  # delete the cluster when the study ends\n  "
            "ttlSecondsAfterFinished: 600  # after ten minutes, to read the logs\n"
        ),
        "  deletionStrategy: {onSuccess: {policy: DeleteCluster}}\n",
        "RayJob.spec.deletionStrategy.onFailure: missing; the operator requires both onSuccess and onFailure",
    ),
    Mistake(
        "a policy that deletes nothing",
        KUBERAY,
        (
            "  shutdownAfterJobFinishes: true  # delete the cluster when the study ends\n  "
            "ttlSecondsAfterFinished: 600  # after ten minutes, to read the logs\n"
        ),
        "  deletionStrategy: {onSuccess: {policy: DeleteCluster}, onFailure: {policy: DeleteNone}}\n",
        (
            "RayJob.spec.deletionStrategy.onFailure.policy: must be DeleteCluster or DeleteSelf, got "
            "'DeleteNone'; otherwise the cluster keeps running"
        ),
    ),
    Mistake(
        "a time without a shutdown",
        KUBERAY,
        (
            "  shutdownAfterJobFinishes: true  # delete the cluster when the study ends\n  "
            "ttlSecondsAfterFinished: 600  # after ten minutes, to read the logs\n"
        ),
        (
            "  ttlSecondsAfterFinished: 600\n  deletionStrategy:\n    deletionRules:\n      - {policy: "
            "DeleteCluster, condition: {jobStatus: SUCCEEDED}}\n      - {policy: DeleteCluster, condition: "
            "{jobStatus: FAILED}}\n"
        ),
        (
            "RayJob.spec.ttlSecondsAfterFinished: the operator accepts it only with shutdownAfterJobFinishes: "
            "true; write ttlSeconds in deletionRules."
        ),
    ),
    Mistake(
        "an empty strategy",
        KUBERAY,
        (
            "  shutdownAfterJobFinishes: true  # delete the cluster when the study ends\n  "
            "ttlSecondsAfterFinished: 600  # after ten minutes, to read the logs\n"
        ),
        "  deletionStrategy: {}\n",
        "RayJob.spec.deletionStrategy: the operator requires deletionRules, or both onSuccess and onFailure",
    ),
    Mistake(
        "a service",
        KUBERAY,
        "kind: RayJob",
        "kind: RayService",
        "kind: a RayService serves models and cannot run a study; write a RayJob or a RayCluster.",
    ),
    Mistake(
        "a GPU by another name",
        KUBERAY,
        "limits: {cpu: 7, memory: 24Gi, nvidia.com/gpu: 1}",
        "limits: {cpu: 7, memory: 24Gi, nvidia.com/gpus: 1}",
        (
            "RayCluster.spec.workerGroupSpecs[0].template.spec.containers[0].resources.limits: unknown resource "
            "'nvidia.com/gpus'; did you mean 'nvidia.com/gpu'?"
        ),
    ),
    Mistake(
        "no data root",
        KUBERAY,
        "  PAN_STUDY_DATA_ROOT: /data",
        "  DATA_ROOT: /data",
        (
            "RayCluster.spec.headGroupSpec.template.spec.containers[0].envFrom: PAN_STUDY_DATA_ROOT is missing, "
            "so a study would read data from `data`"
        ),
    ),
    Mistake(
        "no copy of the datasets",
        KUBERAY,
        "        initContainers: &fetch\n",
        "        sidecars: &fetch\n",
        "RayCluster.spec.headGroupSpec.template.spec.initContainers: no container copies the datasets to /data",
    ),
    Mistake(
        "another name than the head may terminate",
        AWS,
        "cluster_name: pan-study",
        "cluster_name: birds",
        "cluster_name: must be pan-study, as in cluster/aws/head.json, got 'birds'; otherwise the head",
    ),
    Mistake(
        "a list for the head's type",
        AWS,
        "head_node_type: head",
        "head_node_type: [head]",
        "head_node_type: must be one of head, gpu, got '['head']'.",
    ),
    Mistake(
        "Ray's own start",
        LOCAL,
        (
            "worker_start_ray_commands:\n  - ray stop\n"
            "  - ulimit -n $(ulimit -Hn); ray start --address=$RAY_HEAD_IP:6379\n"
        ),
        "",
        "worker_start_ray_commands: no command is `ray start` as in cluster/onprem.yaml; add it",
    ),
    Mistake(
        "a policy that is a mapping",
        KUBERAY,
        "  shutdownAfterJobFinishes: true  # delete the cluster when the study ends\n",
        "  deletionStrategy: {deletionRules: [{policy: {a: 1}, condition: {jobStatus: FAILED}}]}\n  #",
        "RayJob.spec.deletionStrategy.deletionRules[0].policy: must be one of DeleteCluster, DeleteWorkers,",
    ),
]


def name(mistake: Mistake) -> str:
    return f"{mistake.file}: {mistake.what}"


@pytest.mark.parametrize("mistake", MISTAKES, ids=name)
def test_a_mistake_is_reported_in_one_clear_line(mistake: Mistake, filled: Callable[[str], str], tmp_path: Path):
    good = filled(mistake.file)
    assert mistake.before in good
    path = tmp_path / mistake.file
    path.write_text(good.replace(mistake.before, mistake.after, 1), encoding="utf-8")
    problems, outline = check_file(path, CHECKOUT)
    lines = [str(problem) for problem in problems]
    assert any(line.startswith(mistake.line) for line in lines), lines
    assert len(lines) <= 4, "one mistake is not reported many times"
    assert all("\n" not in line for line in lines)
    assert outline == ""


def test_no_mistake_is_planted_twice():
    assert len({(mistake.file, mistake.what) for mistake in MISTAKES}) == len(MISTAKES) == 195
    assert len({(mistake.file, mistake.before, mistake.after) for mistake in MISTAKES}) == len(MISTAKES)
