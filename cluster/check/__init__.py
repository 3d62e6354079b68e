"""Check a cluster file offline, before `ray up` spends money on it: `python -m cluster.check FILE [FILE ..]`.

Start reading at `command.check_file`, which lists the checks. `problem` and `documents` read the YAML; `schemas` and
`versions` hold what Ray, the clouds and this checkout require; `aws`, `gcp`, `onprem` and `kuberay` check one kind of
cluster each, with the help of `node_types`, `node_setup` and `pods`. No module imports torch or ray at import time.
"""

from cluster.check.command import check_file, main

__all__ = ["check_file", "main"]
