"""Methods at equal real area: where they find an a*, what their masks keep, how precise they are.

Every mask is brought to exactly its area by its largest values and shown over the same blur (`scores.at_equal_area`).
So no method is judged by the size of its masks or by the fill that it was fitted to. All pictures that a method has
count: one without an a* has the end of the range, 20 %, and a fit that collapsed has no a* and keeps nothing. A mask
suffices if it keeps half of the unmasked probability, whatever threshold the study had. Later explanations of algorithm
1 keep the a* of the study, since it was found without what earlier masks cover (`judged`).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from inrexp.comparison import METHODS
from inrexp.paper.smallest_area import smallest_area
from inrexp.study.intervals import holm, interval, paired_test, share_interval
from inrexp.study.rows import settings_of
from inrexp.study.store import AT_EQUAL_AREA, EQUAL_AREAS
from inrexp.study.tables import Table, by_photograph, in_paper_order, iterations

RECOGNISED = 0.1  # unmasked probability from which on the network counts as one that recognises the class
END = max(EQUAL_AREAS.values())
NEAR = 1e-6  # by which areas differ that are one and the same, since rows have six digits
KEPT = [f"kept_at_{at}" for at in EQUAL_AREAS]
PROBABILITY, PRECISION = ([f"{name}_at_{at}" for at in EQUAL_AREAS] for name in ("probability", "precision"))
COMPARED = ["found", "star", *PROBABILITY, *PRECISION]  # what the methods' paired differences are of
MEASURED = ["found", "star", *KEPT, *PROBABILITY, *PRECISION, "precision_at_star", "disc_at_star", "object_share"]


def has_equal_areas(rows: pd.DataFrame) -> bool:
    """Whether any row was measured at equal area; rows of older studies were not."""
    return bool(rows[list(AT_EQUAL_AREA)].notna().any(axis=None))


def judged(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with what each run is worth at equal area.

    kept_at_025 and so on: 1 if the mask of 2.5 % keeps half of the unmasked probability, else 0.
    star: a*, the smallest of the four areas that does; END without one.  found: 1 if there is one, else 0.
    A collapsed fit keeps nothing and has no a*; its precision stays NaN. A run that failed has NaN throughout.
    A later explanation of algorithm 1 has the a* that the study found without what the earlier masks cover: the masks
    of equal area may lean on that cover, so what they keep says nothing on whether there is another explanation. The
    study searched more areas, and by its own threshold; its a* is raised to the next of the four, and one above all of
    them is none.
    """
    rows = rows.copy()
    half = rows.groupby(["dataset", "model", "sample"])["unmasked"].transform("max") / 2  # failed runs have none
    for kept, name in zip(KEPT, PROBABILITY, strict=True):
        rows[name] = rows[name].mask(rows["collapsed"], 0.0)
        rows[kept] = (rows[name] >= half).astype(float).where(rows[name].notna())
    measured = rows[KEPT].notna().any(axis=1)
    areas, keeps = list(EQUAL_AREAS.values()), rows.loc[measured, PROBABILITY].to_numpy()
    stars = [smallest_area(areas, p, phi) for p, phi in zip(keeps, half[measured], strict=True)]  # eq. 5
    star = pd.Series(stars, rows.index[measured], dtype=float)
    later = measured & (rows["iteration"] > 1)
    star = star.mask(later[measured], raised(rows["area"]))
    rows["found"], rows["star"] = star.notna().astype(float), star.fillna(END)  # NaN where nothing was measured
    return rows


def raised(stars: pd.Series) -> pd.Series:
    """Each a* raised to the next of the four areas; NaN without one, and for one that is larger than all four."""
    areas = np.array([*EQUAL_AREAS.values(), np.nan])
    return pd.Series(areas[np.searchsorted(areas[:-1], stars - NEAR)], stars.index).where(stars.notna())


