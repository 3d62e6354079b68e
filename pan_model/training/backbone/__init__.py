"""Backbone training before the trials, with triplets or as ProxyNCA++. Start at `training.py`.

`config.py` imports no torch, so that flags can be parsed without it.
"""
