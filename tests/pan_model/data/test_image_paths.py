from pathlib import Path, PurePosixPath

import pytest

from pan_model.data.image_paths import is_hidden, require_images, stays_inside
from pan_model.errors import UserError


@pytest.mark.parametrize(("name", "hidden"), [("._a.jpg", True), ("b/._a.jpg", True), ("._b/a.jpg", False)])
def test_the_name_of_the_file_says_whether_it_is_hidden(name: str, hidden: bool):
    assert is_hidden(name) is hidden


@pytest.mark.parametrize(
    ("path", "inside"), [("a/b.jpg", True), ("a/..b/c.jpg", True), ("../a.jpg", False), ("/a.jpg", False)]
)
def test_a_path_stays_inside_unless_it_leads_up_or_starts_at_the_root(path: str, inside: bool):
    assert stays_inside(PurePosixPath(path)) is inside


def test_missing_images_are_counted_and_the_first_is_named(tmp_path: Path):
    (tmp_path / "a.jpg").touch()
    require_images(tmp_path, ["a.jpg"], "list.txt")
    with pytest.raises(UserError, match=r"/c\.jpg: no such image; 2 of the 3 files of list\.txt are missing\.$"):
        require_images(tmp_path, ["a.jpg", "c.jpg", "b.jpg"], "list.txt")
