"""Features: in evaluation mode, whatever the batch, and read from the cache when nothing has changed."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from pan_model.backbones.architectures import build_backbone
from pan_model.backbones.config import FeaturesConfig, Pooling
from pan_model.backbones.extraction import LocalExtractor
from pan_model.backbones.features import Features, cache_path, extract_features
from pan_model.backbones.weights import load_weights
from pan_model.data.cub import read_cub
from pan_model.data.items import Items
from pan_model.errors import UserError
from pan_model.images.decoding import load_image

CONFIG = FeaturesConfig(backbone="shufflenet_v2_x0_5", weights="random", image_size=48)
FINGERPRINT = "sha256:" + "0" * 64
NUM_ITEMS = 10


@pytest.fixture
def items(tmp_path: Path) -> Items:
    root = tmp_path / "images"
    root.mkdir()
    generator = np.random.default_rng(0)
    names = tuple(f"{number}.png" for number in range(NUM_ITEMS))
    for name in names:
        Image.fromarray(generator.integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(root / name)
    return items_of(root, names)


@pytest.fixture
def cache_dir(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def items_of(root: Path, names: tuple[str, ...]) -> Items:
    return Items(
        image_root=root,
        image_names=names,
        classes=np.zeros(len(names), dtype=np.int64),
        class_names=("only",),
        attributes=np.zeros((len(names), 1), dtype=bool),
        certainty=np.zeros((len(names), 1), dtype=np.uint8),
        attribute_names=("none",),
    )


def extract(items: Items, cache_dir: Path, config: FeaturesConfig = CONFIG, **options: Any) -> Features:
    extractor = LocalExtractor(device="cpu", batch_size=options.pop("batch_size", None))
    return extract_features(items, FINGERPRINT, config, cache_dir, **({"extractor": extractor} | options))


def cached_files(cache_dir: Path) -> list[Path]:
    return sorted(path for path in (cache_dir / "features").rglob("*") if path.is_file())


def damage(items: Items, *indices: int) -> None:
    for index in indices:
        path = items.image_path(index)
        path.write_bytes(path.read_bytes()[:500])


def test_rows_are_the_backbone_s_features_of_each_image_alone(items: Items, cache_dir: Path) -> None:
    backbone = build_backbone(CONFIG.backbone).eval()
    identity = load_weights(backbone, "random")
    with torch.inference_mode():
        rows = [backbone(load_image(items.image_path(index), 48)[None])[0] for index in range(NUM_ITEMS)]
    features = extract(items, cache_dir)
    np.testing.assert_allclose(features.values, torch.stack(rows).numpy(), rtol=1e-4, atol=1e-5)
    assert features.values.dtype == np.float32
    assert features.readable.all()
    assert features.unreadable == {}
    assert features.weights_sha256 == identity
    assert not features.from_cache


@pytest.mark.parametrize("batch_size", [1, 3, NUM_ITEMS])
def test_batches_do_not_matter(items: Items, tmp_path: Path, batch_size: int) -> None:
    expected = extract(items, tmp_path / "one").values
    other = extract(items, tmp_path / "two", batch_size=batch_size).values
    assert np.abs(other - expected).max() < 1e-5
    backwards = extract(items_of(items.image_root, items.image_names[::-1]), tmp_path / "three", batch_size=batch_size)
    assert np.abs(backwards.values[::-1] - expected).max() < 1e-5


def test_extraction_repeats_bit_for_bit(items: Items, tmp_path: Path) -> None:
    first, second = (extract(items, tmp_path / folder) for folder in ("one", "two"))
    np.testing.assert_array_equal(first.values, second.values)


def test_second_call_reads_the_cache(items: Items, cache_dir: Path) -> None:
    seen: list[tuple[int, int]] = []
    first = extract(items, cache_dir, batch_size=4, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(4, 10), (8, 10), (10, 10)]
    shutil.rmtree(items.image_root)  # not one image is opened again
    second = extract(items, cache_dir, progress=lambda done, total: seen.append((done, total)))
    assert len(seen) == 3
    assert (first.from_cache, second.from_cache) == (False, True)
    np.testing.assert_array_equal(first.values, second.values)
    np.testing.assert_array_equal(first.readable, second.readable)
    assert first.weights_sha256 == second.weights_sha256


def test_cache_is_keyed_by_all_that_features_depend_on(cache_dir: Path) -> None:
    paths = {
        cache_path(cache_dir, FINGERPRINT, CONFIG, "a"),
        cache_path(cache_dir, "sha256:1", CONFIG, "a"),
        cache_path(cache_dir, FINGERPRINT, CONFIG, "b"),
        cache_path(cache_dir, FINGERPRINT, replace(CONFIG, image_size=64), "a"),
        cache_path(cache_dir, FINGERPRINT, replace(CONFIG, pooling=Pooling.MAX), "a"),
        cache_path(cache_dir, FINGERPRINT, replace(CONFIG, backbone="resnet18"), "a"),
    }
    assert len(paths) == 6
    # The weights are known by their bytes, whatever the file is called.
    assert cache_path(cache_dir, FINGERPRINT, replace(CONFIG, weights="w.pth"), "a") in paths
    assert {path.parent for path in paths} == {cache_dir / "features"}


def test_the_key_of_averages_is_the_one_that_caches_had_before_there_was_another_pooling(cache_dir: Path) -> None:
    path = cache_path(cache_dir, "f", FeaturesConfig(backbone="resnet50", weights="random", image_size=224), "a")
    assert path.stem == "7cbebd475618b80b2f5c55c43659150b24814456ed970b2bf4189d4ae0ac166d"


def test_maxima_are_other_features_than_averages_and_never_smaller(items: Items, cache_dir: Path) -> None:
    averages, maxima = (extract(items, cache_dir, replace(CONFIG, pooling=pooling)) for pooling in Pooling)
    assert (maxima.values >= averages.values).all()
    assert (maxima.values > averages.values).any()
    assert maxima.weights_sha256 == averages.weights_sha256
    assert len(cached_files(cache_dir)) == 2


def test_cached_file_is_whole_and_readable_for_others(items: Items, cache_dir: Path) -> None:
    extract(items, cache_dir)
    (path,) = cached_files(cache_dir)
    assert path.suffix == ".safetensors"
    (cache_dir / "other").touch()
    assert path.stat().st_mode == (cache_dir / "other").stat().st_mode
    with safe_open(path, framework="numpy") as file:
        assert set(file.keys()) == {"values", "readable"}


@pytest.mark.parametrize("harm", ["empty", "truncated", "flipped", "garbage", "folder"])
def test_damaged_cache_is_extracted_again(items: Items, cache_dir: Path, harm: str) -> None:
    expected = extract(items, cache_dir).values
    (path,) = cached_files(cache_dir)
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    harmed = {"empty": b"", "truncated": content[:-7], "flipped": content, "garbage": b"\xff" * 200}
    if harm == "folder":
        path.unlink()
        path.mkdir()
        with pytest.raises(UserError, match=r"features cannot be cached in .*--cache-dir"):
            extract(items, cache_dir)
        return
    path.write_bytes(harmed[harm])
    again = extract(items, cache_dir)
    assert not again.from_cache
    np.testing.assert_array_equal(again.values, expected)
    assert extract(items, cache_dir).from_cache


def test_cache_of_another_number_of_items_is_not_used(items: Items, cache_dir: Path) -> None:
    extract(items, cache_dir)
    fewer = extract(items_of(items.image_root, items.image_names[:4]), cache_dir)
    assert not fewer.from_cache
    assert len(fewer.values) == 4


@pytest.mark.parametrize("batch_size", [2, NUM_ITEMS])
def test_unreadable_images_are_refused_and_nothing_is_written(items: Items, cache_dir: Path, batch_size: int) -> None:
    damage(items, 3, 8)
    items.image_path(9).unlink()
    with pytest.raises(
        UserError, match=r"3 of 10 images cannot be read, the first is .*/3\.png: .*truncated.*--skip-bad-images\.$"
    ):
        extract(items, cache_dir, batch_size=batch_size)
    assert not cache_dir.exists()


@pytest.mark.parametrize("batch_size", [1, 3, NUM_ITEMS])
def test_unreadable_images_are_left_out_when_asked(items: Items, tmp_path: Path, batch_size: int) -> None:
    whole = extract(items, tmp_path / "whole").values
    damage(items, 0, 4)
    features = extract(items, tmp_path / "part", skip_bad_images=True, batch_size=batch_size)
    assert features.readable.tolist() == [index not in (0, 4) for index in range(NUM_ITEMS)]
    assert list(features.unreadable) == ["0.png", "4.png"]
    assert str(tmp_path) not in features.unreadable["0.png"]
    assert np.abs(features.values - whole[features.readable]).max() < 1e-5
    assert len(items.select(features.readable, "unreadable image")) == len(features.values)


def test_decision_on_unreadable_images_holds_for_the_cache_too(items: Items, cache_dir: Path) -> None:
    damage(items, 4)
    extract(items, cache_dir, skip_bad_images=True)
    with pytest.raises(UserError, match=r"1 of 10 images cannot be read, the first is .*/4\.png: .*--skip-bad-images"):
        extract(items, cache_dir)
    again = extract(items, cache_dir, skip_bad_images=True)
    assert again.from_cache
    assert list(again.unreadable) == ["4.png"]


def test_no_readable_image_at_all(items: Items, cache_dir: Path) -> None:
    damage(items, *range(NUM_ITEMS))
    with pytest.raises(UserError, match=r"none of the 10 images can be read, the first is .*/0\.png"):
        extract(items, cache_dir, skip_bad_images=True)
    assert not cache_dir.exists()


def test_features_that_overflow_are_refused(items: Items, cache_dir: Path, tmp_path: Path) -> None:
    state = build_backbone(CONFIG.backbone).network.state_dict()
    state["conv1.0.weight"] = torch.full_like(state["conv1.0.weight"], 3e38)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"features must be finite, those of 10 images are not \(first 0\.png\)"):
        extract(items, cache_dir, replace(CONFIG, weights=str(tmp_path / "w.pth")))
    assert not cache_dir.exists()


def test_image_size_that_the_backbone_cannot_take(items: Items, cache_dir: Path) -> None:
    with pytest.raises(UserError, match="backbone squeezenet1_1 cannot take images of 8 px"):
        extract(items, cache_dir, FeaturesConfig(backbone="squeezenet1_1", weights="random", image_size=8))


def test_cache_dir_that_is_a_file(items: Items, cache_dir: Path) -> None:
    cache_dir.write_text("a file")
    with pytest.raises(UserError, match=r"features cannot be written to .*is not a writable folder.*--cache-dir"):
        extract(items, cache_dir)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"backbone": "resnet"}, "unknown backbone 'resnet'"),
        ({"weights": ""}, "weights must be imagenet, random or a state-dict file, got ''"),
        ({"image_size": 0}, "image_size must be at least 1 px, got 0"),
    ],
)
def test_configuration_rules(values: dict[str, str | int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        FeaturesConfig(**values)


def test_many_that_write_at_once_leave_one_whole_file(items: Items, cache_dir: Path, tmp_path: Path) -> None:
    # From a file, because threads share the generator that random weights are drawn from.
    torch.save(build_backbone(CONFIG.backbone).network.state_dict(), tmp_path / "w.pth")
    config = replace(CONFIG, weights=str(tmp_path / "w.pth"))
    with ThreadPoolExecutor(4) as pool:
        several = list(pool.map(lambda _: extract(items, cache_dir, config).values, range(8)))
    assert all(np.array_equal(values, several[0]) for values in several)
    assert len(cached_files(cache_dir)) == 1
    assert extract(items, cache_dir, config).from_cache


def test_number_of_threads_is_left_alone_and_does_not_matter(items: Items, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    expected = extract(items, tmp_path / "several", batch_size=2).values
    assert torch.get_num_threads() == before
    try:
        torch.set_num_threads(1)
        np.testing.assert_array_equal(extract(items, tmp_path / "one", batch_size=2).values, expected)
    finally:
        torch.set_num_threads(before)


def test_interruption_leaves_nothing_behind(items: Items, cache_dir: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        extract(items, cache_dir, batch_size=2, progress=interrupt)
    assert not cache_dir.exists()


@pytest.mark.real
def test_trained_features_tell_birds_apart_better_than_random_ones(real_data: Path, tmp_path: Path) -> None:
    birds = read_cub(real_data / "CUB_200_2011")
    chosen = np.concatenate([np.flatnonzero(birds.classes == label)[:6] for label in range(0, 50, 5)])
    birds = birds.select(np.isin(np.arange(len(birds)), chosen), "not chosen")
    weights = str(real_data / "weights" / "mobilenet_v2_imagenet_features.pth")

    def recall_at_1(weights: str) -> float:
        config = FeaturesConfig(backbone="mobilenet_v2", weights=weights, image_size=128)
        values = extract_features(birds, FINGERPRINT, config, tmp_path).values
        values = values / np.linalg.norm(values, axis=1, keepdims=True)
        similarity = values @ values.T
        np.fill_diagonal(similarity, -np.inf)
        return float((birds.classes[similarity.argmax(axis=1)] == birds.classes).mean())

    trained, random = recall_at_1(weights), recall_at_1("random")
    assert trained > random + 0.3
    assert trained > 0.6


def test_cached_features_need_no_backbone(items: Items, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Building one imports torchvision, which takes seconds."""
    made = extract(items, cache_dir)

    def refuse(*_: object) -> None:
        raise AssertionError("a backbone was built")

    monkeypatch.setattr("pan_model.backbones.features.build_backbone", refuse)
    read = extract(items, cache_dir)
    assert (read.from_cache, read.weights_sha256, read.weights_part) == (True, made.weights_sha256, made.weights_part)
    assert np.array_equal(read.values, made.values)


