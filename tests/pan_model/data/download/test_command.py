"""The command that gets a dataset: a whole folder that can be read, or one line and at most a part to go on from."""

import hashlib
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pan_model.data.cub import read_cub
from pan_model.data.download.command import main
from pan_model.data.download.unpack import ArchiveError, unpack
from pan_model.errors import UserError

FILES = {
    "CUB_200_2011/images.txt": b"1 001.Auk/a.jpg\n2 002.Wren/b.jpg\n",
    "CUB_200_2011/image_class_labels.txt": b"1 1\n2 2\n",
    "CUB_200_2011/attributes/image_attribute_labels.txt": b"1 1 1 4 0.5\n2 1 0 3 1.5\n",
    "CUB_200_2011/images/001.Auk/a.jpg": os.urandom(5000),
    "CUB_200_2011/images/002.Wren/b.jpg": os.urandom(5000),
    "attributes.txt": b"1 has_bill::long\n",
}
Command = Callable[..., int]


def pack(files: dict[str, bytes], *members: tarfile.TarInfo) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for member in members:
            tar.addfile(member)
    return content.getvalue()


def hostile(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.fixture
def get(file_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run the command for cub on what the server has, with no pauses."""
    monkeypatch.setattr("pan_model.data.download.cub_archive.FetchConfig", _patient)
    file_server.content = file_server.content or pack(FILES)

    def run(*words: str, url: str = "", md5: str = "") -> int:
        known = md5 or hashlib.md5(file_server.content).hexdigest()
        root = tmp_path / "data"
        return main(["cub", "--data-root", str(root), "--url", url or file_server.url, "--md5", known, *words])

    return run


def _patient() -> Any:
    from pan_model.fetch import FetchConfig

    return FetchConfig(pause_s=0)


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def assert_one_line(capsys: pytest.CaptureFixture[str], *parts: str) -> None:
    errors = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("downloaded ")]
    assert len(errors) == 1
    assert errors[0].startswith("error: ")
    for part in parts:
        assert part in errors[0]


def test_cub_is_downloaded_and_can_be_read(get: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert get() == 0
    items = read_cub(tmp_path / "data" / "CUB_200_2011")
    assert items.class_names == ("001.Auk", "002.Wren")
    assert items.attribute_names == ("has_bill::long",)
    assert left_in(tmp_path / "data") == {"CUB_200_2011"}
    said = capsys.readouterr()
    assert said.out.splitlines()[-1].startswith("a study can read it")
    assert "(100%)" in said.err


def test_dataset_that_is_there_is_left_alone(
    get: Command, file_server: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listing = tmp_path / "data" / "CUB_200_2011" / "images.txt"
    listing.parent.mkdir(parents=True)
    listing.write_text("mine")
    assert get() == 0
    assert "already exists" in capsys.readouterr().out
    assert listing.read_text() == "mine"
    assert file_server.asked == []


def test_folder_that_is_no_dataset_is_not_touched(
    get: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data" / "CUB_200_2011").mkdir(parents=True)
    assert get() == 2
    assert_one_line(capsys, "CUB_200_2011: exists, but holds no images.txt; move it away")


def test_cut_download_goes_on(
    get: Command, file_server: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file_server.drop_after = [4000, 0, 0, 0]
    assert get() == 2
    assert_one_line(capsys, "the connection was dropped after 4000 of", "run the command again to resume it")
    assert left_in(tmp_path / "data") == {"CUB_200_2011.tgz.part", "CUB_200_2011.tgz.part.origin"}
    file_server.asked.clear()
    assert get() == 0
    assert file_server.asked[0]["Range"] == "bytes=4000-"
    assert left_in(tmp_path / "data") == {"CUB_200_2011"}


def test_wrong_sum(get: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert get(md5="0" * 32) == 2
    assert_one_line(capsys, "invalid hash value", "0" * 32)
    assert left_in(tmp_path / "data") == set()


def test_absent_file(get: Command, file_server: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file_server.statuses = [404]
    assert get() == 2
    assert_one_line(capsys, "HTTP Error 404", file_server.url)
    assert left_in(tmp_path / "data") == set()


def test_refused_connection(get: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert get(url="http://127.0.0.1:9/CUB_200_2011.tgz") == 2
    assert_one_line(capsys, "refused")
    assert left_in(tmp_path / "data") == set()


def test_place_that_cannot_be_made(get: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").write_text("a file")
    assert get() == 2
    assert_one_line(capsys, "data: cannot be created")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"garbage", "truncated, or not a tar archive"),
        (b"", "truncated, or not a tar archive"),
        (pack(FILES)[:6000], "truncated, or not a tar archive"),
        (pack({"other/file": b"x"}), "expected an archive that holds CUB_200_2011/images.txt, got none"),
        (pack(FILES, hostile("/tmp/evil")), "'/tmp/evil', an absolute path"),
        (pack(FILES, hostile("CUB_200_2011/../../evil")), "a path that leads out of the folder"),
        (pack(FILES, hostile("CUB_200_2011/s", tarfile.SYMTYPE, "/etc")), "'CUB_200_2011/s', a link"),
        (pack(FILES, hostile("CUB_200_2011/h", tarfile.LNKTYPE, "CUB_200_2011/images.txt")), "a link"),
        (pack(FILES, hostile("CUB_200_2011/d", tarfile.CHRTYPE)), "neither a file nor a folder"),
        (pack(FILES, hostile("CUB_200_2011/f", tarfile.FIFOTYPE)), "neither a file nor a folder"),
    ],
)
def test_bad_archives_leave_nothing(
    get: Command, file_server: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, said: str
) -> None:
    file_server.content = content
    assert get() == 2
    assert_one_line(capsys, said)
    assert left_in(tmp_path / "data") == set()
    assert left_in(tmp_path) == {"data"}


def test_archive_that_lies_there_is_taken_and_stays(get: Command, file_server: Any, tmp_path: Path) -> None:
    given = tmp_path / "data" / "CUB_200_2011.tgz"
    given.parent.mkdir()
    given.write_bytes(file_server.content)
    assert get() == 0
    assert file_server.asked == []
    assert left_in(tmp_path / "data") == {"CUB_200_2011", "CUB_200_2011.tgz"}


def test_archive_that_lies_there_and_is_another_one(
    get: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = tmp_path / "data" / "CUB_200_2011.tgz"
    given.parent.mkdir()
    given.write_bytes(b"half of it")
    assert get() == 2
    assert_one_line(capsys, "CUB_200_2011.tgz: MD5 must be")
    assert given.read_bytes() == b"half of it"


def test_disk_too_small_to_unpack_keeps_the_download(
    get: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = type("Usage", (), {"free": 9000})()
    with monkeypatch.context() as patch:
        patch.setattr("pan_model.data.download.unpack.shutil.disk_usage", lambda _: small)
        patch.setattr("pan_model.data.download.cub_archive._ROOM", 0)
        assert get() == 2
    assert_one_line(capsys, "the disk must have 0.0 MB free to unpack")
    assert "CUB_200_2011.tgz.part" in left_in(tmp_path / "data")
    assert get() == 0


def test_unpacking_into_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "a.tgz").write_bytes(pack(FILES))
    target = tmp_path / "CUB_200_2011"
    (target / "mine").mkdir(parents=True)
    with pytest.raises(UserError, match=r"cannot be written \(.*; nothing was left there\.$") as caught:
        unpack(tmp_path / "a.tgz", target, needs="images.txt")
    assert not isinstance(caught.value, ArchiveError)
    assert left_in(tmp_path) == {"a.tgz", "CUB_200_2011"}
    assert left_in(target) == {"mine"}


@pytest.mark.parametrize(("name", "url"), [("inshop", "mmlab.ie.cuhk.edu.hk"), ("polyvore", "mvasil")])
def test_datasets_by_request_say_where(name: str, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--data-root", str(tmp_path)]) == 2
    said = capsys.readouterr().out
    assert url in said
    assert str(tmp_path) in said
    assert "no folder" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["cubs"], "unknown dataset 'cubs'; choose from cub, inshop, polyvore, folder."),
        ([], "NAME"),
        (["cub", "--nonsense"], "--nonsense"),
        (["inshop", "--url", "http://x/y"], "--url and --md5 apply only to a download of cub"),
        (["cub", "--check", "--md5", "0" * 32], "--url and --md5 apply only to a download of cub"),
        (["cub", "--md5", "12"], "--md5 must be 32 hexadecimal digits"),
        (["cub", "--url", "file:///etc/passwd"], "expected an http:// or https:// address"),
    ],
)
def test_wrong_words(words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--data-root", str(tmp_path)]) == 2
    assert_one_line(capsys, said)


def test_command_runs_without_torch_and_rich(tmp_path: Path) -> None:
    block = "import sys; sys.modules.update(dict.fromkeys(['torch', 'rich', 'ray', 'optuna', 'beartype']));"
    call = "from pan_model.data.download.command import main; sys.exit(main(['cub', '--check', '--data-root', '.']))"
    code = f"{block} {call}"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "")
    assert "missing  no folder CUB_200_2011" in done.stdout
