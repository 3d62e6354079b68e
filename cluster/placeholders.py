"""Placeholders: the values of a shipped file that are the user's, written YOUR-SOMETHING until they are filled in."""

import re
from collections.abc import Iterator
from typing import Any

from cluster.finding import Finding, mapping, sequence, step

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


def is_open(value: object) -> bool:
    """Whether a value waits to be filled in; nothing else is said of it then.

    >>> is_open("s3://YOUR-BUCKET/data"), is_open("s3://birds/data"), is_open(3)
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
