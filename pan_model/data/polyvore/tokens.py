"""Question files of Polyvore Outfits, which name items by tokens "<set_id>_<index>": reading and writing.

Written files have exactly the form of the official ones, so that any reader of those accepts them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pan_model.data.polyvore.outfit_lists import KnownTokens
from pan_model.data.source_files import as_list, as_object, bad_line, bad_value, read_json, read_lines
from pan_model.errors import UserError

Tokens = tuple[str, ...]

_BLANKS_FORM = 'a list of questions {"question": tokens, "answers": tokens}'
_BLANK_FORM = 'a question {"question": tokens, "answers": tokens}'
_LINE_FORM = '"1|0 <token> <token> ..", a token being "<set_id>_<index>"'


@dataclass(frozen=True, kw_only=True)
class TokenCompatibility:
    """A line of a compatibility file: an outfit and whether it is labelled as real."""

    positive: bool
    tokens: Tokens


@dataclass(frozen=True, kw_only=True)
class TokenBlank:
    """A fill-in-the-blank question. `answer` is the 0-based index of the right candidate.

    blank_position is 1-based. It is not evaluated, so it may be missing in the file (None).
    """

    question: Tokens
    candidates: Tokens
    answer: int
    blank_position: int | None = None


def set_of(token: str) -> str:
    """Return the set_id of a token.

    >>> set_of("224930161_4")
    '224930161'
    """
    return token.rpartition("_")[0]


def read_blanks(path: Path, known: KnownTokens) -> tuple[TokenBlank, ...]:
    """Read fill-in-the-blank questions, original or harder. Repeated items are kept.

    The right answer has the set_id of the question. If several candidates have it, the right one is the first candidate
    (harder files), otherwise the one that is not in the question.

    Raises:
        UserError: A value has a wrong type, a token is of no outfit, there are no questions, a question has no token or
            fewer than two answers, or not exactly one right answer.
    """
    entries = as_list(read_json(path), str(path), _BLANKS_FORM)
    if not entries:
        raise UserError(f"{path}: expected {_BLANKS_FORM}, got an empty list.")
    return tuple(_read_blank(entry, f"{path} question {number}", known) for number, entry in enumerate(entries, 1))


def read_compatibilities(path: Path, known: KnownTokens) -> tuple[TokenCompatibility, ...]:
    """Read compatibility questions, one a line. A question can hold an item twice, as in the published files.

    Raises:
        UserError: A label is not 0 or 1, a line has fewer than two tokens, a token is of no outfit, or the file is
            empty.
    """
    questions: list[TokenCompatibility] = []
    for line, text in read_lines(path):
        label, *named = text.split()
        if label not in {"0", "1"} or len(named) < 2:
            raise bad_line(path, line, _LINE_FORM, text)
        tokens = _take_tokens(list(named), f"{path} line {line}", known)
        questions.append(TokenCompatibility(positive=label == "1", tokens=tokens))
    if not questions:
        raise UserError(f"{path}: expected lines {_LINE_FORM}, got an empty file.")
    return tuple(questions)


def format_compatibilities(questions: Sequence[TokenCompatibility]) -> str:
    r"""Format compatibility questions like the official files.

    >>> format_compatibilities([TokenCompatibility(positive=True, tokens=("7_1", "7_2"))])
    '1 7_1 7_2\n'
    """
    return "".join(f"{' '.join((str(int(question.positive)), *question.tokens))}\n" for question in questions)


def format_blanks(questions: Sequence[TokenBlank]) -> str:
    """Format fill-in-the-blank questions like the official files: one line of JSON.

    The right answer is not marked. Readers find it by its set_id or as the first candidate.
    """
    return json.dumps(
        [
            {"question": entry.question, "answers": entry.candidates, "blank_position": entry.blank_position}
            for entry in questions
        ]
    )


def _read_blank(entry: object, place: str, known: KnownTokens) -> TokenBlank:
    fields = as_object(entry, place, _BLANK_FORM)
    asked = as_list(fields.get("question"), place, "question to be a list of tokens")
    answers = as_list(fields.get("answers"), place, "answers to be a list of tokens")
    if not asked or len(answers) < 2:
        raise UserError(
            f"{place}: expected at least 1 token in the question and 2 answers, got {len(asked)} and {len(answers)}."
        )
    question, candidates = _take_tokens(asked, place, known), _take_tokens(answers, place, known)
    position = fields.get("blank_position")
    return TokenBlank(
        question=question,
        candidates=candidates,
        answer=_find_answer(question, candidates, place),
        blank_position=position if type(position) is int else None,
    )


def _take_tokens(named: list[object], place: str, known: KnownTokens) -> Tokens:
    tokens: list[str] = []
    for token in named:
        if not isinstance(token, str) or token not in known.item_ids:
            raise bad_value(place, f'tokens "<set_id>_<index>" of outfits in {known.path.name}', token)
        tokens.append(token)
    return tuple(tokens)


def _find_answer(question: Tokens, candidates: Tokens, place: str) -> int:
    set_ids = sorted({set_of(token) for token in question})
    if len(set_ids) > 1:
        raise UserError(f"{place}: expected tokens of one outfit in the question, got set_ids {', '.join(set_ids)}.")
    own = [index for index, token in enumerate(candidates) if set_of(token) == set_ids[0]]
    if own[:1] == [0]:
        return 0
    unasked = own if len(own) == 1 else [index for index in own if candidates[index] not in question]
    if len(unasked) != 1:
        raise UserError(f"{place}: expected one answer of the question's outfit {set_ids[0]!r}, got {len(unasked)}.")
    return unasked[0]
