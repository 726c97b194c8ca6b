"""The rows behind the paper's claims, as values for each picture.

Only pictures on which no setting was chosen enter the numbers of a study. The rows of a picture with several pairs of
picture and class (VOC) become one value, so that an interval is drawn over pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from inrexp.comparison import METHODS
from inrexp.datasets.lists import TUNED, read_names
from inrexp.paper.presets import DEFAULT
from inrexp.study.equal import RECOGNISED, judged
from inrexp.study.rows import IDENTITY, MEASURES, NUMBERS, OPTIONAL, read_rows, read_seconds, settings_of
from inrexp.study.store import EQUAL_AREAS, FILE, ROWS
from inrexp.study.tables import family, over_photographs, per_picture, photograph
from inrexp.study.variants import suffices

FIELD = next(iter(METHODS))  # the paper's own method
OF_PAPER = [name for name, method in METHODS.items() if method.published is not None]
TENTH = 0.1  # the area of the figures' masks
IMAGENET, VOC = "imagenet-s", "voc"
PAPER, LATTICES, PRESET = "paper, 4000 passes", "extremal perturbations, quick", DEFAULT  # of variants.csv
HALF = "crisp, level at 1/2"  # the default preset as it was when variants.csv compared weights, passes and starts
SMOOTH = "paper, 300 passes"  # the paper's objective with a smoother field: Fourier scale 2, of the area 1/4
ROUGH_IN_AREA = f"{SMOOTH}, area scale 1"  # the same with the area's frequencies as high as the coordinates'
COLUMNS = {
    "study": [*dict.fromkeys([*IDENTITY, "key", "label", "unmasked", *NUMBERS, *MEASURES, *OPTIONAL])],
    "variants": ["variant", "picture", "area", "unmasked", "probability", "probability_cut", "soft_area", "cut_area"],
    "controls": ["picture", "dataset", "method", "area", "control", "probability", "unmasked"],
    "nulls": ["picture", "preset", "kind", "area", "iou"],
    "agreement": ["picture", "dataset", "kind", "one", "other", "area", "iou", "share", "expected", "found"],
}
COLUMNS["variants"] += ["nested", "precision", "passes", "seconds"]


@dataclass(frozen=True)
class Evidence:
    """Every table of rows, empty where its file is missing.  tuned: the pictures on which settings were chosen.

    study, quality: rows of studies (`_read_study`), the latter of other settings of the field.
    """

    study: pd.DataFrame
    quality: pd.DataFrame
    variants: pd.DataFrame
    controls: pd.DataFrame
    nulls: pd.DataFrame
    agreement: pd.DataFrame
    tuned: frozenset[str]

    @property
    def empty(self) -> bool:
        """Whether there is no row of any table."""
        tables = (self.study, self.quality, self.variants, self.controls, self.nulls, self.agreement)
        return all(table.empty for table in tables)


def read_evidence(folder: "str | Path") -> Evidence:
    """The rows in a folder such as data/results: study_rows.csv with its seconds, and the other tables of COLUMNS.

    A folder that `inrexp study` filled gives its rows in place of study_rows.csv.
    Raises FileNotFoundError for a folder that is not there, and ValueError for a table that lacks a column.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}: wanted one with the rows of the studies, such as data/results")
    tuned = [name for one in TUNED if (path := folder / f"{one}.txt").is_file() for name in read_names(path)]
    tables = {name: _read(folder / f"{name}.csv", columns) for name, columns in COLUMNS.items() if name != "study"}
    studies = {name: _read_study(folder / f"{name}_rows.csv") for name in ("study", "quality")}
    if studies["study"].empty and any((folder / name).is_file() for name in (FILE, ROWS)):
        studies["study"] = _read_study(folder)
    return Evidence(**studies, **tables, tuned=frozenset(tuned))


