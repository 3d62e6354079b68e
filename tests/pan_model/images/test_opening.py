"""A file that is no image is refused without decoding."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from pan_model.errors import UserError
from pan_model.images.opening import check_image


def test_an_image_passes_and_other_paths_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    check_image(tmp_path / "a.png")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(UserError, match=r"text\.png: not a readable image \(unknown format or damaged header\)\.$"):
        check_image(tmp_path / "text.png")
    with pytest.raises(UserError, match=r"none\.png: no such image file\.$"):
        check_image(tmp_path / "none.png")
    with pytest.raises(UserError, match="is a folder; give an image file"):
        check_image(tmp_path)


def test_the_check_imports_no_torch() -> None:
    code = "import sys, pan_model.images.opening; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
