"""Reader of the outfits of a split of Polyvore Outfits, such as nondisjoint/train.json."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from pan_model.data.polyvore.outfits import FEWEST_ITEMS, Outfit
from pan_model.data.source_files import as_list, as_object, as_text, bad_value, read_json
from pan_model.errors import UserError

_FILE_FORM = 'a list of outfits {"set_id", "items": [{"item_id", "index"}, ..]}'
_OUTFIT_FORM = 'an outfit {"set_id", "items": [{"item_id", "index"}, ..]}'
_ITEM_FORM = 'items {"item_id": a string, "index": a number from 1}'
_SET_ID = re.compile(r"\S+")  # questions are split at blanks
_PLAIN = re.compile(r"[\w-][\w.-]{0,99}", re.ASCII)  # a valid file name that stays in its folder


class ListedOutfit(NamedTuple):
    """An outfit as listed in its file. item_ids and indices have the same length. An item can occur twice."""

    set_id: str
    item_ids: tuple[str, ...]
    indices: tuple[int, ...]

    @property
    def tokens(self) -> tuple[str, ...]:
        """The names of the items in question files.

        >>> ListedOutfit("7", ("90", "80"), (1, 2)).tokens
        ('7_1', '7_2')
        """
        return tuple(f"{self.set_id}_{index}" for index in self.indices)


class KnownTokens(NamedTuple):
    """The item_id of each token "<set_id>_<index>", and the file that lists the outfits."""

    path: Path
    item_ids: dict[str, str]


def read_outfits(path: Path) -> tuple[ListedOutfit, ...]:
    """Read the outfits of a split, in the order of the file.

    Raises:
        UserError: The file has no outfits, a value has a wrong type, a set_id or an index of an outfit repeats, an
            item_id is not a plain file name, or an outfit has one item.
    """
    entries = as_list(read_json(path), str(path), _FILE_FORM)
    if not entries:
        raise UserError(f"{path}: expected {_FILE_FORM}, got an empty list.")
    outfits: list[ListedOutfit] = []
    places: dict[str, int] = {}
    for number, entry in enumerate(entries, start=1):
        outfit = _read_outfit(entry, f"{path} outfit {number}")
        if places.setdefault(outfit.set_id, number) != number:
            earlier = places[outfit.set_id]
            raise UserError(f"{path} outfit {number}: set_id {outfit.set_id!r} is that of outfit {earlier} already.")
        outfits.append(outfit)
    return tuple(outfits)


def list_item_ids(outfits: Iterable[ListedOutfit]) -> list[str]:
    """Return the ids of all items of the outfits, sorted and without repeats."""
    return sorted({item_id for outfit in outfits for item_id in outfit.item_ids})


def items_by_token(outfits: Iterable[ListedOutfit]) -> dict[str, str]:
    """Return the item_id of every token.

    >>> items_by_token([ListedOutfit("7", ("90", "80"), (1, 2))])
    {'7_1': '90', '7_2': '80'}
    """
    return {token: item_id for outfit in outfits for token, item_id in zip(outfit.tokens, outfit.item_ids, strict=True)}


def list_tokens(path: Path, outfits: Iterable[ListedOutfit]) -> KnownTokens:
    """Return the tokens of the outfits listed in a file."""
    return KnownTokens(path, items_by_token(outfits))


def number_outfits(outfits: Sequence[ListedOutfit], numbers: dict[str, int]) -> tuple[list[Outfit], int]:
    """Convert outfits to the numbers of their items. Remove repeated items and return how many there were."""
    numbered = [tuple(dict.fromkeys(numbers[item_id] for item_id in outfit.item_ids)) for outfit in outfits]
    return numbered, sum(len(outfit.item_ids) for outfit in outfits) - sum(map(len, numbered))


def _read_outfit(entry: object, place: str) -> ListedOutfit:
    fields = as_object(entry, place, _OUTFIT_FORM)
    set_id = fields.get("set_id")
    if not isinstance(set_id, str) or not _SET_ID.fullmatch(set_id):
        raise bad_value(place, "set_id to be a string without blanks", set_id)
    place = f"{place} (set_id {set_id!r})"
    items = as_list(fields.get("items"), place, "items to be a list")
    if len(items) < FEWEST_ITEMS:
        raise UserError(f"{place}: expected at least {FEWEST_ITEMS} items, got {len(items)}.")
    pairs = [_read_item(item, place) for item in items]
    indices = tuple(index for _, index in pairs)
    if len(set(indices)) < len(indices):
        repeated = next(index for index in indices if indices.count(index) > 1)
        raise UserError(f"{place}: expected a unique index for each item, got {repeated} twice.")
    return ListedOutfit(set_id, tuple(item_id for item_id, _ in pairs), indices)


def _read_item(entry: object, place: str) -> tuple[str, int]:
    fields = as_object(entry, place, _ITEM_FORM)
    item_id = as_text(fields.get("item_id"), place, _ITEM_FORM)
    index = fields.get("index")
    if not isinstance(index, int) or isinstance(index, bool) or index < 1:
        raise bad_value(place, "index to be a whole number from 1", index)
    if not _PLAIN.fullmatch(item_id):
        raise bad_value(place, "item_id to be a plain file name (letters, digits, '_', '-', '.')", item_id)
    return item_id, index