def _read(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    if not path.is_file():
        return pd.DataFrame(columns=list(columns))
    rows = pd.read_csv(path)
    if missing := [name for name in columns if name not in rows]:
        raise ValueError(f"{path} lacks the columns {', '.join(missing)}: wanted {', '.join(columns)}")
    return rows


def _read_study(path: Path) -> pd.DataFrame:
    """The rows with more columns.

    seconds; found: 1 if there is an a*, by equal areas (`equal.judged`) where they were measured.
    precision_equal, probability_equal: the mean over the equal areas.
    over_disc: the precision at a* less that of a centred disc of this area.
    precision_paper: the precision in the paper's column. A field is asked for its a* among the paper's four areas only
        (section 3.4), as a lattice is, though it has a mask for every area. NaN without one. A field of soft masks has
        that of its own a*, since rows tell what its masks keep only when they are cut to equal area.
    size_paper: the share of the picture in the mask of that column.
    """
    if not path.exists():
        added = ["variant", "failed", "collapsed", "seconds", "found", "over_disc", "precision_paper", "size_paper"]
        return pd.DataFrame(columns=[*COLUMNS["study"], *added, "precision_equal", "probability_equal"])
    rows, seconds = judged(read_rows(path)), read_seconds(path)
    timed = {} if seconds is None else dict(zip(seconds["key"], seconds["seconds"], strict=True))
    equal = {
        f"{measure}_equal": rows[[f"{measure}_at_{at}" for at in EQUAL_AREAS]].mean(axis=1, skipna=False)
        for measure in ("precision", "probability")
    }
    at_four = sum(
        rows[f"precision_at_{at}"].where(np.isclose(rows["star"], area), 0.0) for at, area in EQUAL_AREAS.items()
    )
    sharp = rows["settings"].map(lambda settings: "sharpness.start" in settings_of(settings)).astype(bool)
    first_of_field = (rows["method"] == FIELD) & (rows["iteration"] == 1) & rows["found"].notna() & sharp
    at_four = at_four.where(rows["found"] == 1)
    return rows.assign(
        precision_paper=rows["precision"].mask(first_of_field, at_four),
        size_paper=rows["size"].mask(first_of_field, rows["star"].where(rows["found"] == 1)),
        seconds=rows["key"].map(timed),
        found=rows["found"].fillna(rows["area"].notna().astype(float)).where(~rows["failed"]),
        over_disc=rows["precision_at_star"] - rows["disc_at_star"],
        **equal,
    )


def runs_of(
    found: Evidence, dataset: str, method: str = FIELD, *, iteration: int | None = 1, preset: str | None = None
) -> pd.DataFrame:
    """One method's runs on the reported pictures of IMAGENET or VOC.

    Of several settings, those nearest the publication count, for the field those with the most pictures, unless a
    preset is named. Failed runs are left out.  iteration: of algorithm 1; None is all of them.
    Raises ValueError for rows of several networks, whose means would mix them.
    """
    rows = found.study[found.study["dataset"].map(family) == dataset]
    if len(models := rows["model"].unique()) > 1:
        raise ValueError(
            f"rows of {dataset} must be of one network, got {', '.join(sorted(models))}: run `inrexp study FOLDER "
            "--model NAME` with a folder for each, and `inrexp claims --results FOLDER` on one of them"
        )
    rows = rows[(rows["method"] == method) & ~rows["sample"].isin(found.tuned) & ~rows["failed"].astype(bool)]
    rows = rows if iteration is None else rows[rows["iteration"] == iteration]
    rows = rows if preset is None else rows[rows["preset"] == preset]
    if rows.empty:
        return rows
    pictures = rows.groupby("variant")["sample"].nunique()
    names = sorted(pictures.index, key=lambda name: (_distance(rows[rows["variant"] == name], method), -pictures[name]))
    return rows[rows["variant"] == names[0]]


def _distance(runs: pd.DataFrame, method: str) -> int:
    """In how many settings these runs differ from the method's publication; 0 for the field, whose presets do."""
    published = METHODS[method].published if method in METHODS and method != FIELD else None
    own = settings_of(runs["settings"].iloc[0]) | {"preset": runs["preset"].iloc[0]}
    return sum(own.get(name) != wanted for name, wanted in (published or {}).items())


def difference(one: pd.DataFrame, other: pd.DataFrame, measure: str) -> pd.Series:
    """One's measure less the other's on the samples of both, as a mean for each photograph."""
    return over_photographs((per_picture(one, measure) - per_picture(other, measure)).dropna())


def reported_variant(found: Evidence, name: str) -> pd.DataFrame:
    """The rows of variants.csv for one variant on pictures on which no setting was chosen."""
    rows = found.variants[found.variants["variant"] == name].sort_values(["picture", "area"])
    # No packaged picture either: its name has no folder.
    return rows[rows["picture"].astype(str).str.contains("/") & ~rows["picture"].isin(found.tuned)]


def of_variant(found: Evidence, name: str, column: str) -> pd.Series:
    """A column of variants.csv for one variant on reported pictures: the mean over its areas, by picture.

    column: "nested", "error" (of the soft area, without its sign), "grows" (share of the steps to the next area in
    which the soft area grows), "seconds", or another column.
    """
    rows = reported_variant(found, name)
    if rows.empty:
        return pd.Series(dtype=float)
    if column == "error":
        rows = rows.assign(error=(rows["soft_area"] - rows["area"]).abs())
    if column == "grows":
        steps = rows.groupby("picture")["soft_area"].diff()
        rows = rows.assign(grows=(steps > 0).astype(float).where(steps.notna()))
    return rows.groupby("picture")[column].mean().dropna()


def kept_when_cut(found: Evidence, name: str) -> pd.Series:
    """1 if the cut mask still keeps half of the class at the soft mask's a*, else 0; by reported picture with an a*."""
    rows = reported_variant(found, name)
    stars = _stars(rows).dropna()
    enough = rows.set_index(["picture", "area"]).loc[list(stars.items())].droplevel("area")
    return (enough["probability_cut"] >= enough["unmasked"] / 2).astype(float)


def has_star(found: Evidence, name: str) -> pd.Series:
    """1 if some soft mask of a variant keeps half of the class, else 0; by picture, those that chose settings too."""
    return _stars(found.variants[found.variants["variant"] == name]).notna().astype(float)


def _stars(rows: pd.DataFrame) -> pd.Series:
    """a* of a variant's soft masks by picture, NaN without one; no picture where the variant has no rows."""
    return suffices(rows).droplevel("variant") if len(rows) else pd.Series(dtype=float)


def control(found: Evidence, name: str, *, method: str = FIELD, measure: str = "probability") -> pd.Series:
    """What one control of controls.csv leaves of the class under masks of a tenth, by picture of the stand-in.

    Pictures that the network does not recognise are left out.
    measure: "probability"; "half", 1 if it is half of the unmasked one or more, else 0; or "enough", of the masks of
        any area that keep half of it in the first place, the share that still does under this control.
    """
    rows = controlled(found, method)
    if rows.empty:
        return pd.Series(dtype=float)
    keeps = (rows["probability"] >= rows["unmasked"] / 2).astype(float)
    if measure != "enough":
        here = (rows["control"] == name) & np.isclose(rows["area"].astype(float), TENTH)
        return _means((keeps if measure == "half" else rows["probability"])[here], rows["picture"][here])
    mask = ["picture", "area"]
    first = pd.MultiIndex.from_frame(rows.loc[(rows["control"] == "kept") & (keeps == 1), mask])
    here = (rows["control"] == name) & pd.MultiIndex.from_frame(rows[mask]).isin(first)
    return _means(keeps[here], rows["picture"][here])


def controlled(found: Evidence, method: str = FIELD) -> pd.DataFrame:
    """The rows of controls.csv that `control` takes: of the method's settings with the most pictures of the stand-in.

    Their column `method` has the name of these settings, such as "INR, crisp".
    """
    rows = found.controls
    rows = rows[(rows["dataset"].map(family) == IMAGENET) & ~rows["picture"].isin(found.tuned)]
    rows = rows[(rows["unmasked"] >= RECOGNISED) & rows["method"].map(lambda label: _is_of(method, label))]
    pictures = rows.groupby("method")["picture"].nunique()
    return rows[rows["method"] == pictures.idxmax()] if len(rows) else rows


def _is_of(method: str, label: str) -> bool:
    """Whether a name such as "INR, crisp" is of this method."""
    return label.split(",")[0] == METHODS[method].label


def overlap(
    found: Evidence,
    kinds: Sequence[str],
    *,
    preset: str = DEFAULT,
    area: float = TENTH,
    at_most: float | None = None,
) -> pd.Series:
    """The mean overlap (IoU) of two fits of these kinds and this preset in nulls.csv, by picture.

    area: of the masks.  at_most: instead, 1 for a picture that has two such fits whose masks share no more, else 0.
    """
    rows = found.nulls[~found.nulls["picture"].isin(found.tuned)].dropna(subset="iou")
    rows = rows[(rows["preset"] == preset) & rows["kind"].isin(kinds) & np.isclose(rows["area"].astype(float), area)]
    if at_most is None:
        return _means(rows["iou"], rows["picture"])
    return (rows["iou"] <= at_most).groupby(rows["picture"].map(photograph)).max().astype(float)


def agreement(found: Evidence, kind: str, column: str, *, one: str | None = None) -> pd.Series:
    """A column of agreement.csv for pairs of one kind ("methods" or "iterations"), by picture.

    one: of "iterations", the explanation's number.
    Two settings of one method are left out, and so is every method that is not of the paper.
    """
    rows = found.agreement[(found.agreement["kind"] == kind) & ~found.agreement["picture"].isin(found.tuned)]
    if kind == "methods":
        first, second = (rows[side].str.split(",").str[0] for side in ("one", "other"))
        rows = rows[(first != second) & first.isin(OF_PAPER) & second.isin(OF_PAPER)]
    rows = rows if one is None else rows[rows["one"].astype(str) == one]
    return _means(rows[column], rows["picture"])


def _means(values: pd.Series, picture: pd.Series) -> pd.Series:
    """The mean of each picture; names such as 000014/dog and 000014/car are one picture of VOC."""
    return values.astype(float).groupby(picture.map(photograph)).mean().dropna()
