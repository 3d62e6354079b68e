"""Versions in pyproject.toml and requirements.lock, with which a cluster file must agree."""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cluster.check.problem import Problem

CHECKOUT = Path(__file__).parents[2]
"""The folder that holds pyproject.toml and requirements.lock."""

EXPORT = re.compile(r"PAN_STUDY_VERSION=[\"']?([^\s\"';]+)")


@dataclass(frozen=True, kw_only=True)
class Locked:
    """The version of this package, and the locked version of each dependency by its name."""

    package: str
    of: dict[str, str]

    @property
    def ray(self) -> str:
        """Return Ray's version, which head, workers and images must share."""
        return self.of["ray"]

    @property
    def cuda(self) -> int:
        """Return the major version of CUDA in torch's wheels, 0 if they have none."""
        return int(self.of.get("cuda-toolkit", "0").split(".")[0])


@cache
def locked_versions(checkout: Path = CHECKOUT) -> Locked:
    """Read pyproject.toml and requirements.lock."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = re.findall(
        r"^([a-z0-9._-]+)==(\S+)", (checkout / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE
    )
    return Locked(package=project["version"], of=dict(lines))


def check_export(commands: list[tuple[str, str]], locked: Locked, *, required: bool) -> list[Problem]:
    """Check that commands export PAN_STUDY_VERSION with the version of this package.

    Args:
        commands: Pairs of a command's path in the file and the command.
        locked: Versions of this checkout.
        required: Whether a missing export is an error.
    """
    exports = [(where, version) for where, command in commands for version in EXPORT.findall(command)]
    if not exports and required:
        what = f"no command exports the version of this package; add: export PAN_STUDY_VERSION={locked.package}"
        return [Problem(where="setup_commands", what=what)]
    return [
        Problem(
            where=where,
            what=f"PAN_STUDY_VERSION must be {locked.package}, as in pyproject.toml, got '{version}'; "
            "the file belongs to another checkout; compare it with the file in this one.",
        )
        for where, version in exports
        if version != locked.package
    ]


def check_image(where: str, image: str, locked: Locked) -> list[Problem]:
    """Check that the tag of an image of Ray or of this package contains the locked versions.

    Ray's images are named rayproject/ray:VERSION-..., those of this package .../pan-study:VERSION-rayVERSION.
    """
    name, _, tag = image.rpartition(":")
    if name.endswith("rayproject/ray"):
        return _compare(where, "Ray", tag.split("-")[0].removesuffix("."), locked.ray, image)
    parts = re.fullmatch(r"(.+?)-ray(\d[\w.]*)", tag)
    if name.rsplit("/", 1)[-1] != "pan-study" or parts is None:
        return [
            Problem(
                where=where,
                what=f"the image must be .../pan-study:{locked.package}-ray{locked.ray}, built with "
                f"cluster/Dockerfile, got '{image}'; its versions are read from the tag.",
            )
        ]
    package = _compare(where, "the package", parts[1], locked.package, image)
    return package + _compare(where, "Ray", parts[2], locked.ray, image)


def _compare(where: str, what: str, got: str, wanted: str, image: str) -> list[Problem]:
    if got == wanted:
        return []
    rule = f"the image's tag must contain version {wanted} of {what}, as in this checkout, got '{image}'"
    return [
        Problem(where=where, what=f"{rule}; rebuild it with cluster/Dockerfile, or check out the version it contains.")
    ]
