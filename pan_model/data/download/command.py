"""Download and check datasets: `python -m pan_model.data.download NAME --data-root DIR [--check]`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from pan_model.command_line import BAD_INPUT, OneLineParser, run_with_exit_code
from pan_model.data.download.cub_archive import MD5, URL, Archive, already_downloaded, fetch_cub
from pan_model.data.download.layout_check import CHECKS, check_layout, dataset_folder
from pan_model.data.polyvore.reader import PolyvoreSplit
from pan_model.data.splits import FEW_SHOT_NEED, RETRIEVAL_NEED, TaskName
from pan_model.datasets import ReaderOptions, describe_path, find_dataset
from pan_model.errors import UserError
from pan_model.fetch import show_progress

IN_SHOP = """\
In-Shop Clothes Retrieval is part of DeepFashion (Liu et al., CVPR 2016). It is available on request, for research only:
  1. http://mmlab.ie.cuhk.edu.hk/projects/DeepFashion.html, "In-shop Clothes Retrieval Benchmark": read the terms and
     request access with the form; the reply contains the password of the image archives.
  2. Download Eval/list_eval_partition.txt, Anno/list_attr_cloth.txt, Anno/list_attr_items.txt (or Anno/attributes/..)
     and Img/img.zip (256 x 256 pixels; img_highres.zip is not needed), and unzip it with the password.
  3. Put them into {folder}: Eval/, Anno/ and img/ (or Img/img/)."""

POLYVORE = """\
Polyvore Outfits (Vasileva et al., ECCV 2018) is available on request, for research only:
  1. https://github.com/mvasil/fashion-compatibility states its current location: formerly Google Drive, now
     https://huggingface.co/datasets/mvasil/polyvore-outfits, which requires an account and a request (6 GB).
  2. Download polyvore_item_metadata.json, the images and the folder nondisjoint/ or disjoint/ or both, each with
     train, valid and test.json, compatibility_valid and _test.txt, fill_in_blank_valid and _test.json.
  3. Put them into {folder}.
     Each image must be images/<item_id>.jpg, so images in .parquet files must be extracted; typespaces.p is not
     needed."""

FOLDER = f"""\
Arrange your own images in a folder for each class, {{folder}}/<class>/<file>:
  - few-shot needs {FEW_SHOT_NEED.num_classes_in_all} classes with at least {FEW_SHOT_NEED.num_images} images each;
    --task retrieval {RETRIEVAL_NEED.num_classes_in_all} classes with at least {RETRIEVAL_NEED.num_images} images each.
  - Optional: attributes.csv beside images/, with a header, a row for each image and a column for each attribute;
    the first column is the path in images/, values are 1, 0 or nothing (unknown)."""

INSTRUCTIONS = {"inshop": IN_SHOP, "polyvore": POLYVORE, "folder": FOLDER}
"""How to request each dataset that cannot be downloaded, with the placeholder {folder}."""


def main(words: Sequence[str]) -> int:
    """Download a dataset or print how to request it, then check its folder. Return 0 if it can be read, otherwise 2."""
    return run_with_exit_code(lambda: _run(_parse(words)), "run it again; the download resumes where it stopped")


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = OneLineParser(
        prog="python -m pan_model.data.download",
        description="Download a dataset, or check its folder.",
        epilog="example:\n  uv run python -m pan_model.data.download cub --data-root data",
    )
    parser.add_argument("dataset", metavar="NAME", help=", ".join(CHECKS))
    parser.add_argument(
        "--data-root", type=Path, default=Path("data"), metavar="DIR", help="contains the folders of the datasets"
    )
    parser.add_argument("--url", help=f"cub: address of the archive ({URL})")
    parser.add_argument("--md5", help=f"cub: MD5 of the archive ({MD5})")
    parser.add_argument(
        "--check", action="store_true", help="download nothing, only report present, missing and unusual files"
    )
    parser.add_argument(
        "--task", choices=tuple(map(str, TaskName)), help="folder: the task that classes must suffice for (few-shot)"
    )
    options = parser.parse(words)
    if options.dataset not in CHECKS:
        unknown = f"unknown dataset '{options.dataset}'; choose from {', '.join(CHECKS)}."
        raise UserError(describe_path(options.dataset) or unknown)
    if options.task and options.dataset != "folder":
        raise UserError(f"--task applies only to folder, got {options.dataset}.")
    if (options.url or options.md5) and (options.check or options.dataset != "cub"):
        raise UserError("--url and --md5 apply only to a download of cub.")
    return options


def _run(options: argparse.Namespace) -> int:
    data_root: Path = options.data_root.expanduser()
    if not options.check and options.dataset == "cub":
        if (dataset_folder("cub", data_root) / "images.txt").is_file():
            print(already_downloaded(dataset_folder("cub", data_root)))
            return 0
        _download_cub(data_root, Archive(options.url or URL, options.md5 or MD5))
    elif not options.check:
        print(INSTRUCTIONS[options.dataset].format(folder=dataset_folder(options.dataset, data_root)))
    task = TaskName(options.task or TaskName.FEW_SHOT)
    report = check_layout(options.dataset, data_root, task)
    *lines, verdict = report.lines()
    for line in lines:
        print(line)
    if report.readable:
        _read(options.dataset, data_root, task)
    print(verdict)
    return 0 if report.readable else BAD_INPUT


def _read(dataset: str, data_root: Path, task: TaskName) -> None:
    """Read the dataset as a study does. Raise UserError for errors that the check of the folder does not detect."""
    row = find_dataset(dataset)
    folder = row.find_place(data_root).folder
    versions = [version for version in PolyvoreSplit if (folder / version).is_dir()]
    for version in versions or [PolyvoreSplit.NONDISJOINT]:
        items = row.read(folder, ReaderOptions(polyvore_split=version, task=task))
        for note in items.notes:
            print(f"  note     {note}")
        for reason, count in items.left_out.items():
            print(f"  note     {count} left out ({reason})")


def _download_cub(data_root: Path, archive: Archive) -> None:
    with show_progress() as progress:
        fetch_cub(data_root, archive, say=lambda text: print(text, flush=True), progress=progress)
