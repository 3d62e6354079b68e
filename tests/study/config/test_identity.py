import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pan_model.data.splits import ValQuestions
from study.config.identity import digest, trial_id

FEATURES = {"regime": "frozen", "backbone": "resnet18", "weights": "random", "weights_sha256": "ab", "image_size": 64}
CONFIG: dict[str, Any] = {"encoder": "siamese", "learning_rate": 1e-3, "max_epochs": 9, "seed": 0}


def test_digest_is_the_sha256_of_canonical_json():
    assert digest({"b": [1, None], "a": "ä"}) == hashlib.sha256(b'{"a":"\\u00e4","b":[1,null]}').hexdigest()


def test_digest_refuses_nan():
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest({"learning_rate": float("nan")})


def test_a_trial_is_named_by_twelve_hex_digits():
    name = trial_id("sha256:1", FEATURES, CONFIG)
    assert len(name) == 12
    assert set(name) <= set("0123456789abcdef")


@given(st.permutations(sorted(CONFIG)))
def test_the_order_of_keys_does_not_count(keys: list[str]):
    assert trial_id("sha256:1", FEATURES, {key: CONFIG[key] for key in keys}) == trial_id("sha256:1", FEATURES, CONFIG)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("encoder", "proxynca"),
        ("learning_rate", 0.0010000000000000002),
        ("max_epochs", 10),
        ("seed", 1),
        ("gate", "OR"),
    ],
)
def test_all_of_the_configuration_counts(key: str, value: Any):
    assert trial_id("sha256:1", FEATURES, CONFIG | {key: value}) != trial_id("sha256:1", FEATURES, CONFIG)


@pytest.mark.parametrize("key", sorted(FEATURES))
def test_all_of_the_features_counts_but_where_the_weights_came_from(key: str):
    same = trial_id("sha256:1", FEATURES | {key: "other"}, CONFIG) == trial_id("sha256:1", FEATURES, CONFIG)
    assert same == (key == "weights")


def test_averages_are_what_features_were_before_there_were_maxima():
    assert trial_id("sha256:1", FEATURES | {"pooling": "avg"}, CONFIG) == trial_id("sha256:1", FEATURES, CONFIG)
    assert trial_id("sha256:1", FEATURES | {"pooling": "max"}, CONFIG) != trial_id("sha256:1", FEATURES, CONFIG)


def test_questions_on_val_count_and_the_full_ones_are_those_before_the_choice():
    full, reduced = (
        trial_id("sha256:1", FEATURES, CONFIG, val_questions=ValQuestions(rule)) for rule in ("full", "reduced")
    )
    assert full == trial_id("sha256:1", FEATURES, CONFIG)
    assert reduced != full


def test_the_data_count():
    assert trial_id("sha256:2", FEATURES, CONFIG) != trial_id("sha256:1", FEATURES, CONFIG)


def test_names_do_not_change_from_one_release_to_the_next():
    # A change here orphans every study that is under way.
    assert trial_id("sha256:1", FEATURES, CONFIG) == "a64cb2bce91a"
