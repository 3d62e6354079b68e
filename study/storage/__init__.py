"""Files of a study, on a disk or in an object store. Start at `files.py`.

location.py: what a location is; local_storage.py and object_store.py: the two kinds of storage; json_models.py: typed
JSON files; paths.py: the names of a study's files. Imports pan_model only.
"""
