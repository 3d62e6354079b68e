"""The demo is whole, repeatable, and holds what it says."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pan_model.data import demo
from pan_model.data.cub import read_cub
from pan_model.data.demo import CLASS_FACTORS, DemoConfig, draw_demo, read_demo
from pan_model.data.items import Items
from pan_model.data.splits import Split, few_shot_split
from pan_model.errors import UserError

SMALL = DemoConfig(num_classes=8, images_per_class=3, image_size=24)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default demo, drawn once, by `read_demo` since there is no folder."""
    folder = tmp_path_factory.mktemp("data") / "demo"
    read_demo(folder)
    return folder


@pytest.fixture(scope="module")
def items(drawn: Path) -> Items:
    return read_cub(drawn)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_has_the_default_size(items: Items) -> None:
    assert len(items) == 960
    assert len(items.class_names) == 40
    assert np.bincount(items.classes).tolist() == [24] * 40
    assert len(items.attribute_names) == 17
    with Image.open(items.image_path(0)) as image:
        assert (image.mode, image.size) == ("RGB", (64, 64))


def test_has_every_file_of_the_official_layout(drawn: Path) -> None:
    lists = {name for name in contents(drawn) if name.endswith(".txt")}
    assert lists == {
        "images.txt",
        "image_class_labels.txt",
        "train_test_split.txt",
        "classes.txt",
        "attributes/attributes.txt",
        "attributes/certainties.txt",
        "attributes/image_attribute_labels.txt",
    }
    halves = [line.split()[1] for line in (drawn / "train_test_split.txt").read_text().splitlines()]
    assert (halves.count("1"), halves.count("0")) == (480, 480)


def test_class_names_tell_the_class_attributes(items: Items) -> None:
    column = {name: index for index, name in enumerate(items.attribute_names)}
    for n in np.flatnonzero(items.certain[:, column["has_colour::red"]]).tolist():
        red = "Red_" in items.class_names[int(items.classes[n])]
        assert bool(items.attributes[n, column["has_colour::red"]]) is red


def test_certain_labels_are_true_and_exclude_each_other(items: Items) -> None:
    for factor in ("shape", "colour", "pattern", "border", "background", "size"):
        columns = [a for a, name in enumerate(items.attribute_names) if name.startswith(f"has_{factor}::")]
        whole = items.certain[:, columns].all(axis=1)
        assert (items.attributes[whole][:, columns].sum(axis=1) == 1).all()


def test_some_labels_are_missing_and_some_uncertain(items: Items) -> None:
    assert np.mean(items.certainty == 0) == pytest.approx(0.05, abs=0.01)
    assert np.mean((items.certainty == 1) | (items.certainty == 2)) == pytest.approx(0.1, abs=0.01)


def test_background_and_size_vary_within_every_class(items: Items) -> None:
    for name in ("has_background::dark", "has_size::small"):
        column = items.attribute_names.index(name)
        for k in range(len(items.class_names)):
            rows = (items.classes == k) & items.certain[:, column]
            assert 0 < items.attributes[rows, column].mean() < 1


def test_dark_backgrounds_are_darker(items: Items) -> None:
    column = items.attribute_names.index("has_background::dark")
    corners: dict[bool, list[float]] = {True: [], False: []}
    for n in np.flatnonzero(items.certain[:, column]).tolist():
        with Image.open(items.image_path(n)) as image:
            corners[bool(items.attributes[n, column])].append(float(np.asarray(image)[:4, :4].mean()))
    assert max(corners[True]) < min(corners[False])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**63), num_classes=st.integers(8, 96))
def test_every_class_value_occurs_in_train_and_classes_differ(seed: int, num_classes: int) -> None:
    classes = demo._choose_classes(DemoConfig(seed=seed, num_classes=num_classes))  # pyright: ignore[reportPrivateUsage]
    assert len({tuple(looks.items()) for looks in classes}) == num_classes
    for factor, values in CLASS_FACTORS.items():
        assert {looks[factor] for looks in classes[::2]} == set(values)


def test_every_split_has_every_class_value_by_default(items: Items) -> None:
    for indices in few_shot_split(items).values():
        shown = items.attributes[indices] & items.certain[indices]
        assert shown.any(axis=0).all()
        assert not shown.all(axis=0).any()


def test_splits_hold_enough_classes_for_episodes_of_five(items: Items) -> None:
    sizes = {split: len(np.unique(items.classes[indices])) for split, indices in few_shot_split(items).items()}
    assert sizes == {Split.TRAIN: 20, Split.VAL: 10, Split.TEST: 10}


