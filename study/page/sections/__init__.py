"""The sections of the report, each from the data of a study. `answer.py` is the first."""
