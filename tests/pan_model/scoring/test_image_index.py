"""An index finds what scoring every pair finds, without the study, and refuses files that do not belong together."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from pan_model.backbones.architectures import build_backbone
from pan_model.backbones.weights import load_weights
from pan_model.config import TrialConfig
from pan_model.data.items import Items
from pan_model.errors import UserError
from pan_model.model.pan import Pan
from pan_model.scoring.explanation import explain_pairs
from pan_model.scoring.image_index import embed_images
from pan_model.trained import load_backbone, load_index, load_model, save_index, save_model

NAME, FEATURE_DIM = "squeezenet1_1", 512
NUM_IMAGES = 12


@pytest.fixture(scope="module")
def final(configure: Callable[..., TrialConfig], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose score says much of the images: random weights, joint absdiff."""
    folder = tmp_path_factory.mktemp("final")
    config = configure()
    torch.manual_seed(0)
    names = tuple(f"unsupervised_{number}" for number in range(1, 7))
    model = Pan(config.model, feature_dim=FEATURE_DIM, num_classes=2, condition_names=names)
    features: dict[str, Any] = {
        "backbone": NAME,
        "weights": "random",
        "weights_sha256": load_weights(build_backbone(NAME), "random"),
        "image_size": 48,
    }
    save_model(model, config, features, folder)
    return folder