def test_random_features_tell_some_classes_but_not_all(items: Items) -> None:
    """Leaves room to learn: 5-way 5-shot by the nearest class mean, on a convolutional network of random weights."""
    val = few_shot_split(items)[Split.VAL]
    images = np.stack([np.asarray(Image.open(items.image_path(n))) for n in val.tolist()])
    features = torch.nn.functional.normalize(random_features(images).reshape(10, 24, -1), dim=2)
    rng, accuracy = np.random.default_rng(0), list[float]()
    for _ in range(200):
        chosen = features[rng.choice(10, 5, replace=False)][:, rng.permutation(24)]
        means = torch.nn.functional.normalize(chosen[:, :5].mean(dim=1), dim=1)
        answers = (chosen[:, 5:21] @ means.T).argmax(dim=2)
        accuracy.append(float((answers == torch.arange(5)[:, None]).double().mean()))
    assert 0.6 < np.mean(accuracy) < 0.85


def random_features(images: np.ndarray) -> torch.Tensor:
    torch.manual_seed(0)
    backbone = torch.nn.Sequential(*list(torchvision.models.resnet18(weights=None).children())[:-1]).eval()
    scaled = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.inference_mode():
        return backbone((scaled - mean[:, None, None]) / std[:, None, None])


def test_the_same_configuration_draws_the_same_bytes(tmp_path: Path) -> None:
    draw_demo(tmp_path / "one", SMALL)
    draw_demo(tmp_path / "two", SMALL)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_another_seed_draws_other_images(tmp_path: Path) -> None:
    draw_demo(tmp_path / "one", SMALL)
    draw_demo(tmp_path / "two", DemoConfig(num_classes=8, images_per_class=3, image_size=24, seed=1))
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    assert one["images.txt"] != two["images.txt"]
    assert not {one[name] for name in one if name.endswith(".png")} & set(two.values())


def test_an_image_depends_on_no_other(tmp_path: Path) -> None:
    draw_demo(tmp_path / "few", SMALL)
    draw_demo(tmp_path / "more", DemoConfig(num_classes=12, images_per_class=5, image_size=24))
    few, more = contents(tmp_path / "few"), contents(tmp_path / "more")
    assert all(more[name] == few[name] for name in few if name.endswith(".png"))


def test_read_demo_draws_once_then_reads(tmp_path: Path, drawn: Path) -> None:
    folder = Path(shutil.copytree(drawn, tmp_path / "demo"))
    first = read_demo(folder)
    first.image_path(0).write_bytes(b"mine")
    assert read_demo(folder).image_names == first.image_names
    assert first.image_path(0).read_bytes() == b"mine"


def test_of_two_runs_that_draw_at_once_one_is_whole(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(draw_demo, tmp_path / "demo", SMALL) for _ in range(2)]
    assert sorted(str(type(run.exception())) for run in runs) == [str(FileExistsError), str(type(None))]
    assert len(read_demo(tmp_path / "demo")) == 24
    assert [file.name for file in tmp_path.iterdir()] == ["demo"]


def test_does_not_draw_over_a_folder(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    with pytest.raises(FileExistsError, match="demo: already there; remove it to draw it again"):
        draw_demo(tmp_path / "demo", SMALL)


def test_a_cut_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt("cut")

    monkeypatch.setattr(Image.Image, "save", cut)
    with pytest.raises(KeyboardInterrupt, match="cut"):
        draw_demo(tmp_path / "demo", SMALL)
    assert list(tmp_path.iterdir()) == []


def test_says_where_it_cannot_draw(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(
        UserError, match=r"file/demo: the demo cannot be drawn here \(.*File exists: '.*/file'\); choose another"
    ):
        draw_demo(tmp_path / "file" / "demo", SMALL)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_classes": 7}, r"num_classes must lie in 8\.\.96, got 7\."),
        ({"num_classes": 97}, r"num_classes must lie in 8\.\.96, got 97\."),
        ({"images_per_class": 0}, r"images_per_class must be at least 1, got 0\."),
        ({"image_size": 15}, r"image_size must be at least 16, got 15\."),
        ({"seed": -1}, r"seed must be at least 0, got -1\."),
        ({"missing_fraction": -0.1}, r"together at most 1, got -0\.1 and 0\.1\."),
        ({"missing_fraction": 0.6, "uncertain_fraction": 0.5}, r"together at most 1, got 0\.6 and 0\.5\."),
        ({"uncertain_fraction": float("nan")}, r"together at most 1, got 0\.05 and nan\."),
    ],
)
def test_refuses_a_configuration_that_cannot_be_drawn(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        DemoConfig(**wrong)  # pyright: ignore[reportArgumentType]