def test_a_weights_file_with_other_bytes_is_read_though_its_name_is_the_same(
    items: Items, cache_dir: Path, tmp_path: Path
) -> None:
    file = tmp_path / "weights.pth"
    config = replace(CONFIG, weights=str(file))
    network = build_backbone(CONFIG.backbone).network
    torch.save({"network": network.state_dict()}, file)
    first = extract(items, cache_dir, config)
    assert (first.from_cache, first.weights_part) == (False, "network")
    assert extract(items, cache_dir, config).weights_part == "network"
    with torch.no_grad():
        next(network.parameters()).mul_(2)
    torch.save(network.state_dict(), file)
    second = extract(items, cache_dir, config)
    assert (second.from_cache, second.weights_part) == (False, "")
    assert second.weights_sha256 != first.weights_sha256


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"weights_sha256": 1'])
def test_a_damaged_memory_of_a_backbone_is_written_anew(items: Items, cache_dir: Path, content: str) -> None:
    made = extract(items, cache_dir)
    (entry,) = (cache_dir / "backbones").iterdir()
    written = entry.read_text(encoding="utf-8")
    entry.write_text(content, encoding="utf-8")
    read = extract(items, cache_dir)
    assert (read.from_cache, read.weights_sha256) == (True, made.weights_sha256)
    assert entry.read_text(encoding="utf-8") == written
