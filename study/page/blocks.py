"""Parts of a page: sections, and the paragraphs, tables, charts and commands in them. Templates turn them into HTML."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

import plotly.graph_objects as go


class Tone(StrEnum):
    """What a paragraph is for, which decides its looks."""

    PLAIN = "plain"
    ANSWER = "answer"
    NOTE = "note"
    CAUTION = "caution"
    MISSING = "missing"


def is_number(cell: object) -> bool:
    """Return whether a cell of a table is a number.

    >>> is_number(3), is_number("-0.5"), is_number("1,024"), is_number("0.5 [0.4, 0.6]"), is_number("10f8")
    (True, True, True, False, False)
    """
    return re.fullmatch(r"[-+]?[\d,]*\.?\d+(e[-+]?\d+)?%?", str(cell)) is not None


@dataclass(frozen=True, kw_only=True)
class Text:
    """A paragraph. `Tone.MISSING` says what the page would show here, and how to get it. Line ends are kept."""

    kind: ClassVar[str] = "text"
    text: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table. The first cell of a row names it.

    Attributes:
        caption: What the table holds.
        heads: The heads of the columns.
        rows: The cells; None is an empty cell.
        folded: Whether the table is hidden until a reader opens it.
    """

    kind: ClassVar[str] = "table"
    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[object]]
    folded: bool = False

    @property
    def numeric(self) -> list[bool]:
        """Whether each column has numbers alone, so that it is aligned to the right."""
        columns = [[row[place] for row in self.rows if row[place] is not None] for place in range(len(self.heads))]
        return [bool(column) and all(map(is_number, column)) for column in columns]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart with its text alternative.

    Attributes:
        title: The heading of the chart.
        figure: The chart.
        finding: One or two sentences: what is to be read from the chart.
        table: The numbers of the chart, for readers who do not see it.
        wide: Whether the chart takes the whole width of a wide screen.
        min_width: The least width in pixels; on a narrower screen the chart scrolls.
    """

    kind: ClassVar[str] = "chart"
    title: str
    figure: go.Figure
    finding: str
    table: Table | None = None
    wide: bool = False
    min_width: int = 0

    @property
    def height(self) -> int:
        """The height in pixels."""
        layout: Any = self.figure.layout
        return int(layout["height"])

    @property
    def json(self) -> str:
        """The figure as JSON."""
        return str(self.figure.to_json(validate=False))


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A few key figures: pairs of a name and a value."""

    kind: ClassVar[str] = "facts"
    facts: Sequence[tuple[str, object]]


@dataclass(frozen=True, kw_only=True)
class Commands:
    """Commands that a reader may type, each with what it does, and where to type them."""

    kind: ClassVar[str] = "commands"
    title: str
    commands: Sequence[tuple[str, str]]
    note: str = "Run them in the project's folder, on the machine of the study."


@dataclass(frozen=True, kw_only=True)
class Custom:
    """A block with a template of its own, which gets the values.

    Attributes:
        template: The name of the template.
        values: Its variables.
    """

    kind: ClassVar[str] = "custom"
    template: str
    values: dict[str, object]


Block = Text | Table | Chart | Facts | Commands | Custom


@dataclass(frozen=True, kw_only=True)
class Part:
    """Blocks under a heading, such as those of one dataset; without a heading, they stand directly in the section."""

    heading: str = ""
    blocks: Sequence[Block]


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section of a page.

    Attributes:
        id: The name in the page's address.
        heading: The heading, which is also the entry of the navigation.
        lead: What to read from the section, in plain words.
        parts: The content.
    """

    id: str
    heading: str
    lead: str
    parts: Sequence[Part]


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page.

    Attributes:
        title: The title.
        subtitle: A line below the title.
        sections: The sections, in order.
        footer: A line at the end.
    """

    title: str
    subtitle: str
    sections: Sequence[Section]
    footer: str = ""
    notes: Sequence[Text] = field(default_factory=tuple[Text, ...])
    """Paragraphs before the first section."""
