"""A location: where results lie, a folder of this machine or a prefix of an object store such as s3://bucket/prefix."""

import re
from pathlib import Path
from typing import Any

from upath import UPath

from pan_model.errors import UserError

Location = Path | UPath
"""What a folder is on a disk, and a key or its beginning in a store; both are joined by /."""

STORES: dict[str, str] = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs"}
"""Kinds of stores, by the beginning of their URLs, and the package that each needs; tests run on s3 alone."""

REQUEST_ATTEMPTS = 6
"""How often a request is made before it counts as failed: waits of up to 1, 2, 4, 8 and 16 s lie between."""

SIDE_BY_SIDE = 32
"""How many requests are under way at once."""

S3_CONFIG: dict[str, Any] = {
    "retries": {"mode": "standard", "total_max_attempts": REQUEST_ATTEMPTS},
    "connect_timeout": 10,
    "read_timeout": 60,
    "max_pool_connections": SIDE_BY_SIDE,
}
"""How S3 is asked; who asks, and where, botocore finds in each machine's environment (AWS_*, its files, its role)."""

OPTIONS: dict[str, dict[str, Any]] = {"s3": {"config_kwargs": S3_CONFIG}}
"""What a store's file system is made with. It travels with the location to other machines, so no secret may be here."""

WILD = re.compile(r"[*?#\[\]]")
LIKE_A_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?=/)(/*)(.*)", re.DOTALL)


def locate(text: str) -> Location:
    """Read a folder's name or a store's URL; UserError for one that is neither.

    >>> str(locate("results") / "demo"), str(locate("s3://bucket") / "demo")
    ('results/demo', 's3://bucket/demo')
    """
    url = LIKE_A_URL.fullmatch(text)
    if url is None:
        return Path(text)
    kind, slashes, rest = url.groups()
    if kind not in STORES:
        known = ", ".join(f"{store}://" for store in STORES)
        raise UserError(f"'{text}' is in no store that is known; give a folder, or a URL that begins with {known}")
    if WILD.search(rest):
        raise UserError(f"'{text}' must be without *, ?, [, ] and #, which a store's URL does not take as they are")
    if slashes != "//" or not rest:
        raise UserError(f"'{text}' names no bucket; the form is {kind}://bucket/prefix")
    try:
        location = UPath(text.rstrip("/"), use_listings_cache=False, **OPTIONS.get(kind, {}))
        _ = location.fs
    except ImportError as error:
        raise UserError(f"'{text}' needs the package {STORES[kind]} ({error}); install it on all machines") from error
    return location


def in_store(location: Location) -> bool:
    """Whether a location is in an object store."""
    return not isinstance(location, Path)


def absolute(location: Location) -> Location:
    """The location as any process on this machine, or in a cluster, finds it; a URL is that already."""
    return location.absolute() if isinstance(location, Path) else location
