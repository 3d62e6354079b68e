"""The question files of Polyvore Outfits: the original ones, and the harder ones published by the authors of PAN."""

from pathlib import Path

from pan_model.data.polyvore.outfit_lists import KnownTokens
from pan_model.data.polyvore.questions import (
    CompatQuestion,
    FitbQuestion,
    QuestionFiles,
    QuestionKey,
    QuestionSource,
)
from pan_model.data.polyvore.tokens import Tokens, read_blanks, read_compatibilities
from pan_model.data.splits import Split

FITB_FILES: dict[QuestionKey, str] = {
    (QuestionSource.ORIGINAL, Split.VAL): "fill_in_blank_valid.json",
    (QuestionSource.ORIGINAL, Split.TEST): "fill_in_blank_test.json",
    (QuestionSource.HARDER, Split.VAL): "fill_in_blank_valid_harder_new.json",
    (QuestionSource.HARDER, Split.TEST): "fill_in_blank_test_harder_new.json",
}
COMPAT_FILES: dict[QuestionKey, str] = {
    (QuestionSource.ORIGINAL, Split.VAL): "compatibility_valid.txt",
    (QuestionSource.ORIGINAL, Split.TEST): "compatibility_test.txt",
    (QuestionSource.HARDER, Split.VAL): "fashion_compatibility_harder_val.txt",
    (QuestionSource.HARDER, Split.TEST): "fashion_compatibility_harder_test.txt",
}


def original_files() -> tuple[str, ...]:
    """Return the names of the files that every copy of the dataset has."""
    named = (*FITB_FILES.items(), *COMPAT_FILES.items())
    return tuple(name for (source, _), name in named if source is QuestionSource.ORIGINAL)


def read_question_files(folder: Path, known: dict[Split, KnownTokens], numbers: dict[str, int]) -> QuestionFiles:
    """Read the questions of each split with known tokens. Only the harder files may be missing.

    Args:
        folder: The folder of the version.
        known: The tokens of the outfits of each split.
        numbers: The index of each item_id.
    """

    def is_read(key: QuestionKey, name: str) -> bool:
        source, split = key
        return split in known and (source is QuestionSource.ORIGINAL or (folder / name).is_file())

    return QuestionFiles(
        fitb={
            (source, split): read_fitb(folder / name, known[split], numbers)
            for (source, split), name in FITB_FILES.items()
            if is_read((source, split), name)
        },
        compat={
            (source, split): read_compat(folder / name, known[split], numbers)
            for (source, split), name in COMPAT_FILES.items()
            if is_read((source, split), name)
        },
    )


def read_fitb(path: Path, known: KnownTokens, numbers: dict[str, int]) -> tuple[FitbQuestion, ...]:
    """Read fill-in-the-blank questions as indices of items, see `pan_model.data.polyvore.tokens.read_blanks`."""
    return tuple(
        FitbQuestion(_number(blank.question, known, numbers), _number(blank.candidates, known, numbers), blank.answer)
        for blank in read_blanks(path, known)
    )


def read_compat(path: Path, known: KnownTokens, numbers: dict[str, int]) -> tuple[CompatQuestion, ...]:
    """Read compatibility questions as indices of items, see `pan_model.data.polyvore.tokens.read_compatibilities`."""
    return tuple(
        CompatQuestion(_number(entry.tokens, known, numbers), entry.positive)
        for entry in read_compatibilities(path, known)
    )


def _number(tokens: Tokens, known: KnownTokens, numbers: dict[str, int]) -> tuple[int, ...]:
    return tuple(numbers[known.item_ids[token]] for token in tokens)
