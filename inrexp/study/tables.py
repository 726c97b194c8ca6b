"""Tables 1 and 2 from a study's rows: means over seeds, then over pictures, with what each number rests on.

A run is one row: a picture, a method with its settings, a seed, an iteration. Some runs have no precision:

- a run without an a*, because no area in range suffices (`precision_largest`, that of its largest mask, still exists);
- a run whose fit collapsed or diverged, because it left no explanation to measure;
- a run that failed with an error.

The means leave these runs out, the tables count them, and `left_out` lists them. Saliency maps are cut at a value and
not at an area (section 3.4), so they have a precision with or without an a*.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from inrexp.comparison import METHODS
from inrexp.study.intervals import paired_test, share_interval
from inrexp.study.rows import MEASURES, OPTIONAL

ITERATIONS = 3  # table 2
OF_VOC = re.compile(r"(\d{6})/")  # how the names of VOC's pairs begin: the photograph, then a class
PUBLISHED = {"imagenet-s": "ImageNet-S50", "voc": "VOC07 difficult"}  # by the first letters of a data set's name
NOTHING = (np.nan, None)  # precision and hit rate where the paper's text gives none


@dataclass(frozen=True)
class Table:
    """A table with one line for each data set, model and method; in table 2 also for each iteration.

    frame: the numbers, not rounded.  rows: the runs that they were computed from.
    note: a sentence on the rows, which ends the table's caption; empty where there is none.
    """

    name: str
    frame: pd.DataFrame
    rows: pd.DataFrame
    note: str = ""


def per_picture(runs: pd.DataFrame, measure: str = "precision") -> pd.Series:
    """The mean over seeds for each picture (section 3.3.1), by sample.  Pictures without the measure are left out."""
    return runs.dropna(subset=measure).groupby("sample")[measure].mean()


def by_photograph(runs: pd.DataFrame, measure: str) -> pd.Series:
    """The mean over seeds, then over the classes that were explained in one picture; by picture.

    Several pairs of VOC show one photograph, and what happens to one of them is no evidence independent of the others.
    """
    return over_photographs(per_picture(runs, measure))


def over_photographs(values: pd.Series) -> pd.Series:
    """The mean of each photograph's samples.  values: by sample."""
    return values.groupby([photograph(name) for name in values.index]).mean()


def photograph(sample: object) -> str:
    """The photograph that a sample shows, by its name: VOC's pairs "000014/bus" and "000014/car" are of 000014.

    The name decides and not the data set's, which a reader may choose. Any other sample is a photograph of its own.
    """
    found = OF_VOC.match(str(sample))
    return found[1] if found else str(sample)


def by_picture(rows: pd.DataFrame, measure: str = "precision") -> pd.DataFrame:
    """`per_picture` of every data set, method and iteration, for figures: a line a picture, in the paper's order."""
    each = ["dataset", "model", "variant", "iteration", "sample"]
    means = rows.dropna(subset=measure).groupby(each, as_index=False).agg({"method": "first", measure: "mean"})
    return in_paper_order(means)


