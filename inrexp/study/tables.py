"""Tables 1 and 2 from a study's rows: means over seeds, then over pictures, with what each number rests on.

A run is one row: a picture, a method with its settings, a seed, an iteration. A run without an a* (no area in range
suffices) has no mask at a*, so it has no precision there and is left out of that mean; it is counted beside it, named
by `left_out`, and `precision_largest`, of the mask at the end of the range, covers it too. The saliency maps of GradCAM
and RISE are cut at a value and not at an area (section 3.4), so they have a precision either way.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from inrexp.study.store import FILE, ROWS, SECONDS, Results

IDENTITY = ["dataset", "sample", "model", "method", "preset", "settings", "seed", "iteration"]
TEXT = ["key", "dataset", "sample", "label", "model", "method", "preset", "settings", "status", "error"]
MEASURES = ["precision_largest", "area", "area_error", "probability", "probability_cut", "insertion", "deletion"]
OF_VOC = ["precision_box", "precision_mask"]  # a study of pictures with one truth may leave these columns out
NUMBERS = ["seed", "iteration", "area_cut_star", "precision", "hit", *MEASURES]
NAMES = {"inr": "INR", "extremal_perturbation": "Extremal perturbation", "grad_cam": "GradCAM", "rise": "RISE"}
ITERATIONS = 3  # table 2
LEVEL, RESAMPLES = 0.95, 9999  # of the bootstrap
# What the paper's text gives: precision, hit rate.  The body of table 1 is not in the text; section 4.1 has 0.68, 0.44
# and 0.46, table 2 the rest (its iteration 1 is table 1's INR).  By the first letters of a data set's name.
PUBLISHED = {"imagenet-s": "ImageNet-S50", "voc": "VOC07 difficult"}
TABLE_1: dict[tuple[str, str], tuple[float, float | None]] = {
    ("imagenet-s", "inr"): (0.68, 0.72),
    ("voc", "inr"): (0.44, None),
    ("voc", "extremal_perturbation"): (0.46, None),
}
TABLE_2 = {"1": (0.68, 0.72), "2": (0.42, 0.42), "3": (0.30, 0.24), "best": (0.73, 0.77)}  # ImageNet-S50, INR


@dataclass(frozen=True)
class Table:
    """One line per data set, model and method (table 2: and iteration).

    frame: numbers, not rounded.  rows: the runs that they come from.
    """

    name: str
    frame: pd.DataFrame
    rows: pd.DataFrame


def read_rows(path: "str | Path") -> pd.DataFrame:
    """The rows of a study, from its folder or from a CSV file that it exported, checked by `checked`.

    Raises FileNotFoundError, and ValueError for rows that are not whole.
    """
    path = Path(path)
    if (path / FILE).is_file():  # what a study has now, finished or not
        with Results(path) as store:
            store.export()
    path = path / ROWS if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"no rows at {path}: wanted a folder that `inrexp study` filled, or its {ROWS}")
    text = dict.fromkeys(TEXT, str)
    header = pd.read_csv(path, nrows=0).columns
    empty = {name: [""] for name in header if name not in TEXT}  # a sample may be called "NA"
    return checked(pd.read_csv(path, dtype=text, keep_default_na=False, na_values=empty))


def read_seconds(path: "str | Path") -> pd.DataFrame | None:
    """Key and seconds from where `read_rows` reads: seconds.csv beside rows.csv; None if it is not there."""
    path = Path(path) / ROWS if Path(path).is_dir() else Path(path)
    beside = path.with_name(path.name.replace(ROWS, SECONDS))
    return pd.read_csv(beside, dtype={"key": str}) if beside.is_file() and beside != path else None


def checked(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows in one order whatever theirs was, with three columns more.

    `variant`: the method with its preset, "INR, crisp".  `failed`: bool.  `cut_suffices`: 1 where the mask of some area
    keeps the class when cut to 0/1.
    Raises ValueError for missing columns, no rows, a run that stands there twice, and what is not a number.
    """
    missing = [name for name in [*IDENTITY, "key", "label", "status", *NUMBERS] if name not in rows]
    if missing:
        raise ValueError(f"rows lack the columns {', '.join(missing)}: wanted those that `inrexp study` exports")
    if rows.empty:
        raise ValueError("rows are empty: the study has no run yet")
    rows = rows.fillna({name: "" for name in TEXT if name in rows}).copy()
    for name in OF_VOC:
        rows[name] = rows.get(name, np.nan)
    for name in [*NUMBERS, *OF_VOC]:
        try:
            rows[name] = pd.to_numeric(rows[name])
        except (TypeError, ValueError) as error:
            raise ValueError(f"column {name} must hold numbers: {error}") from error
    for columns, what in ((["key"], "key"), (IDENTITY, "run")):
        twice = rows[rows.duplicated(columns)]
        if len(twice):
            first = ", ".join(f"{name} {twice.iloc[0][name]}" for name in columns)
            raise ValueError(f"{len(twice)} rows repeat the {what} of another, the first: {first}")
    rows = rows.sort_values(IDENTITY, ignore_index=True)
    rows["variant"] = _variants(rows)
    rows["failed"] = rows["status"].str.startswith("failed")
    rows["cut_suffices"] = rows["area_cut_star"].notna().astype(float).where(~rows["failed"])
    return rows