def by_recognition(rows: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """(data set, model, its rows), with the samples apart that the network recognises unmasked and those it does not.

    A data set of which it recognises all, or none, stays whole.
    """
    for (dataset, model), group in rows.groupby(["dataset", "model"]):
        known = ~(group.groupby("sample")["unmasked"].transform("max") < RECOGNISED)  # NaN where every run failed
        if known.all() or not known.any():
            yield dataset, model, group
        else:
            yield f"{dataset}, recognised (p >= {RECOGNISED:g})", model, group[known]
            yield f"{dataset}, not recognised", model, group[~known]


def equal_area(table: Table) -> pd.DataFrame:
    """A line for each data set (recognised samples apart), model and method; in table 2 also for each iteration.

    For each of MEASURED: its mean over pictures, and the 95 % interval (_low, _high) and the number (_pictures) of
    these. pairs: number of samples, of which a picture of VOC may have several.  collapsed, failed: runs.
    fitted_under: what the classifier saw in place of the removed pixels while the method worked.
    """
    lines = []
    for dataset, model, group in by_recognition(judged(table.rows)):
        for variant, number, runs in _lines(table, group):
            line = {"dataset": dataset, "model": model, "method": variant}
            line |= {"iteration": number} if number else {}
            lines.append(line | {"fitted_under": fitted_under(runs)} | _measured(runs))
    return pd.DataFrame(lines)


def differences(table: Table) -> pd.DataFrame:
    """A line for each data set, method and one of COMPARED: the method less the table's reference, paired by picture.

    low, high: 95 % interval of the mean difference.  p: of the paired t-test over pictures.
    holm: p corrected for the number of comparisons on the data set, which is `comparisons`. Those of recognised samples
        and of the others count together.
    """
    tests: dict[tuple[str, str], list[dict[str, Any]]] = {}  # of a data set and a model
    if "against" not in table.frame:
        return pd.DataFrame()
    against = table.frame.dropna(subset="against").groupby(["dataset", "model"])["against"].first()
    for dataset, model, group in by_recognition(judged(table.rows)):
        whole = (group["dataset"].iloc[0], model)
        name = against.get(whole)
        for variant, _, runs in _lines(table, group[group["variant"] != name] if name else group.iloc[:0]):
            for measure in COMPARED:
                one, other = by_photograph(runs, measure), by_photograph(group[group["variant"] == name], measure)
                difference, p, pictures = paired_test(one, other)
                low, high = np.clip(interval((one - other).dropna()), -1, 1)  # of two shares
                line = {"dataset": dataset, "model": model, "method": variant, "against": name, "measure": measure}
                line |= {"difference": difference, "low": low, "high": high, "p": p, "pictures": pictures}
                tests.setdefault(whole, []).append(line)
    lines = []
    for together in tests.values():
        corrected = holm([line["p"] for line in together])
        count = int(np.isfinite(corrected).sum())
        lines += [line | {"holm": q, "comparisons": count} for line, q in zip(together, corrected, strict=True)]
    return pd.DataFrame(lines)


def fitted_under(runs: pd.DataFrame) -> str:
    """What the classifier was shown in place of the removed pixels while the method worked, in words."""
    settings = settings_of(runs["settings"].iloc[0])
    record = METHODS.get(runs["method"].iloc[0])
    fill = settings.get("perturbation")
    if fill is None:
        return (record.shown if record else "") or "not said"
    words = {"levels": "eight blurs, 20 px to none", "fade": "black"}
    return words.get(fill, f"{fill}, {settings.get('blur_sigma', 0):g} px")


def _lines(table: Table, group: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """(method, iteration or "", its runs) of each line of the table."""
    for variant, runs in in_paper_order(group).groupby("variant", sort=False):
        if "iteration" not in table.frame:
            yield variant, "", runs
            continue
        for number, one in iterations(runs).items():
            yield variant, number, one


def _measured(runs: pd.DataFrame) -> dict[str, Any]:
    line: dict[str, Any] = {
        "pairs": runs["sample"].nunique(),
        "collapsed": int(runs["collapsed"].sum()),
        "failed": int(runs["failed"].sum()),
    }
    for measure in MEASURED:
        means = by_photograph(runs, measure)
        low, high = share_interval(means)
        line |= {measure: means.mean(), f"{measure}_low": low, f"{measure}_high": high}
        line[f"{measure}_pictures"] = len(means)
    return line
