"""What is read of the items' metadata, and what is said of metadata that are not as they should be."""

import json
from pathlib import Path
from typing import Any

import pytest

from pan_model.data.polyvore.metadata import Metadata, read_metadata
from pan_model.errors import UserError

ITEM = {
    "url_name": "red lace dress",
    "description": "A dress.",
    "catgeories": ["Dresses"],
    "title": "",
    "related": [],
    "category_id": "4",
    "semantic_category": "all-body",
}


def write(folder: Path, content: Any) -> Path:
    path = folder / "polyvore_item_metadata.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_reads_categories_and_texts_of_the_items_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, {"9": ITEM, "3": {"category_id": "21", "title": "Bag"}, "5": {}})
    expected = Metadata(("21", "4"), (("Bag", "", ""), ("", "red lace dress", "A dress.")), 1)
    assert read_metadata(path, ["3", "9"]) == expected


def test_names_the_first_item_without_metadata_and_counts_them(tmp_path: Path) -> None:
    path = write(tmp_path, {"9": ITEM})
    with pytest.raises(UserError, match=r"no metadata of item '3'; 2 of the 3 items of the outfits have none\.$"):
        read_metadata(path, ["3", "5", "9"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([ITEM], ': expected an object {"<item_id>": {"category_id", "title", "url_name", "description"}, ..}, got'),
        ({"9": "red"}, " item '9': expected an object, got 'red'."),
        ({"9": ITEM | {"category_id": 4}}, " item '9': expected category_id to be a string that is not empty, got 4."),
        ({"9": {}}, " item '9': expected category_id to be a string that is not empty, got None."),
        ({"9": ITEM | {"category_id": ""}}, " item '9': expected category_id to be a string that is not empty, got ''"),
        ({"9": ITEM | {"title": None}}, " item '9': expected title to be a string, got None."),
        ({"9": ITEM | {"description": ["a"]}}, " item '9': expected description to be a string, got ['a']."),
    ],
)
def test_refuses_bad_metadata(tmp_path: Path, content: Any, said: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(UserError, match="expected") as caught:
        read_metadata(path, ["9"])
    assert str(caught.value).startswith(f"{path}{said}")
