"""How sure a mean over pictures is: its interval, a paired test, and tests corrected for their number.

Tables and verdicts on claims take their intervals from here, so that one number never has two.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import pandas as pd
from scipy import stats

LEVEL = 0.95
Values: TypeAlias = Sequence[float] | pd.Series | np.ndarray


def interval(values: Values, level: float = LEVEL) -> tuple[float, float]:
    """Student's t interval of a mean, for instance of paired differences.  NaN for fewer than two values.

    A percentile bootstrap is too narrow for 15 pictures, and the more so at a level of 99 %.
    """
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return np.nan, np.nan
    mean, half = float(values.mean()), float(stats.t.ppf((1 + level) / 2, len(values) - 1) * stats.sem(values))
    return mean - half, mean + half


def share_interval(values: Values, level: float = LEVEL) -> tuple[float, float]:
    """The interval of a mean of shares, each in [0, 1], which it does not leave.

    Where every value is 0 or 1, they count pictures: the exact binomial interval (Clopper, Pearson 1934). Otherwise
    Student's t interval.  NaN for no value, and for one that counts nothing.
    """
    values = np.asarray(values, dtype=float)
    if len(values) and set(values) <= {0.0, 1.0}:
        exact = stats.binomtest(int(values.sum()), len(values)).proportion_ci(level)
        return float(exact.low), float(exact.high)
    low, high = np.clip(interval(values, level), 0.0, 1.0)
    return float(low), float(high)


def paired_test(one: pd.Series, other: pd.Series) -> tuple[float, float, int]:
    """Mean of one - other over the pictures of both, p of the paired t-test, and their number.

    p is NaN where the test has no answer: fewer than two pictures, or one and the same difference in each.
    """
    both = one.index.intersection(other.index)
    difference = one[both] - other[both]
    if len(both) < 2 or np.ptp(difference) < 1e-12:
        return float(difference.mean()), np.nan, len(both)
    return float(difference.mean()), float(stats.ttest_rel(one[both], other[both]).pvalue), len(both)


def holm(p: Sequence[float]) -> list[float]:
    """p values corrected for their number by Holm's step-down rule (Scandinavian Journal of Statistics 6, 1979, 65-70).

    The smallest of m is multiplied by m, the next by m - 1 and so on; none falls below one before it, or exceeds 1.
    NaN is no comparison and stays NaN.
    """
    values = np.asarray(p, dtype=float)
    order = np.argsort(values)[: int(np.isfinite(values).sum())]  # NaN come last
    corrected = np.full_like(values, np.nan)
    corrected[order] = np.maximum.accumulate(values[order] * np.arange(len(order), 0, -1)).clip(max=1)
    return corrected.tolist()
