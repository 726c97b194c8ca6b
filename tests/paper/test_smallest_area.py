"""Equation 5: which areas are searched, and the smallest that suffices."""

import pytest

from inrexp.paper.smallest_area import PAPER_AREAS, searched_areas, smallest_area


def test_the_paper_s_four_areas_are_among_the_thirty_six():
    searched = searched_areas()
    assert len(searched) == 36
    assert searched[:3] == (0.025, 0.03, 0.035)
    assert set(PAPER_AREAS) <= set(searched)


def test_another_range_is_searched_from_end_to_end():
    searched = searched_areas(0.1, 0.6)
    assert (searched[0], searched[-1], len(searched)) == (0.1, 0.6, 36)
    gaps = [after - before for before, after in zip(searched, searched[1:], strict=False)]
    assert gaps == pytest.approx([0.5 / 35] * 35, abs=2e-6)


@pytest.mark.parametrize(
    ("threshold", "wanted"), [(0.0, 0.1), (0.2, 0.1), (0.21, 0.15), (0.39, 0.2), (0.4, 0.2), (0.5, None), (1.0, None)]
)
def test_the_smallest_area_that_suffices_by_hand(threshold: float, wanted: float | None):
    assert smallest_area((0.2, 0.1, 0.15), (0.4, 0.2, 0.3), threshold) == wanted


def test_a_smaller_area_counts_even_if_a_larger_one_fails():
    assert smallest_area((0.1, 0.2), (0.9, 0.1), 0.5) == 0.1


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan"), 50])
def test_a_threshold_is_a_probability(threshold: float):
    with pytest.raises(ValueError, match=r"threshold must be a probability in \[0, 1\]"):
        smallest_area((0.1,), (0.5,), threshold)
