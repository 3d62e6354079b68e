"""What read_outfits reads, and what it says of lists that are not as they should be."""

import json
from pathlib import Path
from typing import Any

import pytest

from pan_model.data.polyvore.outfit_lists import (
    ListedOutfit,
    list_item_ids,
    list_tokens,
    number_outfits,
    read_outfits,
)
from pan_model.errors import UserError


def listed(set_id: Any, *items: tuple[Any, Any]) -> dict[str, Any]:
    return {"set_id": set_id, "items": [{"item_id": item_id, "index": index} for item_id, index in items]}


GOOD = listed("20", ("7", 1), ("30", 2))


def write(folder: Path, content: Any) -> Path:
    path = folder / "valid.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_reads_outfits_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, [GOOD, listed("3", ("5", 4), ("7", 1), ("5", 2))])
    outfits = read_outfits(path)
    assert outfits == (ListedOutfit("20", ("7", "30"), (1, 2)), ListedOutfit("3", ("5", "7", "5"), (4, 1, 2)))
    assert list_item_ids(outfits) == ["30", "5", "7"]


def test_a_token_stands_for_an_item_of_its_outfit(tmp_path: Path) -> None:
    path = write(tmp_path, [GOOD, listed("3", ("5", 4), ("7", 1), ("5", 2))])
    outfits = read_outfits(path)
    assert [outfit.tokens for outfit in outfits] == [("20_1", "20_2"), ("3_4", "3_1", "3_2")]
    known = list_tokens(path, outfits)
    assert known.path == path
    assert known.item_ids == {"20_1": "7", "20_2": "30", "3_4": "5", "3_1": "7", "3_2": "5"}


def test_an_item_is_once_in_an_outfit() -> None:
    outfits = [ListedOutfit("a", ("x", "y", "x", "x"), (1, 2, 3, 4)), ListedOutfit("b", ("y", "x"), (1, 2))]
    assert number_outfits(outfits, {"x": 0, "y": 1}) == ([(0, 1), (1, 0)], 2)


ITEM = 'items {"item_id": a string, "index": a number from 1}'
OUTFIT = 'an outfit {"set_id", "items": [{"item_id", "index"}, ..]}'
PLAIN = "item_id to be a plain file name (letters, digits, '_', '-', '.')"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, ': expected a list of outfits {"set_id", "items": [{"item_id", "index"}, ..]}, got {}.'),
        ([], ': expected a list of outfits {"set_id", "items": [{"item_id", "index"}, ..]}, got an empty list.'),
        ([GOOD, "3"], f" outfit 2: expected {OUTFIT}, got '3'."),
        ([GOOD, GOOD], " outfit 2: set_id '20' is that of outfit 1 already."),
        ([listed(3)], " outfit 1: expected set_id to be a string without blanks, got 3."),
        ([listed("")], " outfit 1: expected set_id to be a string without blanks, got ''."),
        ([listed("3 4")], " outfit 1: expected set_id to be a string without blanks, got '3 4'."),
        ([{"items": []}], " outfit 1: expected set_id to be a string without blanks, got None."),
        ([{"set_id": "3"}], " outfit 1 (set_id '3'): expected items to be a list, got None."),
        ([listed("3")], " outfit 1 (set_id '3'): expected at least 2 items, got 0."),
        ([listed("3", ("7", 1))], " outfit 1 (set_id '3'): expected at least 2 items, got 1."),
        ([{"set_id": "3", "items": ["7", "8"]}], f" outfit 1 (set_id '3'): expected {ITEM}, got '7'."),
        ([listed("3", (7, 1), ("8", 2))], f" outfit 1 (set_id '3'): expected {ITEM}, got 7."),
        (
            [listed("3", ("7", 1), ("8", 1))],
            " outfit 1 (set_id '3'): expected a unique index for each item, got 1 twice.",
        ),
        *(
            (
                [listed("3", ("7", index), ("8", 2))],
                f" outfit 1 (set_id '3'): expected index to be a whole number from 1, got {index!r}.",
            )
            for index in ("1", 0, -1, 1.0, True, None)
        ),
        *(
            ([listed("3", (item_id, 1), ("8", 2))], f" outfit 1 (set_id '3'): expected {PLAIN}, got {item_id!r}.")
            for item_id in ("../7", "/7", "a/b", "..", ".7", "", "a\\b", "7\n", "7\0", "é")
        ),
    ],
)
def test_refuses_a_bad_list(tmp_path: Path, content: Any, said: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(UserError, match="outfit") as caught:
        read_outfits(path)
    assert str(caught.value) == f"{path}{said}"


def test_refuses_an_item_id_too_long_for_a_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected item_id to be a plain file name"):
        read_outfits(write(tmp_path, [listed("3", ("7" * 300, 1), ("8", 2))]))


def test_refuses_a_file_that_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "valid.json"
    path.write_text(json.dumps([GOOD])[:-5], encoding="utf-8")
    with pytest.raises(UserError, match=r"valid\.json line 1 column \d+: expected JSON"):
        read_outfits(path)


@pytest.mark.real
def test_reads_real_outfits(real_outfits: tuple[ListedOutfit, ...]) -> None:
    item_ids = list_item_ids(real_outfits)
    assert (len(real_outfits), len(item_ids)) == (5000, 25132)
    numbered, repeats = number_outfits(real_outfits, {item_id: number for number, item_id in enumerate(item_ids)})
    assert repeats == 3
    assert min(map(len, numbered)) == 2
    assert sum(map(len, numbered)) == 26781 - 3
