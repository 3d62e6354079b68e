"""Files of a study in a folder or an object store. Start at `files.py`."""
