"""Read a cluster file: YAML with strict keys, and placeholders that are still to be filled in."""

import json
import re
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import yaml

from cluster.check.problem import Problem, mapping, sequence, step
from pan_model.errors import UserError
from pan_model.files import decode_user_text


class _StrictLoader(yaml.SafeLoader):
    """A safe loader that records duplicate keys, which YAML accepts silently, and keys that are not strings.

    Keys that are not strings are converted to strings.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.problems: list[Problem] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        first = dict[str, int]()
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if key.value in first and key.tag != "tag:yaml.org,2002:merge":
                what = f"duplicate key '{key.value}', first given on line {first[key.value]}; remove one of the two."
                self.problems.append(Problem(where=f"line {line}", what=what))
            first.setdefault(str(key.value), line)
        loaded = super().construct_mapping(node, deep=deep)
        for key in (key for key in loaded if not isinstance(key, str)):
            what = f"keys must be strings, got {key}; quote it or remove it."
            self.problems.append(Problem(where=f"line {node.start_mark.line + 1}", what=what))
        return {str(key): value for key, value in loaded.items()}


def read_documents(path: Path) -> tuple[list[Any], list[Problem]]:
    """Return the documents of a file and its YAML errors; no document if the file cannot be parsed."""
    try:
        text = decode_user_text(path.read_bytes())
    except OSError as error:
        return [], [Problem(where="", what=f"the file cannot be read: {error.strerror}.")]
    except UserError as error:
        return [], [Problem(where="", what=f"{error}.")]
    if binary := next((line for line, words in enumerate(text.split("\n"), 1) if "\0" in words), None):
        what = "contains a NUL character, as in a binary file; save it as UTF-8 text."
        return [], [Problem(where=f"line {binary}", what=what)]
    loader = _StrictLoader(text)
    documents: list[Any] = []
    try:
        while loader.check_data():
            documents.append(loader.get_data())
        json.dumps(documents, default=str)  # refuses a value that contains itself through an anchor
    except yaml.MarkedYAMLError as error:
        return [], [*loader.problems, _syntax(error, text)]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return [], [Problem(where="", what=f"the file is not valid YAML: {' '.join(str(error).split())}.")]
    finally:
        loader.dispose()
    return documents, sorted(set(loader.problems), key=str)


def _syntax(error: yaml.MarkedYAMLError, text: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 1
    lines = text.splitlines()
    written = lines[line - 1] if line <= len(lines) else ""
    if "\t" in written[: len(written) - len(written.lstrip())]:
        return Problem(where=f"line {line}", what="indented with a tab, which YAML forbids; use spaces.")
    return Problem(where=f"line {line}", what=f"invalid YAML: {error.problem}, got '{written.strip()}'.")


PLACEHOLDER = re.compile(r"YOUR[-_][A-Z0-9_-]*[A-Z0-9]")
"""A value that the user has to fill in."""

DESCRIPTIONS = {
    "YOUR-BUCKET": "the bucket's name",
    "YOUR-SECURITY-GROUP": "the security group's id, sg-...",
    "YOUR-IMAGE": "the machine image's id, ami-...; the comment there shows how to find it",
    "YOUR-PROJECT": "the Google Cloud project's id",
    "YOUR-FILESTORE-ADDRESS": "the share's IP address",
    "YOUR-REGISTRY": "the registry to which the image was pushed",
    "YOUR-HEAD": "the head's address",
    "YOUR-WORKER-1": "a worker's address, and one for each further worker",
    "YOUR-WORKER-2": "a worker's address, or remove it",
    "YOUR-USER": "the ssh user on every machine",
    "YOUR-KEY": "the path of that user's private key, such as ~/.ssh/id_ed25519",
    "YOUR-SHARED-FOLDER": "a folder, /..., that all machines share; results may go to s3://BUCKET/PREFIX instead",
}
"""What each placeholder stands for."""


def is_placeholder(value: object) -> bool:
    """Return whether a value contains a placeholder. Such values are not checked any further.

    >>> is_placeholder("s3://YOUR-BUCKET/data"), is_placeholder("s3://birds/data"), is_placeholder(3)
    (True, False, False)
    """
    return isinstance(value, str) and PLACEHOLDER.search(value) is not None


def find_placeholders(documents: list[Any]) -> list[Problem]:
    """Return one problem per remaining placeholder, with every place where it is written."""
    places = dict[str, list[str]]()
    for document in documents:
        seen = set[str]()
        for where, text in _strings(document, ""):
            for name in dict.fromkeys(PLACEHOLDER.findall(text)):
                if text not in seen:  # an anchor repeats the same text
                    places.setdefault(name, []).append(where)
            seen.add(text)
    return [
        Problem(where=places[name][0], what=f"fill in {name}{_description(name)}{_also(places[name][1:])}.")
        for name in places
    ]


def _description(name: str) -> str:
    return f", {DESCRIPTIONS[name]}" if name in DESCRIPTIONS else ""


def _also(places: list[str]) -> str:
    return f"; also used in {', '.join(places)}" if places else ""


def _strings(value: object, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield where, value
    for key, child in [*mapping(value).items(), *enumerate(sequence(value))]:
        yield from _strings(child, step(where, key))
