"""Rules and verdicts: what an interval says, by hand."""

import numpy as np
import pandas as pd
import pytest

from inrexp.study import judging
from inrexp.study.judging import FAILS, HOLDS, IN_PART, UNMEASURED, UNTESTED, Part, above, below, level


@pytest.mark.parametrize(
    ("rule", "low", "high", "says"),
    [
        (above(0), 0.01, 0.2, HOLDS),
        (above(0), -0.04, 0.04, FAILS),  # an advantage of the margin or more is excluded
        (above(0), -0.1, 0.3, UNTESTED),
        (above(0), -0.3, -0.1, FAILS),
        (above(0.5), 0.55, 0.9, HOLDS),
        (below(0), -0.2, -0.01, HOLDS),
        (below(0), -0.01, 0.2, FAILS),
        (below(0), -0.3, 0.1, UNTESTED),
        (level(), -0.04, 0.04, HOLDS),
        (level(), 0.01, 0.03, FAILS),  # small and surely not none: the paper's own test finds it, too
        (level(), -0.2, 0.2, UNTESTED),  # no significant difference is no evidence of none
    ],
)
def test_a_rule_reads_the_interval(rule: judging.Rule, low: float, high: float, says: str):
    assert rule.judge(low, high) == says


def test_a_rule_says_its_margin():
    assert (above(0).words, below(0.1).words) == (
        "above 0; no, if it ends below 0.05",
        "below 0.1; no, if it begins above 0.05",
    )


def part(*values: float, rule: judging.Rule | None = None, signed: bool = True) -> Part:
    return Part("a number", pd.Series(values, dtype=float), rule, signed=signed)


def test_a_number_is_the_mean_over_pictures_with_students_interval():
    (number,) = judging.measured([part(0.1, 0.2, 0.6, np.nan)])
    assert (number.mean, number.pictures, number.says) == (pytest.approx(0.3), 3, "")
    half = 4.3027 * 0.26458 / 3**0.5  # the t quantile of 2 degrees of freedom, the sample's standard deviation
    assert (number.low, number.high) == (pytest.approx(0.3 - half, abs=1e-4), pytest.approx(0.3 + half, abs=1e-4))
    assert str(number) == f"+0.30 [{number.low:.2f}, +{number.high:.2f}], n = 3"


def test_numbers_that_judge_together_have_wider_intervals():
    values = np.random.default_rng(0).normal(0.1, 0.3, 40)
    (alone,) = judging.measured([part(*values, rule=above(0))])
    among = judging.measured([part(*values, rule=above(0)), part(*values), *[part(*values, rule=above(0))] * 4])
    assert alone.level == pytest.approx(0.95)
    assert among[0].level == pytest.approx(0.99)  # five judge: 1 - 0.05 / 5
    assert among[0].low < alone.low < alone.high < among[0].high
    assert (among[1].low, among[1].high) == (alone.low, alone.high)  # it judges nothing


def test_a_share_of_all_pictures_is_not_certain():
    (share,) = judging.measured([part(*[1.0] * 10, rule=above(0.5), signed=False)])
    assert (share.mean, share.high) == (1.0, 1.0)
    assert share.low == pytest.approx(0.025 ** (1 / 10), abs=1e-6)  # all ten: (alpha / 2) ** (1 / n)
    (once,) = judging.measured([part(1, *[0.0] * 19, rule=above(0), signed=False)])
    assert once.low == pytest.approx(1 - 0.975 ** (1 / 20), abs=1e-6)  # one of 20: it happens
    assert once.says == HOLDS
    (none,) = judging.measured([part(*[0.0] * 10)])  # a difference that is 0 everywhere is 0
    assert (none.low, none.high) == (0.0, 0.0)


def test_few_pictures_decide_nothing_however_alike_they_are():
    (few,) = judging.measured([part(*[1.0] * (judging.FEWEST - 1), rule=above(0))])
    (enough,) = judging.measured([part(*[1.0] * judging.FEWEST, rule=above(0))])
    assert (few.says, enough.says) == (UNTESTED, HOLDS)


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ([HOLDS, HOLDS], HOLDS),
        ([HOLDS, FAILS], IN_PART),
        ([HOLDS, UNTESTED], IN_PART),
        ([FAILS, UNTESTED], FAILS),
        ([UNTESTED, UNTESTED], UNTESTED),
        ([HOLDS, UNMEASURED], UNMEASURED),
    ],
)
def test_a_verdict_follows_from_the_numbers(said: list[str], verdict: str):
    values = {HOLDS: [0.1, 0.11] * 4, FAILS: [-0.1, -0.11] * 4, UNTESTED: [-0.5, 0.6] * 4, UNMEASURED: []}
    numbers = judging.measured([part(*values[one], rule=above(0)) for one in said] + [part()])
    assert [number.says for number in numbers[:-1]] == said
    assert judging.verdict(numbers) == verdict


def test_numbers_that_judge_nothing_give_no_verdict():
    assert judging.verdict(judging.measured([part(0.1, 0.2)])) == UNMEASURED


def test_a_bound_near_0_shows_its_side_and_one_picture_has_no_interval():
    once = judging.Part("seen", pd.Series([1.0, *[0.0] * 19]), judging.above(0))
    (number,) = judging.measured([once])
    assert str(number) == "0.05 [0.001, 0.25], n = 20"
    near = judging.Number(Part("less", pd.Series([0.0]), None, signed=True), -0.0004, -0.3, 0.0, 9, 0.95, "")
    assert str(near) == "-0.0004 [-0.30, +0.00], n = 9"
    (alone,) = judging.measured([judging.Part("one", pd.Series([0.4]), None)])
    assert str(alone) == "0.40, n = 1"


def test_pictures_that_are_all_alike_show_no_interval_unless_they_are_counted():
    (zero,) = judging.measured([part(0, 0, 0)])
    assert str(zero) == "+0.00, n = 3"
    (tenth,) = judging.measured([part(*[0.1] * 7)])  # their mean is 0.1 only up to rounding
    assert str(tenth) == "+0.10, n = 7"
    (counted,) = judging.measured([part(*[0.0] * 10, signed=False)])  # none of ten pictures may yet be one of four
    assert str(counted) == "0.00 [0.00, 0.31], n = 10"
