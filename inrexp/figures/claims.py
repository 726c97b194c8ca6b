"""Drawing only: the numbers behind the paper's claims, each with its interval and the bound that it is held against."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from inrexp.figures.style import LINES, WIDTH, caption, style
from inrexp.study.judging import FAILS, HOLDS, MARGIN, OF_A_NUMBER, UNTESTED

# What the rule says of a number: colour and marker, so that no reader depends on the colour.
LOOKS = {HOLDS: (LINES[0], "o"), FAILS: (LINES[1], "s"), UNTESTED: ("0.55", "D")}
FURTHEST = 1.05  # multiples, such as seconds over seconds, do not fit the axis
RULE = (
    "A number holds where its whole interval is on the right side of the bound. It does not hold where the interval "
    f"reaches less than {MARGIN:g} onto that side, so a lead that is surely smaller than that counts as none. "
    "Numbers that are multiples are left out."
)


def intervals(numbers: pd.DataFrame) -> Figure:
    """A row for each number that judges a claim: mean, interval, and the bound of its rule as a short grey line.

    numbers: the columns of `ledger.frame`. Rows without a measurement, and multiples beyond the axis, are left out.
    Claims stand one below the other with their number in the ledger.  Raises ValueError if no row is left.
    """
    shown = numbers[numbers["pictures"].gt(0) & numbers["high"].le(FURTHEST) & numbers["low"].ge(-FURTHEST)]
    if shown.empty:
        raise ValueError("no number to draw: wanted rows of `ledger.frame` with pictures, between -1 and 1")
    new = shown["claim"].ne(shown["claim"].shift())
    rows = (pd.Series(range(len(shown)), shown.index) + 0.6 * (new.cumsum() - 1)).to_numpy()  # a gap between claims
    with style():
        figure, axes = plt.subplots(figsize=(WIDTH, 0.7 + 0.19 * (rows[-1] + 1)))
        axes.axvline(0, color="0.85", linewidth=0.8, zorder=0)
        for y, one in zip(rows, shown.itertuples(), strict=True):
            colour, marker = LOOKS[one.says]
            axes.plot([one.bound] * 2, [y - 0.4, y + 0.4], color="0.4", linewidth=1.0)
            axes.plot([one.low, one.high], [y, y], color=colour)
            axes.plot(one.mean, y, marker, color=colour, markersize=4)
        labels = [f"{one.claim}  {one.what}" for one in shown.itertuples()]
        axes.set(yticks=rows, yticklabels=labels, xlabel="mean over pictures, and its interval")
        axes.tick_params(axis="y", length=0, labelsize=7)
        axes.margins(y=0.02)
        axes.invert_yaxis()
        figure.legend(handles=_marks(), loc="outside lower center", ncols=4)
    caption(figure, RULE)
    return figure


def _marks() -> list[Line2D]:
    """What each mark of `intervals` means."""
    marks = [
        Line2D([], [], color=colour, marker=marker, markersize=4, label=OF_A_NUMBER[says])
        for says, (colour, marker) in LOOKS.items()
    ]
    return [*marks, Line2D([], [], color="0.4", linestyle="", marker="|", markersize=8, label="bound of the rule")]
