"""Image transfer: copy the cache of decoded images to a node that cannot read it, once for all trials of the node."""

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
from pan_model.training.finetuning import FinetuneStart
from study.nodes.file_server import Chunk

CHUNK_BYTES = 2**26
"""Size of a chunk. Two chunks are in memory at a time: one is written while the next is sent."""


def start_on_this_node(start: FinetuneStart, server: Any) -> FinetuneStart:
    """Return the start of a fine-tuning trial with images that this node can read.

    The first trial on a node without the images copies them; others wait for it. The copy stays in a cache folder for
    later studies.

    Args:
        start: The start, with the images of the driver's node.
        server: The actor that serves the driver's files (study.nodes.file_server).

    Raises:
        UserError: If no cache folder has room for the copy.
    """
    return replace(start, images=images_on_this_node(start.images, server, user_cache_path("pan-study")))


def images_on_this_node(images: DecodedImages, server: Any, own_cache: Path) -> DecodedImages:
    """Return the images if this node can read them, else a copy in the same folder or in this node's own cache.

    Args:
        images: The images of the driver's node.
        server: The actor that serves the driver's files.
        own_cache: The cache folder of this node.

    Raises:
        UserError: If no cache folder has room for the copy, or the driver's file is gone.
    """
    if images.is_stored:
        return images
    folders = [images.path.parent, own_cache / CACHE_FOLDER]
    copies = [replace(images, path=folder / images.path.name) for folder in folders]
    for copy in copies:
        if copy.is_stored:
            return copy
    size: Any = ray.get(server.size_of.remote(str(images.path)))
    if not size:
        raise UserError(f"{images.path}: no longer holds the cached images; run the command again.")
    return _first_with_room(copies, size, lambda path: _fetch(images.path, path, size, server))


def _first_with_room(copies: list[DecodedImages], size: int, fetch: Callable[[Path], None]) -> DecodedImages:
    """Fetch images into the first of several files whose folder is writable and has room.

    Args:
        copies: The images at each possible file.
        size: The size of the images in bytes.
        fetch: Writes the images to a file.
    """
    reasons: list[str] = []
    for copy in copies:
        folder = copy.path.parent
        try:
            check_writable(folder, "images")
        except UserError:
            reasons.append(f"{folder} cannot be written")
            continue
        with _locked(copy.path):  # before the free space is read: another trial's unfinished copy takes some of it
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
    """Hold the node's lock for writing a file. The system releases it if the process dies."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_suffix(".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise UserError(f"images cannot be copied to {path.parent} on node {gethostname()} ({error}).") from error


def _fetch(source: Path, path: Path, size: int, server: Any) -> None:
    """Copy a file of the driver's node in chunks. The copy gets its name when it is complete.

    Args:
        source: The file on the driver's node.
        path: The copy.
        size: The size of the file in bytes.
        server: The actor that serves the driver's files.
    """
    for left_over in path.parent.glob(f"{path.stem}.*.tmp"):  # left by a process that died while it held the lock
        with suppress(OSError):
            left_over.unlink()
    with atomic_cache_write(path, "images") as temporary, temporary.open("wb") as file:
        for chunk in _chunks(source, size, server):
            if isinstance(chunk, OSError):
                raise chunk
            if not chunk.is_intact:
                raise OSError(f"the chunk at byte {file.tell()} was damaged in transfer")
            file.write(chunk.content.data)
        if file.tell() != size:
            raise OSError(f"{source} has changed: expected {size} bytes, received {file.tell()}")


def _chunks(source: Path, size: int, server: Any) -> Iterator[Chunk | OSError]:
    """Yield the chunks of a file in order; each is requested before the previous one is yielded."""
    ranges = [(start, min(CHUNK_BYTES, size - start)) for start in range(0, size, CHUNK_BYTES)]
    pending = [server.read_chunk.remote(str(source), *first) for first in ranges[:1]]
    for following in [*ranges[1:], None]:
        if following is not None:
            pending.append(server.read_chunk.remote(str(source), *following))
        yield ray.get(pending.pop(0))
