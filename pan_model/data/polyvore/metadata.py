"""Reader of polyvore_item_metadata.json: the category and the texts of every item of Polyvore Outfits."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pan_model.data.polyvore.attribute_words import ItemText
from pan_model.data.source_files import as_object, as_text, bad_value, read_json
from pan_model.errors import UserError

TEXT_FIELDS = ("title", "url_name", "description")
"""The texts that attribute words are searched in. Each may be empty."""

_FILE_FORM = 'an object {"<item_id>": {"category_id", "title", "url_name", "description"}, ..}'


class Metadata(NamedTuple):
    """Metadata of the requested items, in their order.

    Attributes:
        category_ids: The category of each item.
        texts: The texts of each item.
        num_others: Number of further items in the file.
    """

    category_ids: tuple[str, ...]
    texts: tuple[ItemText, ...]
    num_others: int


def read_metadata(path: Path, item_ids: Sequence[str]) -> Metadata:
    """Read the categories and texts of items. Missing texts are empty.

    Args:
        path: The metadata file.
        item_ids: The ids of the requested items.

    Raises:
        UserError: The file has no entry of an item, or a category_id or text is not a string.
    """
    entries = as_object(read_json(path), str(path), _FILE_FORM)
    missing = [item_id for item_id in item_ids if item_id not in entries]
    if missing:
        raise UserError(
            f"{path}: no metadata of item {missing[0]!r}; "
            f"{len(missing)} of the {len(item_ids)} items of the outfits have none."
        )
    places = [f"{path} item {item_id!r}" for item_id in item_ids]
    items = [as_object(entries[item_id], place, "an object") for item_id, place in zip(item_ids, places, strict=True)]
    return Metadata(
        category_ids=tuple(_read_category(item, place) for item, place in zip(items, places, strict=True)),
        texts=tuple(_read_texts(item, place) for item, place in zip(items, places, strict=True)),
        num_others=len(entries) - len(item_ids),
    )


def _read_category(item: dict[str, object], place: str) -> str:
    category_id = item.get("category_id")
    if not isinstance(category_id, str) or not category_id:
        raise bad_value(place, "category_id to be a string that is not empty", category_id)
    return category_id


def _read_texts(item: dict[str, object], place: str) -> ItemText:
    return tuple(as_text(item.get(name, ""), place, f"{name} to be a string") for name in TEXT_FIELDS)
