"""Files of a study, on a disk or in an object store. Start at `files.py`.

`location.py` parses the locations of files, `local_storage.py` and `object_store.py` are the two kinds of storage,
`json_models.py` reads typed JSON files, and `paths.py` has the names of a study's files. May import `pan_model` only.
"""
