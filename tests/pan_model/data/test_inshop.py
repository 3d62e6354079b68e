"""What read_inshop reads, and what it says of files that are not as they should be."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pan_model.data.featured_items import FeaturedItems
from pan_model.data.fingerprint import fingerprint
from pan_model.data.inshop import read_inshop, unique_names
from pan_model.data.splits import Role, Split, inshop_split, roles_of
from pan_model.errors import UserError
from pan_model.scoring.baselines.untrained import nearest_class_mean
from pan_model.tasks.retrieval import RetrievalTask

PARTITION, NAMES, LABELS = "list_eval_partition.txt", "list_attr_cloth.txt", "list_attr_items.txt"
IMAGES = ("MEN/Denim/id_9/01.jpg", "WOMEN/Tees/id_3/01.jpg", "WOMEN/Tees/id_3/02.jpg", "WOMEN/Tees/id_7/01.jpg")
ROWS = (
    "img/MEN/Denim/id_9/01.jpg id_9 train",
    "img/WOMEN/Tees/id_3/01.jpg   id_3\tquery",
    "img/WOMEN/Tees/id_3/02.jpg id_3 gallery",
    "img/WOMEN/Tees/id_7/01.jpg id_7 train",
)
VALUES = ("id_3  1 -1  0", "id_7 -1 -1 -1", "id_9 0 1 1")
HEADERS = {
    PARTITION: "image_name item_id evaluation_status",
    NAMES: "attribute_name",
    LABELS: "item_id attribute_labels",
}

Lay = Callable[..., Path]


def table(name: str, *rows: str, count: str | None = None, header: str | None = None) -> str:
    return "\n".join([count or str(len(rows)), header or HEADERS[name], *rows, ""])


FILES = {
    PARTITION: table(PARTITION, *ROWS),
    NAMES: table(NAMES, "denim", "short sleeve", "denim"),
    LABELS: table(LABELS, *VALUES),
}
PLACES = {PARTITION: "Eval", NAMES: "Anno", LABELS: "Anno"}


def lay_out(folder: Path, changes: dict[str, str] | None = None, *, anno: str = "Anno", img: str = "img") -> Path:
    """Write the small dataset with some files changed."""
    for name, content in (FILES | (changes or {})).items():
        place = folder / (anno if name != PARTITION else "Eval") / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content, encoding="utf-8")
    for name in IMAGES:
        (folder / img / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / img / name).write_bytes(name.encode())
    return folder


@pytest.fixture
def lay(tmp_path: Path) -> Lay:
    return lambda changes=None, **places: lay_out(tmp_path / "In-shop", changes, **places)


def test_reads_items_in_the_order_of_the_partition(lay: Lay):
    items = read_inshop(lay())
    assert items.image_names == IMAGES
    assert items.class_names == ("id_3", "id_7", "id_9")
    assert items.classes.tolist() == [2, 0, 0, 1]
    assert items.classes.dtype == np.int64
    assert roles_of(items.relations).roles.tolist() == [Role.TRAIN, Role.QUERY, Role.GALLERY, Role.TRAIN]
    assert items.image_path(3).read_bytes() == IMAGES[3].encode()
    assert items.left_out == {}


def test_an_item_s_attributes_are_those_of_all_its_images(lay: Lay):
    items = read_inshop(lay())
    assert items.attribute_names == ("denim", "short sleeve", "denim (2)")
    of_tee = [True, False, False]
    assert items.attributes.tolist() == [[False, True, True], of_tee, of_tee, [False, False, False]]
    assert items.certainty.tolist() == [[0, 4, 4], [4, 4, 0], [4, 4, 0], [4, 4, 4]]


@pytest.mark.parametrize("img", ["img", "Img/img", "Img"])
@pytest.mark.parametrize("anno", ["Anno", "Anno/attributes"])
def test_every_layout_is_the_same_dataset(lay: Lay, tmp_path: Path, anno: str, img: str):
    items = read_inshop(lay(anno=anno, img=img))
    assert items.image_root == tmp_path / "In-shop" / img
    assert fingerprint(items) == fingerprint(read_inshop(lay_out(tmp_path / "plain")))


def test_the_partition_may_lie_at_the_root(lay: Lay):
    folder = lay()
    (folder / "Eval" / PARTITION).rename(folder / PARTITION)
    assert read_inshop(folder).image_names == IMAGES


def test_an_empty_folder_img_beside_the_images_does_not_matter(lay: Lay):
    folder = lay(img="Img")
    (folder / "img").mkdir()
    assert read_inshop(folder).image_root == folder / "Img"


def test_blanks_and_line_ends_do_not_matter(lay: Lay, tmp_path: Path):
    dressed = {
        name: "\ufeff" + text.replace("\n", " \r\n\r\n").replace(" id_", "\t  id_") for name, text in FILES.items()
    }
    assert fingerprint(read_inshop(lay(dressed))) == fingerprint(read_inshop(lay_out(tmp_path / "plain")))


def test_a_path_without_img_is_the_same_path(lay: Lay):
    assert read_inshop(lay({PARTITION: FILES[PARTITION].replace("img/", "")})).image_names == IMAGES


def test_the_fingerprint_changes_with_a_role(lay: Lay, tmp_path: Path):
    swapped = FILES[PARTITION].replace("query", "_").replace("gallery", "query").replace("_\n", "gallery\n")
    assert fingerprint(read_inshop(lay({PARTITION: swapped}))) != fingerprint(read_inshop(lay_out(tmp_path / "plain")))


def test_leaves_out_and_counts_hidden_files(lay: Lay):
    hidden = "img/WOMEN/Tees/id_8/._01.jpg id_8 train"
    items = read_inshop(lay({PARTITION: table(PARTITION, hidden, *ROWS)}))
    assert items.image_names == IMAGES
    assert items.class_names == ("id_3", "id_7", "id_9")
    assert items.left_out == {"file name starts with ._": 1}


def test_an_item_without_a_row_has_no_labels_and_is_counted(lay: Lay):
    items = read_inshop(lay({LABELS: table(LABELS, *VALUES[1:])}))
    assert items.certainty.tolist() == [[0, 4, 4], [0, 0, 0], [0, 0, 0], [4, 4, 4]]
    assert not items.attributes[1:3].any()
    assert items.left_out == {"item without attributes": 1}


def test_a_row_of_an_item_without_images_is_counted(lay: Lay):
    items = read_inshop(lay({LABELS: table(LABELS, "id_1 1 1 1", *VALUES)}))
    assert items.certainty.tolist() == [[0, 4, 4], [4, 4, 0], [4, 4, 0], [4, 4, 4]]
    assert items.left_out == {"item without images": 1}


@pytest.mark.parametrize("count", ["3", "5"])
def test_an_item_may_be_listed_again_and_the_count_be_of_rows_or_items(lay: Lay, count: str):
    items = read_inshop(lay({LABELS: table(LABELS, *VALUES, VALUES[0], VALUES[0], count=count)}))
    assert items.certainty[1].tolist() == [4, 4, 0]
    assert items.left_out == {"item listed twice": 2}


def test_what_rows_of_an_item_contradict_is_unknown_and_counted(lay: Lay):
    items = read_inshop(lay({LABELS: table(LABELS, *VALUES, "id_3 1 1 0")}))
    assert items.certainty[1].tolist() == [4, 0, 0]
    assert items.attributes[1].tolist() == [True, False, False]
    assert items.left_out == {"item listed twice, with other attributes": 1}


@given(names=st.lists(st.sampled_from(("a", "a (2)", "a (2) (2)", "b")), max_size=9))
def test_names_become_unique_and_the_first_of_a_kind_keeps_its_own(names: list[str]):
    unique = unique_names(names)
    assert len(set(unique)) == len(unique) == len(names)
    assert all(new.startswith(old) for new, old in zip(unique, names, strict=True))
    if len(set(names)) == len(names):
        assert list(unique) == names


def refusal(folder: Path, name: str, content: str) -> str:
    with pytest.raises(UserError, match="expected") as caught:
        read_inshop(lay_out(folder, {name: content}))
    message = str(caught.value)
    assert "\n" not in message
    return message.removeprefix(f"{folder}/{PLACES[name]}/{name}")


FORM = '"<path> <item id> train|query|gallery"'


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("img/a.jpg id_9", f" line 3: expected {FORM}, got 'img/a.jpg id_9'."),
        ("img/a b.jpg id_9 train", f" line 3: expected {FORM}, got 'img/a b.jpg id_9 train'."),
        ("img id_9 train", f" line 3: expected {FORM}, got 'img id_9 train'."),
        ("img/a.jpg id_9 val", " line 3: expected evaluation status train, query, gallery, got 'val'."),
        ("img/a.jpg id_9 TRAIN", " line 3: expected evaluation status train, query, gallery, got 'TRAIN'."),
        ("/etc/passwd id_9 train", " line 3: expected a path that stays in img/, got '/etc/passwd'."),
        ("img/../a.jpg id_9 train", " line 3: expected a path that stays in img/, got 'img/../a.jpg'."),
        ("../img/a.jpg id_9 train", " line 3: expected a path that stays in img/, got '../img/a.jpg'."),
        (
            "img//MEN/Denim/id_9/01.jpg id_9 train",
            f" line 4: expected images that differ, got '{IMAGES[0]}' as on line 3.",
        ),
        (
            "img/x.jpg id_3 train",
            " line 5: expected item id_3 either in train only or not in train, got query and, on line 3, train.",
        ),
    ],
)
def test_refuses_a_bad_row_in_the_partition(tmp_path: Path, row: str, said: str):
    assert refusal(tmp_path, PARTITION, table(PARTITION, row, *ROWS)) == said


@pytest.mark.parametrize(("number", "status"), [(2, "train"), (1, "query"), (1, "gallery")])
def test_refuses_an_empty_part(tmp_path: Path, number: int, status: str):
    rows = [row for row in ROWS if not row.endswith(status)]
    assert len(rows) == len(ROWS) - number
    said = refusal(tmp_path, PARTITION, table(PARTITION, *rows))
    assert said == f": expected images of train, query and gallery, got none of {status}."


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("id_3 1 -1", " line 3: expected 3 values after the item id, got 2."),
        ("id_3 1 -1 0 0", " line 3: expected 3 values after the item id, got 4."),
        ("id_3 1 -1 2", " line 3: expected values 1, -1 or 0, got '2'."),
        ("id_3 1 -1 yes", " line 3: expected values 1, -1 or 0, got 'yes'."),
    ],
)
def test_refuses_a_bad_row_in_the_attributes_of_items(tmp_path: Path, values: str, said: str):
    assert refusal(tmp_path, LABELS, table(LABELS, values, *VALUES[1:])) == said


@pytest.mark.parametrize(("name", "rows"), [(PARTITION, 4), (NAMES, 3), (LABELS, 3)])
@pytest.mark.parametrize("count", ["2", "5", "99999"])
def test_refuses_a_count_that_is_not_that_of_the_rows(tmp_path: Path, name: str, rows: int, count: str):
    content = f"{count}\n" + FILES[name].partition("\n")[2]
    assert refusal(tmp_path, name, content) == f" line 1: expected {rows}, the number of rows, got {count}."


@pytest.mark.parametrize("name", FILES)
def test_refuses_a_file_without_count_or_header(tmp_path: Path, name: str):
    count, header, rest = FILES[name].split("\n", 2)
    said = refusal(tmp_path, name, f"{header}\n{rest}")
    assert said == f" line 1: expected the number of rows, got '{header}'."
    first = rest.split("\n")[0]
    assert refusal(tmp_path, name, f"{count}\n{rest}") == f''' line 2: expected "{header}", got {first!r}.'''


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", ["", "\n \n", "3\n"])
def test_refuses_a_file_without_rows(tmp_path: Path, name: str, content: str):
    said = refusal(tmp_path, name, content)
    assert said.startswith(f': expected a count, a line "{HEADERS[name]}" and rows, got ')


def test_refuses_a_missing_folder(tmp_path: Path):
    with pytest.raises(UserError, match=r"In-shop: no such folder; --data-root must hold In-shop/ with Eval/"):
        read_inshop(tmp_path / "In-shop")


@pytest.mark.parametrize(
    ("name", "other"), [(PARTITION, ""), (NAMES, "/Anno/attributes"), (LABELS, "/Anno/attributes")]
)
def test_refuses_a_missing_file(lay: Lay, name: str, other: str):
    folder = lay()
    (folder / PLACES[name] / name).unlink()
    with pytest.raises(
        UserError, match=f"{PLACES[name]}/{name}: no such file, nor in .*In-shop{other}; .* must hold Eval/"
    ):
        read_inshop(folder)


def test_refuses_a_folder_without_images(lay: Lay):
    folder = lay()
    (folder / "img").rename(folder / "photos")
    with pytest.raises(UserError, match=r"img: no such folder, nor Img; .*In-shop must hold Eval/"):
        read_inshop(folder)


def test_names_the_first_missing_image_and_counts_them(lay: Lay):
    folder = lay(img="Img/img")
    (folder / "Img/img" / IMAGES[1]).unlink()
    (folder / "Img/img" / IMAGES[3]).unlink()
    with pytest.raises(
        UserError, match=r"Img/img/WOMEN/Tees/id_3/01\.jpg: no such image; 2 of the 4 files of list_eval"
    ):
        read_inshop(folder)


def test_says_so_where_all_images_are_missing(lay: Lay):
    folder = lay()
    for name in IMAGES:
        (folder / "img" / name).unlink()
    with pytest.raises(UserError, match=r"no such image; 4 of the 4 files of list_eval_partition\.txt are missing"):
        read_inshop(folder)


@pytest.mark.real
def test_reads_the_real_shop_and_answers_its_questions(real_data: Path):
    items = read_inshop(real_data / "In-shop")
    assert (len(items), len(items.class_names), items.attributes.shape) == (4789, 687, (4789, 130))
    assert sum(name.endswith(" (2)") for name in items.attribute_names) == 9
    assert len(set(items.attribute_names)) == 130
    assert items.left_out == {}
    splits = inshop_split(items)
    assert {split: len(indices) for split, indices in splits.items()} == {
        Split.TRAIN: 1933,
        Split.VAL: 484,
        Split.TEST: 2372,
    }
    features = np.random.default_rng(0).normal(size=(len(items), 8)).astype(np.float32)
    task = RetrievalTask(FeaturedItems.join(items, features, splits), seed=0)
    scores = task.evaluate_fully(nearest_class_mean(features), Split.TEST)
    assert [len(hits) for hits in scores.values()] == [1159] * 6
    assert task.questions(Split.TEST).num_unasked == 0
    assert scores["recall@1"].mean() < scores["recall@50"].mean() < 0.5
