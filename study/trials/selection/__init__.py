"""Selection: which epoch of a trial counts, which trials are confirmed, and which wins.

`epoch_choice.py`, `candidates.py` and `confirmation.py`, in this order. Nothing here loads torch, so that tables and
the status of a study are made at once.
"""
