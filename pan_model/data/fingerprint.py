"""The identity of a dataset: a hash of its contents, wherever they lie."""

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from pan_model.data.items import Items
from pan_model.errors import UserError


def fingerprint(items: Items) -> str:
    """Hash names, classes, attributes, certainty, relations and every image's bytes: "sha256:" and 64 hex digits.

    Two copies of a dataset in different folders have the same fingerprint; a changed label or pixel changes it, and so
    does the order of the items. Raises UserError for an image that cannot be read.
    """
    digest = hashlib.sha256()
    for part in _parts(items):
        digest.update(len(part).to_bytes(8, "little"))  # so that no part can pass for the end of another
        digest.update(part)
    return f"sha256:{digest.hexdigest()}"


def _parts(items: Items) -> Iterable[bytes]:
    yield json.dumps([items.class_names, items.image_names, items.attribute_names]).encode()
    yield items.classes.astype("<i8").tobytes()
    yield items.attributes.astype(np.uint8).tobytes()
    yield items.certainty.tobytes()
    if items.relations is not None:
        yield items.relations.content()
    with ThreadPoolExecutor() as pool:  # hashing and reading both release the interpreter's lock
        yield from pool.map(_hash_file, map(items.image_path, range(len(items))))


def _hash_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from error
