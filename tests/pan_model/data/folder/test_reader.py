"""Images in a folder a class, as people have them, and attributes.csv, as spreadsheets write it."""

import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from pan_model.data.fingerprint import fingerprint
from pan_model.data.folder.reader import EMPTY_CLASS, OTHER_FILE, SYSTEM_FILES, UNLABELLED, WITHOUT_CLASS, read_folder
from pan_model.errors import UserError

Draw = Callable[..., Path]

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    """Make images/ with some files, and attributes.csv if there is a table."""

    def make(*files: str, table: str | bytes | None = None) -> Path:
        for name in files:
            path = tmp_path / "images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(name.encode())
        if table is not None:
            (tmp_path / "attributes.csv").write_bytes(table if isinstance(table, bytes) else table.encode())
        return tmp_path / "images"

    return make


def test_classes_are_folders_and_without_a_table_there_are_no_attributes(draw: Draw):
    items = read_folder(draw("b/2.JPG", "a/1.png", "b/1.webp"))
    assert items.image_names == ("a/1.png", "b/1.webp", "b/2.JPG")
    assert (items.class_names, items.classes.tolist()) == (("a", "b"), [0, 1, 1])
    assert items.attributes.shape == items.certainty.shape == (3, 0)
    assert items.notes == (UNLABELLED,)


def test_what_is_no_image_of_a_class_is_counted(draw: Draw):
    folder = draw("a/1.jpg", "a/._1.jpg", ".DS_Store", "a/Thumbs.db", "top.jpg", "a/x.heic", "a/n.txt", "a/deep/2.jpg")
    (folder / "empty").mkdir()
    items = read_folder(folder)
    assert items.image_names == ("a/1.jpg", "a/deep/2.jpg")
    assert items.left_out == {
        SYSTEM_FILES: 3,
        WITHOUT_CLASS: 1,
        f"{EMPTY_CLASS}: empty": 1,
        f"{OTHER_FILE}: .heic, .txt": 2,
    }
    assert "1 image in subfolders of a class's folder: of the same class" in items.notes


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["a.jpg", "b.jpg"], r"must hold a folder for each class, got 2 images in images/ itself"),
        (["a/notes.txt"], r"got no image\.$"),
        (["train/1.jpg", "test/1.jpg"], r"got test, train, which are splits; a study makes its own splits"),
        (
            [f"{COMPOSED}/1.jpg", f"{DECOMPOSED}/1.jpg"],
            r"'cafe\\u0301/1.jpg' and 'caf\\xe9/1.jpg' differ only in the form",
        ),
        ([f"{COMPOSED}/1.jpg", f"{DECOMPOSED}/2.jpg"], r"differ only in the form of Unicode; join the folders"),
        (["a/1.jpg", "attributes.csv"], r"attributes\.csv: must lie beside images/"),
    ],
)
def test_folders_that_are_no_classes_are_refused(draw: Draw, files: list[str], message: str):
    with pytest.raises(UserError, match=message):
        read_folder(draw(*files))


def test_a_link_to_a_parent_is_refused_and_one_to_a_class_is_followed(draw: Draw, tmp_path: Path):
    folder = draw("a/1.jpg")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "2.jpg").touch()
    (folder / "b").symlink_to(tmp_path / "elsewhere")
    assert read_folder(folder).class_names == ("a", "b")
    (folder / "a" / "loop").symlink_to(folder)
    with pytest.raises(UserError, match=r"a/loop: is a link to a folder that contains it"):
        read_folder(folder)


def test_classes_folders_in_the_data_root_itself_are_told_what_to_move(draw: Draw, tmp_path: Path):
    draw("../cats/1.jpg", "../dogs/1.jpg")
    (tmp_path / "images").rmdir()
    with pytest.raises(UserError, match=r"mkdir images && mv cats dogs images/"):
        read_folder(tmp_path / "images")


