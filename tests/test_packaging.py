import importlib
import importlib.util
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jaxtyping import TypeCheckError
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "requirements.lock").read_text()
PACKAGES = ["cluster", "pan_model", "search_spaces", "study"]


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def locked_requirements() -> list[tuple[Requirement, list[str]]]:
    """Every requirement of the lock with its hashes, in the lock's order."""
    lines = "\n".join(line for line in LOCK.splitlines() if not line.lstrip().startswith("#"))
    entries = lines.replace("\\\n", " ").splitlines()
    return [
        (Requirement(entry.split(" --hash=")[0]), re.findall(r"--hash=sha256:([0-9a-f]{64})(?!\S)", entry))
        for entry in entries
        if entry.strip()
    ]


def declared_requirements(pyproject: dict[str, Any]) -> list[str]:
    return pyproject["project"]["dependencies"] + pyproject["project"]["optional-dependencies"]["dev"]


def test_lock_names_no_index():
    assert "://" not in LOCK
    assert not re.search(r"--(extra-|default-)?index|--find-links|--trusted-host|^-[if] ", LOCK, re.MULTILINE)


@pytest.mark.parametrize("name", ["Makefile", "pyproject.toml", ".ci/run", ".pre-commit-config.yaml"])
def test_tool_files_name_no_index(name):
    assert "://" not in (ROOT / name).read_text()


def test_lock_pins_and_hashes_every_requirement():
    locked = locked_requirements()
    assert len(locked) > 50
    loose = [str(requirement) for requirement, _ in locked if not re.fullmatch(r"==[^,*]+", str(requirement.specifier))]
    unhashed = [str(requirement) for requirement, hashes in locked if not hashes]
    assert (loose, unhashed) == ([], [])


def test_lock_satisfies_every_declared_dependency(pyproject):
    versions: dict[str, list[str]] = {}
    for requirement, _ in locked_requirements():
        version = str(requirement.specifier).removeprefix("==")
        versions.setdefault(canonicalize_name(requirement.name), []).append(version)

    declared = [Requirement(text) for text in declared_requirements(pyproject)]
    missing = [str(wanted) for wanted in declared if canonicalize_name(wanted.name) not in versions]
    stale = [
        f"{wanted} but {version}"
        for wanted in declared
        for version in versions.get(canonicalize_name(wanted.name), [])
        if not wanted.specifier.contains(version)
    ]
    assert (missing, stale) == ([], [])


def test_uv_manages_no_second_lock(pyproject):
    assert pyproject["tool"]["uv"]["managed"] is False
    assert not (ROOT / "uv.lock").exists()


def test_every_dependency_says_why(pyproject):
    text = (ROOT / "pyproject.toml").read_text()
    unexplained = [
        requirement
        for requirement in declared_requirements(pyproject)
        if not re.search(rf'^ *"{re.escape(requirement)}", +# \S.{{5,}}$', text, re.MULTILINE)
    ]
    assert unexplained == []


def test_every_package_is_built(pyproject):
    assert sorted(pyproject["tool"]["uv"]["build-backend"]["module-name"]) == PACKAGES


@pytest.mark.parametrize("name", PACKAGES)
def test_package_is_imported_from_the_checkout(name):
    assert importlib.import_module(name).__file__ == str(ROOT / name / "__init__.py")


def test_no_module_beside_the_scripts_hides_a_library():
    # `python study/run.py` puts study/ first on the path, so study/queue.py would be everybody's queue.
    modules = {path.stem for path in (ROOT / "study").iterdir() if path.suffix == ".py" or path.is_dir()}
    libraries = (packages_distributions().keys() | sys.stdlib_module_names) - set(PACKAGES)
    assert {"queue", "ray", "tensorboard"} <= libraries
    assert modules & libraries == set()


def test_hooks_run_the_commands_of_make_check():
    entries = re.findall(r"entry: (.+)", (ROOT / ".pre-commit-config.yaml").read_text())
    rule = re.search(r"^check:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert rule is not None
    commands = [line.strip().replace("$(PYTHON)", ".venv/bin/python") for line in rule[1].splitlines()]
    assert entries == commands


def test_shapes_are_checked_while_tests_run():
    items = importlib.import_module("pan_model.data.items")
    with pytest.raises(TypeCheckError, match="classes"):
        items.Items(
            image_root=Path("images"),
            image_names=("a.jpg",),
            classes=np.zeros((1, 1), dtype=np.int64),
            class_names=("a",),
            attributes=np.zeros((1, 1), dtype=np.bool_),
            certainty=np.zeros((1, 1), dtype=np.uint8),
            attribute_names=("red",),
        )


def test_the_hooks_check_types_in_every_module_and_shapes_where_there_are_any():
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    names = {file: ".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files}
    scripts = {f"study.{file.stem}" for file in (ROOT / "study").glob("*.py")} - {"study.terminal"}
    loaders = {
        file: type(spec.loader).__name__.lower()
        for file, name in names.items()
        if file.name != "__init__.py" and name not in scripts and (spec := importlib.util.find_spec(name)) is not None
    }
    assert len(loaders) > 200
    assert [file for file, loader in loaders.items() if "jaxtyping" not in loader and "beartype" not in loader] == []
    shaped = [file for file in loaders if "pan_model.shapes" in file.read_text(encoding="utf-8")]
    assert [file for file in shaped if "jaxtyping" not in loaders[file]] == []
