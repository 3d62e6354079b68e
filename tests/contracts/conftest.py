"""Every dataset of the registry, with a small folder of it, and the one that CONTRIBUTING.md adds as an example."""

import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import search_spaces
from pan_model import datasets as registry
from pan_model.backbones.config import FeaturesConfig
from pan_model.data.items import Items
from pan_model.datasets import DATASETS, Dataset, ReaderOptions
from search_spaces import SPACES, SearchSpace
from study.trials.preparation import Preparation, PreparedDataset, prepare_dataset

ROOT = Path(__file__).parents[2]
DRAWERS = Path(__file__).parent / "drawers"
EXAMPLE = "shoes"
FEATURES = FeaturesConfig(backbone="shufflenet_v2_x0_5", weights="random", image_size=32)


@dataclass(frozen=True)
class Case:
    """A dataset, the folder that holds a small one, and what its drawer says of it."""

    name: str
    row: Dataset
    data_root: Path
    drawer: ModuleType

    @property
    def folder(self) -> Path:
        return self.data_root / self.row.folder

    @property
    def left_out(self) -> dict[str, int]:
        """What the reader has to leave out of the drawn folder."""
        return getattr(self.drawer, "LEFT_OUT", {})

    @property
    def shares_items(self) -> bool:
        """Whether the drawer says that items can be in several splits."""
        return hasattr(self.drawer, "SHARES_ITEMS")

    def space(self) -> SearchSpace:
        if self.name not in SPACES:
            pytest.fail(f"dataset {self.name} has no search space: write search_spaces/{self.name}.py and its row.")
        return SPACES[self.name]

    def read(self, folder: Path | None = None) -> Items:
        return self.row.read(folder or self.folder, ReaderOptions())

    def prepare(self, data_root: Path, cache_dir: Path, **options: Any) -> PreparedDataset:
        return prepare_dataset(
            Preparation(dataset=self.name, data_root=data_root, cache_dir=cache_dir, features=FEATURES, **options)
        )


@pytest.fixture(scope="module", name="find_drawer")
def the_way_to_find_drawers() -> Callable[..., ModuleType]:
    return find_drawer


def find_drawer(name: str, row: Dataset, drawers: Path = DRAWERS) -> ModuleType:
    """The module that draws a small valid folder of a dataset; a test without one fails and says what to write."""
    path = drawers / f"{name}.py"
    if not path.is_file():
        pytest.fail(
            f"dataset {name} has no drawer: write {path} with a function draw(folder: Path) -> None that makes a "
            f"small valid {row.folder}/, at least 5 classes or products in val and test; see the others there, and "
            'CONTRIBUTING.md, "Add a dataset".'
        )
    return _load(path.stem, path.read_text(encoding="utf-8"), path)


def _load(name: str, code: str, path: Path) -> ModuleType:
    module = ModuleType(name)
    exec(compile(code, str(path), "exec"), vars(module))
    return module


def blocks_of_contributing() -> dict[str, str]:
    """The Python of the example, by the file that it belongs to."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^\*\*\d\. .*?`([\w/]+\.py)`.*?```python\n(.*?)```", text, flags=re.DOTALL | re.MULTILINE))


@pytest.fixture(scope="module")
def example() -> Iterator[ModuleType]:
    """Do what CONTRIBUTING.md says, for as long as the tests run; gives the drawer."""
    blocks = blocks_of_contributing()
    with pytest.MonkeyPatch.context() as patch:
        reader, space = (_load(name, blocks[name], ROOT / name) for name in READER_AND_SPACE)
        named = {"pan_model.data.shoes": reader, "search_spaces.shoes": space}
        for name, module in named.items():
            assert importlib.util.find_spec(name) is None, "the example must not be there"
            patch.setitem(sys.modules, name, module)
        row = eval(f"{{{blocks['pan_model/datasets.py']}}}", vars(registry) | vars(reader))
        space_row = eval(f"{{{blocks['search_spaces/__init__.py']}}}", vars(search_spaces) | {"shoes": space})
        assert row.keys() == space_row.keys() == {EXAMPLE}
        patch.setitem(DATASETS, EXAMPLE, row[EXAMPLE])
        patch.setitem(SPACES, EXAMPLE, space_row[EXAMPLE])
        yield _load("drawer", blocks[f"tests/contracts/drawers/{EXAMPLE}.py"], DRAWERS / f"{EXAMPLE}.py")


READER_AND_SPACE = (f"pan_model/data/{EXAMPLE}.py", f"search_spaces/{EXAMPLE}.py")


@pytest.fixture(scope="module", params=[*DATASETS, EXAMPLE])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    name: str = request.param
    drawer = request.getfixturevalue("example") if name == EXAMPLE else None
    row = DATASETS[name]
    case = Case(name, row, tmp_path_factory.mktemp(name), drawer or find_drawer(name, row))
    case.drawer.draw(case.folder)
    return case


@pytest.fixture(scope="module")
def prepared(case: Case, tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return case.prepare(case.data_root, tmp_path_factory.mktemp("cache"))
