"""The files of an index of images: index.json, embeddings.safetensors, and the model that embedded the images.

The folder is complete: it holds the model and its backbone, so that it can be moved and queried without the study. The
images themselves stay where they are.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from pan_model.errors import UserError
from pan_model.files import decode_user_text
from pan_model.shapes import Float

INDEX_SCHEMA = "pan-study/index/1"
INDEX = "index.json"
EMBEDDINGS = "embeddings.safetensors"
MODEL = "model"
"""The folder of the model in the folder of an index."""

AGAIN = "make the index again with study/index.py"


@dataclass(frozen=True, kw_only=True, eq=False)
class IndexedImages:
    """Embedded images.

    Attributes:
        root: The folder of the images.
        files: The path of each image, relative to `root`, in sorted order.
        sha256: The SHA-256 of each file.
        embeddings: The embedding of each image.
        left_out: The number of other files in the folder, by reason.
        unreadable: The errors of images that were left out, by path.
    """

    root: Path
    files: tuple[str, ...]
    sha256: tuple[str, ...]
    embeddings: Float[torch.Tensor, "N E"]
    left_out: dict[str, int] = field(default_factory=dict[str, int])
    unreadable: dict[str, str] = field(default_factory=dict[str, str])

    def __len__(self) -> int:
        return len(self.files)


def write_index_files(images: IndexedImages, folder: Path, origin: Mapping[str, str]) -> None:
    """Write index.json and embeddings.safetensors next to the folder `model/`, which must be there already.

    Args:
        images: The embedded images.
        folder: An existing folder.
        origin: Facts about the origin of the model, for readers.
    """
    embeddings = save({"embeddings": images.embeddings.cpu().contiguous()})
    (folder / EMBEDDINGS).write_bytes(embeddings)
    content = {
        "schema": INDEX_SCHEMA,
        "model": {**origin, "files": {path.name: hash_file(path) for path in sorted((folder / MODEL).iterdir())}},
        "embeddings": {"file": EMBEDDINGS, "sha256": hashlib.sha256(embeddings).hexdigest()},
        "root": str(images.root.absolute()),
        "left_out": images.left_out,
        "unreadable": images.unreadable,
        "images": [{"file": file, "sha256": sha256} for file, sha256 in zip(images.files, images.sha256, strict=True)],
    }
    (folder / INDEX).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_index_files(folder: Path) -> IndexedImages:
    """Read an index, and check that its model is the one that embedded the images.

    Raises:
        UserError: The folder holds no complete index of this release, or a file of the model was replaced.
    """
    path = folder / INDEX
    content = _read_json(path)
    try:
        files: dict[str, str] = content["model"]["files"]
        embeddings_sha256 = content["embeddings"]["sha256"]
        images = [(image["file"], image["sha256"]) for image in content["images"]]
        root, left_out, unreadable = Path(content["root"]), content["left_out"], content["unreadable"]
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: must have the entries of {INDEX_SCHEMA} ({error!r}); {AGAIN}.") from error
    for name, sha256 in files.items():
        _check_unchanged(folder / MODEL / name, sha256)
    return IndexedImages(
        root=root,
        files=tuple(file for file, _ in images),
        sha256=tuple(sha256 for _, sha256 in images),
        embeddings=_read_embeddings(folder / EMBEDDINGS, embeddings_sha256, len(images)),
        left_out=left_out,
        unreadable=unreadable,
    )


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(decode_user_text(path.read_bytes()))
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{path}: cannot be read ({reason}); give a folder that study/index.py has made.") from error
    except ValueError as error:
        raise UserError(f"{path}: must be JSON ({error}); {AGAIN}.") from error
    schema = content.get("schema") if isinstance(content, dict) else type(content).__name__
    if schema != INDEX_SCHEMA:
        raise UserError(f"{path}: schema must be {INDEX_SCHEMA}, got {schema}; {AGAIN}.")
    return content


def _check_unchanged(path: Path, sha256: str) -> None:
    """Raise UserError unless a file of the model is there and has not changed."""
    try:
        found = hash_file(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {AGAIN}.") from error
    if found != sha256:
        raise UserError(
            f"{path}: must be of the model that embedded the images, SHA-256 {sha256[:12]}.., got {found[:12]}..; "
            f"{AGAIN}."
        )


def _read_embeddings(path: Path, sha256: str, num_images: int) -> Float[torch.Tensor, "N E"]:
    try:
        content = path.read_bytes()
        if (found := hashlib.sha256(content).hexdigest()) != sha256:
            raise UserError(f"{path}: is damaged, SHA-256 {sha256[:12]}.., got {found[:12]}..; {AGAIN}.")
        embeddings = load(content)["embeddings"]
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {AGAIN}.") from error
    except (KeyError, SafetensorError) as error:
        raise UserError(f"{path}: must hold the embeddings of an index ({error}); {AGAIN}.") from error
    if len(embeddings) != num_images:
        raise UserError(f"{path}: must have a row for each of {num_images} images, got {len(embeddings)}; {AGAIN}.")
    return embeddings
