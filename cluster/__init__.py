"""Studies on a Ray cluster: what a cluster needs so that study/run.py runs on it."""
