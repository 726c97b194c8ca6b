"""Variants of the paper's fit, tried so that the class survives only where the mask is visible; and their comparison.

`benchmarks/variants.py` fits every variant to the same pictures with the same seed. It writes a row for each
variant, picture and area into data/results/variants.csv. `summary` turns these rows into the table in notebook 09.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from inrexp.datasets.samples import Sample, Truth
from inrexp.explanation import Explanation
from inrexp.methods import as_image, explain
from inrexp.metrics import leak, nestedness, precision
from inrexp.models.classifier import Classifier
from inrexp.paper.presets import PRESETS
from inrexp.paper.settings import Descent, FitConfig, Growth
from inrexp.paper.smallest_area import PAPER_AREAS, smallest_area
from inrexp.study.intervals import interval
from inrexp.study.plan import digest_of, fit_of
from inrexp.study.shared_rows import add_rows, rows_there

AREAS = (0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6)  # the paper's four, and those of a wider range
NEAR = 0.01  # a mask meets its area if it misses it by no more than this fraction of the picture
WIDE = (0.025, 0.6)


def changed(config: FitConfig, *, source: dict[str, Any] | None = None, **changes: Any) -> FitConfig:
    """The config with some fields changed.

    source: changed fields of the source's settings.  changes: changed fields of the config itself.
    """
    return dataclasses.replace(config, source=dataclasses.replace(config.source, **(source or {})), **changes)


CRISP = PRESETS["crisp"]
# crisp as it was while its filter had the published kernel, under which sharper masks were no better; as many passes
PUBLISHED_KERNEL = changed(CRISP, source={"half_width": None}, sharpness=Growth(2.0, 64.0, until=0.8))
# crisp as it was until the level of its sharpening moved: its masks were trimmed to their area only at the end
HALF = changed(
    PUBLISHED_KERNEL,
    name="custom",
    start=None,
    level=None,
    descent=Descent("adam", lr=2e-3, lr_end=2e-4, warmup=0.4),
    area_weight=Growth(1.0, 100.0, until=0.8),
    dice_weight=Growth(1.0, 30.0, until=0.8),
    reward="log_probability",
)
SMOOTHER = changed(
    PRESETS["paper_lattice"],
    steps=300,
    descent=Descent(lr=1e-3),
    source={"grid": 16, "scale": 2.0, "area_scale": 0.25},
)
# The rows of variants whose settings are gone (data/results/README.md names them) were made by commit 35a9f6c.
VARIANTS: dict[str, FitConfig] = {
    # the paper's objective (probability, weight 1, one blur, soft masks) in as many passes as the other variants have
    "paper, 300 passes": SMOOTHER,
    # the same with the area's frequencies as high as the coordinates', as the paper has them
    "paper, 300 passes, area scale 1": changed(SMOOTHER, source={"area_scale": 1.0}),
    # the paper's own passes, learning rate and field. The field is evaluated on the filter's lattice, since all pixels
    # would take hours on a CPU
    "paper, 4000 passes": PRESETS["paper_lattice"],
    "crisp": CRISP,
    "crisp, level at 1/2": HALF,
    "areas to 0.6": changed(HALF, area_range=WIDE),
    "150 passes": changed(HALF, steps=75),
    "extremal perturbations, quick": PRESETS["extremal_perturbation_quick"],
}


def measured(found: Explanation, truth: Truth) -> pd.DataFrame:
    """One row for each area.

    A row compares the soft mask with the cut one and the asked area with the real one. It also says how much of the
    mask lies inside the next larger one, and how much lies on the object (eq. 7).
    """
    low, high = found.area_range
    areas = [area for area in AREAS if low - 1e-6 <= area <= high + 1e-6]
    both = leak(found, areas)
    return pd.DataFrame(
        {
            "area": areas,
            "unmasked": found.unmasked,
            "probability": both.probability,
            "probability_cut": both.probability_cut,
            "soft_area": both.soft_area,
            "cut_area": both.cut_area,
            "nested": [*nestedness(both.cut).tolist(), None],
            "precision": precision(both.cut, truth.object, counted=truth.counted).cpu(),
            "status": str(found.outcome),
            "passes": len(found.history["loss"]) * found.config.masks_per_step,
            "seconds": round(found.seconds, 1),
        }
    )


def run_variants(
    samples: Sequence[Sample],
    classifier: Classifier,
    variants: Mapping[str, FitConfig],
    out: "str | Path",
    *,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Fit the variants, by name, to the pictures for which the CSV file `out` lacks them, and return all its rows.

    The call can be killed and repeated, and several may add to one file at the same time. Rows of another picture,
    model, seed or settings under the same names are replaced, and so are those of a time when rows did not say what
    they depend on.
    fit: a hash of all four, in every row.
    """
    out = Path(out)
    done = _read(out)
    known, weights = set(done.get("fit", ())), digest_of(classifier)
    todo = [(sample, name, config) for name, config in variants.items() for sample in samples]
    for sample, name, config in tqdm(todo, unit="fit", disable=not progress):
        fit = fit_of(sample, classifier, name, dataclasses.asdict(config), seed, weights)
        if fit in known:
            continue
        image, target = as_image(classifier, sample.picture), sample.target(classifier)
        found = explain(classifier, image, target, preset=config, seed=seed, progress=False)
        new = measured(found, sample.truth(classifier)).round(4)
        new.insert(0, "variant", name)
        new.insert(1, "picture", sample.name)
        new["fit"] = fit
        done = add_rows(out, new, in_place_of=["variant", "picture"], read=_read, float_format=None)
    return done