@pytest.fixture(scope="module")
def images(draw_items_in: Callable[..., Items], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images in the folder and in a subfolder."""
    root = tmp_path_factory.mktemp("photos") / "all"
    draw_items_in(root, NUM_IMAGES, 4)
    (root / "more" / "inner").mkdir(parents=True)
    (root / "0.png").rename(root / "more" / "inner" / "0.png")
    return root


@pytest.fixture(scope="module")
def made(final: Path, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index of the images; its study is gone."""
    folder = tmp_path_factory.mktemp("index")
    copy = tmp_path_factory.mktemp("copy") / "final"
    shutil.copytree(final, copy)
    model, backbone = load_model(copy), load_backbone(copy)
    indexed = embed_images(model, backbone, images)
    save_index(indexed, copy, backbone, folder)
    shutil.rmtree(copy)
    return folder


@pytest.fixture
def index(made: Path, tmp_path: Path) -> Path:
    """A copy of the index, in another place, to spoil."""
    shutil.copytree(made, tmp_path / "moved")
    return tmp_path / "moved"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """An image that is not in the index."""
    Image.new("RGB", (50, 40), (200, 30, 90)).save(tmp_path / "outside.png")
    return tmp_path / "outside.png"


def test_hits_are_those_of_scoring_every_pair(final: Path, index: Path, images: Path, outside: Path):
    model, backbone = load_model(final), load_backbone(final)
    files = sorted(path for path in images.rglob("*.png"))
    with torch.inference_mode():
        features = backbone(torch.stack([backbone.preprocess(path) for path in [outside, *files]]))
    pairs = explain_pairs(model, features[:1].expand(len(files), -1), features[1:])
    expected = sorted(zip(files, pairs, strict=True), key=lambda pair: -pair[1].score)
    result = load_index(index).query(outside, top=NUM_IMAGES)
    assert [images / hit.file for hit in result.hits] == [file for file, _ in expected]
    for hit, (_, explanation) in zip(result.hits, expected, strict=True):
        assert hit.score == pytest.approx(explanation.score, rel=1e-4)
        assert hit.log_odds == pytest.approx(math.log(hit.score / (1 - hit.score)), rel=1e-3)
        assert hit.explanation.top(1)[0].name == explanation.top(1)[0].name
        assert sum(part.contribution for part in hit.explanation.conditions) == pytest.approx(hit.score)
    assert result.same == ()


def test_images_of_subfolders_are_found_in_sorted_order(index: Path):
    assert load_index(index).images.files == (*sorted(f"{n}.png" for n in range(1, NUM_IMAGES)), "more/inner/0.png")


def test_the_query_s_own_file_is_no_hit_under_whatever_name(index: Path, images: Path, tmp_path: Path):
    shutil.copyfile(images / "3.png", tmp_path / "renamed.png")
    result = load_index(index).query(str(tmp_path / "renamed.png"))
    assert result.same == ("3.png",)
    assert len(result.hits) == 10
    assert "3.png" not in [hit.file for hit in result.hits]
    with pytest.raises(UserError, match=r"top must be from 1 to 11, .* \(1 copy of the query left out\), got 12"):
        load_index(index).query(tmp_path / "renamed.png", top=12)


def test_all_scores_are_finite_and_descend(index: Path, outside: Path):
    scores = [hit.score for hit in load_index(index).query(outside, top=NUM_IMAGES).hits]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


@pytest.mark.parametrize("top", [0, -1, NUM_IMAGES + 1])
def test_more_hits_than_there_are_is_an_error(index: Path, outside: Path, top: int):
    with pytest.raises(UserError, match=rf"top must be from 1 to {NUM_IMAGES}, the images of the index, got {top}"):
        load_index(index).query(outside, top=top)


def test_a_query_that_cannot_be_read_is_named(index: Path, tmp_path: Path):
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(UserError, match=r"text.jpg: not a readable image"):
        load_index(index).query(tmp_path / "text.jpg")
    with pytest.raises(UserError, match=r"none.jpg: not a readable image \(No such file"):
        load_index(index).query(tmp_path / "none.jpg")


def test_an_index_of_the_query_alone_holds_nothing_to_find(final: Path, outside: Path, tmp_path: Path):
    (tmp_path / "single").mkdir()
    shutil.copyfile(outside, tmp_path / "single" / "a.png")
    model, backbone = load_model(final), load_backbone(final)
    (tmp_path / "made").mkdir()
    save_index(embed_images(model, backbone, tmp_path / "single"), final, backbone, tmp_path / "made")
    with pytest.raises(UserError, match="the index holds no other image"):
        load_index(tmp_path / "made").query(outside)


def test_unreadable_images_are_an_error_or_counted(final: Path, images: Path, tmp_path: Path):
    shutil.copytree(images, tmp_path / "some")
    (tmp_path / "some" / "5.png").write_bytes((images / "5.png").read_bytes()[:100])
    (tmp_path / "some" / "notes.txt").write_text("no image")
    model, backbone = load_model(final), load_backbone(final)
    with pytest.raises(UserError, match=r"1 of 12 images cannot be read.*5\.png.*--skip-bad-images"):
        embed_images(model, backbone, tmp_path / "some")
    indexed = embed_images(model, backbone, tmp_path / "some", skip_bad_images=True)
    assert len(indexed) == len(indexed.sha256) == len(indexed.embeddings) == NUM_IMAGES - 1
    assert [*indexed.unreadable] == ["5.png"]
    assert indexed.left_out == {"file that is no image: .txt": 1}
    whole = embed_images(model, backbone, images)
    kept = [place for place, file in enumerate(whole.files) if file != "5.png"]
    torch.testing.assert_close(indexed.embeddings, whole.embeddings[kept], rtol=1e-4, atol=1e-5)


def test_a_folder_without_images_is_an_error(final: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    model, backbone = load_model(final), load_backbone(final)
    with pytest.raises(UserError, match=r"empty: must hold images \(.*\), also in subfolders, got none"):
        embed_images(model, backbone, tmp_path / "empty")
    with pytest.raises(UserError, match=r"nowhere: no such folder"):
        embed_images(model, backbone, tmp_path / "nowhere")


def spoil_schema(index: Path) -> None:
    content = json.loads((index / "index.json").read_text())
    (index / "index.json").write_text(json.dumps(content | {"schema": "pan-study/index/9"}))


def spoil_entries(index: Path) -> None:
    content = json.loads((index / "index.json").read_text())
    del content["images"][2]["sha256"]
    (index / "index.json").write_text(json.dumps(content))


def spoil_weights(index: Path) -> None:
    path = index / "model" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "another version": (spoil_schema, r"index.json: schema must be pan-study/index/1, got pan-study/index/9; make"),
    "an entry is missing": (spoil_entries, r"index.json: must have the entries of pan-study/index/1 \(KeyError"),
    "half a file": (lambda index: (index / "index.json").write_text('{"schema": "pan'), r"index.json: must be JSON"),
    "no index": (lambda index: (index / "index.json").unlink(), r"index.json: cannot be read \(No such file"),
    "another model": (spoil_weights, r"model.safetensors: must be of the model that embedded the images"),
    "no backbone": (lambda index: (index / "model" / "backbone.safetensors").unlink(), r"backbone.safetensors: cannot"),
    "no embeddings": (lambda index: (index / "embeddings.safetensors").unlink(), r"embeddings.safetensors: cannot be"),
    "damaged embeddings": (
        lambda index: (index / "embeddings.safetensors").write_bytes(b"12"),
        r"embeddings.safetensors: is damaged",
    ),
}


@pytest.mark.parametrize("what", SPOILT)
def test_what_does_not_belong_together_is_refused(index: Path, what: str):
    spoil, message = SPOILT[what]
    spoil(index)
    with pytest.raises(UserError, match=message) as error:
        load_index(index)
    assert "study/index.py" in str(error.value)


def test_a_graph_encoder_embeds_without_a_graph_and_says_so(
    configure: Callable[..., TrialConfig], images: Path, outside: Path, tmp_path: Path
):
    config = configure(encoder="graph", graph_layers=1, graph_width=8)
    torch.manual_seed(0)
    model = Pan(config.model, feature_dim=FEATURE_DIM, num_classes=2, condition_names=("unsupervised_1",) * 6).eval()
    sha256 = load_weights(build_backbone(NAME), "random")
    features = {"backbone": NAME, "weights": "random", "weights_sha256": sha256, "image_size": 48}
    (tmp_path / "graph").mkdir()
    save_model(model, config, features, tmp_path / "graph")
    backbone = load_backbone(tmp_path / "graph")
    (tmp_path / "index").mkdir()
    save_index(embed_images(model, backbone, images), tmp_path / "graph", backbone, tmp_path / "index")
    index = load_index(tmp_path / "index")
    assert any("graph" in note for note in index.notes)
    assert len(index.query(outside).hits) == 10
