"""The figure of the claims: what it draws and what it leaves out."""

import pandas as pd
import pytest

from inrexp.figures import claims
from inrexp.study.judging import FAILS, HOLDS, OF_A_NUMBER, UNMEASURED, UNTESTED

NUMBERS = pd.DataFrame(
    {
        "claim": [1, 2, 2, 3, 4],
        "what": ["share", "difference", "other", "times", "missing"],
        "mean": [0.8, -0.1, 0.1, 391.0, None],
        "low": [0.6, -0.2, -0.1, 340.0, None],
        "high": [0.9, -0.05, 0.3, 447.0, None],
        "bound": [0.5, 0.0, 0.0, 10.0, 0.0],
        "pictures": [20, 20, 5, 61, 0],
        "says": [HOLDS, FAILS, UNTESTED, HOLDS, UNMEASURED],
    }
)


def test_each_number_is_a_row_with_its_interval_and_its_bound():
    (axes,) = claims.intervals(NUMBERS).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["1  share", "2  difference", "2  other"]
    drawn = [line.get_xdata() for line in axes.lines[1:]]  # the first is the line at 0
    assert [list(x) for x in drawn[:3]] == [[0.5, 0.5], [0.6, 0.9], [0.8]]
    gaps = pd.Series(axes.get_yticks()).diff().dropna().round(2)
    assert list(gaps) == [1.6, 1.0]  # claims stand apart


def test_every_answer_of_a_rule_has_its_own_colour_and_marker():
    assert set(claims.LOOKS) == set(OF_A_NUMBER) == {HOLDS, FAILS, UNTESTED}
    assert len({marker for _, marker in claims.LOOKS.values()}) == 3


def test_nothing_to_draw_is_an_error():
    with pytest.raises(ValueError, match="no number to draw"):
        claims.intervals(NUMBERS.iloc[3:])
