"""What read_polyvore reads, and what it says of a dataset that is not as it should be."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pan_model.data.cub import read_cub
from pan_model.data.demo import DemoConfig, draw_demo
from pan_model.data.fingerprint import fingerprint
from pan_model.data.items import Items
from pan_model.data.polyvore.attribute_words import read_words
from pan_model.data.polyvore.outfits import Outfits
from pan_model.data.polyvore.questions import CompatQuestion, FitbQuestion, QuestionSource
from pan_model.data.polyvore.reader import METADATA_FILE, polyvore_split, read_polyvore
from pan_model.data.splits import Split
from pan_model.errors import UserError

# items are sorted by the characters of their ids: 10, 20, 3, 4, 5; item 20 is in train and val, item 5 in val and test
OUTFITS = {
    "train": {"a": ["3", "20"], "b": ["10", "4"]},
    "valid": {"c": ["20", "5"], "e": ["5", "20"]},
    "test": {"d": ["5", "4"], "f": ["4", "5"]},
}
CATEGORY = {"3": "11", "4": "2", "5": "11", "10": "2", "20": "4"}
TITLES = {"3": "red lace top", "4": "Lace bag", "5": "", "10": "blue bag", "20": "washed-out dress"}
Lay = Callable[..., Path]


def outfit(set_id: str, item_ids: list[str]) -> dict[str, Any]:
    items = [{"item_id": item_id, "index": index} for index, item_id in enumerate(item_ids, start=1)]
    return {"items": items, "set_id": set_id}


def fitb(*questions: tuple[list[str], list[str]]) -> str:
    return json.dumps([{"question": q, "answers": a, "blank_position": 2} for q, a in questions])


FILES = {
    METADATA_FILE: json.dumps(
        {
            key: {"category_id": CATEGORY[key], "title": TITLES[key], "url_name": "", "description": ""}
            for key in CATEGORY
        }
    ),
    **{
        f"nondisjoint/{name}.json": json.dumps([outfit(set_id, item_ids) for set_id, item_ids in outfits.items()])
        for name, outfits in OUTFITS.items()
    },
    "nondisjoint/compatibility_valid.txt": "1 c_1 c_2\n0 c_2 c_1\n",
    "nondisjoint/compatibility_test.txt": "1 d_1 d_2\n0 d_2 d_2\n",
    "nondisjoint/fill_in_blank_test_harder_new.json": fitb((["d_1"], ["d_2", "d_1"])),
    "nondisjoint/fill_in_blank_valid.json": fitb((["c_1"], ["e_2", "c_2"])),
    "nondisjoint/fill_in_blank_test.json": fitb((["d_1"], ["d_2", "f_2"])),
}


@pytest.fixture
def lay(tmp_path: Path) -> Lay:
    """Write the small dataset with some files changed, or left away where the change is None."""

    def lay_out(changes: dict[str, str | None] | None = None) -> Path:
        folder = tmp_path / "polyvore_outfits"
        for name, content in (FILES | (changes or {})).items():
            if content is not None:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(content, encoding="utf-8")
        (folder / "images").mkdir(exist_ok=True)
        for item_id in CATEGORY:
            (folder / "images" / f"{item_id}.jpg").write_bytes(b"never decoded")
        return folder

    return lay_out


def outfits_of(items: Items) -> Outfits:
    assert isinstance(items.relations, Outfits)
    return items.relations


def test_reads_items_categories_and_words(lay: Lay) -> None:
    items = read_polyvore(lay(), words=("lace", "washed out"))
    assert items.image_names == ("10.jpg", "20.jpg", "3.jpg", "4.jpg", "5.jpg")
    assert items.image_path(1).read_bytes() == b"never decoded"
    assert items.class_names == ("11", "2", "4")
    assert items.classes.tolist() == [1, 2, 0, 1, 0]
    assert items.attribute_names == ("lace", "washed out", "none")
    assert items.attributes.astype(int).tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 0], [1, 0, 0], [0, 0, 1]]
    assert (items.certainty == 4).all()
    assert items.left_out == {}


def test_reads_outfits_and_questions(lay: Lay) -> None:
    outfits = outfits_of(read_polyvore(lay()))
    assert outfits.outfits == {
        Split.TRAIN: ((2, 1), (0, 3)),
        Split.VAL: ((1, 4), (4, 1)),
        Split.TEST: ((4, 3), (3, 4)),
    }
    assert outfits.set_ids == {Split.TRAIN: ("a", "b"), Split.VAL: ("c", "e"), Split.TEST: ("d", "f")}
    assert outfits.categories.tolist() == [1, 2, 0, 1, 0]
    assert outfits.category_names == ("11", "2", "4")
    assert outfits.files.fitb == {
        (QuestionSource.ORIGINAL, Split.VAL): (FitbQuestion((1,), (1, 4), 1),),
        (QuestionSource.ORIGINAL, Split.TEST): (FitbQuestion((4,), (3, 4), 0),),
        (QuestionSource.HARDER, Split.TEST): (FitbQuestion((4,), (3, 4), 0),),
    }
    assert outfits.files.compat == {
        (QuestionSource.ORIGINAL, Split.VAL): (CompatQuestion((1, 4), True), CompatQuestion((4, 1), False)),
        (QuestionSource.ORIGINAL, Split.TEST): (CompatQuestion((4, 3), True), CompatQuestion((3, 3), False)),
    }
    assert outfits.lost == {}


def test_an_item_can_be_in_several_splits(lay: Lay) -> None:
    splits = polyvore_split(read_polyvore(lay()))
    assert {split: items.tolist() for split, items in splits.items()} == {
        Split.TRAIN: [0, 1, 2, 3],
        Split.VAL: [1, 4],
        Split.TEST: [3, 4],
    }


def test_words_are_mined_from_training_items_alone(lay: Lay) -> None:
    metadata = json.loads(FILES[METADATA_FILE])
    metadata["5"]["title"] = "green green velvet"  # in val and test only
    items = read_polyvore(lay({METADATA_FILE: json.dumps(metadata)}))
    assert items.attribute_names == ("bag", "lace", "blue", "dress", "red", "top", "washed", "none")


def test_a_dataset_without_texts_has_one_attribute(lay: Lay) -> None:
    metadata = {key: {"category_id": category, "title": ""} for key, category in CATEGORY.items()}
    items = read_polyvore(lay({METADATA_FILE: json.dumps(metadata)}))
    assert items.attribute_names == ("none",)
    assert items.attributes.all()


def test_reads_the_version_asked_for(lay: Lay) -> None:
    folder = lay()
    (folder / "nondisjoint").rename(folder / "disjoint")
    assert len(read_polyvore(folder, version="disjoint")) == 5
    with pytest.raises(UserError, match=r"nondisjoint: no such folder; .* must hold polyvore_item_metadata\.json"):
        read_polyvore(folder)


def test_counts_what_is_left_out(lay: Lay) -> None:
    metadata = json.loads(FILES[METADATA_FILE]) | {"99": {}}
    train = [outfit("a", ["3", "20", "3"]), outfit("b", ["10", "4"]), outfit("g", ["3", "3"])]
    items = read_polyvore(lay({METADATA_FILE: json.dumps(metadata), "nondisjoint/train.json": json.dumps(train)}))
    assert items.left_out == {"item of no outfit": 1, "item that its outfit lists again": 2}
    outfits = outfits_of(items)
    assert outfits.outfits[Split.TRAIN] == ((2, 1), (0, 3))
    assert outfits.set_ids[Split.TRAIN] == ("a", "b")
    assert outfits.lost == {"train outfits of fewer than 2 items": 1}


def test_a_token_of_a_repeated_item_still_names_it(lay: Lay) -> None:
    valid = [outfit("c", ["20", "5", "20"]), outfit("e", ["5", "20"])]
    changes = {
        "nondisjoint/valid.json": json.dumps(valid),
        "nondisjoint/compatibility_valid.txt": "1 c_1 c_2 c_3\n",
    }
    files = outfits_of(read_polyvore(lay(changes))).files
    assert files.compat[QuestionSource.ORIGINAL, Split.VAL] == (CompatQuestion((1, 4, 1), True),)


def test_select_keeps_items_and_relations_together(lay: Lay) -> None:
    items = read_polyvore(lay())
    kept = items.select(np.array([False, True, True, True, True]), "unreadable image")
    outfits = outfits_of(kept)
    assert outfits.outfits == {Split.TRAIN: ((1, 0),), Split.VAL: ((0, 3), (3, 0)), Split.TEST: ((3, 2), (2, 3))}
    assert [kept.image_names[item] for item in outfits.outfits[Split.TRAIN][0]] == ["3.jpg", "20.jpg"]
    assert outfits.categories.tolist() == kept.classes.tolist()
    assert polyvore_split(kept)[Split.TRAIN].tolist() == [0, 1]


def test_the_fingerprint_changes_with_a_question(lay: Lay) -> None:
    before = fingerprint(read_polyvore(lay()))
    assert fingerprint(read_polyvore(lay())) == before
    assert fingerprint(read_polyvore(lay({"nondisjoint/compatibility_valid.txt": "1 c_2 c_1\n0 c_1 c_2\n"}))) != before


def test_never_opens_the_pickle(lay: Lay) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return pytest.fail, ("the pickle was opened",)

    folder = lay()
    (folder / "nondisjoint" / "typespaces.p").write_bytes(pickle.dumps(Bomb()))
    assert len(read_polyvore(folder)) == 5


def test_refuses_an_unknown_version(lay: Lay) -> None:
    with pytest.raises(UserError, match=r"unknown version '\.\./x' .*; choose from nondisjoint, disjoint"):
        read_polyvore(lay(), version="../x")


def test_refuses_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"polyvore_outfits: no such folder; --data-root must hold polyvore_outfits/"):
        read_polyvore(tmp_path / "polyvore_outfits")


@pytest.mark.parametrize("name", [name for name in FILES if "harder" not in name])
def test_refuses_a_missing_file(lay: Lay, name: str) -> None:
    with pytest.raises(UserError, match=f"polyvore_outfits/{name}: no such file; .* must hold polyvore_item_metadata"):
        read_polyvore(lay({name: None}))


def test_refuses_a_folder_without_images(lay: Lay) -> None:
    folder = lay()
    (folder / "images").rename(folder / "photos")
    with pytest.raises(UserError, match=r"images: no such folder; .* must hold "):
        read_polyvore(folder)


def test_names_the_first_missing_image_and_counts_them(lay: Lay) -> None:
    folder = lay()
    (folder / "images" / "20.jpg").unlink()
    (folder / "images" / "4.jpg").unlink()
    with pytest.raises(UserError, match=r"images/20\.jpg: no such image; 2 of the 5 items of the outfits have none\."):
        read_polyvore(folder)


def test_names_the_first_item_without_metadata(lay: Lay) -> None:
    metadata = {key: value for key, value in json.loads(FILES[METADATA_FILE]).items() if key not in {"20", "5"}}
    with pytest.raises(UserError, match=r"no metadata of item '20'; 2 of the 5 items"):
        read_polyvore(lay({METADATA_FILE: json.dumps(metadata)}))


def test_refuses_a_split_whose_outfits_are_all_of_one_item(lay: Lay) -> None:
    with pytest.raises(UserError, match="split train: no outfit with 2 items or more is left"):
        read_polyvore(lay({"nondisjoint/train.json": json.dumps([outfit("a", ["3", "3"])])}))


def test_refuses_words_that_nothing_has(lay: Lay) -> None:
    with pytest.raises(UserError, match="got 1 words from 'tartan' to 'tartan' that none of the 5 items has"):
        read_polyvore(lay(), words=("tartan",))


def test_words_can_come_from_a_file(lay: Lay, tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("lace\nwashed out\n", encoding="utf-8")
    one, other = read_polyvore(lay(), words=words), read_polyvore(lay(), words=("lace", "washed out"))
    assert fingerprint(one) == fingerprint(other) != fingerprint(read_polyvore(lay()))


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("tartan\nplaid\n", "expected an attribute word in some item's title, .* got 2 words from 'tartan' to 'plaid'"),
        ("", "expected attribute words, one a line, got an empty file"),
        ("lace\nLace\n", r"expected words that differ, got 'Lace' as on line 1"),
    ],
)
def test_a_bad_file_of_words_is_named(lay: Lay, tmp_path: Path, content: str, rule: str) -> None:
    words = tmp_path / "words.txt"
    words.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=rf"words\.txt(: | line 2: ){rule}"):
        read_polyvore(lay(), words=words)


def test_refuses_a_bad_harder_file_too(lay: Lay) -> None:
    changes: dict[str, str | None] = {"nondisjoint/fashion_compatibility_harder_val.txt": "1 c_1 c_9\n"}
    with pytest.raises(UserError, match=r"harder_val\.txt line 1: expected tokens .* in valid\.json, got 'c_9'"):
        read_polyvore(lay(changes))


def test_splits_only_what_has_outfits(tmp_path: Path) -> None:
    draw_demo(tmp_path / "demo", DemoConfig(num_classes=8, images_per_class=1, image_size=16))
    with pytest.raises(TypeError, match="expected items with outfits"):
        polyvore_split(read_cub(tmp_path / "demo"))


@pytest.fixture(scope="module")
def shop(real_data: Path) -> Items:
    return read_polyvore(real_data / "polyvore_outfits")


@pytest.mark.real
def test_reads_real_outfits(shop: Items) -> None:
    assert len(shop) == 6977
    assert shop.left_out == {}
    assert {split: len(items) for split, items in polyvore_split(shop).items()} == {
        Split.TRAIN: 5706,
        Split.VAL: 1576,
        Split.TEST: 2539,
    }
    outfits = outfits_of(shop)
    assert {split: len(found) for split, found in outfits.outfits.items()} == {
        Split.TRAIN: 3280,
        Split.VAL: 469,
        Split.TEST: 938,
    }
    assert outfits.files.count() == {
        "original fitb val": 469,
        "original fitb test": 938,
        "original compatibility val": 938,
        "original compatibility test": 1876,
    }
    assert outfits.files.defects() == {
        "original fitb val: a distractor is in the question": 8,
        "original fitb val: an item is twice among the answers": 2,
        "original fitb test: a distractor is in the question": 20,
        "original fitb test: an item is twice among the answers": 4,
        "original compatibility val: an item is twice in the question": 8,
        "original compatibility test: an item is twice in the question": 22,
    }


@pytest.mark.real
def test_mines_sensible_words_from_real_texts(shop: Items) -> None:
    assert len(shop.attribute_names) == 206
    assert {"grey", "white", "blue", "dress", "jeans", "earrings", "leather"} <= set(shop.attribute_names)
    assert shop.attributes[:, :-1].any(axis=0).all()
    assert (shop.attributes.mean(axis=0) < 0.5).all()


@pytest.mark.real
def test_labels_real_texts_with_the_words_of_pan(shop: Items, real_data: Path) -> None:
    words = read_words(real_data / "polyvore_real" / "attribute_words.txt")
    items = read_polyvore(real_data / "polyvore_outfits", words=words)
    assert items.attribute_names == (*words, "none")
    column = items.attribute_names.index("grey")
    assert items.attributes[:, column].tolist() == shop.attributes[:, shop.attribute_names.index("grey")].tolist()
    assert 0 < items.attributes[:, -1].mean() < 1