def in_paper_order(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows sorted by data set and model, then in the order of METHODS.  Methods not registered there come last."""
    rank = rows["method"].map({name: place for place, name in enumerate(METHODS)}).fillna(len(METHODS))
    order = ["dataset", "model", "rank", "variant", "iteration", "sample"]
    return rows.assign(rank=rank).sort_values(order, ignore_index=True).drop(columns="rank")


def table_1(rows: pd.DataFrame, *, methods: Sequence[str] | None = None, reference: str | None = None) -> Table:
    """Table 1: each method on each data set, with precision, hit rate, intervals, a t-test and further measures.

    methods: names in METHODS that the rows must hold. By default the table has all methods of the rows.
    reference: the variant that every other is tested against, such as "INR, crisp". By default it is the variant of the
        paper's own method (the first of METHODS) that has the most pictures of a data set.
    The paper (section 4.1) says only "t-test (p < 0.05)". The test here is paired over photographs, since all methods
        see the same ones, and the pairs of one photograph of VOC are not independent.
    Raises LookupError for a method or a reference without rows.
    """
    first = _of_methods(rows[rows["iteration"] == 1], methods)
    if reference is not None and reference not in set(first["variant"]):
        raise LookupError(f"reference {reference!r} has no rows; there are {sorted(set(first['variant']))}")
    lines = []
    for (dataset, model), group in first.groupby(["dataset", "model"]):
        name = reference or _most_pictures(group[group["method"] == next(iter(METHODS))])
        against = by_photograph(group[group["variant"] == name], "precision")
        for variant, runs in in_paper_order(group).groupby("variant", sort=False):
            record = METHODS.get(runs["method"].iloc[0])
            published = record.scores.get(family(dataset), NOTHING) if record else NOTHING
            line = {"dataset": dataset, "model": model, "method": variant} | summary(runs, published)
            difference, p, pairs = paired_test(by_photograph(runs, "precision"), against)
            test = {"against": name, "difference": difference, "p": p, "pairs": pairs}
            lines.append(line | (test if variant != name and len(against) else dict.fromkeys(test)))
    return Table("table1", pd.DataFrame(lines).convert_dtypes(), first)


def table_2(rows: pd.DataFrame) -> Table:
    """Table 2: iterations 1 to 3 of algorithm 1, and the best of the three for each picture and seed.

    The best is the iteration with the highest precision.  Raises ValueError if the rows hold no second iteration.
    """
    runs = of_several(rows)
    lines = []
    for (dataset, model, variant), group in runs.groupby(["dataset", "model", "variant"]):
        record = METHODS.get(group["method"].iloc[0])
        scores = record.scores_in_turn.get(family(dataset), {}) if record else {}
        for number, one in iterations(group).items():
            published = scores.get(number, NOTHING)
            line = {"dataset": dataset, "model": model, "method": variant, "iteration": number}
            lines.append(line | summary(one, published))
    return Table("table2", pd.DataFrame(lines).convert_dtypes(), runs)


def of_several(rows: pd.DataFrame) -> pd.DataFrame:
    """Iterations 1 to 3 of the pictures and seeds that have a second one.

    Every line of table 2 is then about the same pictures and seeds.  Raises ValueError if none has a second iteration.
    """
    went_on = rows.groupby(["dataset", "model", "variant", "sample", "seed"])["iteration"].transform("max") > 1
    runs = rows[went_on & (rows["iteration"] <= ITERATIONS)]
    if runs.empty:
        raise ValueError("rows hold no second iteration: table 2 needs a study of several explanations a picture")
    return runs


def iterations(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The runs behind each line of table 2: iterations "1" to "3", and "best"."""
    runs = runs[runs["iteration"] <= ITERATIONS]
    return {str(number): one for number, one in runs.groupby("iteration")} | {"best": best(runs)}


def best(runs: pd.DataFrame) -> pd.DataFrame:
    """One run for each picture and seed: the iteration with the highest precision, or the first if none has one."""
    ranked = runs.assign(rank=runs["precision"].fillna(-1)).sort_values("rank", ascending=False, kind="stable")
    return ranked.drop_duplicates(["sample", "seed"]).drop(columns="rank")


def summary(runs: pd.DataFrame, published: tuple[float, float | None]) -> dict[str, Any]:
    """One line of a table: mean precision and hit rate, the share of masks with a precision above 1/2 (section 3.3.1).

    Each mean is taken over seeds and then over pictures, and the number of its pictures stands beside it. On VOC these
    are pairs, as in the paper. The intervals are over photographs, since the pairs of one are not independent.
    published: the paper's precision and hit rate; NaN and None where its text gives none.
    """
    score, hit = per_picture(runs), per_picture(runs, "hit")
    worked = runs[~runs["failed"] & ~runs["collapsed"]]
    no_star = worked["area"].isna()
    dataset = family(runs["dataset"].iloc[0])
    line = {
        "precision": score.mean(),
        "hit_rate": hit.mean(),
        "pictures": len(score),
        **dict(zip(("precision_low", "precision_high"), share_interval(by_photograph(runs, "precision")), strict=True)),
        **dict(zip(("hit_rate_low", "hit_rate_high"), share_interval(by_photograph(runs, "hit")), strict=True)),
        "published_precision": published[0],
        "published_hit_rate": published[1],
        "published_on": "" if np.isnan(published[0]) else PUBLISHED[dataset],
        "pictures_asked": runs["sample"].nunique(),
        "pictures_without_star": worked["sample"].nunique() - worked[~no_star]["sample"].nunique(),
        "pictures_failed": _wholly(runs, "failed"),
        "pictures_collapsed": _wholly(runs, "collapsed"),
        "runs": len(runs),
        "runs_without_star": int(no_star.sum()),
        "runs_failed": int(runs["failed"].sum()),
        "runs_collapsed": int(runs["collapsed"].sum()),
    }
    for measure in [*MEASURES, *OPTIONAL, "cut_suffices"]:
        values = per_picture(runs, measure)
        line |= {measure: values.mean(), f"{measure}_pictures": len(values)}
    return line


def _wholly(runs: pd.DataFrame, what: str) -> int:
    """The number of pictures for which every run has the bool column `what`."""
    return int(runs.groupby("sample")[what].all().sum())


def left_out(rows: pd.DataFrame) -> pd.DataFrame:
    """The runs that have no precision or no a*, each with the reason."""
    named = rows[rows["failed"] | rows["area"].isna() | rows["precision"].isna()]
    error = (named["status"] + ": " + named.get("error", "")).str.removesuffix(": ")
    reason = named["area"].isna().map({True: "no a*", False: "empty when cut"})
    reason = reason.mask(named["failed"] | named["collapsed"], error)
    columns = ["dataset", "model", "variant", "sample", "seed", "iteration"]
    return named[columns].assign(reason=reason).rename(columns={"variant": "method"})


def seconds_table(rows: pd.DataFrame, seconds: pd.DataFrame) -> pd.DataFrame:
    """Seconds a picture by method and iteration: the mean over seeds, then over pictures.

    It is a table of its own because times differ from run to run.
    seconds: columns `key` and `seconds`, from the machine that ran the study.
    Raises ValueError if no key is among the rows.
    """
    timed = rows.drop(columns="seconds", errors="ignore").merge(seconds[["key", "seconds"]], on="key", validate="1:1")
    if timed.empty:
        raise ValueError("seconds share no key with rows: they are of another study")
    lines = []
    for (dataset, model, variant, number), runs in timed.groupby(["dataset", "model", "variant", "iteration"]):
        each = per_picture(runs, "seconds")
        line = {"dataset": dataset, "model": model, "method": variant, "iteration": number}
        lines.append(line | {"seconds": each.mean(), "pictures": len(each), "runs": len(runs)})
    return pd.DataFrame(lines)


def family(dataset: str) -> str:
    """The paper's data set that a name begins with, a key of PUBLISHED; "" if it begins with none."""
    return next((start for start in PUBLISHED if dataset.startswith(start)), "")


def samples_of(dataset: str) -> str:
    """What a data set's samples are: "pairs" of a picture and a class on VOC, else "pictures"."""
    return "pairs" if family(dataset) == "voc" else "pictures"


def _of_methods(rows: pd.DataFrame, methods: Sequence[str] | None) -> pd.DataFrame:
    there = list(rows["method"].unique())
    for method in methods or ():
        if method not in there:
            raise LookupError(f"rows hold no run of {method!r}; they hold {', '.join(there)}")
    return rows if methods is None else rows[rows["method"].isin(methods)]


def _most_pictures(runs: pd.DataFrame) -> str:
    pictures = runs.groupby("variant")["sample"].nunique()
    return str(pictures.idxmax()) if len(pictures) else ""