def settings_of(text: str) -> dict[str, Any]:
    """A row's settings, nested objects by their own names: {"fit": {"steps": 9}} is {"steps": 9}."""
    flat: dict[str, Any] = {}
    for name, value in json.loads(text or "{}").items():
        flat.update(settings_of(json.dumps(value)) if isinstance(value, dict) else {name: value})
    return flat


def _variants(rows: pd.DataFrame) -> pd.Series:
    """ "INR, crisp": the method and its preset, and the settings in which runs of one preset differ on one data set."""
    names = pd.Series("", index=rows.index)
    for (_, _, method, preset), runs in rows.groupby(["dataset", "model", "method", "preset"]):
        settings = {text: settings_of(text) for text in runs["settings"].unique()}
        all_names = dict.fromkeys(name for one in settings.values() for name in one)
        differ = [name for name in all_names if len({json.dumps(one.get(name)) for one in settings.values()}) > 1]
        own_name = preset.removeprefix(method).strip("_")  # "extremal_perturbation_quick" is its "quick"
        stem = ", ".join(part for part in (NAMES.get(method, method), own_name) if part)
        for text, one in settings.items():
            own = [f"{name} {one.get(name)}" for name in differ]
            names[runs.index[runs["settings"] == text]] = ", ".join([stem, *own])
    return names


def per_picture(runs: pd.DataFrame, measure: str = "precision") -> pd.Series:
    """Mean over seeds for each picture that has the measure at all (section 3.3.1), by sample."""
    return runs.dropna(subset=measure).groupby("sample")[measure].mean()


def by_picture(rows: pd.DataFrame, measure: str = "precision") -> pd.DataFrame:
    """`per_picture` for every data set, method and iteration, for drawing: one line a picture, the paper's order."""
    each = ["dataset", "model", "variant", "iteration", "sample"]
    means = rows.dropna(subset=measure).groupby(each, as_index=False).agg({"method": "first", measure: "mean"})
    return in_paper_order(means)


def in_paper_order(rows: pd.DataFrame) -> pd.DataFrame:
    """By data set and model, then the field, extremal perturbations, GradCAM, RISE and what else there is."""
    rank = rows["method"].map({name: place for place, name in enumerate(NAMES)}).fillna(len(NAMES))
    order = ["dataset", "model", "rank", "variant", "iteration", "sample"]
    return rows.assign(rank=rank).sort_values(order, ignore_index=True).drop(columns="rank")


def interval(values: "Sequence[float] | pd.Series") -> tuple[float, float]:
    """95 % percentile bootstrap of the mean, the same at each call; NaN for fewer than two values."""
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return np.nan, np.nan
    found = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=500,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(found.low), float(found.high)


def paired_test(one: pd.Series, other: pd.Series) -> tuple[float, float, int]:
    """Mean of one - other over the pictures of both, p of the paired t-test, and their number.

    p is NaN where the test has no answer: fewer than two pictures, or one and the same difference in each.
    """
    both = one.index.intersection(other.index)
    difference = one[both] - other[both]
    if len(both) < 2 or np.ptp(difference) < 1e-12:
        return float(difference.mean()), np.nan, len(both)
    return float(difference.mean()), float(stats.ttest_rel(one[both], other[both]).pvalue), len(both)


def table_1(rows: pd.DataFrame, *, methods: Sequence[str] | None = None, reference: str | None = None) -> Table:
    """Methods by data sets: precision, hit rate, intervals, the t-test against INR, further measures.

    methods: METHODS' names that must be there, default all that are.  reference: the variant that p is against, as
    "INR, crisp"; default the INR with the most pictures of a data set.  The paper says "t-test (p < 0.05)" and no more;
    paired over pictures is our reading, since every method sees the same ones.
    Raises LookupError for a method or a reference without rows.
    """
    first = _of_methods(rows[rows["iteration"] == 1], methods)
    if reference is not None and reference not in set(first["variant"]):
        raise LookupError(f"reference {reference!r} has no rows; there are {', '.join(sorted(set(first['variant'])))}")
    lines = []
    for (dataset, model), group in first.groupby(["dataset", "model"]):
        name = reference or _most_pictures(group[group["method"] == "inr"])
        against = per_picture(group[group["variant"] == name])
        for variant, runs in in_paper_order(group).groupby("variant", sort=False):
            published = TABLE_1.get((family(dataset), runs["method"].iloc[0]), (np.nan, None))
            line = {"dataset": dataset, "model": model, "method": variant} | summary(runs, published)
            difference, p, pairs = paired_test(per_picture(runs), against)
            test = {"against": name, "difference": difference, "p": p, "pairs": pairs}
            lines.append(line | (test if variant != name and len(against) else dict.fromkeys(test)))
    return Table("table1", pd.DataFrame(lines).convert_dtypes(), first)


