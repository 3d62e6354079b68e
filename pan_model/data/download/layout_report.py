"""The report on the folder of a dataset, and checks of single files that add to it."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from pan_model.command_line import counted
from pan_model.data.folder.image_files import match_files
from pan_model.data.source_files import HIDDEN, is_hidden
from pan_model.errors import UserError
from pan_model.files import refuse_utf16

SHOWN = 3  # names listed in a finding


class Verdict(StrEnum):
    """The kind of a finding. A study cannot read a dataset with missing or broken files."""

    THERE = "there"
    NOTE = "note"
    ODD = "odd"
    MISSING = "missing"
    BROKEN = "broken"


@dataclass(frozen=True)
class Finding:
    """A line of a report."""

    verdict: Verdict
    text: str


@dataclass(frozen=True)
class LayoutReport:
    """The findings in the folder of a dataset."""

    dataset: str
    folder: Path
    findings: list[Finding] = field(default_factory=list[Finding])

    @property
    def readable(self) -> bool:
        """Whether no finding prevents a study from reading the dataset."""
        return not any(finding.verdict in (Verdict.MISSING, Verdict.BROKEN) for finding in self.findings)

    def add(self, verdict: Verdict, text: str) -> None:
        """Add a finding."""
        self.findings.append(Finding(verdict, text))

    def count(self, what: str, number: int, unit: str, official: int | None = None) -> None:
        """Add a finding with a count, and with the official count if it differs.

        Args:
            what: The file.
            number: The count.
            unit: What is counted.
            official: The count in the official dataset, if known.

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
        """Yield the lines of the report: a heading, the findings, the verdict."""
        yield f"{self.dataset} in {self.folder}:"
        for finding in self.findings:
            yield f"  {finding.verdict:<8} {finding.text}"
        counts = Counter(finding.verdict for finding in self.findings)
        faults = [f"{counts[verdict]} {verdict}" for verdict in (Verdict.MISSING, Verdict.BROKEN) if counts[verdict]]
        odd = "; odd findings need not be errors, a subset is fine" if counts[Verdict.ODD] else ""
        yield f"a study can read it{odd}" if self.readable else f"a study cannot read it yet: {', '.join(faults)}"


def first_names(names: Iterable[str]) -> str:
    """Return the first three names in parentheses.

    >>> first_names(["a.jpg", "b.jpg", "c.jpg", "d.jpg"])
    '(a.jpg, b.jpg, c.jpg, ..)'
    """
    known = list(names)
    return f"({', '.join(known[:SHOWN])}{', ..' if len(known) > SHOWN else ''})"


ARCHIVES = (".zip", ".tgz", ".tar", ".tar.gz", ".7z", ".rar", ".parquet")
PLACES = (".", "Anno", "Eval", "Img", "img", "images", "attributes", "nondisjoint", "disjoint")
"""Folders that are searched for leftover archives."""

_CHUNK = 1 << 22  # bytes


def require_folder(report: LayoutReport) -> bool:
    """Return whether the folder exists. Add a finding if not."""
    if not report.folder.is_dir():
        report.add(Verdict.MISSING, f"no folder {report.folder}")
    return report.folder.is_dir()


def find_file(report: LayoutReport, places: Sequence[str]) -> str | None:
    """Return the first existing file. Add a finding if there is none."""
    for place in places:
        if (report.folder / place).is_file():
            return place
    report.add(Verdict.MISSING, f"{places[0]}{f' (nor {places[1]})' if len(places) > 1 else ''}")
    return None


def read_lines(report: LayoutReport, name: str) -> list[str]:
    """Return the non-blank lines of a file. Add a finding if it cannot be read."""
    try:
        content = (report.folder / name).read_bytes()
        refuse_utf16(content)
    except UserError as error:
        report.add(Verdict.BROKEN, f"{name}: {error}")
        return []
    except FileNotFoundError:
        report.add(Verdict.MISSING, name)
        return []
    except OSError as error:
        report.add(Verdict.BROKEN, f"{name}: cannot be read ({error.strerror})")
        return []
    text = content.decode("utf-8-sig", errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        report.add(Verdict.BROKEN, f"{name}: empty")
    return [line.strip() for line in text.split("\n") if line.strip()]


def count_lines(report: LayoutReport, name: str, unit: str, official: int) -> None:
    """Count the lines of a large file, such as the 3.7 million labels of CUB, and add a finding.

    Args:
        report: The report to add to.
        name: The file, relative to the folder of the report.
        unit: What a line stands for, such as "attributes".
        official: The number of lines in the official dataset.
    """
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
    """Load a JSON file with a list or an object. Add a finding and return None if it is anything else."""
    try:
        content = json.loads((report.folder / name).read_bytes())
    except FileNotFoundError:
        report.add(Verdict.MISSING, name)
    except OSError as error:
        report.add(Verdict.BROKEN, f"{name}: cannot be read ({error.strerror})")
    except (ValueError, RecursionError):
        report.add(Verdict.BROKEN, f"{name}: not JSON, or truncated")
    else:
        if isinstance(content, kind):
            return content
        report.add(Verdict.BROKEN, f"{name}: expected a {'list' if kind is list else 'dictionary'}")
    return None


def count_images(report: LayoutReport, images: Sequence[Path]) -> None:
    """Add findings with the numbers of listed images that exist, are missing or are empty."""
    matches = match_files(report.folder, [image.as_posix() for image in images])
    missing = [str(image) for image, file in zip(images, matches.files, strict=True) if file is None]
    empty = [file for file in matches.files if file is not None and (report.folder / file).stat().st_size == 0]
    if len(images) > len(missing):
        report.add(Verdict.THERE, f"{len(images) - len(missing)} of the {len(images)} listed images")
    if matches.renamed:
        renamed = first_names(ascii(matches.files[place]) for place in matches.renamed)
        report.add(
            Verdict.NOTE, f"{counted(len(matches.renamed), 'image')} unlike the list in case or Unicode {renamed}"
        )
    if missing:
        similar = matches.describe(missing[0])
        text = f"{len(missing)} of the {len(images)} listed images {first_names(missing)}"
        report.add(Verdict.MISSING, f"{text};{similar}" if similar else text)
    if empty:
        report.add(
            Verdict.BROKEN,
            f"{counted(len(empty), 'image')} of 0 bytes {first_names(empty)}; --skip-bad-images leaves them out",
        )


def list_leftovers(report: LayoutReport, *image_folders: str) -> None:
    """Add findings for hidden files of macOS, archives that were not unpacked, and the unused pickle."""
    hidden: list[str] = []
    for folder in image_folders:
        for place, _, names in os.walk(report.folder / folder):
            hidden += [str(Path(place, name).relative_to(report.folder)) for name in names if is_hidden(name)]
    if hidden:
        report.add(Verdict.ODD, f"{counted(len(hidden), 'file')} {HIDDEN}* of macOS, no images {first_names(hidden)}")
    for place in PLACES:
        for name in list_archives(report.folder / place):
            report.add(Verdict.ODD, f"{Path(place, name)}: an archive, which a study does not read; is it unpacked?")
        if (report.folder / place / "typespaces.p").is_file():
            report.add(Verdict.NOTE, f"{Path(place, 'typespaces.p')}: a pickle, never read")


def list_archives(folder: Path) -> list[str]:
    """Return the names of the archives in a folder."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.name.lower().endswith(ARCHIVES) and entry.is_file())
    except OSError:
        return []
