"""What read_cub reads, and what it says of files that are not as they should be."""

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pan_model.data.cub import read_cub
from pan_model.data.splits import Split, few_shot_split
from pan_model.errors import UserError

# ids have gaps and no order: image 7 is listed first, class 9 is the first folder, attribute 30 the first attribute
FILES = {
    "images.txt": "7 001.Auk/a.jpg\n3 002.Wren/b.jpg\n5 001.Auk/c.jpg\n",
    "image_class_labels.txt": "3 4\n5 9\n7 9\n",
    "attributes/attributes.txt": "30 has_bill::long\n20 has_size::very large\n",
    "attributes/image_attribute_labels.txt": "3 20 1 4 1.5\n7 30 1 1 0.5\n7 20 0 3 2.25\n5 30 0 2 1\n",
}
IMAGES = "images.txt"
CLASSES = "image_class_labels.txt"
NAMES = "attributes/attributes.txt"
LABELS = "attributes/image_attribute_labels.txt"

Lay = Callable[..., Path]


def lay_out(folder: Path, changes: dict[str, str | bytes | None] | None = None) -> Path:
    """Write the small dataset with some files changed, or left away where the change is None."""
    for name, content in (FILES | (changes or {})).items():
        if content is not None:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    for name in ("001.Auk/a.jpg", "002.Wren/b.jpg", "001.Auk/c.jpg"):
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "images" / name).write_bytes(b"never decoded")
    return folder


@pytest.fixture
def lay(tmp_path: Path) -> Lay:
    return lambda changes=None: lay_out(tmp_path / "CUB_200_2011", changes)


def test_reads_items_in_the_order_of_images_txt(lay: Lay) -> None:
    items = read_cub(lay())
    assert items.image_names == ("001.Auk/a.jpg", "002.Wren/b.jpg", "001.Auk/c.jpg")
    assert items.class_names == ("001.Auk", "002.Wren")
    assert items.classes.tolist() == [0, 1, 0]
    assert items.classes.dtype == np.int64
    assert items.attribute_names == ("has_bill::long", "has_size::very large")
    assert items.attributes.tolist() == [[True, False], [False, True], [False, False]]
    assert items.certainty.tolist() == [[1, 3], [0, 4], [2, 0]]
    assert items.image_path(1).read_bytes() == b"never decoded"
    assert items.left_out == {}


def test_class_index_follows_folder_names_not_class_ids(lay: Lay) -> None:
    folder = lay({IMAGES: "7 b/a.jpg\n3 a/b.jpg\n5 b/c.jpg\n"})
    for number, name in enumerate(("b/a.jpg", "a/b.jpg", "b/c.jpg")):
        (folder / "images" / name).parent.mkdir(exist_ok=True)
        (folder / "images" / name).write_bytes(bytes(number))
    items = read_cub(folder)
    assert items.class_names == ("a", "b")
    assert items.classes.tolist() == [1, 0, 1]


def test_extra_fields_blank_lines_and_line_ends_do_not_matter(lay: Lay) -> None:
    plain = read_cub(lay())
    rows = "\ufeff\n3  20 1 4 0 1.5\r\n\r\n7\t30 1 1\n   \n7 20 0 3 2.25 # x y\n5 30 0 2 1"
    dressed = read_cub(lay({LABELS: rows, IMAGES: "\ufeff" + FILES[IMAGES].replace("\n", "\r\n")}))
    assert dressed.image_names == plain.image_names
    assert dressed.attributes.tolist() == plain.attributes.tolist()
    assert dressed.certainty.tolist() == plain.certainty.tolist()


@pytest.mark.parametrize("place", ["attributes/attributes.txt", "attributes.txt", "../attributes.txt"])
def test_finds_attribute_names_in_or_beside_the_folder(lay: Lay, place: str) -> None:
    items = read_cub(lay({NAMES: None, place: FILES[NAMES]}))
    assert items.attribute_names == ("has_bill::long", "has_size::very large")


