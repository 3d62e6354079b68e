"""Atomic writes of files and folders, names of cache entries, and checks that a folder can be written.

All files and folders that must appear atomically are written with `atomic_write` or `atomic_folder`: a reader sees the
old or the new content, never a mixture.
"""

import codecs
import hashlib
import json
import os
import shutil
from collections.abc import Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any
from uuid import uuid4

from pan_model.errors import UserError, faults_at


@contextmanager
def atomic_write(path: Path) -> Generator[Path]:
    """Yield a temporary path in the folder of `path`; flush the file to disk and rename it when the block succeeds.

    The folder is created if it does not exist. If the block raises, the temporary file is removed and `path` is left as
    it was. A killed process leaves a file named `.<name>.<random digits>`.

    Raises:
        MachineFault: The file cannot be written because of the machine, whatever library writes it.
    """
    with faults_at(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary_name(path)
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


@contextmanager
def scratch_folder(path: Path) -> Generator[Path]:
    """Yield a new empty folder on the disk of `path`, next to it; remove the folder when the block ends."""
    temporary = _temporary_name(path)
    try:
        with faults_at(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.mkdir()
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def atomic_folder(folder: Path) -> Generator[Path]:
    """Yield a new empty folder next to `folder`, renamed to `folder` when the block succeeds and removed otherwise.

    Raises:
        OSError: `folder` exists and is not empty.
    """
    with scratch_folder(folder) as temporary, faults_at(folder):
        yield temporary
        temporary.rename(folder)


@contextmanager
def atomic_cache_write(path: Path, what: str) -> Generator[Path]:
    """Write a file of the cache with `atomic_write`.

    Args:
        path: The file in the cache.
        what: The content, for the error message, such as "features".

    Raises:
        UserError: The file cannot be written.
    """
    try:
        with atomic_write(path) as temporary:
            yield temporary
    except OSError as error:
        raise UserError(f"{what} cannot be cached in {path.parent} ({error}); give another --cache-dir.") from error


def decode_user_text(content: bytes) -> str:
    r"""Decode text that a user wrote: UTF-8 with or without a byte order mark, lines that end in LF, CRLF or CR.

    Args:
        content: The content of the file.

    Returns:
        The text without a byte order mark. Lines end in LF.

    Raises:
        UserError: The content is UTF-16, as PowerShell writes it, or no UTF-8 text. The message is a clause without
            the name of the file.

    >>> decode_user_text(b"\xef\xbb\xbfa\r\nb\rc")
    'a\nb\nc'
    """
    refuse_utf16(content)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        broken, line = content[error.start : error.end], before.count(b"\n") + 1
        raise UserError(
            f"expected UTF-8 text, got {broken!r} in line {line}; save the file with the encoding UTF-8"
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def refuse_utf16(content: bytes) -> None:
    """Raise UserError if the beginning of a file, at least 4 bytes, shows that it is UTF-16 text.

    The message is a clause without the name of the file.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content[:4]:
        raise UserError(
            "expected UTF-8 text, got UTF-16, which PowerShell's > writes; save it with the encoding UTF-8 "
            "(in PowerShell: | Out-File -Encoding utf8)"
        )


def content_key(*content: Any) -> str:
    """Return the name of a cache entry: the SHA-256 of the JSON values that the entry depends on.

    >>> content_key("pan-study/features/1", 224)[:8]
    '4e879f54'
    """
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def refuse_existing(paths: Iterable[Path]) -> None:
    """Raise UserError if one of the paths exists, as a file, a folder or a link."""
    for path in paths:
        if path.exists() or path.is_symlink():
            raise UserError(f"{path}: already exists; move it away or give another --output.")


def write_new_files(texts: Mapping[Path, str]) -> None:
    """Write UTF-8 files, all or none of them.

    Raises:
        UserError: One of the files exists or cannot be written.
    """
    refuse_existing(texts)
    try:
        with ExitStack() as files:
            for path, text in texts.items():
                files.enter_context(atomic_write(path)).write_text(text, encoding="utf-8", newline="")
    except BaseException as error:
        for path in texts:
            with suppress(OSError):  # most of them were not renamed yet
                path.unlink()
        if isinstance(error, OSError):
            place = error.filename or next(iter(texts)).parent  # the error of a full disk has no file name
            raise UserError(f"{place}: cannot be written ({error.strerror}).") from error
        raise


def check_writable(folder: Path, what: str, flag: str = "--cache-dir") -> None:
    """Raise UserError if a folder cannot be created or written; nothing is left behind.

    Args:
        folder: The folder; it need not exist.
        what: The content to be written, for the error message.
        flag: The flag that chooses another folder, for the error message.
    """
    existing = existing_parent(folder)
    if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK) and _accepts_files(existing)):
        raise UserError(
            f"{what} cannot be written to {folder}: {existing} is not a writable folder; give another {flag}."
        )


def check_space(folder: Path, num_bytes: int, what: str, way_out: str = "give another --cache-dir") -> None:
    """Raise UserError if the disk of a folder has too little free space.

    Args:
        folder: The folder; it need not exist.
        num_bytes: The space that is needed, in bytes.
        what: The content to be written, for the error message.
        way_out: The way out, besides making room.
    """
    free = shutil.disk_usage(existing_parent(folder)).free
    if num_bytes > free:
        raise UserError(
            f"{what} cannot be cached in {folder}: they take {file_size(num_bytes)}, {file_size(free)} are free; "
            f"make room there, or {way_out}."
        )


def file_size(num_bytes: int) -> str:
    """Format a number of bytes.

    >>> file_size(120_000), file_size(16_000_000), file_size(2_500_000_000)
    ('120 KB', '16 MB', '2.5 GB')
    """
    if num_bytes < 10**6:
        return f"{num_bytes / 1e3:.0f} KB"
    return f"{num_bytes / 1e6:.0f} MB" if num_bytes < 10**9 else f"{num_bytes / 1e9:.1f} GB"


def existing_parent(folder: Path) -> Path:
    """Return the folder if it exists, otherwise its nearest parent that exists."""
    return next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())


def _accepts_files(folder: Path) -> bool:
    """Return whether a file can be created in a folder. Permissions do not show a read-only or full disk."""
    try:
        with TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _temporary_name(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid4().hex}")  # random, since processes of two machines may share a pid
