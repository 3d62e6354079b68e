"""Jobs of a command in several processes of this machine. Start at `side_by_side.py`.

`side_by_side.py` runs the jobs of `jobs.py` in the processes of `worker_pool.py`; `worker_process.py` is the loop of
such a process, and `shared_object.py` hands it large inputs. Imports only `pan_model` and `terminal` of this project.
"""
