"""Reads a YAML file as it is meant: what YAML itself lets pass, such as a key given twice, is a finding."""

import re
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import yaml

from cluster.check.finding import Finding, mapping, sequence, step


class _StrictLoader(yaml.SafeLoader):
    """A safe loader that notes keys given twice in one mapping, of which YAML takes the last without a word.

    It notes keys that are numbers, too, and makes text of them.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.findings: list[Finding] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        first = dict[str, int]()
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if key.value in first and key.tag != "tag:yaml.org,2002:merge":
                what = f"'{key.value}' was given on line {first[key.value]} already; keep one of the two."
                self.findings.append(Finding(where=f"line {line}", what=what))
            first.setdefault(str(key.value), line)
        made = super().construct_mapping(node, deep=deep)
        for key in (key for key in made if not isinstance(key, str)):
            what = f"a key must be text, got {key}; write it in quotes, or take it out."
            self.findings.append(Finding(where=f"line {node.start_mark.line + 1}", what=what))
        return {str(key): part for key, part in made.items()}


def read_documents(path: Path) -> tuple[list[Any], list[Finding]]:
    """Every document of a file, and what is wrong with it as YAML; no document where it cannot be read at all."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        return [], [Finding(where="", what=f"the file cannot be read: {reason}.")]
    loader = _StrictLoader(text)
    documents: list[Any] = []
    try:
        while loader.check_data():
            documents.append(loader.get_data())
    except yaml.MarkedYAMLError as error:
        return [], [*loader.findings, _syntax(error, text)]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return [], [Finding(where="", what=f"the file is no YAML: {' '.join(str(error).split())}.")]
    finally:
        loader.dispose()
    return documents, sorted(set(loader.findings), key=str)


def _syntax(error: yaml.MarkedYAMLError, text: str) -> Finding:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 1
    lines = text.splitlines()
    written = lines[line - 1] if line <= len(lines) else ""
    if "\t" in written[: len(written) - len(written.lstrip())]:
        return Finding(where=f"line {line}", what="a tab indents it, which YAML forbids; use blanks.")
    return Finding(where=f"line {line}", what=f"this is no YAML: {error.problem}, got '{written.strip()}'.")


PLACEHOLDER = re.compile(r"YOUR[-_][A-Z0-9_-]*[A-Z0-9]")
"""What stands for a value to be filled in."""

WANTED = {
    "YOUR-BUCKET": "the bucket's name",
    "YOUR-SECURITY-GROUP": "the security group's id, sg-...",
    "YOUR-IMAGE": "the machine image's id, ami-...; the comment there says how to find it",
    "YOUR-PROJECT": "the Google Cloud project's id",
    "YOUR-FILESTORE-ADDRESS": "the share's IP address",
    "YOUR-REGISTRY": "the registry to which the image was pushed",
    "YOUR-HEAD": "the head's address",
    "YOUR-WORKER-1": "a worker's address, and one for each of the others",
    "YOUR-WORKER-2": "a worker's address, or take it out",
    "YOUR-USER": "the user that ssh logs in as on every machine",
    "YOUR-KEY": "the path of that user's private key, such as ~/.ssh/id_ed25519",
    "YOUR-SHARED-FOLDER": "a folder, /..., that all machines share; results may go to s3://BUCKET/PREFIX instead",
}
"""What belongs in place of each."""


def is_placeholder(value: object) -> bool:
    """Whether a value waits to be filled in; nothing else is said of it then.

    >>> is_placeholder("s3://YOUR-BUCKET/data"), is_placeholder("s3://birds/data"), is_placeholder(3)
    (True, False, False)
    """
    return isinstance(value, str) and PLACEHOLDER.search(value) is not None


def find_placeholders(documents: list[Any]) -> list[Finding]:
    """Each placeholder that is left, once, with every value in which it is typed."""
    places = dict[str, list[str]]()
    for document in documents:
        seen = set[str]()
        for where, text in _strings(document, ""):
            for name in dict.fromkeys(PLACEHOLDER.findall(text)):
                if text not in seen:  # what is used by its anchor again is typed once
                    places.setdefault(name, []).append(where)
            seen.add(text)
    return [
        Finding(where=places[name][0], what=f"fill in {name}{_wanted(name)}{_also(places[name][1:])}.")
        for name in places
    ]


def _wanted(name: str) -> str:
    return f", {WANTED[name]}" if name in WANTED else ""


def _also(places: list[str]) -> str:
    return f"; it stands in {', '.join(places)}, too" if places else ""


def _strings(value: object, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield where, value
    for key, part in [*mapping(value).items(), *enumerate(sequence(value))]:
        yield from _strings(part, step(where, key))
