"""What is said of a dataset's folder, file by file, by someone who helps and does not judge."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

SHOWN = 3  # names that a finding repeats


class Verdict(StrEnum):
    """What a finding means for a study: missing and broken keep it from reading, odd and note do not."""

    THERE = "there"
    NOTE = "note"
    ODD = "odd"
    MISSING = "missing"
    BROKEN = "broken"


@dataclass(frozen=True)
class Finding:
    """One line of a report."""

    verdict: Verdict
    text: str


@dataclass(frozen=True)
class LayoutReport:
    """What was found in a dataset's folder."""

    dataset: str
    folder: Path
    findings: list[Finding] = field(default_factory=list[Finding])

    @property
    def readable(self) -> bool:
        """Whether a study could read the dataset, as far as a look at its files can tell."""
        return not any(finding.verdict in (Verdict.MISSING, Verdict.BROKEN) for finding in self.findings)

    def add(self, verdict: Verdict, text: str) -> None:
        """Note a finding."""
        self.findings.append(Finding(verdict, text))

    def count(self, what: str, number: int, unit: str, official: int | None = None) -> None:
        """Note a number, beside the official one where that is known.

        >>> report = LayoutReport("cub", Path("CUB_200_2011"))
        >>> report.count("images.txt", 2952, "images", 11788)
        >>> report.findings[0].text
        'images.txt: 2952 images, officially 11788'
        """
        if number == 0:
            self.add(Verdict.BROKEN, f"{what}: no {unit}")
        elif official is None or number == official:
            self.add(Verdict.THERE, f"{what}: {number} {unit}")
        else:
            self.add(Verdict.ODD, f"{what}: {number} {unit}, officially {official}")

    def lines(self) -> Iterator[str]:
        """The report in lines: a heading, the findings, the upshot."""
        yield f"{self.dataset} in {self.folder}:"
        for finding in self.findings:
            yield f"  {finding.verdict:<8} {finding.text}"
        counts = Counter(finding.verdict for finding in self.findings)
        faults = [f"{counts[verdict]} {verdict}" for verdict in (Verdict.MISSING, Verdict.BROKEN) if counts[verdict]]
        odd = "; what is odd need not be wrong, a subset is fine" if counts[Verdict.ODD] else ""
        yield f"a study can read it{odd}" if self.readable else f"a study cannot read it yet: {', '.join(faults)}"


def first_names(names: Iterable[str]) -> str:
    """The first three names in brackets.

    >>> first_names(["a.jpg", "b.jpg", "c.jpg", "d.jpg"])
    '(a.jpg, b.jpg, c.jpg, ..)'
    """
    known = list(names)
    return f"({', '.join(known[:SHOWN])}{', ..' if len(known) > SHOWN else ''})"
