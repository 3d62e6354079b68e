"""Download and check datasets: `python -m pan_model.data.download cub|inshop|polyvore --data-root DIR [--check]`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from pan_model.command_line import BAD_INPUT, OneLineParser, run_with_exit_code
from pan_model.data.download.cub_archive import MD5, URL, Archive, fetch_cub
from pan_model.data.download.layout_check import CHECKS, check_layout, dataset_folder
from pan_model.errors import UserError
from pan_model.fetch import show_progress

IN_SHOP = """\
In-Shop Clothes Retrieval is part of DeepFashion (Liu et al., CVPR 2016) and is given out by request, for research only:
  1. http://mmlab.ie.cuhk.edu.hk/projects/DeepFashion.html, "In-shop Clothes Retrieval Benchmark": read the terms, ask
     for access with the form there; the answer holds the password of the archives of images.
  2. Get Eval/list_eval_partition.txt, Anno/list_attr_cloth.txt, Anno/list_attr_items.txt (or Anno/attributes/..) and
     Img/img.zip (256 x 256 pixels; img_highres.zip is not needed), and unzip it with the password.
  3. Put them into {folder}: Eval/, Anno/ and img/ (or Img/img/)."""

POLYVORE = """\
Polyvore Outfits (Vasileva et al., ECCV 2018) is given out by request, for research only:
  1. https://github.com/mvasil/fashion-compatibility says where it is by now: once a form and a link to Google Drive,
     since then https://huggingface.co/datasets/mvasil/polyvore-outfits, which needs an account and a request (6 GB).
  2. Get polyvore_item_metadata.json, the images and the folder nondisjoint/ or disjoint/ or both, each with
     train, valid and test.json, compatibility_valid and _test.txt, fill_in_blank_valid and _test.json.
  3. Put them into {folder}.
     Each image is images/<item_id>.jpg, so images that come as .parquet must be written out; typespaces.p is not
     needed."""

INSTRUCTIONS = {"inshop": IN_SHOP, "polyvore": POLYVORE}


def main(words: Sequence[str]) -> int:
    """Download a dataset or print how to request it, then check its folder. Return 0 if it can be read, otherwise 2."""
    return run_with_exit_code(lambda: _get(_parse(words)), "run it again, a download continues where it stopped")


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = OneLineParser(prog="python -m pan_model.data.download", description="Get a dataset, or look at one.")
    parser.add_argument("dataset", metavar="NAME", help=", ".join(CHECKS))
    parser.add_argument(
        "--data-root", type=Path, default=Path("data"), metavar="DIR", help="holds the datasets' folders"
    )
    parser.add_argument("--url", help=f"cub: another address of the same archive ({URL})")
    parser.add_argument("--md5", help=f"cub: the sum of another packing of it ({MD5})")
    parser.add_argument("--check", action="store_true", help="only list what is there, missing and odd")
    options = parser.parse(words)
    if options.dataset not in CHECKS:
        raise UserError(f"unknown dataset '{options.dataset}'; choose from {', '.join(CHECKS)}.")
    if (options.url or options.md5) and (options.check or options.dataset != "cub"):
        raise UserError("--url and --md5 are of use only where cub is downloaded.")
    return options


def _get(options: argparse.Namespace) -> int:
    data_root: Path = options.data_root.expanduser()
    if not options.check and options.dataset == "cub":
        if (dataset_folder("cub", data_root) / "images.txt").is_file():
            return _say_there(data_root)
        _download_cub(data_root, Archive(options.url or URL, options.md5 or MD5))
    elif not options.check:
        print(_say_where(options.dataset, dataset_folder(options.dataset, data_root)))
    report = check_layout(options.dataset, data_root)
    *lines, verdict = report.lines()
    for line in lines:
        print(line)
    if report.readable:
        _read(options.dataset, data_root)
    print(verdict)
    return 0 if report.readable else BAD_INPUT


def _read(dataset: str, data_root: Path) -> None:
    """Read the dataset as a study does. Raise UserError for faults that the check of files does not show."""
    from pan_model.data.polyvore.reader import PolyvoreSplit
    from pan_model.datasets import (
        ReaderOptions,  # not needed for the check of files
        find_dataset,
    )

    row, folder = find_dataset(dataset), dataset_folder(dataset, data_root)
    there = [version for version in PolyvoreSplit if (folder / version).is_dir()]
    for version in there or [PolyvoreSplit.NONDISJOINT]:
        items = row.read(folder, ReaderOptions(polyvore_split=version))
        for reason, count in items.left_out.items():
            print(f"  note     {count} are left out ({reason})")


def _say_there(data_root: Path) -> int:
    print(f"{dataset_folder('cub', data_root)} is there already, nothing was downloaded; --check looks at it.")
    return 0


def _say_where(dataset: str, folder: Path) -> str:
    """Return instructions to request `inshop` or `polyvore` and to put it into `folder`."""
    return INSTRUCTIONS[dataset].format(folder=folder)


def _download_cub(data_root: Path, archive: Archive) -> None:
    with show_progress() as progress:
        fetch_cub(data_root, archive, say=lambda text: print(text, flush=True), progress=progress)
