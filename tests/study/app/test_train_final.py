"""What a final training refuses before it reads any data; tests/end_to_end has the rest."""

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from pan_model.errors import UserError
from study.app.train_final import train_final
from study.config.choices import BASELINES
from study.config.final_config import FinalConfig
from study.config.provenance import provenance
from study.reporting.best_config import BEST_CONFIG_SCHEMA
from study.storage.files import write_json
from study.terminal import Terminal


@pytest.fixture
def refused(tmp_path: Path, small_trial: dict[str, Any]) -> Generator[Callable[..., str]]:
    """The line with which a study of outfits with these options is refused."""

    def train(options: dict[str, str], **flags: Any) -> str:
        file = tmp_path / "study" / "best_config.json"
        best: dict[str, Any] = {
            "schema": BEST_CONFIG_SCHEMA,
            "dataset": "polyvore",
            "metric": {"name": "score", "mode": "max", "value": 0.5, "split": "val", "epoch": 1},
            "config": small_trial,
            "features": {
                "regime": "frozen",
                "backbone": "resnet18",
                "weights": "random",
                "weights_sha256": "ab" * 32,
                "image_size": 32,
            },
            "trial_id": "a",
            "study": {
                "name": "mine",
                "signature": "cd" * 32,
                "num_trials": 1,
                "completed": 1,
                "stopped": 0,
                "failed": 0,
            },
            "data": {"fingerprint": f"sha256:{'ef' * 32}", "splits": {"train": 1, "val": 1}, "options": options},
            "provenance": provenance(),
        }
        write_json(file, best)
        folders = {"data_root": tmp_path / "data", "cache_dir": tmp_path / "cache"}
        with pytest.raises(UserError, match=r"best_config\.json: |polyvore_outfits") as error:
            train_final(FinalConfig(best_config=file, **folders, **flags), Terminal())
        assert [path.name for path in file.parent.iterdir()] == [file.name]
        return str(error.value).removeprefix(f"{file}: ")

    return train


def test_words_that_are_not_where_they_were_are_asked_for(refused: Callable[..., str], tmp_path: Path):
    words = tmp_path / "words.txt"
    rule = (
        f"data.options.attribute_words is {words}, which is not there; give the study's list by --attribute-words FILE."
    )
    assert refused({"attribute_words": str(words)}) == rule


def test_words_that_are_given_count(refused: Callable[..., str], tmp_path: Path):
    data, folder = tmp_path / "data", tmp_path / "data" / "polyvore_outfits"
    line = refused({"attribute_words": str(tmp_path / "lost.txt")}, attribute_words=tmp_path / "words.txt")
    assert line.startswith(f"{folder}: no such folder; --data-root must hold polyvore_outfits/ with ")
    assert not data.exists()


def test_words_that_the_study_did_not_have_are_refused(refused: Callable[..., str], tmp_path: Path):
    rule = "the study had no --attribute-words; leave the flag out."
    assert refused({}, attribute_words=tmp_path / "words.txt") == rule


def test_the_split_is_that_of_the_study(refused: Callable[..., str], tmp_path: Path):
    folder = tmp_path / "data" / "polyvore_outfits"
    (folder / "images").mkdir(parents=True)
    assert refused({"polyvore_split": "disjoint"}).startswith(f"{folder}/disjoint: no such folder; ")


class TestBaselines:
    @pytest.mark.parametrize(
        ("words", "names"),
        [
            (None, BASELINES),
            (("none",), ()),
            (("siamese_distance", "nearest_class_mean"), ("nearest_class_mean", "siamese_distance")),
            (("paper_setting,nearest_class_mean",), ("nearest_class_mean", "paper_setting")),
        ],
    )
    def test_are_those_that_are_named(self, tmp_path: Path, words: Any, names: tuple[str, ...]) -> None:
        config = FinalConfig(best_config=tmp_path / "best_config.json", baselines=words, cache_dir=tmp_path / "cache")
        assert config.baseline_names == names

    @pytest.mark.parametrize(
        ("words", "rule"),
        [
            (
                ("papersetting",),
                r"baselines must be of nearest_class_mean, .*, paper_setting, or none; got 'papersetting'",
            ),
            (("none", "siamese_distance"), r"must name each baseline once, or none alone; got none siamese_distance"),
            (("siamese_distance", "siamese_distance"), r"must name each baseline once, or none alone"),
        ],
    )
    def test_that_are_unknown_or_repeated_are_refused(self, tmp_path: Path, words: tuple[str, ...], rule: str) -> None:
        with pytest.raises(UserError, match=rule):
            FinalConfig(best_config=tmp_path / "best_config.json", baselines=words, cache_dir=tmp_path / "cache")
