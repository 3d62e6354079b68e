"""Rules for values of flags that several configurations share."""

from pathlib import Path

from pan_model.errors import UserError
from study.storage.location import Location, local_path

LARGEST = 10**9
"""Largest number of trials, epochs or cores, and largest seed: arithmetic on such numbers is exact."""


def check_at_least(least: int, **values: float | None) -> None:
    """Raise a UserError if a value that is given is below a bound, or above LARGEST."""
    for name, value in values.items():
        if value is None:
            continue
        if not value >= least:
            raise UserError(f"{name} must be at least {least}, got {value}.")
        if value > LARGEST:
            raise UserError(f"{name} must be at most {LARGEST}, got a larger number.")


def check_cache_outside(cache_dir: Path, **folders: Location) -> None:
    """Raise a UserError if the cache lies inside one of some folders."""
    for name, folder in folders.items():
        path = local_path(folder)
        if path is not None and cache_dir.resolve().is_relative_to(path.resolve()):
            raise UserError(f"cache_dir must lie outside {name}, {folder}, got {cache_dir}.")
