"""Machines and Ray: start or join Ray, count nodes, check them, copy files to them, and divide them among trials.

Start at `ray_session.py`, which yields the nodes of a study (`resources.py`); `ray_start.py` checks before any work
that Ray can start here. `preflight.py` checks the nodes, `feature_extraction.py` and `gpu_memory.py` run work on them,
and `slots.py` divides them among trials. Trials use `requirements.py`, `image_transfer.py` and `file_server.py`.
`requirements.py` also checks the disk of the output, `deployment.py` the version of the code.

May import `terminal`, `storage`, `config` and `trials`, but not `ray.tune`. `resources.py`, `ray_address.py` and
`deployment.py` load neither torch nor Ray; `node_probe.py` is sent to nodes as source and imports only the
standard library.
"""
