"""Small tables of rows in the form of data/results, for the tests of the ledger."""

import json
from pathlib import Path

import pandas as pd

from inrexp.study.store import AT_EQUAL_AREA, FORMAT, key_of

STANDIN, VOC = "imagenet-s50-standin", "voc07-difficult-sample"
PRESETS = {"inr": "crisp", "extremal_perturbation": "extremal_perturbation_quick"}
SETTINGS = {"inr": {"steps": 150, "sharpness": {"start": 2.0}}, "extremal_perturbation": {"steps": 150}}

OF_PAPER = {"preset": "paper_lattice", "settings": "{}"}  # the field by the paper's own setting, whose masks are soft


def run(
    sample: str, method: str = "inr", precision: float | None = 0.5, *, equal: float | None = None, **others
) -> dict:
    """One row of a study; precision None is a run without an a*; equal: the precision at every equal area."""
    none = precision is None
    row = {
        "dataset": STANDIN, "sample": sample, "label": "tabby", "model": "efficientnet_lite0", "method": method,
        "preset": PRESETS.get(method), "settings": json.dumps(SETTINGS.get(method, {})),
        "seed": 0, "iteration": 1, "status": "finished", "error": None, "contents": "0123456789ab", "beside": "",
        "unmasked": 0.9, "threshold": 0.45, "area": None if none else 0.1, "area_cut_star": None if none else 0.1,
        "probability": None if none else 0.6, "probability_cut": None if none else 0.6,
        "area_error": None if none else 0.0, "precision": precision, "hit": None if none else int(precision > 0.5),
        "precision_largest": 0.3, "insertion": 0.7, "deletion": 0.1, "object_share": 0.3, "size": 0.1,
        **dict.fromkeys(AT_EQUAL_AREA), "disc_at_star": None if none else 0.3,
    }  # fmt: skip
    if equal is not None:
        row |= {name: equal for name in AT_EQUAL_AREA if name.startswith("precision")}
        row |= {name: 0.5 for name in AT_EQUAL_AREA if name.startswith("probability")}
    row |= {name: str(value) if name == "sample" else value for name, value in others.items()}
    row["format"] = FORMAT
    return {"key": key_of(row)} | row


def fitted(
    variant: str, picture: str, nested=(0.9, 0.9, 0.9), soft=(0.025, 0.05, 0.1, 0.2), cut: float = 0.6
) -> list[dict]:
    """Four rows of one variant and picture in variants.csv.  cut: p of every cut mask; that of soft ones is 0.8."""
    return [
        {
            "variant": variant, "picture": picture, "area": area, "unmasked": 0.9, "probability": 0.8,
            "probability_cut": cut, "soft_area": soft[place], "cut_area": soft[place],
            "nested": nested[place] if place < 3 else None, "precision": 0.7, "status": "finished", "passes": 300,
            "seconds": 15.0,
        }
        for place, area in enumerate((0.025, 0.05, 0.1, 0.2))
    ]  # fmt: skip


def controls(picture: str, **probabilities: float) -> list[dict]:
    """Rows of controls.csv for the field: what each control leaves of 0.9."""
    known = {"picture": picture, "dataset": STANDIN, "method": "INR, crisp", "area": 0.1, "unmasked": 0.9}
    return [known | {"control": name, "probability": p} for name, p in probabilities.items()]


def nulls(picture: str, preset: str = "crisp_random", **overlaps: float) -> list[dict]:
    """Rows of nulls.csv: the overlap of each kind of pair, at a tenth."""
    known = {"picture": picture, "preset": preset, "area": 0.1}
    return [known | {"kind": kind, "iou": iou} for kind, iou in overlaps.items()]


def write(
    folder: Path, *, tuned: list[str] | None = None, seconds: dict[str, float] | None = None, **tables: list
) -> Path:
    """Write tables by name (study, quality, variants, controls, nulls, agreement) as data/results has them.

    seconds: of each method's rows.
    """
    folder.mkdir(exist_ok=True)
    for name, rows in tables.items():
        pd.DataFrame(rows).to_csv(folder / f"{name}{'_rows' * (name in ('study', 'quality'))}.csv", index=False)
    if seconds:
        timed = [{"key": row["key"], "seconds": seconds[row["method"]]} for row in tables["study"]]
        pd.DataFrame(timed).to_csv(folder / "study_seconds.csv", index=False)
    if tuned:
        (folder / "tuned.txt").write_text("\n".join(tuned) + "\n")
    return folder
