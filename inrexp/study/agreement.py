"""How far masks of one picture agree: of different methods, of algorithm 1's explanations, of a fit and its start.

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
from inrexp.metrics import pairwise_iou
from inrexp.paper.masks import keep_largest
from inrexp.paper.presets import DEFAULT, PRESETS, RANDOM
from inrexp.study.controls import stored
from inrexp.study.store import EQUAL_AREAS, Results

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
    with Results(folder, reading=True) as store:
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


def starts(folder: "str | Path", *, started: str = DEFAULT, random: str = RANDOM, seed: int = 0) -> pd.DataFrame:
    """How far fits that start from another method's ranking move from it, from the folder of a study with all three.

    started: a preset that starts from a method's ranking.  random: one that starts at random weights.
    A row for each picture and each of `store.EQUAL_AREAS`, whose masks are brought to exactly that area:
    moved: IoU of the started fit's mask with the ranking's highest pixels, its start but for ties.
    random, map: IoU of the random fit's mask with the started one's, and with those pixels.  NaN where the study lacks
        the random fit's masks.
    precision_start, precision_started, precision_random: of the three masks (eq. 7).
    p_start, p_started, p_random, unmasked: the probability that each keeps, and that of the whole picture.
    """
    names = {"start": (PRESETS[started].start, None), "started": (FIELD, started), "random": (FIELD, random)}
    with Results(folder, reading=True) as store:
        rows = [one for one in store.rows() if one["seed"] == seed and one["iteration"] == 1]
        rows = [one for one in rows if one["status"] == "finished"]
        found = []
        for sample in dict.fromkeys(row["sample"] for row in rows):
            runs = {
                name: next((r for r in rows if (r["sample"], r["method"], r["preset"]) == (sample, *wanted)), None)
                for name, wanted in names.items()
            }
            if runs["start"] is None or runs["started"] is None:
                continue
            found += _beside_start(sample, runs, store)
    return pd.DataFrame(found)


def _beside_start(sample: str, runs: Mapping[str, dict[str, Any] | None], store: Results) -> list[dict[str, Any]]:
    there = {name: run for name, run in runs.items() if run is not None}
    masks = {name: stored(store, run["key"], list(EQUAL_AREAS.values())) for name, run in there.items()}
    lines = []
    for at, area in EQUAL_AREAS.items():
        exact = {name: keep_largest(one[area], torch.tensor([area])) for name, one in masks.items()}
        line: dict[str, Any] = {"picture": sample, "area": area, "unmasked": there["start"]["unmasked"]}
        pairs = {"moved": ("started", "start"), "random": ("random", "started"), "map": ("random", "start")}
        for name, (one, other) in pairs.items():
            if one in exact and other in exact:
                line[name] = float(pairwise_iou(torch.cat([exact[one], exact[other]]))[0, 1])
        for name, run in there.items():
            line |= {f"precision_{name}": run[f"precision_at_{at}"], f"p_{name}": run[f"probability_at_{at}"]}
        lines.append(line)
    return lines
