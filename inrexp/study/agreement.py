"""How far masks of one picture agree: of different methods, of algorithm 1's explanations, of a fit and its start.

It reads the masks that a study stored, and fits nothing.
"""

from collections.abc import Iterable, Mapping
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
from inrexp.study.rows import settings_of
from inrexp.study.store import EQUAL_AREAS, Results

AREA = 0.1  # of the methods' masks, as in figure 4
FIELD = next(iter(METHODS))
COLUMNS = ["picture", "dataset", "kind", "one", "other", "area", "iou", "share", "expected", "found", "model", "fit"]
OF_STARTS = ["picture", "area", "unmasked", "moved", "random", "map"]
OF_STARTS += [f"{what}_{name}" for name in ("start", "started", "random") for what in ("precision", "p")]


def agreement(folder: "str | Path", *, seed: int = 0) -> pd.DataFrame:
    """A row for each pair of masks of one picture, from the folder of a study.

    kind "methods": two methods' masks of a tenth of the picture, brought to it by their largest values; one and other
        name method and preset, and the settings in which two runs of these differ.
    kind "iterations": a later mask M^n of algorithm 1 (one: its number), cut at 1/2, against those before it together
        (other: "earlier"). It is the mask at its a*, or of the largest area where it has none (found: 1 or 0).
    iou: intersection over union.  share: the part of the first mask that lies on the second.
    expected: the second mask's share of the picture, which is what a mask at a random place has on it.
    model: the classifier of both masks.  fit: of "iterations", the method with its preset, as one and other name it.
    Raises FileNotFoundError for a folder without results.
    """
    with Results(folder, reading=True) as store:
        rows = [row for row in store.rows() if row["seed"] == seed and row["status"] == "finished"]
        found = []
        for key, own in _by(rows, "dataset", "sample", "model").items():
            fits = _named(own)
            first = {name: _of_area(store, runs[0]["key"]) for name, runs in fits.items() if runs[0]["iteration"] == 1}
            masks = {name: mask for name, mask in first.items() if mask is not None}
            for one, other in combinations(masks, 2):
                found.append(_row(key, "methods", one, other, AREA, masks[one], masks[other]))
            for name, runs in fits.items():
                found += _in_turn(key, name, runs, store) if runs[0]["method"] == FIELD else []
    return pd.DataFrame(found, columns=COLUMNS)


def _by(rows: Iterable[dict[str, Any]], *names: str) -> dict[tuple, list[dict[str, Any]]]:
    """The rows by their values in these columns."""
    found: dict[tuple, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in names), []).append(row)
    return found


def _named(rows: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """One picture's rows by method and preset, each by iteration; settings that differ within these join the name."""
    found = {}
    for (method, preset), runs in _by(rows, "method", "preset").items():
        name = f"{method}, {preset}" if preset else method
        of_text = {text: settings_of(text) for (text,) in _by(runs, "settings")}
        every = dict.fromkeys(one for settings in of_text.values() for one in settings)
        differ = [one for one in every if len({str(settings.get(one)) for settings in of_text.values()}) > 1]
        for (text,), own in _by(runs, "settings").items():
            whole = ", ".join([name, *(f"{one} {of_text[text].get(one)}" for one in differ)])
            found[whole] = sorted(own, key=lambda row: row["iteration"])
    return found


def _in_turn(key: tuple, name: str, rows: list[dict[str, Any]], store: Results) -> list[dict[str, Any]]:
    found, earlier = [], None
    for row in rows:
        masks = store.masks(row["key"])
        area = max(map(float, masks)) if row["area"] is None else row["area"]
        mask = masks[f"{area:g}"] >= 128
        if earlier is not None:
            pair = _row(key, "iterations", str(row["iteration"]), "earlier", area, mask, earlier)
            found.append(pair | {"found": int(row["area"] is not None), "fit": name})
        earlier = mask if earlier is None else mask | earlier
    return found


def _of_area(store: Results, key: str) -> np.ndarray | None:
    """The mask of AREA, or the largest values of a map, as (h, w) bool; None where a row has neither."""
    ranking = stored(store, key, [AREA]).get(AREA)
    return None if ranking is None else keep_largest(ranking, torch.tensor([AREA]))[0, 0].numpy() > 0


def _row(
    key: tuple, kind: str, one: str, other: str, area: float, mask: np.ndarray, beside: np.ndarray
) -> dict[str, Any]:
    both, either = float((mask & beside).sum()), float((mask | beside).sum())
    numbers = {"iou": round(both / either, 4) if either else None, "share": round(both / max(mask.sum(), 1), 4)}
    numbers |= {"expected": round(float(beside.mean()), 4), "found": None}
    numbers |= {"model": key[2], "fit": None}
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
    Raises FileNotFoundError for a folder without results, and ValueError for two settings of one of the three.
    """
    names = {"start": (PRESETS[started].start, None), "started": (FIELD, started), "random": (FIELD, random)}
    with Results(folder, reading=True) as store:
        rows = [one for one in store.rows() if one["seed"] == seed and one["iteration"] == 1]
        rows = [one for one in rows if one["status"] == "finished"]
        found = []
        for (_, _, sample), own in _by(rows, "dataset", "model", "sample").items():
            by_name = _by(own, "method", "preset")
            several = [name for name in names.values() if len(by_name.get(name, [])) > 1]
            if several:
                raise ValueError(f"{folder} holds several settings of {several[0]} for {sample}: use a folder with one")
            runs = {name: by_name.get(wanted, [None])[0] for name, wanted in names.items()}
            if runs["start"] is not None and runs["started"] is not None:
                found += _beside_start(sample, runs, store)
    return pd.DataFrame(found, columns=OF_STARTS)


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
