"""Baselines: what PAN is compared with in every table. Start at `choice.py`, which fits each and chooses its setting.

May import what `pan_model.scoring` may. A new baseline is one file, and one row of `BASELINES` in `choice.py`.
"""
