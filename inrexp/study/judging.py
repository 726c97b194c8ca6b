"""How a number becomes a verdict: a mean over pictures with its interval, and a rule that was stated before.

A claim is tested by one number or several. Each of them is a value for every picture. A rule compares the interval of
its mean with a bound, and the verdict of the claim follows from what its numbers say.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from inrexp.study.intervals import LEVEL, interval, share_interval

HOLDS, IN_PART, FAILS, UNTESTED = "holds", "holds in part", "does not hold", "cannot be tested here"
UNMEASURED = "not measured yet"  # the rows are missing; this is no verdict
VERDICTS = (HOLDS, IN_PART, FAILS, UNTESTED)
OF_A_NUMBER = {HOLDS: HOLDS, FAILS: FAILS, UNTESTED: "too few pictures to tell"}  # the words for one number of a claim
MARGIN = 0.05  # a difference that is surely smaller than this counts as none
SHOWN = 6  # digits at most
ALIKE = 1e-9  # the width up to which an interval is that of values which are all the same
FEWEST = 8  # pictures that decide: fewer know too little of the spread, three alike ones nothing


@dataclass(frozen=True)
class Rule:
    """What an interval has to be.

    words: the rule as a reader reads it.  bound: the value that the interval is compared with.
    judge: takes the two ends, and gives HOLDS, FAILS or, where the pictures do not decide, UNTESTED.
    """

    words: str
    bound: float
    judge: Callable[[float, float], str]


def above(bound: float, margin: float = MARGIN) -> Rule:
    """Holds if the whole interval is above the bound, fails if it ends less than a margin above it.

    With a bound of 0 and shares of pictures it says whether something happens at all: the exact interval of a share
    begins above 0 as soon as it happened once.
    """

    def judge(low: float, high: float) -> str:
        return HOLDS if low > bound else FAILS if high < bound + margin else UNTESTED

    return Rule(f"above {bound:g}; no, if it ends below {bound + margin:g}", bound, judge)


def below(bound: float, margin: float = MARGIN) -> Rule:
    """Holds if the whole interval is below the bound, fails if it begins less than a margin below it."""

    def judge(low: float, high: float) -> str:
        return HOLDS if high < bound else FAILS if low > bound - margin else UNTESTED

    return Rule(f"below {bound:g}; no, if it begins above {bound - margin:g}", bound, judge)


def level(margin: float = MARGIN) -> Rule:
    """Holds if the interval holds 0 and lies within the margin on both sides, fails if it does not hold 0."""

    def judge(low: float, high: float) -> str:
        if low > 0 or high < 0:
            return FAILS
        return HOLDS if -margin < low and high < margin else UNTESTED

    return Rule(f"holds 0 and stays within {margin:g} of it", 0.0, judge)


@dataclass(frozen=True)
class Part:
    """One number behind a claim, before it is computed.

    what: says what the number is.  values: one for each picture (their index); none where the rows are missing.
    rule: what the mean's interval has to be; None for a number that stands beside the others and judges nothing.
    signed: a difference, which is written with its sign.  digits: after the point.
    length: a measured quantity, 0 or more, that counts nothing though each may be 0 or 1. All others are shares.
    """

    what: str
    values: pd.Series
    rule: Rule | None = None
    signed: bool = False
    digits: int = 2
    length: bool = False


@dataclass(frozen=True)
class Number:
    """A part with its mean over pictures and the interval of that mean at this level.

    says: what the rule says of it (HOLDS, FAILS, UNTESTED where the pictures do not decide or are fewer than `FEWEST`,
        UNMEASURED without pictures); "" without a rule.
    """

    part: Part
    mean: float
    low: float
    high: float
    pictures: int
    level: float
    says: str

    def __str__(self) -> str:
        if not self.pictures:
            return UNMEASURED
        mean, low, high = map(self._written, (self.mean, self.low, self.high))
        # One picture has no interval, and pictures that are all alike have none to speak of.
        between = f" [{low}, {high}]" if self.high - self.low > ALIKE else ""
        return f"{mean}{between}, n = {self.pictures}"

    def _written(self, one: float) -> str:
        digits = self.part.digits
        while one and not round(one, digits) and digits < SHOWN:
            digits += 1  # or nobody would see on which side of 0 it lies
        return f"{round(one, digits) + 0.0:{'+' * self.part.signed}.{digits}f}"


def measured(parts: Sequence[Part]) -> list[Number]:
    """The numbers of one claim.

    The intervals of all numbers that judge it hold together at 95 %: each is the wider for their count (Bonferroni).
    """
    judging = sum(part.rule is not None for part in parts)
    together = 1 - (1 - LEVEL) / max(judging, 1)
    return [_number(part, LEVEL if part.rule is None else together) for part in parts]


def _number(part: Part, level: float) -> Number:
    values = part.values.dropna().to_numpy(dtype=float)
    if not len(values):
        return Number(part, np.nan, np.nan, np.nan, 0, level, UNMEASURED if part.rule else "")
    mean = float(values.mean())
    if part.signed or part.length:
        low, high = interval(values, level)
        low = low if part.signed else max(low, 0.0)
    else:
        low, high = share_interval(values, level)
    decided = part.rule.judge(low, high) if part.rule and len(values) >= FEWEST else UNTESTED
    return Number(part, mean, low, high, len(values), level, decided if part.rule else "")


def verdict(numbers: Sequence[Number]) -> str:
    """What the numbers that judge a claim say together.

    All hold: it holds. Some do: it holds in part. None does, and one fails: it does not hold. Otherwise the pictures
    are too few to tell, so it cannot be tested here. One of them without rows: not measured yet.
    """
    said = [number.says for number in numbers if number.part.rule is not None]
    if not said or UNMEASURED in said:
        return UNMEASURED
    if HOLDS in said:
        return HOLDS if set(said) == {HOLDS} else IN_PART
    return FAILS if FAILS in said else UNTESTED
