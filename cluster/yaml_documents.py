"""Reads a YAML file as it is meant: what YAML itself lets pass, such as a key given twice, is a finding."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from cluster.finding import Finding


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
