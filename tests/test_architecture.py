"""The structure of the packages: which folder may import which, what imports Ray and torch, and how large folders are.

Imports are read from the source, those inside functions included, so a late import does not evade a rule.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("cluster", "pan_model", "search_spaces", "study")
MAX_ENTRIES = 14
"""Files and folders in a folder, its __init__.py not counted."""

LAYERS = {
    "study": (
        {"config"},
        {"trials"},
        {"nodes"},
        {"tuning"},
        {"reporting"},
        {"analysis"},
        {"page"},
        {"app"},
        {"run", "final", "collate", "status", "report", "explain", "index", "query", "compare", "ablate", "api"},
    ),
    "pan_model": (
        {"data"},
        {"images"},
        {"backbones"},
        {"model"},
        {"tasks"},
        {"scoring"},
        {"training", "config"},  # a trial's configuration holds those of its parts
        {"trained", "datasets", "pan_scorer"},
    ),
}
"""Folders and modules of a package, lowest first: each may import its own layer and those before it.

What is not listed is at the bottom: study/terminal.py and study/storage, pan_model/errors.py and the like.
"""

COMMANDS = {"pan_model/data/download/command.py"}
"""Modules that are run by `python -m` and imported by none of the others: they may import anything of their package."""

LIBRARIES_OF_PAN_MODEL = {"PIL", "jaxtyping", "numpy", "safetensors", "torch", "torchvision"}
OPTIONAL_OF_PAN_MODEL = {"huggingface_hub", "rich", "timm"}
"""Imported where it is used and installed: the package works without it."""

MOST_ENTRIES = {"pan_model": 20, "study": 22}
"""Folders that are larger; the numbers may only shrink. `study` holds the scripts of all commands, a few lines each."""


def modules(package: str) -> list[Path]:
    return sorted(path.relative_to(ROOT) for path in (ROOT / package).rglob("*.py"))


def folders() -> list[Path]:
    return sorted({module.parent for package in PACKAGES for module in modules(package)})


def imports_of(module: Path) -> Iterator[str]:
    """Yield the full name of everything that a module imports, wherever in it."""
    for node in ast.walk(ast.parse((ROOT / module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def importers(library: str, *packages: str) -> set[str]:
    """Return the folders whose modules import a library or a package of ours."""
    return {
        str(module.parent)
        for package in packages
        for module in modules(package)
        if any(name == library or name.startswith(f"{library}.") for name in imports_of(module))
    }


@pytest.mark.parametrize("package", LAYERS)
def test_folders_import_downwards_only(package: str):
    height = {name: number for number, layer in enumerate(LAYERS[package], start=1) for name in layer}
    upwards = set[tuple[str, str]]()
    for module in modules(package):
        if module == Path(package, "__init__.py"):
            continue
        own = height.get(module.parts[1].removesuffix(".py"), 0)
        for name in imports_of(module):
            top, _, rest = name.partition(".")
            target = rest.split(".")[0]
            if top == package and str(module) not in COMMANDS and height.get(target, 0) > own:
                upwards.add((str(module), target))
    assert upwards == set()


@pytest.mark.parametrize(
    ("package", "others"),
    [
        ("pan_model", {"cluster", "search_spaces", "study"}),
        ("search_spaces", {"cluster", "pan_model", "study"}),
        ("study", {"cluster"}),
    ],
)
def test_packages_import_downwards_only(package: str, others: set[str]):
    assert {other for other in others if importers(other, package)} == set()


def test_pan_model_imports_its_own_libraries_only():
    imported = {name.split(".")[0] for module in modules("pan_model") for name in imports_of(module)}
    assert imported - set(sys.stdlib_module_names) - {"pan_model"} <= LIBRARIES_OF_PAN_MODEL | OPTIONAL_OF_PAN_MODEL


def test_search_spaces_imports_optuna_only():
    imported = {name.split(".")[0] for module in modules("search_spaces") for name in imports_of(module)}
    assert imported - set(sys.stdlib_module_names) - {"search_spaces"} == {"optuna"}


def test_only_tuning_imports_ray_tune():
    assert importers("ray.tune", *PACKAGES) == {"study/tuning", "study/tuning/stopping"}


def test_only_nodes_and_tuning_import_ray():
    assert importers("ray", "study") <= {"study/nodes", "study/tuning", "study/tuning/stopping"}


def test_commands_start_without_torch_and_ray():
    """A usage error, `--help` and the tables of a study answer at once."""
    code = "import sys, study.app.commands, study.app.flags; print({'ray', 'torch'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("folder", folders(), ids=str)
def test_folder_says_what_it_is_for(folder: Path):
    assert ast.get_docstring(ast.parse((ROOT / folder / "__init__.py").read_text(encoding="utf-8")))


@pytest.mark.parametrize("folder", folders(), ids=str)
def test_folder_can_be_surveyed(folder: Path):
    ignored = {"__init__.py", "__pycache__"}
    entries = [path.name for path in (ROOT / folder).iterdir() if path.name not in ignored]
    limit = MOST_ENTRIES.get(str(folder), MAX_ENTRIES)
    assert len(entries) <= limit, entries
