import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pan_model.scores import Interval, mean_interval


@given(questions=st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_interval_is_the_mean_and_1_96_standard_errors(questions: list[float]):
    interval = mean_interval(np.array(questions))
    half = 1.96 * statistics.stdev(questions) / math.sqrt(len(questions))
    assert interval.mean == pytest.approx(statistics.fmean(questions))
    assert interval.low == pytest.approx(statistics.fmean(questions) - half, abs=1e-12)
    assert interval.high == pytest.approx(statistics.fmean(questions) + half, abs=1e-12)


def test_a_single_question_has_no_width():
    assert mean_interval(np.array([0.25])) == (0.25, 0.25, 0.25)


def test_an_interval_reads_as_in_tables():
    assert str(Interval(0.51234, 0.4, 0.6)) == "0.5123 [0.4000, 0.6000]"
