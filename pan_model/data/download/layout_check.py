"""Checks of the folder of a dataset: files that exist, are missing, or are unusual. No image is opened.

The readers check the content strictly. Official numbers are those of the papers:
CUB-200-2011 (Wah et al., 2011), In-Shop (Liu et al., CVPR 2016), Polyvore Outfits (Vasileva et al., ECCV 2018).
"""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from pan_model.command_line import counted
from pan_model.data.download.folder_check import check_folder
from pan_model.data.download.layout_report import (
    LayoutReport,
    Verdict,
    count_images,
    count_lines,
    find_file,
    first_names,
    list_archives,
    list_leftovers,
    load_json,
    read_lines,
    require_folder,
)
from pan_model.data.folder.placement import PLACES
from pan_model.data.inshop import ATTRIBUTE_PLACES, IMAGE_PLACES, PARTITION_PLACES
from pan_model.data.polyvore.reader import find_images_folder, find_version
from pan_model.data.source_files import is_hidden
from pan_model.data.splits import TaskName

IN_SHOP_OFFICIAL = {"train": 25882, "query": 14218, "gallery": 12612}
VERSIONS = ("nondisjoint", "disjoint")
OUTFITS = ("train.json", "valid.json", "test.json")
OUTFITS_OFFICIAL = {"nondisjoint": (53306, 5000, 10000)}
ITEMS_OFFICIAL = {"nondisjoint": (204679, 25132, 47854)}
QUESTIONS = ("compatibility_valid.txt", "compatibility_test.txt", "fill_in_blank_valid.json", "fill_in_blank_test.json")
HARDER = (
    "fashion_compatibility_harder_val.txt",
    "fashion_compatibility_harder_test.txt",
    "fill_in_blank_valid_harder_new.json",
    "fill_in_blank_test_harder_new.json",
)


def check_cub(folder: Path) -> LayoutReport:
    """Check the folder of CUB-200-2011."""
    report = LayoutReport("cub", folder)
    if not require_folder(report):
        return report
    images = [line.split(maxsplit=1)[-1] for line in read_lines(report, "images.txt")]
    shown = [name for name in images if not is_hidden(name)]
    if images:
        report.count("images.txt", len(images), "images", 11788)
        report.count("images.txt", len({name.split("/")[0] for name in shown}), "classes", 200)
    count_lines(report, "image_class_labels.txt", "labelled images", 11788)
    count_lines(report, "attributes/image_attribute_labels.txt", "attribute labels", 3677856)
    names = find_file(report, ("attributes/attributes.txt", "attributes.txt", "../attributes.txt"))
    if names:
        count_lines(report, names, "attributes", 312)
    count_images(report, [Path("images") / name for name in shown])
    list_leftovers(report, "images")
    return report


def check_in_shop(folder: Path) -> LayoutReport:
    """Check the folder of In-Shop Clothes Retrieval."""
    report = LayoutReport("inshop", folder)
    if not require_folder(report):
        return report
    partition = find_file(report, [str(Path(place, "list_eval_partition.txt")) for place in PARTITION_PLACES])
    rows = [line.split() for line in read_lines(report, partition)[2:]] if partition else []
    if partition:
        _count_partition(report, partition, rows)
    for name, unit, official in (
        ("list_attr_cloth.txt", "attributes", 463),
        ("list_attr_items.txt", "items with attributes", 3997 + 3985),
    ):
        place = find_file(report, [str(Path(subfolder, name)) for subfolder in ATTRIBUTE_PLACES])
        if place:
            report.count(place, max(len(read_lines(report, place)) - 2, 0), unit, official)
    listed = [row[0] for row in rows if len(row) == 3 and not is_hidden(row[0])]
    count_images(report, _place_in_shop_images(folder, listed))
    list_leftovers(report, "img", "Img", "img_highres")
    return report


def check_polyvore(folder: Path) -> LayoutReport:
    """Check the folder of Polyvore Outfits. One complete version is enough."""
    report = LayoutReport("polyvore", folder)
    if not require_folder(report):
        return report
    metadata = load_json(report, "polyvore_item_metadata.json", dict)
    if metadata is not None:
        report.count("polyvore_item_metadata.json", len(metadata), "items")
    versions = VERSIONS
    if find_version(folder, VERSIONS[0]) == folder:
        versions = (".",)
        report.add(Verdict.NOTE, "outfits lie in the folder itself, in no folder of a version")
    whole = [version for version in versions if _has_all(folder / version, (*OUTFITS, *QUESTIONS))]
    items: dict[str, None] = {}
    for version in versions:
        items |= dict.fromkeys(_check_version(report, version, whole))
    if metadata is not None and (unknown := [item for item in items if item not in metadata]):
        report.add(
            Verdict.BROKEN, f"{counted(len(unknown), 'item')} of the outfits without metadata {first_names(unknown)}"
        )
    images = find_images_folder(folder).relative_to(folder)
    count_images(report, [images / f"{item}.jpg" for item in items])
    list_leftovers(report, "images")
    return report


CHECKS: dict[str, Callable[[Path, TaskName], LayoutReport]] = {
    "cub": lambda folder, _: check_cub(folder),
    "inshop": lambda folder, _: check_in_shop(folder),
    "polyvore": lambda folder, _: check_polyvore(folder),
    "folder": check_folder,
}
"""For each dataset, the function that checks its folder, for a task."""

