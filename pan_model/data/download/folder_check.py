"""Check of a folder a class: how many classes and images there are, and what each task lacks."""

from collections.abc import Sequence
from pathlib import Path

from pan_model.command_line import counted
from pan_model.data.download.layout_report import LayoutReport, Verdict
from pan_model.data.folder.attribute_table import find_table
from pan_model.data.folder.reader import scan_images
from pan_model.data.splits import CLASS_NEEDS, Split, TaskName
from pan_model.errors import UserError


def check_folder(folder: Path, task: TaskName) -> LayoutReport:
    """Check images in a folder a class. What another task than `task` lacks is only noted."""
    report = LayoutReport("folder", folder)
    try:
        sizes = list(scan_images(folder).class_sizes.values())
        table = find_table(folder.parent)
    except UserError as error:
        report.add(Verdict.BROKEN if folder.is_dir() else Verdict.MISSING, str(error).removesuffix("."))
        return report
    images, classes = counted(sum(sizes), "image"), counted(len(sizes), "class", "classes")
    report.add(Verdict.THERE, f"{images} in {classes}, {_range(sizes)} in a class")
    for name, need in CLASS_NEEDS.items():
        if lack := need.describe_lack(sizes):
            report.add(Verdict.MISSING if name is task else Verdict.NOTE, f"--task {name}: {lack}")
        else:
            report.add(Verdict.THERE, f"--task {name}: {_describe_split(sizes)}")
    if table is not None:
        report.add(Verdict.THERE, table.name)
    return report


def _range(sizes: Sequence[int]) -> str:
    """Return the smallest and the largest size.

    >>> _range([6, 8, 7]), _range([6, 6])
    ('6 to 8', '6')
    """
    return f"{min(sizes)} to {max(sizes)}" if min(sizes) < max(sizes) else f"{min(sizes)}"


def _describe_split(sizes: Sequence[int]) -> str:
    """Describe the classes of each split.

    >>> _describe_split([6] * 20)
    '20 classes; train 10, val 5, test 5'
    """
    splits = {Split.TRAIN: sizes[::2], Split.VAL: sizes[1::4], Split.TEST: sizes[3::4]}
    classes_of = ", ".join(f"{split} {len(of_split)}" for split, of_split in splits.items())
    return f"{counted(len(sizes), 'class', 'classes')}; {classes_of}"