def test_leaves_out_and_counts_hidden_files(lay: Lay) -> None:
    hidden = {
        IMAGES: FILES[IMAGES] + "8 001.Auk/._a.jpg\n9 003.Gull/._d.jpg\n",
        CLASSES: FILES[CLASSES] + "8 9\n",
        LABELS: FILES[LABELS] + "8 20 1 4 0\n",
    }
    items = read_cub(lay(hidden))
    assert len(items) == 3
    assert items.class_names == ("001.Auk", "002.Wren")
    assert items.certainty.shape == (3, 2)
    assert items.left_out == {"file name starts with ._": 2}


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_label_row_lands_in_its_cell(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    cells = st.sampled_from(list(itertools.product((7, 3, 5), (30, 20))))
    rows = data.draw(st.dictionaries(cells, st.tuples(st.booleans(), st.integers(1, 4)), min_size=1))
    text = "".join(f"{n} {a} {present:d} {certainty} 0\n" for (n, a), (present, certainty) in rows.items())
    items = read_cub(lay_out(tmp_path_factory.mktemp("cub"), {LABELS: text}))
    for (row, n), (column, a) in itertools.product(enumerate((7, 3, 5)), enumerate((30, 20))):
        expected = rows.get((n, a), (False, 0))
        assert (items.attributes[row, column], items.certainty[row, column]) == expected


def refusal(folder: Path, name: str, content: str | bytes) -> str:
    with pytest.raises(UserError, match="expected") as caught:
        read_cub(lay_out(folder, {name: content}))
    message = str(caught.value)
    assert "\n" not in message
    return message.removeprefix(f"{folder}/")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("7 001.Auk/a.jpg\n3\n", """line 2: expected "<id> <folder/file>", got '3'."""),
        ("001.Auk/a.jpg\n", """line 1: expected "<id> <folder/file>", got '001.Auk/a.jpg'."""),
        ("\nx7 001.Auk/a.jpg\n", """line 2: expected "<id> <folder/file>", got 'x7 001.Auk/a.jpg'."""),
        ("9" * 5000 + " a/a.jpg\n", f"""line 1: expected "<id> <folder/file>", got '{"9" * 80}..'."""),
        ("7 a.jpg\n", """line 1: expected "<id> <folder/file>", got '7 a.jpg'."""),
        ("7 /etc/passwd\n", "line 1: expected a path that stays in images/, got '/etc/passwd'."),
        ("7 001.Auk/../../b.jpg\n", "line 1: expected a path that stays in images/, got '001.Auk/../../b.jpg'."),
        ("7 001.Auk/a.jpg\n7 001.Auk/c.jpg\n", "line 2: expected ids that differ, got 7 as on line 1."),
        ("7 a/a.jpg\n8 a//a.jpg\n", "line 2: expected files that differ, got 'a//a.jpg' as on line 1."),
        (b"7 001.Auk/a.jpg\n3 W\xe9n/b.jpg\n", "line 2: expected UTF-8 text, got '3 W\\udce9n/b.jpg'."),
    ],
)
def test_refuses_a_bad_line_in_images(tmp_path: Path, content: str | bytes, said: str) -> None:
    assert refusal(tmp_path, IMAGES, content) == f"{IMAGES} {said}"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("3 4\n6 4\n5 9\n7 9\n", "line 2: expected an image id of images.txt, got 6."),
        ("3 4\n5 nine\n7 9\n", """line 2: expected "<image id> <class id>", got '5 nine'."""),
        ("3 4\n5 9\n7 9\n5 4\n", "line 4: expected ids that differ, got 5 as on line 2."),
        ("3 9\n5 9\n7 9\n", "line 2: expected one folder for class 9, got '002.Wren' and '001.Auk'."),
        ("3 4\n5 9\n7 8\n", "line 3: expected one class for folder '001.Auk', got 9 and 8."),
    ],
)
def test_refuses_a_bad_line_in_class_labels(tmp_path: Path, content: str, said: str) -> None:
    assert refusal(tmp_path, CLASSES, content) == f"{CLASSES} {said}"


def test_refuses_an_image_without_class(tmp_path: Path) -> None:
    said = refusal(tmp_path, CLASSES, "3 4\n5 9\n")
    assert said == "images.txt line 1: expected a line for image 7 in image_class_labels.txt, got none."


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("30\n", """line 1: expected "<id> <name>", got '30'."""),
        ("30 a\n20 b\n30 c\n", "line 3: expected ids that differ, got 30 as on line 1."),
    ],
)
def test_refuses_a_bad_line_in_attribute_names(tmp_path: Path, content: str, said: str) -> None:
    assert refusal(tmp_path, NAMES, content) == f"{NAMES} {said}"


