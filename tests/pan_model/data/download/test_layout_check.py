"""The look at a dataset's folder: each thing that is there, missing, broken or odd has its line."""

import json
from pathlib import Path

import pytest

from pan_model.data.download.layout_check import check_layout
from pan_model.data.download.layout_report import LayoutReport, Verdict

CUB = {
    "CUB_200_2011/images.txt": "1 001.Auk/a.jpg\n2 002.Wren/b.jpg",
    "CUB_200_2011/image_class_labels.txt": "1 1\n2 2\n",
    "CUB_200_2011/attributes/image_attribute_labels.txt": "1 1 1 4 0.5\n2 1 0 3 1.5\n",
    "CUB_200_2011/attributes/attributes.txt": "1 has_bill::long\n",
    "CUB_200_2011/images/001.Auk/a.jpg": "x",
    "CUB_200_2011/images/002.Wren/b.jpg": "x",
}
ROWS = (
    "img/W/D/id_1/01_front.jpg   id_1 train\n"
    "img/W/D/id_2/01_front.jpg id_2 query\n"
    "img/W/D/id_2/02_back.jpg id_2 gallery\n"
)
IN_SHOP = {
    "In-shop/Eval/list_eval_partition.txt": f"3\nimage_name item_id evaluation_status\n{ROWS}",
    "In-shop/Anno/list_attr_cloth.txt": "2\nattribute_name\nred\nvery long\n",
    "In-shop/Anno/list_attr_items.txt": "2\nitem_id attribute_labels\nid_1 1 -1\nid_2 -1 0\n",
    "In-shop/img/W/D/id_1/01_front.jpg": "x",
    "In-shop/img/W/D/id_2/01_front.jpg": "x",
    "In-shop/img/W/D/id_2/02_back.jpg": "x",
}
OUTFITS = json.dumps([{"set_id": "7", "items": [{"item_id": "1", "index": 1}, {"item_id": "2", "index": 2}]}])


def polyvore(version: str) -> dict[str, str]:
    outfits = {f"polyvore_outfits/{version}/{part}.json": OUTFITS for part in ("train", "valid", "test")}
    names = ("compatibility_valid.txt", "compatibility_test.txt", "fill_in_blank_valid.json", "fill_in_blank_test.json")
    questions = {f"polyvore_outfits/{version}/{name}": "never read" for name in names}
    images = {f"polyvore_outfits/images/{item}.jpg": "x" for item in (1, 2)}
    return outfits | questions | images | {"polyvore_outfits/polyvore_item_metadata.json": '{"1": {}, "2": {}}'}


DATASETS = {"cub": CUB, "inshop": IN_SHOP, "polyvore": polyvore("nondisjoint")}


def look(root: Path, dataset: str, changes: dict[str, str | None] | None = None) -> LayoutReport:
    """Lay a small dataset out with some files changed, or left away where the change is None, and look at it."""
    for name, content in (DATASETS[dataset] | (changes or {})).items():
        if content is not None:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(content)
    return check_layout(dataset, root)


def said(report: LayoutReport, verdict: Verdict) -> str:
    return "\n".join(finding.text for finding in report.findings if finding.verdict is verdict)


@pytest.mark.parametrize("dataset", DATASETS)
def test_small_dataset_is_readable_and_no_official_one(tmp_path: Path, dataset: str) -> None:
    report = look(tmp_path, dataset)
    assert report.readable
    assert (said(report, Verdict.MISSING), said(report, Verdict.BROKEN)) == ("", "")
    assert "officially" in said(report, Verdict.ODD)
    assert list(report.lines())[-1] == "a study can read it; odd findings need not be errors, a subset is fine"


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_needed_file_is_missed(tmp_path: Path, dataset: str) -> None:
    for number, name in enumerate(DATASETS[dataset]):
        report = look(tmp_path / str(number), dataset, {name: None})
        assert not report.readable, name
        assert Path(name).name in said(report, Verdict.MISSING)
        assert list(report.lines())[-1].startswith("a study cannot read it yet: 1 missing")


@pytest.mark.parametrize("dataset", DATASETS)
def test_missing_folder(tmp_path: Path, dataset: str) -> None:
    assert said(check_layout(dataset, tmp_path), Verdict.MISSING).startswith("no folder")


@pytest.mark.parametrize("dataset", DATASETS)
def test_needed_text_without_content_is_broken(tmp_path: Path, dataset: str) -> None:
    for number, name in enumerate(name for name in DATASETS[dataset] if not name.endswith(".jpg")):
        report = look(tmp_path / str(number), dataset, {name: ""})
        assert Path(name).name in said(report, Verdict.BROKEN)


