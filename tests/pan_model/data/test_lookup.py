"""Where datasets and their images are found: as archives unpack them, and under names that look the same."""

import unicodedata
from pathlib import Path

import pytest

from pan_model.data.folder.image_files import find_images
from pan_model.data.folder.placement import PLACES
from pan_model.datasets import ReaderOptions, find_dataset
from pan_model.errors import UserError

CAFE, CAFE_OF_MACOS = (unicodedata.normalize(form, "café/1.jpg") for form in ("NFC", "NFD"))


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def missing(number: int) -> str:
    return f"{number} are missing"


@pytest.mark.parametrize(
    ("dataset", "file", "folder"),
    [
        ("cub", "CUB_200_2011/images.txt", "CUB_200_2011"),
        ("cub", "CUB_200_2011/CUB_200_2011/images.txt", "CUB_200_2011/CUB_200_2011"),
        ("cub", "images.txt", "."),
        ("inshop", "In-shop Clothes Retrieval Benchmark/Eval/list_eval_partition.txt", None),
        ("inshop", "DeepFashion/In-shop/list_eval_partition.txt", "DeepFashion/In-shop"),
        ("polyvore", "polyvore/polyvore_item_metadata.json", "polyvore"),
        ("folder", "Images/a/1.jpg", "Images"),
        ("folder", "images/images/a/1.jpg", "images/images"),
    ],
)
def test_the_only_folder_that_holds_a_dataset_is_read(tmp_path: Path, dataset: str, file: str, folder: str | None):
    touch(tmp_path, file, "demo/images.txt")
    place = PLACES[dataset](tmp_path)
    assert place.folder == tmp_path / (file.split("/", maxsplit=1)[0] if folder is None else folder)
    assert bool(place.note) == (place.folder != tmp_path / find_dataset(dataset).folder)


def test_several_folders_are_refused_and_what_lies_beside_is_named(tmp_path: Path):
    touch(tmp_path, "demo/images.txt")
    assert "holds demo/: rename" in PLACES["cub"](tmp_path).hint
    touch(tmp_path, "CUB_200_2011.tgz")
    assert PLACES["cub"](tmp_path).hint.endswith("CUB_200_2011.tgz lies there: unpack it")
    touch(tmp_path, "cub/images.txt", "CUB-200/images.txt")
    with pytest.raises(UserError, match=r"one in each of .*CUB-200, .*cub; name the right one CUB_200_2011/"):
        PLACES["cub"](tmp_path)


@pytest.mark.parametrize(
    ("listed", "on_disk"),
    [(CAFE, CAFE_OF_MACOS), (CAFE_OF_MACOS, CAFE), ("a/1.jpg", "a/1.JPG"), ("a/1.jpg", "A/1.jpg")],
)
def test_the_only_file_that_fits_is_read_and_counted(tmp_path: Path, listed: str, on_disk: str):
    touch(tmp_path, on_disk, "a/2.jpg")
    found = find_images(tmp_path, ["a/2.jpg", listed], "images.txt", missing)
    assert found.files == ("a/2.jpg", on_disk)
    assert found.notes[0].startswith("1 image file named otherwise than in images.txt")
    assert ascii(on_disk) in found.notes[0]


@pytest.mark.parametrize(
    ("listed", "on_disk", "message"),
    [
        (["a.jpg"], ["a.JPG", "a.Jpg"], r"'a\.JPG', 'a\.Jpg' differ from 'a\.jpg' in case .*: keep one of them\.$"),
        (["a.jpg", "a.JPG"], ["a.JPG"], r"'a\.JPG' differs from 'a\.jpg' in case .*, but is listed as well\.$"),
        (["a.jpg", "A.jpg"], ["a.JPG"], r"'a\.JPG' fits 'a\.jpg' and another listed name"),
        (["a.jpg"], ["a.jpeg"], r"no such image; 1 are missing\. There is 'a\.jpeg' instead of 'a\.jpg'\.$"),
    ],
)
def test_names_that_fit_no_single_file_are_refused(tmp_path: Path, listed: list[str], on_disk: list[str], message: str):
    touch(tmp_path, *on_disk)
    with pytest.raises(UserError, match=message):
        find_images(tmp_path, listed, "images.txt", missing)


def test_a_hint_follows_the_message_of_the_reader(tmp_path: Path):
    touch(tmp_path, "birds/a.txt")
    with pytest.raises(UserError, match=r"CUB_200_2011: no such folder; .* holds birds/: rename the dataset's folder"):
        find_dataset("cub").read_from(tmp_path, ReaderOptions())
