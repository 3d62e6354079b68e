"""Times in files: ISO 8601, UTC, with milliseconds."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator


def to_iso(unix_s: float) -> str:
    """Return a time in ISO 8601, UTC, with milliseconds.

    >>> to_iso(0.25)
    '1970-01-01T00:00:00.250+00:00'
    """
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds")


def to_unix(time: str) -> float:
    """Return the Unix seconds of a time in ISO 8601.

    >>> to_unix("1970-01-01T00:00:01Z")
    1.0
    """
    return datetime.fromisoformat(time).timestamp()


def _check_time(time: str) -> str:
    to_unix(time)
    return time


Time = Annotated[str, AfterValidator(_check_time)]
"""A time in ISO 8601."""
