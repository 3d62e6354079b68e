"""Mistakes planted in files that are good: each is one edit, and the line that must be said of it."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from cluster.check import check_file

CHECKOUT = Path(__file__).parents[3]

AWS, GCP, KUBERAY, LOCAL = "config.yaml", "gcp.yaml", "kuberay.yaml", "onprem.yaml"


class Mistake(NamedTuple):
    """What was done wrong: in which file, what stood there and what stands there now, and how the line begins."""

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
        "line 19: 'max_workers' was given on line 18 already; keep one of the two.",
    ),
    Mistake(
        "a key that is a number",
        AWS,
        "provider:\n  type: aws",
        "provider:\n  3: 3\n  type: aws",
        "line 23: a key must be text, got 3; write it in quotes, or take it out.",
    ),
    Mistake(
        "a tab",
        AWS,
        "  type: aws",
        "\ttype: aws",
        "line 23: a tab indents it, which YAML forbids; use blanks.",
    ),
    Mistake(
        "a quote that does not end",
        AWS,
        "cluster_name: pan-study",
        "cluster_name: 'pan-study",
        (
            "line 20: this is no YAML: expected <block end>, but found '<scalar>', got 'idle_timeout_"
            "minutes: 10  # then a worker without a trial goes away; not sooner: a study's next data "
            "set needs it'."
        ),
    ),
    Mistake(
        "an anchor that is not there",
        AWS,
        "ImageId: *image",
        "ImageId: *imge",
        (
            "line 37: this is no YAML: found undefined alias 'imge', got 'ImageId: *imge  # the worke"
            "rs' image: one Python, one driver, one setup to keep right'."
        ),
    ),
    Mistake(
        "indentation",
        AWS,
        "  region: *region\n",
        " region: *region\n",
        ("line 24: this is no YAML: expected <block end>, but found '<block mapping start>', got 'region: *region'."),
    ),
    Mistake(
        "a key of Ray's misspelt",
        AWS,
        "idle_timeout_minutes: 10",
        "idle_timeout_minute: 10",
        "idle_timeout_minute: Ray knows no such key; did you mean 'idle_timeout_minutes'?",
    ),
    Mistake(
        "a node type's key misspelt",
        AWS,
        "    min_workers: 0",
        "    min_worker: 0",
        "available_node_types.gpu.min_worker: Ray knows no such key; did you mean 'min_workers'?",
    ),
    Mistake(
        "text for a number",
        AWS,
        "max_workers: 4  #",
        "max_workers: four  #",
        "max_workers: Ray's schema refuses this value: 'four' is not of type 'integer'.",
    ),
    Mistake(
        "a command that is no list",
        AWS,
        "head_setup_commands: []",
        "head_setup_commands: echo",
        "head_setup_commands: Ray's schema refuses this value: 'echo' is not of type 'array'.",
    ),
    Mistake(
        "no provider",
        AWS,
        "provider:\n  type: aws",
        "metadat:\n  type: aws",
        "metadat: Ray knows no such key; did you mean 'metadata'?",
    ),
    Mistake(
        "a provider of another name",
        AWS,
        "  type: aws",
        "  type: awss",
        "provider.type: this check knows aws, gcp, local, got 'awss'; did you mean 'aws'?",
    ),
    Mistake(
        "half a GPU",
        AWS,
        "GPU: 1}",
        "GPU: 0.5}",
        ("available_node_types.gpu.resources.GPU: Ray's schema refuses this value: 0.5 is not of type 'integer'."),
    ),
    Mistake(
        "a head that is not there",
        AWS,
        "head_node_type: head",
        "head_node_type: haed",
        "head_node_type: it must be one of head, gpu, got 'haed'; did you mean 'head'?",
    ),
    Mistake(
        "more heads",
        AWS,
        "    max_workers: 0  # one head",
        "    max_workers: 2",
        (
            "available_node_types.head.max_workers: it must be 0, a cluster has one head, got 2; Ray "
            "may start more of them."
        ),
    ),
    Mistake(
        "min above max",
        AWS,
        "    min_workers: 0",
        "    min_workers: 9",
        ("max_workers: it must be at least 9, the sum of all min_workers, got 4; raise it or lower them."),
    ),
    Mistake(
        "max_workers that is never reached",
        AWS,
        "max_workers: 4  #",
        "max_workers: 40  #",
        ("max_workers: it must be at most 4, what the node types allow together, got 40; raise theirs or lower it."),
    ),
    Mistake(
        "no worker at all",
        AWS,
        "max_workers: 4  #",
        "max_workers: 0  #",
        "max_workers: no worker may ever start, so no trial runs; allow some.",
    ),
    Mistake(
        "no idle timeout",
        AWS,
        "idle_timeout_minutes: 10",
        "# idle_timeout_minutes: 10",
        ("idle_timeout_minutes: it is missing; give the minutes after which an idle worker goes away."),
    ),
    Mistake(
        "an idle timeout in seconds",
        AWS,
        "idle_timeout_minutes: 10",
        "idle_timeout_minutes: 600",
        (
            "idle_timeout_minutes: it must be from 1 to 60, got 600; sooner, workers go between two t"
            "rials; later, you pay for nothing."
        ),
    ),
    Mistake(
        "no resources",
        AWS,
        "resources: {CPU: 8, GPU: 1}",
        "resources: {}",
        (
            "available_node_types.gpu.resources: it must name the machine's CPUs, got nothing; a stud"
            "y plans with them, write {CPU: 8}."
        ),
    ),
    Mistake(
        "workers without CPUs",
        AWS,
        "resources: {CPU: 8, GPU: 1}",
        "resources: {CPU: 0, GPU: 1}",
        (
            "available_node_types.gpu.resources: CPU must be at least 1, got 0; a trial needs one, so"
            " none would run there."
        ),
    ),
    Mistake(
        "min_workers where it does not count",
        AWS,
        "max_workers: 4  #",
        "min_workers: 1\nmax_workers: 4  #",
        "min_workers: Ray does not look at it here, got 1; give it in a node type.",
    ),
    Mistake(
        "one brand of check for another cloud",
        AWS,
        "  type: aws",
        "  type: azure",
        ("provider.type: this check knows aws, gcp, local, got 'azure'; of others, Ray's schema alone is looked at."),
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
            "provider.availability_zone: a zone of us-east-1 is us-east-1 and a letter, got 'us-west-"
            "2b'; name such zones, or leave the key out."
        ),
    ),
    Mistake(
        "InstanceTyp",
        AWS,
        "InstanceType: g6.2xlarge",
        "InstanceTyp: g6.2xlarge",
        ("available_node_types.gpu.node_config.InstanceTyp: EC2 knows no such key; did you mean 'InstanceType'?"),
    ),
    Mistake(
        "an instance type misspelt",
        AWS,
        "InstanceType: g6.2xlarge",
        "InstanceType: g6.2xlage",
        ("available_node_types.gpu.node_config.InstanceType: unknown machine 'g6.2xlage'; did you mean 'g6.2xlarge'?"),
    ),
    Mistake(
        "an instance type not in the table",
        AWS,
        "InstanceType: g6.2xlarge",
        "InstanceType: g6f.2xlarge",
        (
            "available_node_types.gpu.node_config.InstanceType: 'g6f.2xlarge' is not in cluster/insta"
            "nce_types.toml; add a line there with its CPUs and GPUs."
        ),
    ),
    Mistake(
        "a machine without a GPU",
        AWS,
        "InstanceType: g6.2xlarge",
        "InstanceType: m7i.2xlarge",
        (
            "available_node_types.gpu.node_config.InstanceType: GPU is declared, but 'm7i.2xlarge' ha"
            "s none; take g4dn, g5, g6, g6e, p4d or p5."
        ),
    ),
    Mistake(
        "resources of another machine",
        AWS,
        "InstanceType: g6.2xlarge",
        "InstanceType: g6.12xlarge",
        (
            "available_node_types.gpu.resources: CPU must be 48, what g6.12xlarge has, got 8; a study"
            " plans with it for workers that sleep."
        ),
    ),
    Mistake(
        "a GPU too old",
        AWS,
        "InstanceType: g6.2xlarge",
        "InstanceType: p3.2xlarge",
        (
            "available_node_types.gpu.node_config.InstanceType: the lock's torch, of CUDA 13, needs a"
            " GPU of compute capability 7.5 or more, got 'p3.2xlarge' with 7; take a newer machine."
        ),
    ),
    Mistake(
        "an image by its name",
        AWS,
        "&image ami-0123456789abcdef0",
        "&image ubuntu-24.04",
        (
            "available_node_types.head.node_config.ImageId: it must be ami- and 17 hexadecimal digits"
            ", got 'ubuntu-24.04'; config.yaml says how to find the newest."
        ),
    ),
    Mistake(
        "an image's id cut short",
        AWS,
        "&image ami-0123456789abcdef0",
        "&image ami-0123456789",
        (
            "available_node_types.head.node_config.ImageId: it must be ami- and 17 hexadecimal digits"
            ", got 'ami-0123456789'; config.yaml says how to find the newest."
        ),
    ),
    Mistake(
        "a market misspelt",
        AWS,
        "MarketType: spot",
        "MarketType: spott",
        (
            "available_node_types.gpu.node_config.InstanceMarketOptions.MarketType: EC2 knows no 'spo"
            "tt' here; did you mean 'spot'?"
        ),
    ),
    Mistake(
        "no market",
        AWS,
        "        MarketType: spot",
        "        # MarketType: spot",
        (
            "available_node_types.gpu.node_config.InstanceMarketOptions.MarketType: it is missing; sa"
            "y spot, or on-demand where a machine must not be taken back at more than twice the price"
            "."
        ),
    ),
    Mistake(
        "a head on spot",
        AWS,
        "MetadataOptions: {HttpTokens: required}  #",
        "InstanceMarketOptions: {MarketType: spot}  #",
        (
            "available_node_types.head.node_config.InstanceMarketOptions: a head must not be spot, go"
            "t MarketType 'spot': with it goes the study's driver; take the lines out."
        ),
    ),
    Mistake(
        "persistent spot",
        AWS,
        "SpotInstanceType: one-time",
        "SpotInstanceType: persistent",
        (
            "available_node_types.gpu.node_config.InstanceMarketOptions.SpotOptions.SpotInstanceType:"
            " it must be one-time, got 'persistent': AWS would start machines that Ray does not know "
            "of."
        ),
    ),
    Mistake(
        "spot machines that stop",
        AWS,
        "InstanceInterruptionBehavior: terminate",
        "InstanceInterruptionBehavior: stop",
        (
            "available_node_types.gpu.node_config.InstanceMarketOptions.SpotOptions.InstanceInterrupt"
            "ionBehavior: it must be terminate, got 'stop': what is stopped costs on."
        ),
    ),
    Mistake(
        "a price as a number",
        AWS,
        "SpotInstanceType: one-time",
        "MaxPrice: 0.6",
        (
            "available_node_types.gpu.node_config.InstanceMarketOptions.SpotOptions.MaxPrice: EC2 tak"
            "es a string here, got 0.6."
        ),
    ),
    Mistake(
        "a price with a sign",
        AWS,
        "SpotInstanceType: one-time",
        "MaxPrice: $0.60",
        (
            "available_node_types.gpu.node_config.InstanceMarketOptions.SpotOptions.MaxPrice: it must"
            " be dollars an hour as text, such as '0.60', got '$0.60'; or leave it out."
        ),
    ),
    Mistake(
        "a disk too small",
        AWS,
        "VolumeSize: 150",
        "VolumeSize: 30",
        (
            "available_node_types.gpu.node_config.BlockDeviceMappings[0].Ebs.VolumeSize: it must be a"
            "t least 100 GB for image, .venv and data, got 30; raise it."
        ),
    ),
    Mistake(
        "a disk's size as text",
        AWS,
        "VolumeSize: 150",
        "VolumeSize: 150GB",
        (
            "available_node_types.gpu.node_config.BlockDeviceMappings[0].Ebs.VolumeSize: EC2 takes a "
            "whole number here, got '150GB'."
        ),
    ),
    Mistake(
        "gp2",
        AWS,
        "VolumeSize: 150, VolumeType: gp3",
        "VolumeSize: 150, VolumeType: gp2",
        (
            "available_node_types.gpu.node_config.BlockDeviceMappings[0].Ebs.VolumeType: it must be g"
            "p3, which is faster and costs less, got 'gp2'."
        ),
    ),
    Mistake(
        "a disk that stays",
        AWS,
        "VolumeSize: 150, VolumeType: gp3, DeleteOnTermination: true",
        "VolumeSize: 150, VolumeType: gp3, DeleteOnTermination: false",
        (
            "available_node_types.gpu.node_config.BlockDeviceMappings[0].Ebs.DeleteOnTermination: it "
            "must be true: disks would stay and cost when their machines are gone."
        ),
    ),
    Mistake(
        "Amazon Linux's root",
        AWS,
        "DeviceName: /dev/sda1  #",
        "DeviceName: /dev/xvda  #",
        (
            "available_node_types.head.node_config.BlockDeviceMappings: the root disk is /dev/sda1, g"
            "ot '/dev/xvda'; else it is as small as the image."
        ),
    ),
    Mistake(
        "no security group",
        AWS,
        "SecurityGroupIds: [*security_group]\n",
        "# none\n",
        (
            "available_node_types.head.node_config.SecurityGroupIds: it is missing, so Ray makes a gr"
            "oup with ssh open to 0.0.0.0/0; name one that is open to your address."
        ),
    ),
    Mistake(
        "a security group by its name",
        AWS,
        "&security_group sg-0123456789abcdef0",
        "&security_group my-group",
        (
            "available_node_types.head.node_config.SecurityGroupIds: a group's id is sg- and 17 hexad"
            "ecimal digits, not its name, got 'my-group'; `aws ec2 describe-security-groups`."
        ),
    ),
    Mistake(
        "a port for everybody",
        AWS,
        "  cache_stopped_nodes",
        (
            "  security_group: {IpPermissions: [{FromPort: 8265, ToPort: 8265, IpProtocol: tcp, IpRan"
            "ges: [{CidrIp: 0.0.0.0/0}]}]}\n  cache_stopped_nodes"
        ),
        (
            "provider.security_group.IpPermissions[0]: ports 8265 to 8265 would be open to everybody,"
            " got 0.0.0.0/0; use `ray dashboard`, through ssh."
        ),
    ),
    Mistake(
        "no rights on the bucket",
        AWS,
        "IamInstanceProfile: {Name: pan-study-worker}",
        "# IamInstanceProfile: {Name: pan-study-worker}",
        (
            "available_node_types.gpu.node_config.IamInstanceProfile: it is missing, so the machine m"
            "ay not read the bucket; name the instance profile that cluster/README.md makes."
        ),
    ),
    Mistake(
        "rights misspelt",
        AWS,
        "IamInstanceProfile: {Name: pan-study-worker}",
        "IamInstanceProfile: {Nam: pan-study-worker}",
        ("available_node_types.gpu.node_config.IamInstanceProfile.Nam: EC2 knows no such key; did you mean 'Name'?"),
    ),
    Mistake(
        "a key file that is not there",
        AWS,
        "  ssh_user: ubuntu",
        "  ssh_private_key: ~/.ssh/none.pem\n  ssh_user: ubuntu",
        (
            "available_node_types.head.node_config.KeyName: it is missing; auth.ssh_private_key needs"
            " its key pair's name."
        ),
    ),
    Mistake(
        "a key pair without its file",
        AWS,
        "ImageId: *image  #",
        "KeyName: birds\n      ImageId: *image  #",
        (
            "available_node_types.head.node_config.KeyName: it needs auth.ssh_private_key, the file o"
            "f 'birds'; give it or leave both out."
        ),
    ),
    Mistake(
        "a login without its user",
        AWS,
        "  ssh_user: ubuntu",
        "  ssh_proxy_command: nc %h %p #",
        "auth.ssh_user: it is missing; give the user's name on the nodes.",
    ),
    Mistake(
        "no code on the nodes",
        AWS,
        '{"~/pan-study": "."}',
        '{"~/docs": docs}',
        ('file_mounts: none of them is this checkout, so nodes have no code; add: {"~/pan-study": "."}'),
    ),
    Mistake(
        "a mount that is not there",
        AWS,
        '{"~/pan-study": "."}',
        '{"~/pan-study": ".", "~/masks": masks}',
        "file_mounts['~/masks']: there is no 'masks' in ",
    ),
    Mistake(
        "a mount's place that is no path",
        AWS,
        '{"~/pan-study": "."}',
        '{"~/pan-study": ".", "masks": docs}',
        "file_mounts['masks']: a node's path starts with ~/ or /; write it so.",
    ),
    Mistake(
        "the environment is sent",
        AWS,
        "/.venv, ",
        "",
        "rsync_exclude: '/.venv' is missing: it is gigabytes, made for this machine; add it.",
    ),
    Mistake(
        "data that is code",
        AWS,
        "/results, /data,",
        "/results, data,",
        ("rsync_exclude[3]: 'data' leaves out pan_model/data, too; write '/data' for the root's alone."),
    ),
    Mistake(
        "the commit is left behind",
        AWS,
        "[/.venv, ",
        "[.git, /.venv, ",
        ("rsync_exclude: '.git' must go along: results name the commit that made them; take it out."),
    ),
    Mistake(
        "no setup from the lock",
        AWS,
        "cd ~/pan-study && make setup",
        "cd ~/pan-study && make stup",
        ("setup_commands: none of them sets up from requirements.lock; add: cd ~/pan-study && make setup"),
    ),
    Mistake(
        "the environment in the mount",
        AWS,
        "ln -s ~/.pan-study-venv .venv",
        "cp -r ~/.pan-study-venv .venv",
        (
            "setup_commands: none of them links .venv to a folder elsewhere, as config.yaml does; the"
            " head reads all that is mounted."
        ),
    ),
    Mistake(
        "Ray beside the lock",
        AWS,
        "head_setup_commands: []",
        "head_setup_commands: ['pip install -U \"ray[default]\" boto3']",
        (
            "head_setup_commands[0]: ray, boto3 must come from requirements.lock alone, got 'pip inst"
            'all -U "ray[default]" boto3\'; take the command out.'
        ),
    ),
    Mistake(
        "the lock's ray is not first",
        AWS,
        "export PATH=$HOME/pan-study/.venv/bin:$PATH",
        "export PTH=x",
        (
            "setup_commands: none of them puts the lock's ray and python first; add: export PATH=$HOM"
            "E/pan-study/.venv/bin:$PATH"
        ),
    ),
    Mistake(
        "another version",
        AWS,
        "PAN_STUDY_VERSION=0.1.0",
        "PAN_STUDY_VERSION=0.0.9",
        (
            "setup_commands[1]: PAN_STUDY_VERSION must be 0.1.0, as in pyproject.toml, got '0.0.9'; t"
            "he file is of another checkout, compare it with this one's."
        ),
    ),
    Mistake(
        "no version",
        AWS,
        "PAN_STUDY_VERSION=0.1.0",
        "VERSION=0.1.0",
        ("setup_commands: no command exports the package's version; add: export PAN_STUDY_VERSION=0.1.0"),
    ),
    Mistake(
        "results on the head",
        AWS,
        "export PAN_STUDY_OUTPUT=",
        "export PAN_STUDY_OUT=",
        (
            "setup_commands: none of them exports PAN_STUDY_OUTPUT, so results would stay on the head"
            "'s disk, which goes with it; a bucket's URL or a share belongs there."
        ),
    ),
    Mistake(
        "results on gs://",
        GCP,
        "PAN_STUDY_OUTPUT=/mnt/pan-study/results",
        "PAN_STUDY_OUTPUT=$PAN_STUDY_BUCKET/results",
        (
            "setup_commands[3]: results go to s3://BUCKET/.. or a shared folder, got 'gs://birds/resu"
            "lts'; gcp.yaml mounts a share."
        ),
    ),
    Mistake(
        "a bucket without its scheme",
        AWS,
        "PAN_STUDY_BUCKET=s3://birds",
        "PAN_STUDY_BUCKET=birds",
        (
            "setup_commands[2]: results go to s3://BUCKET/.. or a shared folder, got 'birds/results';"
            " gcp.yaml mounts a share."
        ),
    ),
    Mistake(
        "no data root",
        AWS,
        "export PAN_STUDY_DATA_ROOT=",
        "export PAN_STUDY_DATA=",
        (
            "setup_commands: none of them exports PAN_STUDY_DATA_ROOT, so a study would look for data"
            " in the folder data; a folder that each node has belongs there."
        ),
    ),
    Mistake(
        "a dashboard for all",
        AWS,
        "--dashboard-host=127.0.0.1",
        "--dashboard-host=0.0.0.0",
        (
            "head_start_ray_commands[1]: the dashboard runs what it is sent, so it must stay at 127.0"
            ".0.1; `ray dashboard` goes through ssh."
        ),
    ),
    Mistake(
        "workers that never start",
        AWS,
        "--autoscaling-config=~/ray_bootstrap_config.yaml ",
        "",
        (
            "head_start_ray_commands[1]: without --autoscaling-config=~/ray_bootstrap_config.yaml no "
            "worker ever starts; add it."
        ),
    ),
    Mistake(
        "a worker that finds no head",
        AWS,
        "--address=$RAY_HEAD_IP:6379",
        "--address=auto",
        (
            "worker_start_ray_commands[1]: a worker's `ray start` must have --address=$RAY_HEAD_IP:63"
            "79, which Ray fills in; add it."
        ),
    ),
    Mistake(
        "Ray's own start",
        AWS,
        (
            "worker_start_ray_commands:  # the dashboard is reached by `ray dashboard cluster/config."
            "yaml`, through ssh\n  - ray stop\n  - ulimit -n 65536; ray start --address=$RAY_HEAD_IP:63"
            "79 --object-manager-port=8076\n"
        ),
        "",
        (
            "worker_start_ray_commands: none of them is `ray start`; write it as in cluster/config.ya"
            "ml: Ray's own opens the dashboard to all."
        ),
    ),
    Mistake(
        "a zone for a region",
        GCP,
        "&region us-central1\n",
        "&region us-central1-a\n",
        (
            "provider.region: a region is such as us-central1, got 'us-central1-a'; a zone, us-centra"
            "l1-a, goes into availability_zone."
        ),
    ),
    Mistake(
        "a zone of another region",
        GCP,
        "&zone us-central1-a",
        "&zone us-east1-b",
        ("provider.availability_zone: a zone of us-central1 is us-central1- and a letter, got 'us-east1-b'."),
    ),
    Mistake(
        "no project",
        GCP,
        "  project_id: *project\n",
        "",
        "provider.project_id: it is missing; give your project's id.",
    ),
    Mistake(
        "machineTyp",
        GCP,
        "machineType: g2-standard-8",
        "machineTyp: g2-standard-8",
        ("available_node_types.gpu.node_config.machineTyp: there is no such key; did you mean 'machineType'?"),
    ),
    Mistake(
        "a machine misspelt",
        GCP,
        "machineType: g2-standard-8",
        "machineType: g2-standrd-8",
        (
            "available_node_types.gpu.node_config.machineType: unknown machine 'g2-standrd-8'; did yo"
            "u mean 'g2-standard-8'?"
        ),
    ),
    Mistake(
        "a machine without a GPU",
        GCP,
        "machineType: g2-standard-8",
        "machineType: n1-standard-8",
        (
            "available_node_types.gpu.node_config.machineType: GPU is declared, but 'n1-standard-8' h"
            "as none; take g2 or a2, or n1 with guestAccelerators."
        ),
    ),
    Mistake(
        "a GPU added to g2",
        GCP,
        "machineType: g2-standard-8",
        (
            "guestAccelerators: [{acceleratorType: nvidia-tesla-t4, acceleratorCount: 1}]\n      machi"
            "neType: g2-standard-8"
        ),
        (
            "available_node_types.gpu.node_config.guestAccelerators: only n1 machines take added GPUs"
            ", got 'g2-standard-8'; leave the lines out or take n1."
        ),
    ),
    Mistake(
        "a GPU too old",
        GCP,
        "machineType: g2-standard-8",
        (
            "guestAccelerators: [{acceleratorType: nvidia-tesla-v100, acceleratorCount: 1}]\n      mac"
            "hineType: n1-standard-8"
        ),
        (
            "available_node_types.gpu.node_config.machineType: the lock's torch, of CUDA 13, needs a "
            "GPU of compute capability 7.5 or more, got 'n1-standard-8' with 7; take a newer machine."
        ),
    ),
    Mistake(
        "an accelerator misspelt",
        GCP,
        "machineType: g2-standard-8",
        (
            "guestAccelerators: [{acceleratorType: nvidia-tesla-t5, acceleratorCount: 1}]\n      machi"
            "neType: n1-standard-8"
        ),
        (
            "available_node_types.gpu.node_config.guestAccelerators: unknown machine 'nvidia-tesla-t5"
            "'; did you mean 'nvidia-tesla-t4'?"
        ),
    ),
    Mistake(
        "spot misspelt",
        GCP,
        "provisioningModel: SPOT",
        "provisioningModel: SPOTT",
        (
            "available_node_types.gpu.node_config.scheduling.provisioningModel: it must be SPOT, or S"
            "TANDARD at more than twice the price, got 'SPOTT'; did you mean 'SPOT'?"
        ),
    ),
    Mistake(
        "a GPU that is to move",
        GCP,
        "onHostMaintenance: TERMINATE",
        "onHostMaintenance: MIGRATE",
        (
            "available_node_types.gpu.node_config.scheduling.onHostMaintenance: it must be TERMINATE,"
            " a machine with a GPU cannot move, got 'MIGRATE'."
        ),
    ),
    Mistake(
        "a machine that stops",
        GCP,
        "instanceTerminationAction: DELETE",
        "instanceTerminationAction: STOP",
        (
            "available_node_types.gpu.node_config.scheduling.instanceTerminationAction: it must be DE"
            "LETE, got 'STOP': what is stopped costs on."
        ),
    ),
    Mistake(
        "a disk that stays",
        GCP,
        "autoDelete: true\n",
        "autoDelete: false\n",
        (
            "available_node_types.gpu.node_config.disks[0].autoDelete: it must be true: disks would s"
            "tay and cost when their machines are gone."
        ),
    ),
    Mistake(
        "a disk too small",
        GCP,
        "diskSizeGb: 150",
        "diskSizeGb: 50",
        (
            "available_node_types.gpu.node_config.disks[0].initializeParams.diskSizeGb: it must be at"
            " least 100 GB for image, .venv and data, got 50."
        ),
    ),
    Mistake(
        "a disk of another zone",
        GCP,
        "zones/us-central1-a/diskTypes",
        "zones/us-central1-b/diskTypes",
        (
            "available_node_types.head.node_config.disks[0].initializeParams.diskType: it must be one"
            " of the cluster's zone, zones/us-central1-a/diskTypes/pd-balanced, got 'zones/us-central"
            "1-b/diskTypes/pd-balanced'."
        ),
    ),
    Mistake(
        "an old driver",
        GCP,
        "common-cu129-ubuntu-2404-nvidia-580",
        "common-cu128-ubuntu-2404-nvidia-570",
        (
            "available_node_types.head.node_config.disks[0].initializeParams.sourceImage: the lock's "
            "torch, of CUDA 13, needs NVIDIA's driver 580 or newer, got 570; take a newer image."
        ),
    ),
    Mistake(
        "an image's family alone",
        GCP,
        "projects/deeplearning-platform-release/global/images/family/common",
        "common",
        (
            "available_node_types.head.node_config.disks[0].initializeParams.sourceImage: it must be "
            "projects/PROJECT/global/images/family/FAMILY, got 'common-cu129-ubuntu-2404-nvidia-580'."
        ),
    ),
    Mistake(
        "the default network",
        GCP,
        "global/networks/pan-study",
        "global/networks/default",
        (
            "available_node_types.head.node_config.networkInterfaces: it must name a network of your "
            "own, got 'global/networks/default'; the default one is open to ssh from everywhere."
        ),
    ),
    Mistake(
        "no account",
        GCP,
        "serviceAccounts: [{email: *worker",
        "# serviceAccounts: [{email: *worker",
        (
            "available_node_types.gpu.node_config.serviceAccounts: it is missing, so the machine may "
            "not read the bucket; name the account that cluster/README.md makes."
        ),
    ),
    Mistake(
        "an image of another Ray",
        KUBERAY,
        "pan-study:0.1.0-ray2.60.0",
        "pan-study:0.1.0-ray2.50.0",
        (
            "RayCluster.spec.headGroupSpec.template.spec.containers[0].image: the image's tag must na"
            "me version 2.60.0 of Ray, as the checkout does, got 'ghcr.io/birds/pan-study:0.1.0-ray2."
            "50.0'; build it anew by cluster/Dockerfile, or check out what it holds."
        ),
    ),
    Mistake(
        "an image of another version",
        KUBERAY,
        "pan-study:0.1.0-ray",
        "pan-study:0.0.9-ray",
        (
            "RayCluster.spec.headGroupSpec.template.spec.containers[0].image: the image's tag must na"
            "me version 0.1.0 of the package, as the checkout does, got 'ghcr.io/birds/pan-study:0.0."
            "9-ray2.60.0'; build it anew by cluster/Dockerfile, or check out what it holds."
        ),
    ),
    Mistake(
        "Ray's image alone",
        KUBERAY,
        "ghcr.io/birds/pan-study:0.1.0-ray2.60.0",
        "pytorch/pytorch:2.9",
        (
            "RayCluster.spec.headGroupSpec.template.spec.containers[0].image: the image must be .../p"
            "an-study:0.1.0-ray2.60.0, which cluster/Dockerfile makes, so that its versions can be co"
            "mpared, got 'pytorch/pytorch:2.9'."
        ),
    ),
    Mistake(
        "another rayVersion",
        KUBERAY,
        "rayVersion: 2.60.0",
        "rayVersion: 2.50.0",
        "RayCluster.spec.rayVersion: it must be '2.60.0', the lock's, got '2.50.0'.",
    ),
    Mistake(
        "no GPU",
        KUBERAY,
        "nvidia.com/gpu: 1}\n                limits: {cpu: 7, memory: 24Gi, nvidia.com/gpu: 1}",
        "nvidia.com/gpu: 1}\n                limits: {cpu: 7, memory: 24Gi}",
        (
            "RayCluster.spec.workerGroupSpecs[0].template.spec.containers[0].resources.limits: nvidia"
            ".com/gpu must be at least 1, or no trial has a GPU, got nothing; add it."
        ),
    ),
    Mistake(
        "no autoscaling",
        KUBERAY,
        "enableInTreeAutoscaling: true",
        "enableInTreeAutoscaling: false",
        ("RayCluster.spec.enableInTreeAutoscaling: it must be true, or workers neither come nor go."),
    ),
    Mistake(
        "autoscaling misspelt",
        KUBERAY,
        "enableInTreeAutoscaling: true",
        "enableInTreeAutoscalin: true",
        ("RayCluster.spec.enableInTreeAutoscalin: there is no such key; did you mean 'enableInTreeAutoscaling'?"),
    ),
    Mistake(
        "idle for days",
        KUBERAY,
        "idleTimeoutSeconds: 600",
        "idleTimeoutSeconds: 86400",
        (
            "RayCluster.spec.autoscalerOptions.idleTimeoutSeconds: it must be from 60 to 3600, the se"
            "conds after which an idle worker goes, got 86400."
        ),
    ),
    Mistake(
        "an open service",
        KUBERAY,
        "serviceType: ClusterIP",
        "serviceType: LoadBalancer",
        (
            "RayCluster.spec.headGroupSpec.serviceType: it must be ClusterIP, got 'LoadBalancer': the"
            " dashboard would be open; use kubectl port-forward."
        ),
    ),
    Mistake(
        "trials on the head",
        KUBERAY,
        'num-cpus: "0", ',
        "",
        (
            'RayCluster.spec.headGroupSpec.rayStartParams: num-cpus must be "0", so that no trial run'
            "s beside the driver; add it."
        ),
    ),
    Mistake(
        "no bound",
        KUBERAY,
        "maxReplicas: 4",
        "# maxReplicas: 4",
        ("RayCluster.spec.workerGroupSpecs[0].maxReplicas: it must be at least 1, it bounds the cost, got nothing."),
    ),
    Mistake(
        "replicas above the bound",
        KUBERAY,
        "replicas: 0 ",
        "replicas: 9 ",
        ("RayCluster.spec.workerGroupSpecs[0].replicas: it must be from minReplicas, 0, to maxReplicas, 4, got 9."),
    ),
    Mistake(
        "no memory limit",
        KUBERAY,
        "limits: {cpu: 7, memory: 24Gi}}",
        "limits: {cpu: 7}}",
        (
            "RayCluster.spec.headGroupSpec.template.spec.containers[0].resources.limits: memory is mi"
            "ssing; Ray takes it for what a pod has."
        ),
    ),
    Mistake(
        "results in the pod",
        KUBERAY,
        "PAN_STUDY_OUTPUT: s3://birds/results",
        "PAN_STUDY_OUTPUT: results",
        (
            "RayCluster.spec.headGroupSpec.template.spec.containers[0].envFrom: PAN_STUDY_OUTPUT must"
            " be s3://BUCKET/.. or in a mounted volume, got 'results': else it goes with the pod."
        ),
    ),
    Mistake(
        "a ConfigMap misspelt",
        KUBERAY,
        (
            "envFrom: [{configMapRef: {name: pan-study}}]\n            volumeMounts: [{name: data, mou"
            "ntPath: /data}]\n        containers:\n          - name: ray-head"
        ),
        (
            "envFrom: [{configMapRef: {name: pan-stdy}}]\n            volumeMounts: [{name: data, moun"
            "tPath: /data}]\n        containers:\n          - name: ray-head"
        ),
        (
            "RayCluster.spec.headGroupSpec.template.spec.initContainers[0].envFrom: there is no Confi"
            "gMap 'pan-stdy' in this file; did you mean 'pan-study'?"
        ),
    ),
    Mistake(
        "a cluster that stays",
        KUBERAY,
        "shutdownAfterJobFinishes: true",
        "shutdownAfterJobFinishes: false",
        ("RayJob.spec.shutdownAfterJobFinishes: it must be true, got False: the cluster would stay and cost."),
    ),
    Mistake(
        "another program",
        KUBERAY,
        "study/run.py --ray",
        "run.py --ray",
        (
            "RayJob.spec.entrypoint: it must run study/run.py, got '/home/ray/pan-study/.venv/bin/pyt"
            "hon /home/ray/pan-study/run.py --ray-address auto --dataset cub inshop polyvore --num-tr"
            "ials 256 --resume'; as in cluster/kuberay.yaml."
        ),
    ),
    Mistake(
        "a retry that cannot go on",
        KUBERAY,
        " --resume\n",
        "\n",
        (
            "RayJob.spec.entrypoint: it needs --resume, since backoffLimit runs it again and a study "
            "that is there is an error; add it."
        ),
    ),
    Mistake(
        "fewer workers told than may come",
        KUBERAY,
        "4 x CPU=7,GPU=1",
        "2 x CPU=7,GPU=1",
        (
            "RayCluster.spec.headGroupSpec.template.spec.containers[0].envFrom: PAN_STUDY_WORKERS must be what "
            "workerGroupSpecs may become, '4 x CPU=7,GPU=1', got '2 x CPU=7,GPU=1'; change one of the two."
        ),
    ),
    Mistake(
        "CPUs of a pod in words",
        KUBERAY,
        "limits: {cpu: 7, memory: 24Gi, nvidia.com/gpu: 1}",
        "limits: {cpu: seven, memory: 24Gi, nvidia.com/gpu: 1}",
        (
            "RayCluster.spec.workerGroupSpecs[0].template.spec.containers[0].resources.limits: cpu must be a number of "
            "CPUs, such as 7 or 7500m, got 'seven'."
        ),
    ),
    Mistake(
        "workers told of in other words",
        KUBERAY,
        "4 x CPU=7,GPU=1",
        "four GPUs",
        (
            "RayCluster.spec.headGroupSpec.template.spec.containers[0].envFrom: PAN_STUDY_WORKERS must be a number of "
            "workers and what each has, as in "
        ),
    ),
    Mistake(
        "no workers told of",
        KUBERAY,
        "  PAN_STUDY_WORKERS: 4 x",
        "  PAN_STUDY_WORKER: 4 x",
        (
            "RayCluster.spec.headGroupSpec.template.spec.containers[0].envFrom: PAN_STUDY_WORKERS is missing, by which "
            "a study plans with workers yet to come; add PAN_STUDY_WORKERS: 4 x CPU=7,GPU=1"
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
        "RayCluster.apiVersion: it must be ray.io/v1, got 'ray.io/v1alpha1'.",
    ),
    Mistake(
        "more workers than machines",
        LOCAL,
        "idle_timeout_minutes: 60",
        "max_workers: 3\nidle_timeout_minutes: 60",
        "max_workers: it must be at most 2, the addresses in worker_ips, got 3.",
    ),
    Mistake(
        "the head among the workers",
        LOCAL,
        "[10.0.0.2, 10.0.0.3]",
        "[10.0.0.1, 10.0.0.3]",
        "provider.worker_ips: '10.0.0.1' is named 2 times, head included; name each machine once.",
    ),
    Mistake(
        "a user in an address",
        LOCAL,
        "10.0.0.3]",
        "me@10.0.0.3]",
        ("provider.worker_ips[1]: it must be a host's name or address, without user or port, got 'me@10.0.0.3'."),
    ),
    Mistake(
        "no head",
        LOCAL,
        "  head_ip: 10.0.0.1",
        "",
        "provider.head_ip: it is missing; give the head's address.",
    ),
    Mistake(
        "node types on own machines",
        LOCAL,
        "idle_timeout_minutes: 60",
        "available_node_types: {gpu: {resources: {}, node_config: {}}}\nidle_timeout_minutes: 60",
        (
            "Ray refuses the file, ClickException: The field available_node_types is not supported fo"
            "r on-premise clusters."
        ),
    ),
]


def name(mistake: Mistake) -> str:
    return f"{mistake.file}: {mistake.what}"


@pytest.mark.parametrize("mistake", MISTAKES, ids=name)
def test_a_mistake_is_said_in_a_clear_line(mistake: Mistake, filled: Callable[[str], str], tmp_path: Path):
    good = filled(mistake.file)
    assert mistake.before in good
    path = tmp_path / mistake.file
    path.write_text(good.replace(mistake.before, mistake.after, 1), encoding="utf-8")
    findings, outline = check_file(path, CHECKOUT)
    lines = [str(found) for found in findings]
    assert any(line.startswith(mistake.line) for line in lines), lines
    assert len(lines) <= 4, "one mistake is not said many times"
    assert all("\n" not in line for line in lines)
    assert outline == ""


def test_no_mistake_is_planted_twice():
    assert len({(mistake.file, mistake.what) for mistake in MISTAKES}) == len(MISTAKES) == 122
    assert len({(mistake.file, mistake.before, mistake.after) for mistake in MISTAKES}) == len(MISTAKES)
