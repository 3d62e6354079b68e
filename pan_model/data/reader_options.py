"""What may be said of how a dataset is read, beside where it lies."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class PolyvoreSplit(StrEnum):
    """The two versions of Polyvore Outfits; in disjoint, no item is in two splits."""

    NONDISJOINT = "nondisjoint"
    DISJOINT = "disjoint"


@dataclass(frozen=True, kw_only=True)
class ReaderOptions:
    """Passed to every reader; a dataset's row of the registry names the options that it heeds.

    attribute_words is a file of words, one a line; without it they are mined from the training items' texts.
    """

    polyvore_split: PolyvoreSplit = PolyvoreSplit.NONDISJOINT
    attribute_words: Path | None = None

    def to_json(self, names: Collection[str]) -> dict[str, str]:
        """The options of these names as strings; a file by its absolute path, and only where there is one.

        >>> ReaderOptions().to_json(["polyvore_split", "attribute_words"])
        {'polyvore_split': 'nondisjoint'}
        """
        words = None if self.attribute_words is None else str(self.attribute_words.absolute())
        written = {"polyvore_split": self.polyvore_split.value, "attribute_words": words}
        return {name: value for name, value in written.items() if name in names and value is not None}

    @classmethod
    def from_json(cls, options: Mapping[str, str]) -> "ReaderOptions":
        """Read what `to_json` wrote; what is not there has its default."""
        words = options.get("attribute_words")
        return cls(
            polyvore_split=PolyvoreSplit(options.get("polyvore_split", PolyvoreSplit.NONDISJOINT)),
            attribute_words=None if words is None else Path(words),
        )


OPTIONS = tuple(ReaderOptions.__dataclass_fields__)
"""The names of all options."""
