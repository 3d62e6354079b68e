"""Images on every node once: a node that does not see the cache's file fetches a copy, which all its trials map."""

import fcntl
import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from socket import gethostname
from typing import Any

import ray
from platformdirs import user_cache_path

from pan_model.errors import UserError
from pan_model.files import atomic_cache_write, check_writable
from pan_model.images.decoded_cache import CACHE_FOLDER, DecodedImages
from pan_model.training.finetune_start import FinetuneStart
from study.nodes.file_server import Chunk

PIECE_BYTES = 2**26
"""What is on its way at a time, twice: one piece is written while the next one travels."""


def start_on_this_node(start: FinetuneStart, desk: Any) -> FinetuneStart:
    """The same start with images that this node sees; the desk (study.nodes.file_server) has the driver's cache.

    The first trial on a node that does not see them fetches a copy, which stays in a cache folder for later studies;
    others wait for it. Raises UserError when there is no room for it.
    """
    return replace(start, images=images_on_this_node(start.images, desk, user_cache_path("pan-study")))


def images_on_this_node(images: DecodedImages, desk: Any, own_cache: Path) -> DecodedImages:
    """Images where they lie, if this node sees them; else a copy, in the same folder or in own_cache."""
    if images.is_stored:
        return images
    folders = [images.path.parent, own_cache / CACHE_FOLDER]
    copies = [replace(images, path=folder / images.path.name) for folder in folders]
    for copy in copies:
        if copy.is_stored:
            return copy
    size: Any = ray.get(desk.size_of.remote(str(images.path)))
    if not size:
        raise UserError(f"{images.path}: no longer holds the images that were put there; start again.")
    return _first_with_room(copies, size, lambda path: _fetch(images.path, path, size, desk))


def _first_with_room(copies: list[DecodedImages], size: int, fetch: Callable[[Path], None]) -> DecodedImages:
    """Fetch images of a size in bytes into the first of some places that can be written and has room."""
    reasons: list[str] = []
    for copy in copies:
        folder = copy.path.parent
        try:
            check_writable(folder, "images")
        except UserError:
            reasons.append(f"{folder} cannot be written")
            continue
        with _locked(copy.path):  # before room is looked at: half of what another trial fetches takes it away
            if copy.is_stored:
                return copy
            free = shutil.disk_usage(folder).free
            if size <= free:
                fetch(copy.path)
                return copy
        reasons.append(f"{folder} has {free / 1e9:.1f} GB free")
    raise UserError(
        f"images cannot be copied to node {gethostname()}: they take {size / 1e9:.1f} GB, {', '.join(reasons)}; "
        "give a --cache-dir that all nodes share, or that has room on each of them."
    )


@contextmanager
def _locked(path: Path) -> Generator[None]:
    """Be the only process of the node that writes the file; a process that dies lets go of it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_suffix(".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise UserError(f"images cannot be copied to {path.parent} on node {gethostname()} ({error}).") from error


def _fetch(source: Path, path: Path, size: int, desk: Any) -> None:
    """Copy a file of the driver's node, piece by piece; it has its name when all of it is there."""
    for left_over in path.parent.glob(f"{path.stem}.*.tmp"):  # of one that died while it held the lock
        with suppress(OSError):
            left_over.unlink()
    with atomic_cache_write(path, "images") as temporary, temporary.open("wb") as file:
        for piece in _pieces(source, size, desk):
            if isinstance(piece, OSError):
                raise piece
            if not piece.whole:
                raise OSError(f"what was sent from byte {file.tell()} on was damaged on the way")
            file.write(piece.content.data)
        if file.tell() != size:
            raise OSError(f"{source} has changed: of {size} bytes {file.tell()} came")


def _pieces(source: Path, size: int, desk: Any) -> Iterator[Chunk | OSError]:
    """The file's pieces in order, each asked for before the one ahead of it has been taken."""
    cuts = [(start, min(PIECE_BYTES, size - start)) for start in range(0, size, PIECE_BYTES)]
    asked = [desk.read_chunk.remote(str(source), *cut) for cut in cuts[:1]]
    for following in [*cuts[1:], None]:
        if following is not None:
            asked.append(desk.read_chunk.remote(str(source), *following))
        yield ray.get(asked.pop(0))