ROW = '"<image id> <attribute id> <present> <certainty> .."'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("3 20 1 4 1\n\n3 30 1\n", f"line 3: expected {ROW}, got '3 30 1'."),
        ("3 20 yes 4 1\n", f"line 1: expected {ROW}, got '3 20 yes 4 1'."),
        ("3 20 1 3.5 1\n", f"line 1: expected {ROW}, got '3 20 1 3.5 1'."),
        ("3 20 1 4 1\n3 " + "9" * 30 + " 1 4 1\n", f"line 2: expected {ROW}, got '3 {'9' * 30} 1 4 1'."),
        ("# image attribute\n3 20 1 4 1\n", f"line 1: expected {ROW}, got '# image attribute'."),
        ("3 20 1 4 1\n3 30\0 1 4 1\n", f"line 2: expected {ROW}, got '3 30\\x00 1 4 1'."),
        (b"3 20 1 4 1\n3 30 1 4 \xff\n", "line 2: expected UTF-8 text, got '3 30 1 4 \\udcff'."),
        ("3 20 1 4 1\n4 20 1 4 1\n", "line 2: expected an image id of images.txt, got '4 20 1 4 1'."),
        ("-3 20 1 4 1\n", "line 1: expected an image id of images.txt, got '-3 20 1 4 1'."),
        ("3 99 1 4 1\n", "line 1: expected an attribute id of attributes.txt, got '3 99 1 4 1'."),
        ("3 20 1 4 1\n  \n3 30 2 4 1\n", "line 3: expected present to be 0 or 1, got '3 30 2 4 1'."),
        ("3 20 1 0 1\n", "line 1: expected certainty to be 1 to 4, got '3 20 1 0 1'."),
        ("3 20 1 4 1\r3 30 1 5 1\r", "line 2: expected certainty to be 1 to 4, got '3 30 1 5 1'."),
        ("3 20 1 4\n3 30 1 4\n3 20 0 4\n", "line 3: expected one row for an image and attribute, got '3 20 0 4'."),
    ],
)
def test_refuses_a_bad_row_in_attribute_labels(tmp_path: Path, content: str | bytes, said: str) -> None:
    assert refusal(tmp_path, LABELS, content) == f"{LABELS} {said}"


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", ["", "\n  \n"])
def test_refuses_an_empty_file(tmp_path: Path, name: str, content: str) -> None:
    said = refusal(tmp_path, name, content)
    assert said.startswith(f"{name}: expected lines ")
    assert said.endswith("got an empty file.")


def test_refuses_a_missing_folder(tmp_path: Path) -> None:
    expected = r"CUB_200_2011: no such folder; --data-root must hold CUB_200_2011/ with images\.txt\.$"
    with pytest.raises(UserError, match=expected):
        read_cub(tmp_path / "CUB_200_2011")


@pytest.mark.parametrize("name", [IMAGES, CLASSES, NAMES, LABELS])
def test_refuses_a_missing_file(lay: Lay, name: str) -> None:
    with pytest.raises(UserError, match=f"CUB_200_2011/{name}: no such file"):
        read_cub(lay({name: None}))


def test_refuses_a_folder_without_images(lay: Lay) -> None:
    folder = lay()
    (folder / "images").rename(folder / "photos")
    with pytest.raises(UserError, match=r"images: no such folder; .* must hold images\.txt, "):
        read_cub(folder)


def test_names_the_first_missing_image_and_counts_them(lay: Lay) -> None:
    folder = lay()
    (folder / "images" / "001.Auk" / "c.jpg").unlink()
    (folder / "images" / "002.Wren" / "b.jpg").unlink()
    with pytest.raises(UserError, match=r"002\.Wren/b\.jpg: no such image; 2 of the 3 files"):
        read_cub(folder)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser reads everything")
@pytest.mark.parametrize("name", [IMAGES, LABELS])
def test_refuses_a_file_it_may_not_read(lay: Lay, name: str) -> None:
    folder = lay()
    (folder / name).chmod(0)
    with pytest.raises(UserError, match=r"cannot be read \(Permission denied\)"):
        read_cub(folder)


@pytest.mark.real
def test_reads_the_real_birds(real_data: Path) -> None:
    items = read_cub(real_data / "CUB_200_2011")
    assert len(items) == 2952
    assert len(items.class_names) == 50
    assert items.attributes.shape == (2952, 312)
    assert int(items.certain.any(axis=0).sum()) == 104
    sizes = {split: len(indices) for split, indices in few_shot_split(items).items()}
    assert sizes == {Split.TRAIN: 1485, Split.VAL: 751, Split.TEST: 716}