def test_images_are_looked_at_by_size(tmp_path: Path) -> None:
    listing = "".join(f"{n} 001.Auk/{n}.jpg\n" for n in range(6))
    images = {f"CUB_200_2011/images/001.Auk/{n}.jpg": content for n, content in ((0, "x"), (1, ""))}
    report = look(tmp_path, "cub", {"CUB_200_2011/images.txt": listing} | images)
    image = "images/001.Auk"
    expected = f"4 of the 6 listed images ({image}/2.jpg, {image}/3.jpg, {image}/4.jpg, ..)"
    assert said(report, Verdict.MISSING) == expected
    assert f"1 image of 0 bytes ({image}/1.jpg)" in said(report, Verdict.BROKEN)


def test_what_lies_about_is_odd(tmp_path: Path) -> None:
    leftovers = ("images/._a.jpg", "img.zip")
    report = look(tmp_path, "cub", {f"CUB_200_2011/{name}": "x" for name in leftovers} | {"CUB_200_2011.tgz": "x"})
    assert report.readable
    for part in (
        "1 file ._* of macOS, no images (images/._a.jpg)",
        "img.zip: an archive",
        "../CUB_200_2011.tgz: an",
    ):
        assert part in said(report, Verdict.ODD)


@pytest.mark.parametrize("place", ["CUB_200_2011/attributes.txt", "attributes.txt"])
def test_attribute_names_in_other_places(tmp_path: Path, place: str) -> None:
    name = "CUB_200_2011/attributes/attributes.txt"
    assert look(tmp_path, "cub", {name: None, place: CUB[name]}).readable


@pytest.mark.parametrize(("image_root", "annotations"), [("Img/img", "Anno/attributes"), ("Img", "Anno")])
def test_other_layout_of_in_shop(tmp_path: Path, image_root: str, annotations: str) -> None:
    changes: dict[str, str | None] = dict.fromkeys(IN_SHOP)
    for name, content in IN_SHOP.items():
        moved = name.replace("In-shop/img", f"In-shop/{image_root}").replace("/Eval", "").replace("Anno", annotations)
        changes[moved] = content
    report = look(tmp_path, "inshop", changes)
    assert said(report, Verdict.MISSING) == ""
    assert "3 of the 3 listed images" in said(report, Verdict.THERE)


def test_rows_of_another_form_are_counted(tmp_path: Path) -> None:
    name = "In-shop/Eval/list_eval_partition.txt"
    report = look(tmp_path, "inshop", {name: IN_SHOP[name] + "img/x.jpg id_9 validation\nimg/y.jpg\n"})
    assert "2 lines not of the form" in said(report, Verdict.BROKEN)


def test_one_version_of_polyvore_will_do(tmp_path: Path) -> None:
    changes = dict.fromkeys(DATASETS["polyvore"]) | polyvore("disjoint")
    report = look(tmp_path, "polyvore", changes)
    assert report.readable
    assert "nondisjoint/: not there; a study with --polyvore-split disjoint does" in said(report, Verdict.NOTE)
    (tmp_path / "polyvore_outfits/nondisjoint").mkdir()
    half = check_layout("polyvore", tmp_path)
    assert half.readable
    assert "nondisjoint/train.json: not there" in said(half, Verdict.ODD)


def test_extras_of_polyvore_are_said(tmp_path: Path) -> None:
    folder = "polyvore_outfits/nondisjoint"
    extras = {f"{folder}/typespaces.p": "pickle", f"{folder}/fashion_compatibility_harder_val.txt": "x"}
    report = look(tmp_path, "polyvore", dict(extras))
    assert "nondisjoint/typespaces.p: a pickle, never read" in said(report, Verdict.NOTE)
    assert "1 of 4 files of harder questions (fashion_compatibility_harder_val.txt)" in said(report, Verdict.NOTE)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[{", "not JSON, or truncated"),
        ("{}", "expected a list"),
        ('["outfit"]', "expected outfits"),
        ('[{"items": [{"index": 1}]}]', "expected outfits"),
        ("[" * 100_000, "not JSON, or truncated"),
    ],
)
def test_outfits_of_another_form(tmp_path: Path, content: str, message: str) -> None:
    report = look(tmp_path, "polyvore", {"polyvore_outfits/nondisjoint/valid.json": content})
    assert f"nondisjoint/valid.json: {message}" in said(report, Verdict.BROKEN)


def test_items_without_metadata(tmp_path: Path) -> None:
    report = look(tmp_path, "polyvore", {"polyvore_outfits/polyvore_item_metadata.json": '{"1": {}}'})
    assert said(report, Verdict.BROKEN) == "1 item of the outfits without metadata (2)"


@pytest.mark.real
@pytest.mark.parametrize(("dataset", "num_images"), [("cub", 2952), ("inshop", 4789), ("polyvore", 6977)])
def test_real_subsets_are_readable(real_data: Path, dataset: str, num_images: int) -> None:
    report = check_layout(dataset, real_data)
    assert report.readable
    assert f"{num_images} of the {num_images} listed images" in said(report, Verdict.THERE)
