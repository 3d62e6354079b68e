"""The report on a dataset's folder, and the checks of single files that it is made of."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from pan_model.data.source_files import HIDDEN, is_hidden

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


ARCHIVES = (".zip", ".tgz", ".tar", ".tar.gz", ".7z", ".rar", ".parquet")
PLACES = (".", "Anno", "Eval", "Img", "img", "images", "attributes", "nondisjoint", "disjoint")
"""Folders of all datasets where something may lie about."""

_CHUNK = 1 << 22  # bytes


def look_in(report: LayoutReport) -> bool:
    """Whether there is a folder at all."""
    if not report.folder.is_dir():
        report.add(Verdict.MISSING, f"no folder {report.folder}")
    return report.folder.is_dir()


def find_file(report: LayoutReport, places: Sequence[str]) -> str | None:
    """The first place where there is such a file; missing where there is none."""
    for place in places:
        if (report.folder / place).is_file():
            return place
    report.add(Verdict.MISSING, f"{places[0]}{f' (nor {places[1]})' if len(places) > 1 else ''}")
    return None


def read_lines(report: LayoutReport, name: str) -> list[str]:
    """A file's lines that are not blank; what cannot be read is noted and has none."""
    try:
        text = (report.folder / name).read_text(encoding="utf-8-sig", errors="replace")
    except FileNotFoundError:
        report.add(Verdict.MISSING, name)
        return []
    except OSError as error:
        report.add(Verdict.BROKEN, f"{name}: cannot be read ({error.strerror})")
        return []
    if not text.strip():
        report.add(Verdict.BROKEN, f"{name}: empty")
    return [line.strip() for line in text.split("\n") if line.strip()]


def count_lines(report: LayoutReport, name: str, unit: str, official: int) -> None:
    """Count lines without keeping them, as CUB's labels are 3.7 million."""
    number, last = 0, b"\n"
    try:
        with (report.folder / name).open("rb") as file:
            while chunk := file.read(_CHUNK):
                number += chunk.count(b"\n")
                last = chunk
    except FileNotFoundError:
        report.add(Verdict.MISSING, name)
    except OSError as error:
        report.add(Verdict.BROKEN, f"{name}: cannot be read ({error.strerror})")
    else:
        report.count(name, number + (not last.endswith(b"\n")), unit, official)


def load_json(report: LayoutReport, name: str, kind: type) -> Any:
    """Load a JSON file that must hold a list or an object; None where it does not, which is noted."""
    try:
        content = json.loads((report.folder / name).read_bytes())
    except FileNotFoundError:
        report.add(Verdict.MISSING, name)
    except OSError as error:
        report.add(Verdict.BROKEN, f"{name}: cannot be read ({error.strerror})")
    except (ValueError, RecursionError):
        report.add(Verdict.BROKEN, f"{name}: not JSON, or cut short")
    else:
        if isinstance(content, kind):
            return content
        report.add(Verdict.BROKEN, f"{name}: expected a {'list' if kind is list else 'dictionary'}")
    return None


def look_for_images(report: LayoutReport, images: Sequence[Path]) -> None:
    """Note how many of the listed images are there, by their size on disk."""
    sizes = [_size(report.folder / image) for image in images]
    missing = [str(image) for image, size in zip(images, sizes, strict=True) if size is None]
    empty = [str(image) for image, size in zip(images, sizes, strict=True) if size == 0]
    if len(images) > len(missing):
        report.add(Verdict.THERE, f"{len(images) - len(missing)} of the {len(images)} listed images")
    if missing:
        report.add(Verdict.MISSING, f"{len(missing)} of the {len(images)} listed images {first_names(missing)}")
    if empty:
        report.add(
            Verdict.BROKEN, f"{len(empty)} images of 0 bytes {first_names(empty)}; --skip-bad-images leaves them out"
        )


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None


def look_for_leftovers(report: LayoutReport, *image_folders: str) -> None:
    """Note what lies about: macOS's hidden files, archives that nobody unpacked, the pickle that nobody reads."""
    hidden: list[str] = []
    for folder in image_folders:
        for place, _, names in os.walk(report.folder / folder):
            hidden += [str(Path(place, name).relative_to(report.folder)) for name in names if is_hidden(name)]
    if hidden:
        report.add(Verdict.ODD, f"{len(hidden)} files {HIDDEN}* of macOS, no images {first_names(hidden)}")
    for place in PLACES:
        for name in list_archives(report.folder / place):
            report.add(Verdict.ODD, f"{Path(place, name)}: an archive, which a study does not read; is it unpacked?")
        if (report.folder / place / "typespaces.p").is_file():
            report.add(Verdict.NOTE, f"{Path(place, 'typespaces.p')}: a pickle, never read")


def list_archives(folder: Path) -> list[str]:
    """The archives that lie in a folder."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.name.lower().endswith(ARCHIVES) and entry.is_file())
    except OSError:
        return []
