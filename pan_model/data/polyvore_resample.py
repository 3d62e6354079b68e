"""Draw new questions of Polyvore Outfits, for valid and test, and write them in the form of the official files.

Usage: `python -m pan_model.data.polyvore_resample DIR [--version disjoint] [--seed 0] [--candidates 10] [--output DIR]`
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from pan_model.command_line import OneLineParser, counted, run_with_exit_code
from pan_model.data.polyvore.metadata import read_metadata
from pan_model.data.polyvore.outfit_lists import ListedOutfit, list_item_ids, read_outfits
from pan_model.data.polyvore.outfits import Outfit
from pan_model.data.polyvore.question_drawing import NUM_CANDIDATES, Compatibilities, FillInBlanks, draw_questions
from pan_model.data.polyvore.reader import METADATA_FILE, OUTFIT_FILES, VERSIONS, number_categories
from pan_model.data.polyvore.tokens import (
    TokenBlank,
    TokenCompatibility,
    Tokens,
    format_blanks,
    format_compatibilities,
)
from pan_model.data.splits import Split
from pan_model.errors import UserError
from pan_model.files import refuse_existing, write_new_files
from pan_model.shapes import Int

RESAMPLED = (Split.VAL, Split.TEST)
"""The splits with questions."""


def main(words: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    return run_with_exit_code(lambda: _run(_parser().parse(words)))


@dataclass(frozen=True, kw_only=True)
class Resampled:
    """The questions of a split, with item indices and with the tokens of files."""

    blanks: FillInBlanks
    compatibilities: Compatibilities
    token_blanks: tuple[TokenBlank, ...]
    token_compatibilities: tuple[TokenCompatibility, ...]


def resample(
    listed: Mapping[Split, Sequence[ListedOutfit]],
    category_ids: Mapping[str, str],
    *,
    split: Split,
    seed: int = 0,
    num_candidates: int = NUM_CANDIDATES,
) -> Resampled:
    """Draw the questions of a split. A study with the same seed has the same questions.

    Wrong candidates and replacements come from outfits of the same split. No negative is an outfit of any split.

    Args:
        listed: The outfits of each split.
        category_ids: The category of each item_id.
        split: The split.
        seed: The random seed.
        num_candidates: Number of candidates of a fill-in-the-blank question.
    """
    number = {item_id: index for index, item_id in enumerate(sorted(category_ids))}
    categories, _ = number_categories(tuple(category_ids[item_id] for item_id in number))
    outfits = {name: _numbered(of_split, number) for name, of_split in listed.items()}
    blanks, compatibilities = draw_questions(outfits, categories, split=split, seed=seed, num_candidates=num_candidates)
    tokens = _first_tokens(listed[split], number)
    return Resampled(
        blanks=blanks,
        compatibilities=compatibilities,
        token_blanks=_name_blanks(blanks, listed[split], tokens),
        token_compatibilities=_name_compatibilities(compatibilities, outfits[split], listed[split], tokens),
    )


def _parser() -> OneLineParser:
    parser = OneLineParser(
        prog="python -m pan_model.data.polyvore_resample",
        description="Draw new fill-in-the-blank and compatibility questions of Polyvore Outfits, for valid and test.",
        epilog="example:\n  uv run python -m pan_model.data.polyvore_resample data/polyvore_outfits --seed 0",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help=f"holds {METADATA_FILE} and the folder of the version")
    parser.add_argument("--version", choices=VERSIONS, default="nondisjoint", help="version of the dataset")
    parser.add_argument("--seed", type=_natural, default=0, metavar="S", help="the same seed draws the same questions")
    parser.add_argument(
        "--candidates", type=_natural, default=NUM_CANDIDATES, metavar="N", help="number of candidates of a question"
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="output folder; by default the folder of the version"
    )
    return parser


def _natural(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise argparse.ArgumentTypeError(f"expected a non-negative integer, got '{text}'")
    return int(text)


def _run(options: argparse.Namespace) -> None:
    if options.candidates < 2:
        raise UserError(f"--candidates must be at least 2, got {options.candidates}.")
    folder: Path = options.folder / options.version
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; DIR must hold {METADATA_FILE} and the folder of the --version.")
    output: Path = options.output or folder
    files = {split: _file_names(output, split) for split in RESAMPLED}
    refuse_existing(path for names in files.values() for path in names)
    listed = {split: read_outfits(folder / name) for split, name in OUTFIT_FILES.items()}
    item_ids = list_item_ids(chain.from_iterable(listed.values()))
    metadata = read_metadata(options.folder / METADATA_FILE, item_ids)
    category_ids = dict(zip(item_ids, metadata.category_ids, strict=True))
    texts: dict[Path, str] = {}
    lines: list[str] = []
    for split, names in files.items():
        drawn = resample(listed, category_ids, split=split, seed=options.seed, num_candidates=options.candidates)
        _check_any(folder / OUTFIT_FILES[split], drawn, len(listed[split]))
        formatted = (format_blanks(drawn.token_blanks), format_compatibilities(drawn.token_compatibilities))
        texts |= zip(names, formatted, strict=True)
        lines += _describe(drawn, names)
    write_new_files(texts)
    print("\n".join(lines))


def _file_names(output: Path, split: Split) -> tuple[Path, Path]:
    stem = Path(OUTFIT_FILES[split]).stem
    return output / f"fill_in_blank_{stem}_resampled.json", output / f"compatibility_{stem}_resampled.txt"


def _check_any(path: Path, drawn: Resampled, num_outfits: int) -> None:
    """Raise UserError if a file would have no questions, since readers reject it."""
    for kind, questions in (("fill-in-the-blank", drawn.blanks), ("compatibility", drawn.compatibilities)):
        if not len(questions):
            expected = f"expected outfits that allow {kind} questions"
            raise UserError(f"{path}: {expected}, got {num_outfits} that allow none.")


def _describe(drawn: Resampled, names: tuple[Path, Path]) -> list[str]:
    blanks, compatibilities = drawn.blanks, drawn.compatibilities
    num_negatives = int((~compatibilities.positive).sum())
    return [
        f"{names[0]}: {counted(len(blanks), 'question')}, {blanks.num_short} of them with fewer than "
        f"{blanks.num_candidates} candidates; {counted(blanks.num_without_question, 'outfit')} without a question",
        f"{names[1]}: {counted(len(compatibilities) - num_negatives, 'positive')}, "
        f"{counted(num_negatives, 'negative')}; "
        f"{counted(compatibilities.num_given_up, 'outfit')} given up",
    ]


def _numbered(outfits: Sequence[ListedOutfit], number: dict[str, int]) -> list[Outfit]:
    return [tuple(number[item_id] for item_id in outfit.item_ids) for outfit in outfits]


def _first_tokens(outfits: Sequence[ListedOutfit], number: dict[str, int]) -> dict[int, str]:
    """Return the first token of every item of a split."""
    tokens: dict[int, str] = {}
    for outfit in outfits:
        for token, item_id in zip(outfit.tokens, outfit.item_ids, strict=True):
            tokens.setdefault(number[item_id], token)
    return tokens


def _name_blanks(
    blanks: FillInBlanks, outfits: Sequence[ListedOutfit], tokens: dict[int, str]
) -> tuple[TokenBlank, ...]:
    """Convert questions to tokens. The right candidate comes first, which fits both rules of the official files."""
    named: list[TokenBlank] = []
    for source, blank, candidates, right in zip(
        _ints(blanks.sources), _ints(blanks.blanks), blanks.candidates, _ints(blanks.answers), strict=True
    ):
        own = outfits[source].tokens
        wrong = [tokens[item] for index, item in enumerate(candidates) if index != right]
        question = own[:blank] + own[blank + 1 :]
        named.append(TokenBlank(question=question, candidates=(own[blank], *wrong), answer=0, blank_position=blank + 1))
    return tuple(named)


def _name_compatibilities(
    compatibilities: Compatibilities,
    outfits: Sequence[Outfit],
    named: Sequence[ListedOutfit],
    tokens: dict[int, str],
) -> tuple[TokenCompatibility, ...]:
    """Convert outfits to tokens. Items that were not replaced have the token of their own outfit."""
    questions: list[TokenCompatibility] = []
    for source, items, positive in zip(
        _ints(compatibilities.sources), compatibilities.outfits, compatibilities.positive.tolist(), strict=True
    ):
        slots = zip(items, outfits[source], named[source].tokens, strict=True)
        words: Tokens = tuple(token if item == kept else tokens[item] for item, kept, token in slots)
        questions.append(TokenCompatibility(positive=positive, tokens=words))
    return tuple(questions)


def _ints(array: Int[np.ndarray, "B"]) -> list[int]:
    return array.tolist()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
