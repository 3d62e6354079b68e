"""Models whose heads have random weights, so that their conditions differ."""

from collections.abc import Callable

import pytest
import torch

from pan_model.config import TrialConfig
from pan_model.model.pan import Pan, Scoring
from pan_model.model.similarity import Joint


@pytest.fixture
def model(build: Callable[[TrialConfig], Pan], configure: Callable[..., TrialConfig]) -> Callable[..., Pan]:
    """Make a model of 6 conditions that differ."""

    def make(scoring: Scoring = Scoring.MIXTURE, joint: Joint = Joint.PRODUCT, **given: float) -> Pan:
        pan = build(configure(scoring=str(scoring), joint=str(joint), num_conditions=6, **given)).eval()
        torch.manual_seed(1)
        with torch.no_grad():
            for layer in (pan.similarity.similarity, pan.similarity.relevance):
                layer.weight.normal_(0.0, 0.5)
                layer.bias.normal_(0.0, 0.5)
        return pan

    return make
