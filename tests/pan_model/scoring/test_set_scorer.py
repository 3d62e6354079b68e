import numpy as np
import torch

from pan_model.data.featured_items import FeaturedItems
from pan_model.scoring.set_scorer import Scoring, ScoringConfig, features_on

CPU = torch.device("cpu")


def test_queries_are_scored_the_papers_way_unless_said_otherwise():
    assert ScoringConfig().scoring is Scoring.PAIR_MEAN


def test_shared_features_are_viewed_without_a_copy_and_without_a_warning(featured: FeaturedItems):
    assert not featured.features.flags.writeable
    viewed = features_on(CPU, featured.features)
    assert viewed.data_ptr() == featured.features.ctypes.data
    assert viewed.dtype is torch.float32
    np.testing.assert_array_equal(viewed.numpy(), featured.features)
