"""What code that is not ours says of the same pictures: ReX's regions, and Quantus's scores of the study's masks.

`benchmarks/rex.py` and `benchmarks/quantus_scores.py` make the rows, in an environment of their own
(benchmarks/peers.txt); the package needs neither ReX nor Quantus.
"""

from typing import Any

import pandas as pd

from inrexp.comparison import METHODS
from inrexp.paper.presets import DEFAULT
from inrexp.study.equal import END, judged
from inrexp.study.intervals import interval
from inrexp.study.tables import by_photograph

FIELD = next(iter(METHODS))
OWN_BUDGET = "its own"  # of ReX: as many classifier passes as its defaults take
COMPARED = {"found": "a* found", "probability_at_100": "p at 10 %", "precision_at_100": "precision at 10 %"}


def rex_table(rows: pd.DataFrame, study: pd.DataFrame) -> pd.DataFrame:
    """A line for each budget of ReX, and one for the field, on the pictures of both.

    rows: of benchmarks/rex.py.  study: of a study, first explanations by one setting of the field.

    pictures; passes of the classifier for one picture, those in which ReX puts its region together included.
    small: the share of its regions that fill a fifth of the picture or less.
    area, probability, precision: means of its region; for the field, of its mask at a*, or of 20 % without one.
    found and so on: of masks of exactly equal area, made of ReX's responsibilities as of any map; "less field" are
        paired differences with their 95 % intervals over pictures (low, high).
    """
    study = study[(study["method"] == FIELD) & (study["iteration"] == 1) & study["sample"].isin(rows["sample"])]
    field, rows = judged(study), rows[rows["sample"].isin(study["sample"])]
    lines: dict[str, dict[str, Any]] = {}
    for budget, runs in rows.groupby("budget", sort=False):
        runs = judged(runs.assign(method="rex", iteration=1, collapsed=False, area=float("nan")))
        line: dict[str, Any] = {"pictures": runs["sample"].nunique()}
        line["passes"] = (runs["search"] + runs["extraction"]).mean()
        line["small"] = (runs["region_area"] <= END).mean()
        line |= {name: runs[f"region_{name}"].mean() for name in ("area", "probability", "precision")}
        for measure, words in COMPARED.items():
            own = by_photograph(runs, measure)
            line |= {words: own.mean()} | _less_field(words, own - by_photograph(field, measure))
        lines[f"ReX, {budget}" if budget == OWN_BUDGET else f"ReX, {budget} passes"] = line
    line = {"pictures": field["sample"].nunique(), "area": by_photograph(field, "star").mean()}
    line["small"] = by_photograph(field, "found").mean()
    at_end = field["found"] == 0  # no a*: its mask at the range's end stands for it, as `star` does
    for name in ("probability", "precision"):
        shown = field[f"{name}_at_star"].where(~at_end, field[f"{name}_at_200"])
        line[name] = by_photograph(field.assign(shown=shown), "shown").mean()
    line |= {words: by_photograph(field, measure).mean() for measure, words in COMPARED.items()}
    lines["the field"] = line
    return pd.DataFrame.from_dict(lines, orient="index")


def quantus_table(rows: pd.DataFrame, study: pd.DataFrame, *, against: str = f"{FIELD}, {DEFAULT}") -> pd.DataFrame:
    """A line for each method that Quantus scored: means over pictures.

    rows: of benchmarks/quantus_scores.py, whose docstring says what each measure is.  study: the rows that they score.

    top_tenth, ours: the precision of the mask of a tenth by Quantus's code and by this package's, which must agree.
    rank_accuracy, flipping: the other two; the difference of each from that of `against` on the pictures of both, with
        its 95 % interval (low, high). A high rank accuracy is good, and so is a low area under flipping.
    """
    ours = study.set_index("key")["precision_at_100"]
    rows = rows.assign(ours=rows["key"].map(ours))
    by_picture = {name: runs.set_index("picture") for name, runs in rows.groupby("method", sort=False)}
    lines = {}
    for name, runs in by_picture.items():
        line: dict[str, Any] = {
            "pictures": len(runs),
            "top_tenth": runs["top_tenth"].mean(),
            "ours": runs["ours"].mean(),
        }
        for measure in ("rank_accuracy", "flipping"):
            line[measure] = runs[measure].mean()
            if name != against and against in by_picture:
                line |= _less_field(measure, runs[measure] - by_picture[against][measure])
        lines[name] = line
    return pd.DataFrame.from_dict(lines, orient="index")


def _less_field(words: str, difference: pd.Series) -> dict[str, float]:
    """The mean difference from the field, and its 95 % interval, on the pictures of both."""
    difference = difference.dropna()
    low, high = interval(difference)
    return {f"{words}, less field": difference.mean(), f"{words}, low": low, f"{words}, high": high}