def table_2(rows: pd.DataFrame) -> Table:
    """Iterations 1 to 3 of algorithm 1 and, for each picture and seed, the best of the three.

    The best is the highest precision of the iterations that have one.  Raises ValueError without a second iteration.
    """
    runs = of_several(rows)
    lines = []
    for (dataset, model, variant), group in runs.groupby(["dataset", "model", "variant"]):
        for number, one in iterations(group).items():
            inr_on_imagenet = family(dataset) == "imagenet-s" and group["method"].iloc[0] == "inr"
            published = TABLE_2[number] if inr_on_imagenet else (np.nan, None)
            line = {"dataset": dataset, "model": model, "method": variant, "iteration": number}
            lines.append(line | summary(one, published))
    return Table("table2", pd.DataFrame(lines).convert_dtypes(), runs)


def of_several(rows: pd.DataFrame) -> pd.DataFrame:
    """Iterations 1 to 3 of the pictures and seeds that went on to a second one, so that every line has the same ones.

    Raises ValueError where none did.
    """
    went_on = rows.groupby(["dataset", "model", "variant", "sample", "seed"])["iteration"].transform("max") > 1
    runs = rows[went_on & (rows["iteration"] <= ITERATIONS)]
    if runs.empty:
        raise ValueError("rows hold no second iteration: table 2 needs a study of several explanations a picture")
    return runs


def iterations(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Table 2's lines: the runs of iterations "1" to "3", and "best"."""
    runs = runs[runs["iteration"] <= ITERATIONS]
    return {str(number): one for number, one in runs.groupby("iteration")} | {"best": best(runs)}


def best(runs: pd.DataFrame) -> pd.DataFrame:
    """One run for each picture and seed: the iteration of the highest precision; the first where none has one."""
    ranked = runs.assign(rank=runs["precision"].fillna(-1)).sort_values("rank", ascending=False, kind="stable")
    return ranked.drop_duplicates(["sample", "seed"]).drop(columns="rank")


def summary(runs: pd.DataFrame, published: tuple[float, float | None]) -> dict[str, Any]:
    """One line of a table: counts, means over seeds then pictures, and for each mean the pictures it rests on."""
    score, hit = per_picture(runs), per_picture(runs, "hit")
    worked = runs[~runs["failed"]]
    no_star = worked["area"].isna()
    dataset = family(runs["dataset"].iloc[0])
    line = {
        "precision": score.mean(),
        "hit_rate": hit.mean(),
        "pictures": len(score),
        **dict(zip(("precision_low", "precision_high"), interval(score), strict=True)),
        **dict(zip(("hit_rate_low", "hit_rate_high"), interval(hit), strict=True)),
        "published_precision": published[0],
        "published_hit_rate": published[1],
        "published_on": "" if np.isnan(published[0]) else PUBLISHED[dataset],
        "pictures_asked": runs["sample"].nunique(),
        "pictures_without_star": worked["sample"].nunique() - worked[~no_star]["sample"].nunique(),
        "pictures_failed": runs["sample"].nunique() - worked["sample"].nunique(),
        "runs": len(runs),
        "runs_without_star": int(no_star.sum()),
        "runs_failed": int(runs["failed"].sum()),
    }
    for measure in [*MEASURES, *OF_VOC, "cut_suffices"]:
        values = per_picture(runs, measure)
        line |= {measure: values.mean(), f"{measure}_pictures": len(values)}
    return line


def left_out(rows: pd.DataFrame) -> pd.DataFrame:
    """The runs behind the counts, by name: failed (with their error), no a*, or nothing left of the mask when cut."""
    named = rows[rows["failed"] | rows["area"].isna() | rows["precision"].isna()]
    error = (named["status"] + ": " + named.get("error", "")).str.removesuffix(": ")
    reason = error.where(named["failed"], named["area"].isna().map({True: "no a*", False: "empty when cut"}))
    columns = ["dataset", "model", "variant", "sample", "seed", "iteration"]
    return named[columns].assign(reason=reason).rename(columns={"variant": "method"})


def seconds_table(rows: pd.DataFrame, seconds: pd.DataFrame) -> pd.DataFrame:
    """Seconds a picture by method and iteration, mean over seeds then pictures; apart, since no rerun repeats them.

    seconds: columns key, seconds, of the machine that ran the study.
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
    """Which of the paper's data sets a name stands for by its first letters; "" for none."""
    return next((start for start in PUBLISHED if dataset.startswith(start)), "")


def _of_methods(rows: pd.DataFrame, methods: Sequence[str] | None) -> pd.DataFrame:
    there = list(rows["method"].unique())
    for method in methods or ():
        if method not in there:
            raise LookupError(f"rows hold no run of {method!r}; they hold {', '.join(there)}")
    return rows if methods is None else rows[rows["method"].isin(methods)]


def _most_pictures(runs: pd.DataFrame) -> str:
    pictures = runs.groupby("variant")["sample"].nunique()
    return str(pictures.idxmax()) if len(pictures) else ""
