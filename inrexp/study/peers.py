"""What code that is not ours says of the same pictures: ReX's regions, and Quantus's scores of the study's masks.

`benchmarks/rex.py` and `benchmarks/quantus_scores.py` make the rows, in an environment of their own
(benchmarks/peers.txt); the package needs neither ReX nor Quantus.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from inrexp.comparison import METHODS
from inrexp.paper.presets import DEFAULT
from inrexp.study.equal import END, judged
from inrexp.study.intervals import interval
from inrexp.study.rows import label_of
from inrexp.study.shared_rows import rows_there
from inrexp.study.tables import by_photograph

FIELD = next(iter(METHODS))
OWN_BUDGET = "its own"  # of ReX: as many classifier passes as its defaults take
COMPARED = {"found": "a* found", "probability_at_100": "p at 10 %", "precision_at_100": "precision at 10 %"}

SCORED = ["dataset", "picture", "method"]  # columns by which a row of Quantus's scores is found again


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


def read_scores(path: "str | Path", runs: pd.DataFrame) -> pd.DataFrame:
    """The rows of a file of benchmarks/quantus_scores.py, with what a study calls their methods now.

    path: of a CSV file that need not be there yet.  runs: of `rows.read_rows`, with the column `setting`
        (`rows.setting_of`).
    The key tells which run a row scores, and the setting what it is called now, also where the run was computed anew.
    Older rows have no setting; those of no run keep their name.
    Raises ValueError for a picture that a method has twice, and for rows of another setting under the name of a run.
    """
    path = Path(path)
    rows = rows_there(path, ["key", *SCORED, "setting"], dtype={"key": str, "setting": str})
    if rows.empty:
        return rows
    own, called = rows["key"].isin(runs["key"]), runs.drop_duplicates("setting").set_index("setting")["variant"]
    setting = rows["setting"] if "setting" in rows else pd.Series(None, rows.index, dtype=object)
    rows["setting"] = setting.mask(own, rows["key"].map(runs.set_index("key")["setting"]))
    now = rows["setting"].map(called)
    rows["method"] = rows["method"].mask(now.notna(), now)
    _check_once(rows, SCORED, path)
    named = runs[["dataset", "sample", "variant", "setting"]].set_axis([*SCORED, "setting"], axis=1)
    both = rows[~own].dropna(subset="setting").merge(named, on=SCORED, suffixes=("", " now"))
    other = both[both["setting"] != both["setting now"]]
    if len(other):
        name = other["method"].iloc[0]
        raise ValueError(f"{path} has rows of {name!r} by other settings than the study's: give another --out")
    return rows


def _check_once(rows: pd.DataFrame, columns: list[str], where: "str | Path") -> None:
    """Raises ValueError for a row that is like an earlier one in these columns."""
    twice = rows[rows.duplicated(columns)]
    if len(twice):
        first = ", ".join(str(twice.iloc[0][name]) for name in columns)
        raise ValueError(f"{where}: {len(twice)} rows repeat {', '.join(columns)} of another, the first: {first}")


def quantus_table(rows: pd.DataFrame, study: pd.DataFrame, *, against: str | None = None) -> pd.DataFrame:
    """A line for each method that Quantus scored: means over pictures.

    rows: of benchmarks/quantus_scores.py, whose docstring says what each measure is.  study: the rows that they score.
    against: the method of the differences, as rows call it. None is the field by its default preset: "INR, crisp", in
        older rows "inr, crisp".
    Raises ValueError for a picture that a method has twice.

    top_tenth, ours: the precision of the mask of a tenth by Quantus's code and by this package's, which must agree.
    rank_accuracy, flipping: the other two; the difference of each from that of `against` on the pictures of both, with
        its 95 % interval (low, high). A high rank accuracy is good, and so is a low area under flipping.
    """
    ours = study.set_index("key")["precision_at_100"]
    _check_once(rows, ["picture", "method"], "Quantus's scores")
    if against is None:
        names = (f"{label_of(FIELD)}, {DEFAULT}", f"{FIELD}, {DEFAULT}")
        against = next((name for name in names if name in set(rows["method"])), names[0])
    rows = rows.assign(ours=rows["key"].map(ours))
    by_picture = {name: runs.set_index("picture") for name, runs in rows.groupby("method", sort=False)}
    lines = {}
    for name, runs in by_picture.items():
        line: dict[str, Any] = {
            "pictures": runs.index.nunique(),
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
