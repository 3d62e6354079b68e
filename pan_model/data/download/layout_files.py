"""Single looks at the files of a dataset, each noted in a report."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pan_model.data.download.layout_report import LayoutReport, Verdict, first_names

HIDDEN = "._"
"""macOS leaves files with this prefix beside the images it copies; they are no images."""

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


def is_hidden(name: str) -> bool:
    """Whether a path is that of a hidden file of macOS."""
    return name.rpartition("/")[2].startswith(HIDDEN)
