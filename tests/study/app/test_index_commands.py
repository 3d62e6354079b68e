"""study/index.py and study/query.py as typed: what they print, what they make, and wrong inputs as one line."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pan_model.backbones.architectures import build_backbone
from pan_model.backbones.weights import load_weights
from pan_model.config import TrialConfig
from pan_model.model.pan import Pan
from pan_model.trained import save_model
from study.app.index_commands import index_command, query_command

NAME, FEATURE_DIM = "squeezenet1_1", 512
FLAT: dict[str, Any] = {
    "encoder": "siamese",
    "supervision": "unsupervised",
    "num_conditions": 12,
    "learning_rate": 1e-2,
    "max_epochs": 1,
    "seed": 0,
}


@pytest.fixture(scope="module")
def final(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("final")
    torch.manual_seed(0)
    names = ("XNOR(has_colour::red)", *(f"unsupervised_{number}" for number in range(1, 12)))
    config = TrialConfig.from_flat(FLAT)
    model = Pan(config.model, feature_dim=FEATURE_DIM, num_classes=2, condition_names=names)
    sha256 = load_weights(build_backbone(NAME), "random")
    features = {"backbone": NAME, "weights": "random", "weights_sha256": sha256, "image_size": 48}
    save_model(model, config, features, folder)
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("my photos")
    generator = np.random.default_rng(0)
    for number in range(5):
        pixels = generator.integers(0, 255, (40, 50, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number} $x_1$.png")
    return folder


@pytest.fixture(scope="module")
def made(final: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "index"
    assert index_command([str(final), str(photos), "--output", str(folder)]) == 0
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run a command in an empty folder; return its exit code and what it printed."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    capsys.readouterr()

    def run_command(command: Callable[[list[str]], int], *words: object) -> tuple[int, str, str]:
        code = command([str(word) for word in words])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run_command


def test_an_index_is_made_and_the_next_command_works(run: Callable[..., Any], final: Path, photos: Path):
    code, out, err = run(index_command, final, photos, "--output", "index")
    assert (code, err) == (0, "")
    assert "5 images embedded in " in out
    next_line = out.splitlines()[-1]
    words = shlex.split(next_line)
    assert words[:3] == ["uv", "run", "study/query.py"]
    code, out, err = run(query_command, *words[3:])
    assert (code, err) == (0, "")
    assert "the 4 images most similar to it, of 5 images" in out
    assert "left out: 0 $x_1$.png, the same file as the query" in out


def test_a_query_prints_a_table_and_makes_a_sheet_where_nothing_is(
    run: Callable[..., Any], made: Path, photos: Path, tmp_path: Path
):
    for folder in ("0 $x_1$", "0 $x_1$-2"):
        code, out, err = run(query_command, made, photos / "0 $x_1$.png", "--top", 3)
        assert (code, err) == (0, "")
        lines = out.splitlines()
        first = next(place for place, line in enumerate(lines) if line.startswith("rank"))
        assert [line.split()[0] for line in lines[first + 1 : first + 4]] == ["1", "2", "3"]
        assert lines[first + 4] == "made:"
        sheet, result = (Path(line.strip()) for line in lines[first + 5 :])
        assert sheet == Path("queries") / folder / "query.png"
        with Image.open(sheet) as image:
            assert image.width > image.height > 100
        content = json.loads(result.read_text())
        assert [hit["rank"] for hit in content["hits"]] == [1, 2, 3]
        for hit in content["hits"]:
            parts = sum(condition["contribution"] for condition in hit["conditions"])
            assert len(hit["conditions"]) == 8
            assert hit["rest"]["count"] == 4
            assert parts + hit["rest"]["contribution"] == pytest.approx(hit["score"])


def test_json_is_alone_on_stdout_and_makes_no_files_unless_asked(
    run: Callable[..., Any], made: Path, photos: Path, tmp_path: Path
):
    code, out, err = run(query_command, made, photos / "1 $x_1$.png", "--json")
    assert (code, err) == (0, "")
    content = json.loads(out)
    assert content["schema"] == "pan-study/query/1"
    assert content["same_file"] == ["1 $x_1$.png"]
    assert len(content["hits"]) == 4
    assert [*Path().iterdir()] == []
    code, out, _ = run(query_command, made, photos / "1 $x_1$.png", "--json", "--output", "there")
    assert json.loads(out) == content == json.loads(Path("there/query.json").read_text())
    assert Path("there/query.png").is_file()


def test_moved_images_are_said_and_can_be_given(run: Callable[..., Any], final: Path, photos: Path, tmp_path: Path):
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in photos.iterdir():
        (moved / path.name).write_bytes(path.read_bytes())
    assert run(index_command, final, moved, "--output", "index")[0] == 0
    moved.rename(tmp_path / "elsewhere")
    query = photos / "1 $x_1$.png"
    code, out, err = run(query_command, "index", query)
    assert (code, err) == (0, "")
    assert f"4 images not in {moved} any more, the first is " in out
    code, out, err = run(query_command, "index", query, "--images", tmp_path / "elsewhere")
    assert (code, err) == (0, "")
    assert "any more" not in out


def test_wrong_inputs_of_index_are_one_line_and_nothing_is_written(
    run: Callable[..., Any], final: Path, photos: Path, tmp_path: Path
):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"no image")
    (tmp_path / "bad" / "b.png").write_bytes((photos / "0 $x_1$.png").read_bytes())
    (tmp_path / "taken").mkdir()
    wrong: list[tuple[list[object], str]] = [
        ([final, photos, "--output", tmp_path / "taken"], "taken: already exists; move it away or give another"),
        ([final, photos / "nowhere", "--output", "index"], "nowhere: no such folder; give a folder with images"),
        ([final, tmp_path / "empty", "--output", "index"], "empty: must hold images"),
        ([final, tmp_path / "bad", "--output", "index"], "1 of 2 images cannot be read, the first is"),
        ([tmp_path / "none", photos, "--output", "index"], "none: no such folder; study/final.py trains one"),
        ([photos, photos, "--output", "index"], "must hold config.json and model.safetensors"),
        (["s3://bucket/final", photos, "--output", "index"], "must be a folder of this machine"),
        ([final, photos], "the following arguments are required: --output"),
    ]
    for words, message in wrong:
        code, _, err = run(index_command, *words)
        assert code == 2, message
        assert message in err
        assert err.count("\n") == 1
        assert [*Path().iterdir()] == []


def test_unreadable_images_are_left_out_and_listed(run: Callable[..., Any], final: Path, photos: Path, tmp_path: Path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"no image")
    (tmp_path / "bad" / "b.png").write_bytes((photos / "0 $x_1$.png").read_bytes())
    (tmp_path / "bad" / "c.txt").write_text("text")
    code, out, err = run(index_command, final, tmp_path / "bad", "--output", "index", "--skip-bad-images")
    assert (code, err) == (0, "")
    assert "1 left out (file that is no image: .txt)" in out
    assert "1 unreadable image left out:\n  a.png: not a readable image" in out


def test_wrong_inputs_of_query_are_one_line_and_nothing_is_written(
    run: Callable[..., Any], made: Path, photos: Path, tmp_path: Path
):
    image = photos / "0 $x_1$.png"
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "query.png").write_text("mine")
    wrong: list[tuple[list[object], str]] = [
        (
            [made, image, "--top", 6],
            "--top must be from 1 to 4, the images of the index (1 copy of the query left out)",
        ),
        ([made, image, "--top", 0], "--top must be at least 1, got 0"),
        ([made, image, "--top", "many"], "argument --top: invalid int value: 'many'"),
        ([made, tmp_path / "text.png"], "text.png: not a readable image"),
        ([made, tmp_path / "none.png"], "none.png: no such image file"),
        ([made, photos], ": is a folder; give an image file"),
        ([photos, image], "index.json: cannot be read (No such file or directory); give a folder that study/index.py"),
        (["s3://bucket/index", image], "must be a folder of this machine"),
        ([made, image, "--output", tmp_path / "full"], "query.png: already exists"),
    ]
    for words, message in wrong:
        code, out, err = run(query_command, *words)
        assert (code, out) == (2, ""), message
        assert message in err
        assert err.count("\n") == 1
        assert [*Path().iterdir()] == []
    assert (tmp_path / "full" / "query.png").read_text() == "mine"
