"""The jobs of a final training. Start at `jobs.py`; `baselines.py` are the baselines.

May import what `study.app` may.
"""
