"""Intervals of means, paired tests and their correction, by hand."""

import numpy as np
import pandas as pd
import pytest

from inrexp.study.intervals import holm, interval, paired_test, share_interval

T_2 = 4.3027  # the t quantile of 2 degrees of freedom


def test_a_mean_has_students_interval_and_one_value_has_none():
    half = T_2 * 0.26458 / 3**0.5  # the sample's standard deviation
    assert interval([0.1, 0.2, 0.6]) == pytest.approx((0.3 - half, 0.3 + half), abs=1e-4)
    assert interval([0.4, 0.4, 0.4]) == pytest.approx((0.4, 0.4))
    assert np.isnan(interval([0.4])).all()
    low, high = interval([0.1, 0.2, 0.6], level=0.99)
    assert high - low > 2 * half


def test_a_count_of_pictures_has_the_exact_interval_and_a_share_stays_in_its_range():
    assert share_interval([1.0] * 10) == pytest.approx((0.025 ** (1 / 10), 1.0))
    assert share_interval([1, *[0] * 19])[0] == pytest.approx(1 - 0.975 ** (1 / 20))
    assert share_interval([0.01, 0.2, 0.01])[0] == 0.0
    assert share_interval([0.99, 0.8, 0.99])[1] == 1.0
    assert share_interval([0.4, 0.5, 0.6]) == pytest.approx(interval([0.4, 0.5, 0.6]))
    assert np.isnan(share_interval([])).all()
    assert np.isnan(share_interval([0.4])).all()


def test_the_t_test_takes_the_pictures_of_both_methods_only():
    one, other = pd.Series({"a": 0.5, "b": 0.4, "c": 0.9}), pd.Series({"d": 0.1, "b": 0.2, "a": 0.1})
    difference, _, pairs = paired_test(one, other)
    assert (difference, pairs) == (pytest.approx(0.3), 2)


@pytest.mark.parametrize("other", [{"a": 0.1}, {"a": 0.4, "b": 0.3}, {"z": 0.4}])
def test_a_t_test_without_an_answer_is_nan_and_silent(other: dict, recwarn: pytest.WarningsRecorder):
    _, p, pairs = paired_test(pd.Series({"a": 0.5, "b": 0.4}), pd.Series(other))
    assert np.isnan(p)
    assert pairs == len({"a", "b"} & set(other))
    assert not list(recwarn)


def test_holm_by_hand():
    """The example of Holm's rule: 0.01, 0.02, 0.03 times 3, 2, 1; none below the one before it."""
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    corrected = holm([0.5, float("nan"), 0.9])
    assert corrected[::2] == pytest.approx([1.0, 1.0])
    assert np.isnan(corrected[1])
    assert holm([]) == []
