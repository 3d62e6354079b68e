"""Download of the public archive of CUB-200-2011: its address, its checksum, and how it is unpacked."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pan_model.data.download.unpack import ArchiveError, unpack
from pan_model.errors import UserError
from pan_model.fetch import Checksum, FetchConfig, FetchError, Progress, discard, fetch, first_line

FOLDER = "CUB_200_2011"
LISTING = "images.txt"
URL = "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz"
"""CaltechDATA, record 65de6-vp158 (Wah, Branson, Welinder, Perona, Belongie); the file has 1,150,585,339 bytes."""

MD5 = "97eceeb196236b17998738112f37df78"
"""MD5 of the archive, as published by CaltechDATA and by the public loaders of the dataset."""

_ROOM = 2.2
"""Free disk space required before a download, in sizes of the archive. Before unpacking the exact size is checked."""


@dataclass(frozen=True)
class Archive:
    """The address and the MD5 (32 hexadecimal digits) of an archive."""

    url: str = URL
    md5: str = MD5

    def __post_init__(self) -> None:
        if len(self.md5) != len(MD5) or set(self.md5) - set("0123456789abcdef"):
            raise UserError(f"--md5 must be 32 hexadecimal digits in lower case, got '{self.md5}'.")


def fetch_cub(
    data_root: Path,
    archive: Archive,
    *,
    say: Callable[[str], None],
    config: FetchConfig | None = None,
    progress: Progress | None = None,
) -> Path:
    """Download and unpack CUB-200-2011 into `data_root/CUB_200_2011`, unless it exists.

    If data_root holds CUB_200_2011.tgz, that archive is unpacked and kept. A download is stored as a `.part` file until
    it is unpacked; the next run resumes an interrupted download from it. attributes.txt, which the official archive has
    next to the folder, is moved into its attributes/.

    Args:
        data_root: The folder of datasets.
        archive: The archive.
        say: Prints a line.
        config: Timeouts and retries of the download.
        progress: Called with the progress of the download.

    Returns:
        The path of the folder.

    Raises:
        UserError: The archive cannot be downloaded or unpacked. Only the `.part` and its `.origin` are left then.
    """
    folder = data_root / FOLDER
    if (folder / LISTING).is_file():
        say(already_downloaded(folder))
        return folder
    _check_place(folder)
    given = data_root / f"{FOLDER}.tgz"
    if given.exists():
        say(f"using the existing archive {given}")
        _check_given(given, archive)
        _unpack(given, folder)
    else:
        part = _download(data_root, archive, say, config or FetchConfig(), progress)
        _unpack_part(part, folder)
    say(f"{folder} is complete")
    return folder


def already_downloaded(folder: Path) -> str:
    """Return the message for a dataset that is not downloaded because its folder exists."""
    return f"{folder} already exists, nothing was downloaded; use --check to check it."


def _check_place(folder: Path) -> None:
    if folder.exists() or folder.is_symlink():
        raise UserError(f"{folder}: exists, but holds no {LISTING}; move it away and run the command again.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder.parent}: cannot be created ({first_line(error)}).") from error


def _check_given(given: Path, archive: Archive) -> None:
    try:
        digest = Checksum("md5", archive.md5).of(given)
    except OSError as error:
        raise UserError(f"{given}: cannot be read ({first_line(error)}).") from error
    if digest != archive.md5:
        raise UserError(
            f"{given}: MD5 must be {archive.md5}, got {digest}; move the file away and run the command again."
        )


def _download(
    data_root: Path, archive: Archive, say: Callable[[str], None], config: FetchConfig, progress: Progress | None
) -> Path:
    part = data_root / f"{FOLDER}.tgz.part"
    say(f"{archive.url} -> {part}")
    try:
        fetch(archive.url, part, Checksum("md5", archive.md5), config=config, progress=progress, room=_ROOM)
    except FetchError as error:
        kept = "; the partial download is kept, run the command again to resume it" if part.exists() else ""
        raise UserError(
            f"{FOLDER}.tgz cannot be downloaded from {archive.url} to {data_root} ({error}){kept}."
        ) from error
    return part


def _unpack_part(part: Path, folder: Path) -> None:
    """Unpack a download and remove it. Keep it if the disk failed, so that the next run can unpack it."""
    try:
        _unpack(part, folder)
    except ArchiveError:
        discard(part)
        raise
    discard(part)


def _unpack(archive: Path, folder: Path) -> None:
    unpack(archive, folder, needs=LISTING, moves={"attributes.txt": "attributes/attributes.txt"})
