"""Selection: which epoch of a trial counts (`epoch_choice.py`), and which trial wins (`confirmation.py`).

Nothing here loads torch, so that tables and the status of a study are made at once.
"""
