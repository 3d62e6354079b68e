"""Locations of results: a folder of this machine, or a prefix in an object store such as s3://bucket/prefix."""

import re
from pathlib import Path
from typing import Any

from upath import UPath

from pan_model.errors import UserError

Location = Path | UPath
"""A folder or file on a disk, or a key or prefix in a store; names are joined by /."""

STORE_PACKAGES: dict[str, str] = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs"}
"""The package that each kind of store needs, by the scheme of its URLs; tests cover s3 only."""

REQUEST_ATTEMPTS = 6
"""Number of attempts of a request, with waits of up to 1, 2, 4, 8 and 16 s between them."""

MAX_CONCURRENT_REQUESTS = 32
"""Largest number of concurrent requests to a store."""

S3_CONFIG: dict[str, Any] = {
    "retries": {"mode": "standard", "total_max_attempts": REQUEST_ATTEMPTS},
    "connect_timeout": 10,
    "read_timeout": 60,
    "max_pool_connections": MAX_CONCURRENT_REQUESTS,
}
"""botocore's configuration. Credentials and endpoint come from each machine's environment (AWS_*, its files, its role).
"""

FILE_SYSTEM_OPTIONS: dict[str, dict[str, Any]] = {"s3": {"config_kwargs": S3_CONFIG}}
"""Arguments of each store's fsspec file system. They are sent to other machines with a location, so they must not
contain secrets.
"""

FORBIDDEN_IN_URL = re.compile(r"[*?#\[\]]")
URL_LIKE = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?=/)(/*)(.*)", re.DOTALL)


def locate(text: str) -> Location:
    """Parse the path of a folder or the URL of a store.

    Raises:
        UserError: If the text looks like a URL but its store is unknown, its bucket is missing or it has wildcards, or
            if the package of the store is not installed.

    >>> str(locate("results") / "demo"), str(locate("s3://bucket") / "demo")
    ('results/demo', 's3://bucket/demo')
    """
    url = URL_LIKE.fullmatch(text)
    if url is None:
        return Path(text)
    scheme, slashes, rest = url.groups()
    if scheme not in STORE_PACKAGES:
        known = ", ".join(f"{store}://" for store in STORE_PACKAGES)
        raise UserError(f"'{text}' is not in a known store; give a folder, or a URL that begins with {known}")
    if FORBIDDEN_IN_URL.search(rest):
        raise UserError(f"'{text}' must be without *, ?, [, ] and #, which are not allowed in the URL of a store")
    if slashes != "//" or not rest:
        raise UserError(f"'{text}' names no bucket; the form is {scheme}://bucket/prefix")
    try:
        location = UPath(text.rstrip("/"), use_listings_cache=False, **FILE_SYSTEM_OPTIONS.get(scheme, {}))
        _ = location.fs
    except ImportError as error:
        raise UserError(
            f"'{text}' needs the package {STORE_PACKAGES[scheme]} ({error}); install it on all machines"
        ) from error
    return location


def local_path(location: Location) -> Path | None:
    """Return a location on a disk as a Path, None for one in an object store."""
    return location if isinstance(location, Path) else None


def in_store(location: Location) -> bool:
    """Return whether a location is in an object store."""
    return local_path(location) is None


def absolute(location: Location) -> Location:
    """Return a location in its absolute form, which any process in a cluster can use; URLs are unchanged."""
    path = local_path(location)
    return location if path is None else path.absolute()
