"""Versions in cluster files must be those of the checkout and of the installed packages."""

import re
from importlib.metadata import version
from pathlib import Path

import pytest

from cluster.check.versions import check_image, locked_versions

CHECKOUT = Path(__file__).parents[3]


def test_the_lock_is_what_is_installed():
    locked = locked_versions()
    assert locked.package == version("pan-study")
    assert locked.ray == version("ray")
    assert locked.of["pyyaml"] == version("pyyaml")


def test_what_ray_needs_on_aws_is_in_the_lock():
    assert "boto3" in locked_versions().of


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("ghcr.io/birds/pan-study:0.1.0-ray2.60.0", None),
        ("localhost:5000/pan-study:0.1.0-ray2.60.0", None),
        ("rayproject/ray:2.60.0-py311-gpu", None),
        ("docker.io/rayproject/ray:2.59.0-py311", "version 2.60.0 of Ray"),
        ("rayproject/ray:latest", "version 2.60.0 of Ray"),
        ("rayproject/ray", "must be .*/pan-study:0.1.0-ray2.60.0"),
        ("birds/pan-study:0.2.0-ray2.60.0", "version 0.1.0 of the package"),
        ("birds/pan-study", "must be .*/pan-study:0.1.0-ray2.60.0"),
        ("", "must be .*/pan-study:0.1.0-ray2.60.0"),
    ],
)
def test_an_image_has_the_versions_of_the_checkout_in_its_tag(image: str, expected: str | None):
    problems = check_image("image", image, locked_versions())
    assert [bool(re.search(expected or "", problem.what)) for problem in problems] == (
        [] if expected is None else [True]
    )


def test_the_image_that_is_built_begins_with_the_locks_ray():
    text = (CHECKOUT / "cluster" / "Dockerfile").read_text(encoding="utf-8")
    locked = locked_versions()
    assert f"FROM rayproject/ray:{locked.ray}-" in text
    assert text.count(f"pan-study:{locked.package}-ray{locked.ray}") == 2
