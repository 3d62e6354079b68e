"""Versions: what the checkout's pyproject.toml and requirements.lock say, and a cluster's file must agree with."""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cluster.check.finding import Finding

CHECKOUT = Path(__file__).parents[2]
"""The folder that holds pyproject.toml and requirements.lock."""

EXPORT = re.compile(r"PAN_STUDY_VERSION=[\"']?([^\s\"';]+)")


@dataclass(frozen=True, kw_only=True)
class Locked:
    """The package's own version and those of everything that the lock names, by name."""

    package: str
    of: dict[str, str]

    @property
    def ray(self) -> str:
        """Ray's version, which head, workers and images must have."""
        return self.of["ray"]

    @property
    def cuda(self) -> int:
        """The major version of CUDA that torch brings along, 0 where it brings none."""
        return int(self.of.get("cuda-toolkit", "0").split(".")[0])


@cache
def locked_versions(checkout: Path = CHECKOUT) -> Locked:
    """Read pyproject.toml and requirements.lock."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = re.findall(
        r"^([a-z0-9._-]+)==(\S+)", (checkout / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE
    )
    return Locked(package=project["version"], of=dict(lines))


def check_export(commands: list[tuple[str, str]], locked: Locked, *, required: bool) -> list[Finding]:
    """PAN_STUDY_VERSION, among commands with their places, is the package's version."""
    found = [(where, version) for where, command in commands for version in EXPORT.findall(command)]
    if not found and required:
        what = f"no command exports the package's version; add: export PAN_STUDY_VERSION={locked.package}"
        return [Finding(where="setup_commands", what=what)]
    return [
        Finding(
            where=where,
            what=f"PAN_STUDY_VERSION must be {locked.package}, as in pyproject.toml, got '{version}'; "
            "the file is of another checkout, compare it with this one's.",
        )
        for where, version in found
        if version != locked.package
    ]


def check_image(where: str, image: str, locked: Locked) -> list[Finding]:
    """An image of Ray, or of this package, has the lock's versions in its tag.

    Ray's own: rayproject/ray:VERSION-...; ours: .../pan-study:VERSION-rayVERSION.
    """
    name, _, tag = image.rpartition(":")
    if name.endswith("rayproject/ray"):
        return _compare(where, "Ray", tag.split("-")[0].removesuffix("."), locked.ray, image)
    ours = re.fullmatch(r"(.+?)-ray(\d[\w.]*)", tag)
    if name.rsplit("/", 1)[-1] != "pan-study" or ours is None:
        return [
            Finding(
                where=where,
                what=f"the image must be .../pan-study:{locked.package}-ray{locked.ray}, which cluster/Dockerfile "
                f"makes, so that its versions can be compared, got '{image}'.",
            )
        ]
    package = _compare(where, "the package", ours[1], locked.package, image)
    return package + _compare(where, "Ray", ours[2], locked.ray, image)


def _compare(where: str, what: str, got: str, wanted: str, image: str) -> list[Finding]:
    if got == wanted:
        return []
    rule = f"the image's tag must name version {wanted} of {what}, as the checkout does, got '{image}'"
    return [Finding(where=where, what=f"{rule}; build it anew by cluster/Dockerfile, or check out what it holds.")]