FOLDERS = {"cub": "CUB_200_2011", "inshop": "In-shop", "polyvore": "polyvore_outfits", "folder": "images"}
"""The usual folder of each dataset below the data root."""


def dataset_folder(dataset: str, data_root: Path) -> Path:
    """Return the folder of a dataset."""
    return data_root / FOLDERS[dataset]


def check_layout(dataset: str, data_root: Path, task: TaskName = TaskName.FEW_SHOT) -> LayoutReport:
    """Check the folder of a dataset. Images are checked by name and size only.

    Args:
        dataset: The name of the dataset.
        data_root: The folder that holds the dataset's folder.
        task: The task for which the classes of `folder` must suffice.

    Raises:
        UserError: Several folders could be that of the dataset.
    """
    place = PLACES[dataset](data_root)
    report = CHECKS[dataset](place.folder, task)
    for text in filter(None, (place.note, place.hint)):
        report.add(Verdict.NOTE, text)
    for archive in list_archives(data_root):
        if dataset != "folder" and archive.lower().startswith(FOLDERS[dataset].lower()):
            report.add(Verdict.ODD, f"../{archive}: an archive, which a study does not read")
    return report


def _count_partition(report: LayoutReport, name: str, rows: list[list[str]]) -> None:
    """Count the images and items of In-Shop by their role."""
    good = [row for row in rows if len(row) == 3 and row[2] in IN_SHOP_OFFICIAL]
    if len(good) < len(rows):
        report.add(
            Verdict.BROKEN,
            f'{name}: {counted(len(rows) - len(good), "line")} not of the form "<image> <item> train|query|gallery"',
        )
    report.count(name, len(good), "images", sum(IN_SHOP_OFFICIAL.values()))
    images = Counter(row[2] for row in good)
    for role, official in IN_SHOP_OFFICIAL.items():
        report.count(name, images[role], f"{role} images", official)
    for roles, official in ((("train",), 3997), (("query", "gallery"), 3985)):
        items = {row[1] for row in good if row[2] in roles}
        report.count(name, len(items), f"{' and '.join(roles)} items", official)


def _place_in_shop_images(folder: Path, listed: list[str]) -> list[Path]:
    """Return the paths of the listed images in the first folder of images that holds one of them."""
    names = [Path(*Path(name).parts[1:]) if Path(name).parts[0] == "img" else Path(name) for name in listed]
    roots = [Path(place) for place in IMAGE_PLACES if (folder / place).is_dir()] or [Path(IMAGE_PLACES[0])]
    root = next((root for root in roots if any((folder / root / name).is_file() for name in names)), roots[0])
    return [root / name for name in names]


def _check_version(report: LayoutReport, version: str, whole: list[str]) -> list[str]:
    """Check a version of Polyvore Outfits. Return the items of its outfits if its files are complete."""
    folder = report.folder / version
    if not folder.is_dir():
        hint = f"a study with --polyvore-split {whole[0]} does not need it" if whole else "one version is enough"
        begun = any((report.folder / known).is_dir() for known in VERSIONS)
        report.add(Verdict.NOTE if begun else Verdict.MISSING, f"{version}/: not there; {hint}")
        return []
    for name in (*OUTFITS, *QUESTIONS):
        if not (folder / name).is_file():
            report.add(Verdict.ODD if whole else Verdict.MISSING, f"{version}/{name}{': not there' if whole else ''}")
    items: list[str] = []
    for index, name in enumerate(OUTFITS):
        if (folder / name).is_file():
            items += _check_outfits(report, version, index)
    _check_questions(report, version)
    return items if version in whole else []


def _check_outfits(report: LayoutReport, version: str, index: int) -> list[str]:
    name = f"{version}/{OUTFITS[index]}"
    outfits = load_json(report, name, list)
    if outfits is None:
        return []
    try:
        items = list(dict.fromkeys(str(item["item_id"]) for outfit in outfits for item in outfit["items"]))
    except (TypeError, KeyError):
        report.add(Verdict.BROKEN, f'{name}: expected outfits {{"set_id", "items": [{{"item_id", "index"}}]}}')
        return []
    official = [numbers.get(version) for numbers in (OUTFITS_OFFICIAL, ITEMS_OFFICIAL)]
    report.count(name, len(outfits), "outfits", official[0][index] if official[0] else None)
    report.count(name, len(items), "items", official[1][index] if official[1] else None)
    return items


def _check_questions(report: LayoutReport, version: str) -> None:
    folder = report.folder / version
    for name in QUESTIONS:
        if (folder / name).is_file():
            empty = (folder / name).stat().st_size == 0
            report.add(Verdict.BROKEN if empty else Verdict.THERE, f"{version}/{name}{': empty' if empty else ''}")
    harder = [name for name in HARDER if (folder / name).is_file()]
    which = first_names(harder) if harder else "(a study does not need them)"
    report.add(Verdict.NOTE, f"{version}/: {len(harder)} of {len(HARDER)} files of harder questions {which}")


def _has_all(folder: Path, names: Iterable[str]) -> bool:
    return all((folder / name).is_file() for name in names)
