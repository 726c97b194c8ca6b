"""How far masks of one picture agree: those of different methods, and the explanations of algorithm 1.

It reads the masks that a study stored, and fits nothing.
"""

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from inrexp.comparison import METHODS
from inrexp.paper.masks import keep_largest
from inrexp.study.controls import stored
from inrexp.study.store import Results

AREA = 0.1  # of the methods' masks, as in figure 4
FIELD = next(iter(METHODS))
COLUMNS = ["picture", "dataset", "kind", "one", "other", "area", "iou", "share", "expected", "found"]


def agreement(folder: "str | Path", *, seed: int = 0) -> pd.DataFrame:
    """A row for each pair of masks of one picture, from the folder of a study.

    kind "methods": two methods' masks of a tenth of the picture, brought to it by their largest values; one and other
        name method and preset.
    kind "iterations": a later mask M^n of algorithm 1 (one: its number), cut at 1/2, against those before it together
        (other: "earlier"). It is the mask at its a*, or of the largest area where it has none (found: 1 or 0).
    iou: intersection over union.  share: the part of the first mask that lies on the second.
    expected: the second mask's share of the picture, which is what a mask at a random place has on it.
    """
    with Results(Path(folder)) as store:
        rows = [row for row in store.rows() if row["seed"] == seed and row["status"] == "finished"]
        found = []
        for key in dict.fromkeys((row["dataset"], row["sample"]) for row in rows):
            own = [row for row in rows if (row["dataset"], row["sample"]) == key]
            first = {_name(row): _of_area(store, row["key"]) for row in own if row["iteration"] == 1}
            masks = {name: mask for name, mask in first.items() if mask is not None}
            for one, other in combinations(masks, 2):
                found.append(_row(key, "methods", one, other, AREA, masks[one], masks[other]))
            found += _in_turn(key, [row for row in own if row["method"] == FIELD], store)
    return pd.DataFrame(found, columns=COLUMNS)


def _in_turn(key: tuple[str, str], rows: list[dict[str, Any]], store: Results) -> list[dict[str, Any]]:
    found = []
    for preset in dict.fromkeys(row["preset"] for row in rows):
        earlier = None
        for row in sorted((r for r in rows if r["preset"] == preset), key=lambda r: r["iteration"]):
            masks = store.masks(row["key"])
            area = max(map(float, masks)) if row["area"] is None else row["area"]
            mask = masks[f"{area:g}"] >= 128
            if earlier is not None:
                pair = _row(key, "iterations", str(row["iteration"]), "earlier", area, mask, earlier)
                found.append(pair | {"found": int(row["area"] is not None)})
            earlier = mask if earlier is None else mask | earlier
    return found


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['method']}, {row['preset']}" if row["preset"] else row["method"]


def _of_area(store: Results, key: str) -> np.ndarray | None:
    """The mask of AREA, or the largest values of a map, as (h, w) bool; None where a row has neither."""
    ranking = stored(store, key, [AREA]).get(AREA)
    return None if ranking is None else keep_largest(ranking, torch.tensor([AREA]))[0, 0].numpy() > 0


def _row(
    key: tuple[str, str], kind: str, one: str, other: str, area: float, mask: np.ndarray, beside: np.ndarray
) -> dict[str, Any]:
    both, either = float((mask & beside).sum()), float((mask | beside).sum())
    numbers = {"iou": round(both / either, 4) if either else None, "share": round(both / max(mask.sum(), 1), 4)}
    numbers |= {"expected": round(float(beside.mean()), 4), "found": None}
    return {"picture": key[1], "dataset": key[0], "kind": kind, "one": one, "other": other, "area": area} | numbers
