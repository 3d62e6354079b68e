"""Published numbers: shares between 0 and 1, each with a source."""

import pytest

from pan_model.datasets import DATASETS
from study.analysis.paper_numbers import PAPER_NUMBERS, find_paper_numbers


@pytest.mark.parametrize("dataset", PAPER_NUMBERS)
def test_every_number_has_a_unit_and_a_source(dataset: str) -> None:
    published = find_paper_numbers(dataset)
    assert dataset in DATASETS
    assert published.differs.endswith(".")
    for number in published.numbers:
        assert 0 < number.value < 1
        assert number.source
        assert number.plus_minus is None or 0 < number.plus_minus < 0.05


def test_datasets_without_published_numbers_have_none() -> None:
    assert find_paper_numbers("demo") is None
    assert find_paper_numbers("folder") is None
