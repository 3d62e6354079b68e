"""Check a cluster file offline, before `ray up` starts machines that cost money.

The command is `python -m cluster.check FILE [FILE ..]`. Start at `command.check_file`, which lists the checks.
`problem` and `documents` read the YAML; `schemas` and `versions` hold the requirements of Ray, the clouds and this
checkout; `aws`, `gcp`, `onprem` and `kuberay` check one kind of cluster each, using `node_types`, `node_setup`, `pods`
and `ray_job`. Modules may import `pan_model.command_line`, `pan_model.errors`, `pan_model.files` and
`study.nodes.resources`; none imports torch or ray at import time.
"""

from cluster.check.command import check_file, main

__all__ = ["check_file", "main"]
