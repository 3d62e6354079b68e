"""What is said of conditions: which are relevant, and whether the labelled ones are."""

import pytest

from study.reporting.relevance import describe_relevance, find_idle_attributes


def test_labelled_conditions_without_relevance_are_a_caution():
    relevance = {"XNOR(red)": 0.0, "XNOR(blue)": 0.0004} | {f"unsupervised_{m}": 0.14 for m in range(1, 8)}
    assert find_idle_attributes(relevance) == [
        "all labelled conditions together (2 of 9) have a mean relevance of 0.000: all but that lies in "
        "unsupervised_1, unsupervised_2, unsupervised_3, unsupervised_4, unsupervised_5 and 2 more, so the attributes "
        "hardly contribute to the score and do not explain it"
    ]


@pytest.mark.parametrize(
    "relevance", [{}, {"unsupervised_1": 1.0}, {"OR(red)": 1.0}, {"OR(red)": 0.02, "unsupervised_1": 0.98}]
)
def test_other_models_need_none(relevance: dict[str, float]):
    assert find_idle_attributes(relevance) == []


def test_conditions_are_ordered_and_the_rest_is_added_up():
    relevance = {f"AND(a{m})": m / 300 for m in range(24)} | {"unsupervised_1": 0.08}
    lines = describe_relevance(relevance, "pairs")
    assert lines[0] == "Mean relevance of the conditions over pairs; they add up to 1, the labelled ones (24) to 0.920:"
    assert lines[4:6] == ["| unsupervised_1 | 0.080 |", "| AND(a23) | 0.077 |"]
    assert lines[-1] == "| all others (5) | 0.033 |"
    assert describe_relevance({}, "pairs") == []
