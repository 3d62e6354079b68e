"""The set transformer learns which items of a category go with others, and scores sets without order."""

import numpy as np
import pytest
import torch

from pan_model.data.featured_items import FeaturedItems
from pan_model.data.polyvore.outfits import Outfits
from pan_model.data.splits import Split
from pan_model.scoring.baselines.choice import fit_baseline, names_of
from pan_model.scoring.baselines.set_transformer import fit_set_transformer
from pan_model.scoring.baselines.setting import Setting
from pan_model.scoring.baselines.untrained import mean_cosine
from pan_model.tasks.outfits import OutfitTask

NUM_STYLES, NUM_CATEGORIES, PER_STYLE = 4, 3, 6
SETTING: Setting = {"width": 16, "learning_rate": 3e-3, "epochs": 12}


@pytest.fixture(scope="module")
def outfits() -> OutfitTask:
    """Outfits of one item of each category, all of the same style; each category shows styles in its own way."""
    generator = np.random.default_rng(0)
    shape = (3, NUM_CATEGORIES, NUM_STYLES, PER_STYLE)  # splits first
    items = np.arange(np.prod(shape)).reshape(shape)
    looks = generator.normal(size=(NUM_CATEGORIES, NUM_STYLES, 12))
    features = (looks[None, :, :, None] + 0.3 * generator.normal(size=(*shape, 12))).reshape(-1, 12)

    def draw(split: int) -> tuple[tuple[int, ...], ...]:
        drawn = {
            tuple(
                int(items[split, category, style, generator.integers(PER_STYLE)]) for category in range(NUM_CATEGORIES)
            )
            for style in generator.integers(NUM_STYLES, size=60)
        }
        return tuple(sorted(drawn))

    drawn = {split: draw(number) for number, split in enumerate(Split)}
    relations = Outfits(
        outfits=drawn,
        set_ids={split: tuple(map(str, range(len(of_split)))) for split, of_split in drawn.items()},
        categories=np.broadcast_to(np.arange(NUM_CATEGORIES)[None, :, None, None], shape).reshape(-1).copy(),
        category_names=("top", "bottom", "shoes"),
    )
    num_items = len(features)
    return OutfitTask(
        FeaturedItems(
            features=features.astype(np.float32),
            classes=np.arange(num_items),
            attributes=np.zeros((num_items, 1), bool),
            certain=np.zeros((num_items, 1), bool),
            attribute_names=("none",),
            splits={split: np.unique(np.concatenate(of_split)) for split, of_split in drawn.items()},
            relations=relations,
        ),
        seed=0,
    )


def test_it_learns_which_items_go_together_and_training_repeats_exactly(outfits: OutfitTask):
    features, state = outfits.featured.features, torch.get_rng_state()
    *_, scorer = fit_set_transformer(outfits, [SETTING | {"epochs": 3}, SETTING], features)
    accuracy = outfits.evaluate(scorer, Split.VAL)["fitb_accuracy"]
    cosine = outfits.evaluate(mean_cosine(features), Split.VAL)["fitb_accuracy"]
    assert accuracy.mean() > cosine.mean() + 0.1
    again = outfits.evaluate(fit_baseline("set_transformer", outfits, SETTING), Split.VAL)["fitb_accuracy"]
    np.testing.assert_array_equal(again, accuracy)
    assert torch.equal(torch.get_rng_state(), state)


def test_scores_depend_on_neither_the_order_of_a_set_nor_on_other_questions(outfits: OutfitTask):
    scorer = fit_baseline("set_transformer", outfits, SETTING | {"epochs": 1})
    queries, sets = np.array([[0, 5, 9], [7, 7, 3]]), np.arange(10, 22).reshape(2, 2, 3)
    scores = scorer(queries, sets)
    assert scores.shape == (2, 3, 2)
    np.testing.assert_allclose(scorer(queries, sets[:, :, ::-1]), scores, atol=1e-5)
    for b, q, c in np.ndindex(scores.shape):
        alone = scorer(queries[b : b + 1, q : q + 1], sets[b : b + 1, c : c + 1])
        assert alone[0, 0, 0] == pytest.approx(scores[b, q, c], abs=1e-5)


def test_outfits_have_no_baselines_of_classes(outfits: OutfitTask):
    expected = ["nearest_class_mean", "centred_l2", "nearest_class_mean_normalised", "siamese_distance"]
    assert names_of(outfits) == (*expected, "set_transformer", "paper_setting")