def _read(path: Path) -> pd.DataFrame:
    return rows_there(path, ["variant", "picture"], dtype={"fit": str})


def suffices(rows: pd.DataFrame, column: str = "probability") -> pd.Series:
    """a* of each variant and picture: smallest area that keeps half of the unmasked probability; NaN without one."""
    found = {
        key: smallest_area(group["area"].tolist(), group[column].tolist(), group["unmasked"].iloc[0] / 2)
        for key, group in rows.groupby(["variant", "picture"], sort=False)
    }
    keys = pd.MultiIndex.from_tuples(found, names=["variant", "picture"])
    return pd.Series(list(found.values()), index=keys, name="area", dtype=float)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """One row for each variant.

    pictures: number of pictures.
    none, none_cut: number of pictures without an a*, judged by soft and by cut masks.
    a*, a*_cut: mean a* of soft and of cut masks.
    kept: share of the pictures with an a* whose cut mask at a* keeps the class.
    met: share of them whose soft and cut masks at a* miss the asked area by at most 0.01.
    nested: mean of the intersection of neighbouring masks over the smaller of the two.
    precision: mean over pictures of the cut mask at a*.  precision_0.1: of the mask of area 0.1.
    p_0.1, p_cut_0.1, p_0.2, p_cut_0.2: mean probability under the soft and the cut mask of that area.
    passes: classifier passes of one fit.
    """
    keys = ["variant", "picture"]
    star, cut_star = suffices(rows), suffices(rows, "probability_cut")
    at = rows.merge(star.rename("star").reset_index(), on=keys)
    at = at[at["area"] == at["star"]].set_index(keys)
    kept = at["probability_cut"] >= at["unmasked"] / 2
    met = ((at["soft_area"] - at["area"]).abs() <= NEAR) & ((at["cut_area"] - at["area"]).abs() <= NEAR)
    by = {"level": "variant", "sort": False}
    table = pd.DataFrame(
        {
            "pictures": star.groupby(**by).size(),
            "none": star.isna().groupby(**by).sum(),
            "none_cut": cut_star.isna().groupby(**by).sum(),
            "a*": star.groupby(**by).mean(),
            "a*_cut": cut_star.groupby(**by).mean(),
            "kept": kept.groupby(**by).mean(),
            "met": met.groupby(**by).mean(),
            "nested": rows.groupby("variant", sort=False)["nested"].mean(),
            "precision": at["precision"].groupby(**by).mean(),
            "passes": rows.groupby("variant", sort=False)["passes"].first(),
        }
    )
    for area in (0.1, 0.2):
        here = rows[rows["area"] == area].groupby("variant", sort=False)
        table[f"p_{area:g}"], table[f"p_cut_{area:g}"] = here["probability"].mean(), here["probability_cut"].mean()
        if area == 0.1:
            table["precision_0.1"] = here["precision"].mean()
    return table


def against(rows: pd.DataFrame, reference: str) -> pd.DataFrame:
    """One row for each variant except the reference, on the pictures that both have.

    reference: the name of a variant.

    pictures: number of these pictures.
    difference, low, high: mean precision of the variant's mask of 10 % less that of the reference, paired by picture,
        with its 95 % interval.
    both: number of pictures on which both have an a*.  difference*, low*, high*: the same at a*, on these pictures.
    near: share of the pictures whose a* is the reference's or its neighbour among the paper's four areas. A picture
        without an a* counts as if it had the area after the last.
    passes_share: classifier passes as a multiple of the reference's.
    """
    rows = rows[rows["area"].isin(PAPER_AREAS)]
    star = suffices(rows)
    place = star.map(lambda area: len(PAPER_AREAS) if pd.isna(area) else PAPER_AREAS.index(area)).unstack("variant")
    at_tenth = rows[rows["area"] == 0.1].pivot(index="picture", columns="variant", values="precision")
    own = rows.merge(star.rename("star").reset_index(), on=["variant", "picture"])
    at_star = own[own["area"] == own["star"]].pivot(index="picture", columns="variant", values="precision")
    passes = rows.groupby("variant", sort=False)["passes"].first()
    table = {}
    for name in (name for name in passes.index if name != reference):
        shared = place[[name, reference]].dropna()
        paired = (at_tenth[name] - at_tenth[reference]).dropna()
        paired_star = (at_star[name] - at_star[reference]).dropna() if name in at_star else paired.iloc[:0]
        low, high = interval(paired)
        low_star, high_star = interval(paired_star)
        table[name] = {
            "pictures": len(shared),
            "difference": paired.mean(),
            "low": low,
            "high": high,
            "both": len(paired_star),
            "difference*": paired_star.mean(),
            "low*": low_star,
            "high*": high_star,
            "near": (shared[name] - shared[reference]).abs().le(1).mean(),
            "passes_share": passes[name] / passes[reference],
        }
    return pd.DataFrame.from_dict(table, orient="index")