@pytest.mark.parametrize(
    "table",
    [
        "file,red,big\nb/1.jpg,0,\na/1.jpg,1,0\n",
        "\ufefffile;red;big\r\nb\\1.jpg;0;\r\na\\1.jpg;1;0\r\n;;\r\n",
        "sep=;\nfile;red;big\nb/1.jpg;no;NA\nimages/a/1.jpg;TRUE;0.0\n",
        '"file"\t"red"\t"big"\t\n"b/1.JPG"\t 0 \t\t\n./a/1.jpg\t1\t0\t\n',
        "file,red,big\nb/1.jpg,0,\na/1.jpg,1,0\n".encode("utf-16"),
        "file,red,big\nb/1.jpg,0,\na/1.jpg,1,0\na/1.jpg,1,0\n",
    ],
    ids=["plain", "semicolons", "words", "tabs", "utf-16", "repeated"],
)
def test_tables_of_spreadsheets_say_the_same(draw: Draw, table: str | bytes):
    items = read_folder(draw("a/1.jpg", "a/2.jpg", "b/1.jpg", table=table))
    assert items.attribute_names == ("red", "big")
    assert items.certain.tolist() == [[True, True], [False, False], [True, False]]
    assert (items.attributes & items.certain).tolist() == [[True, False], [False, False], [False, False]]
    assert "1 image without a row in attributes.csv: unknown attributes" in items.notes


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", r"expected a header .* got an empty file"),
        ("file\na/1.jpg\n", r"line 1: expected a header .* with at least one attribute, got 'file'"),
        ("a/1.jpg,1\nb/1.jpg,0\n", r"line 1: expected a header .* got 'a/1\.jpg'"),
        ("file,red,red\na/1.jpg,1,0\n", r"expected different names, got 'red' in columns 2 and 3"),
        ("file,red,\na/1.jpg,1,0\n", r"expected the name of an attribute in column 3, got none"),
        ("file,red\na/1.jpg,maybe\n", r"line 2: expected values 1, 0 or nothing \(unknown\), got 'maybe'"),
        ("file,red\na/1.jpg,-1\n", r"line 2: expected values 1, 0 or nothing \(unknown\), got '-1'"),
        ("file,red\na/9.jpg,1\n", r"line 2: .*images/a/9\.jpg: no such image"),
        ("file,red\n2.jpg,1\n", r"line 2: .*images/2\.jpg: no such image; did you mean 'a/2\.jpg'\?"),
        ("file,red\n../a/1.jpg,1\n", r"line 2: expected a path in images/"),
        ("file,red\na/1.jpg,1\na/1.jpg,0\n", r"line 3: expected the values of line 2, .* another value of 'red'"),
        ("file,red\na/1.jpg,1,0\n", r"line 2: expected 2 cells as in the header, got '3'"),
        ("file,red\na/1.jpg,\n", r"expected values 1 or 0, got none"),
        (
            b"file,red\na/1.jpg,1\na/caf\xe9.jpg,1\n",
            r"expected UTF-8 text, got b'\\xe9' in line 3; .*save as CSV UTF-8",
        ),
    ],
)
def test_tables_with_two_meanings_are_refused(draw: Draw, table: str | bytes, message: str):
    with pytest.raises(UserError, match=message) as error:
        read_folder(draw("a/1.jpg", "a/2.jpg", "b/1.jpg", table=table))
    assert "attributes.csv" in str(error.value)


def test_a_copy_from_macos_is_the_same_dataset(tmp_path: Path):
    items = []
    for place, name in (("linux", COMPOSED), ("mac", DECOMPOSED)):
        path = tmp_path / place / "images" / name / "1.jpg"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"the same")
        (tmp_path / place / "attributes.csv").write_text(f"file,red\n{COMPOSED}/1.jpg,1\n", encoding="utf-8")
        items.append(read_folder(tmp_path / place / "images"))
    assert items[0].image_names == items[1].image_names
    assert fingerprint(items[0], tmp_path / "cache") == fingerprint(items[1], tmp_path / "cache")
    assert items[1].image_path(0).is_file()
