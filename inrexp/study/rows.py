"""Reads the rows of a study for tables and figures, checks them, and gives each method a name that a table can show.

Rows of an older format are read only if a file beside them says which commit made them (`PROVENANCE`).
"""

import hashlib
import io
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from inrexp.comparison import METHODS
from inrexp.files import read_utf8
from inrexp.study.scores import FAILED
from inrexp.study.store import AT_EQUAL_AREA, FILE, FORMAT, KEYED, ROWS, SECONDS, Results, key_of

IDENTITY = ["dataset", "sample", "model", "method", "preset", "settings", "seed", "iteration"]
TEXT = ["key", *IDENTITY[:-2], "label", "contents", "beside", "status", "error"]
MEASURES = ["precision_largest", "area", "area_error", "probability", "probability_cut", "insertion", "deletion"]
OF_VOC = ["precision_box", "precision_mask"]  # missing where each picture has a single truth
OPTIONAL = [*OF_VOC, *AT_EQUAL_AREA, "disc_at_star", "object_share", "size"]  # older rows lack all but the first two
NUMBERS = ["seed", "iteration", "area_cut_star", "precision", "hit", *MEASURES]
PROVENANCE = "provenance.toml"  # file name -> format, commit, and what was done to the rows since


def read_rows(path: "str | Path") -> pd.DataFrame:
    """The rows of a study, read from its folder or from a CSV file that it exported, after `checked`.

    Raises FileNotFoundError if there are none. Raises ValueError for a file that is no CSV in UTF-8, for rows that
    `checked` refuses, and for a key that disagrees with the columns of its row.
    """
    path = Path(path)
    if (path / FILE).is_file():  # the rows that the study has so far
        with Results(path, reading=True) as store:
            return _read(store.exported()[0], path / FILE)
    path = path / ROWS if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"no rows at {path}: wanted a folder that `inrexp study` filled, or its {ROWS}")
    return _read(read_utf8(path), path)


def _read(text: str, path: Path) -> pd.DataFrame:
    """The rows of exported text, after `checked`.  path: where it is from."""
    try:
        header = pd.read_csv(io.StringIO(text), nrows=0).columns
        empty = {name: [""] for name in header if name not in TEXT}  # a sample may be called "NA"
        rows = pd.read_csv(io.StringIO(text), dtype=dict.fromkeys(TEXT, str), keep_default_na=False, na_values=empty)
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise ValueError(f"{path} must be a CSV file of rows, as `inrexp study` exports it: {error}") from error
    _check_columns(rows)
    if rows.empty:
        raise ValueError(f"{path} has no row: the study has no run yet")
    _check_keys(rows, path)
    return checked(rows)


def provenance(path: "str | Path") -> Mapping[str, Any]:
    """Format, commit and note that `PROVENANCE` beside a CSV file gives for it; empty if it gives nothing."""
    beside = Path(path).parent / PROVENANCE
    return tomllib.loads(beside.read_text(encoding="utf-8")).get(Path(path).name, {}) if beside.is_file() else {}


def _check_keys(rows: pd.DataFrame, path: Path) -> None:
    """Check that every key is the key of its row.

    Raises ValueError if one is not, and for rows of an older format without provenance.
    """
    formats = set(rows["format"].unique()) if "format" in rows else {1}
    if formats != {FORMAT}:
        if provenance(path).get("format") in formats:
            return
        raise ValueError(
            f"{path} holds rows of format {min(formats)}, this version writes {FORMAT}. The older keys do not say "
            f"which picture, truth and class a row belongs to. Run the study again, or name the file in {PROVENANCE} "
            "beside it, with its format and the commit that made it"
        )
    held = rows[["key", *KEYED]].astype(object)
    wrong = [row["key"] for row in held.where(held.notna(), None).to_dict("records") if row["key"] != key_of(row)]
    if wrong:
        raise ValueError(
            f"{path}: the key {wrong[0]} is not that of its row ({len(wrong)} such rows). Columns were changed after "
            "the study: give a data set its name with `inrexp study --called NAME` instead"
        )


def read_seconds(path: "str | Path") -> pd.DataFrame | None:
    """Key and seconds of each row that `read_rows` reads: of a study's folder, or seconds.csv beside its rows.csv.

    None without them.
    """
    path = Path(path)
    if (path / FILE).is_file():
        with Results(path, reading=True) as store:
            return pd.read_csv(io.StringIO(store.exported()[1]), dtype={"key": str})
    path = path / ROWS if path.is_dir() else path
    beside = path.with_name(path.name.replace(ROWS, SECONDS))
    return pd.read_csv(beside, dtype={"key": str}) if beside.is_file() and beside != path else None


def _check_columns(rows: pd.DataFrame) -> None:
    missing = [name for name in [*IDENTITY, "key", "label", "status", *NUMBERS] if name not in rows]
    if missing:
        raise ValueError(f"rows lack the columns {', '.join(missing)}: wanted those that `inrexp study` exports")


def checked(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows in a fixed order, with four more columns.

    variant: the method with its preset, such as "INR, crisp".
    failed: bool, the run ended with an error.
    collapsed: bool, the fit collapsed or diverged and left no explanation. Such a row has no numbers.
    cut_suffices: 1 if the mask of some area still keeps the class when it is cut to 0/1, else 0.
    Raises ValueError for missing columns, for no rows at all, for a run that occurs twice, and for text in a column of
    numbers.
    """
    _check_columns(rows)
    if rows.empty:
        raise ValueError("rows are empty: the study has no run yet")
    rows = rows.fillna({name: "" for name in TEXT if name in rows}).copy()
    for name in [*OPTIONAL, "unmasked"]:
        rows[name] = rows.get(name, np.nan)
    for name in [*NUMBERS, *OPTIONAL, "unmasked"]:
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
    rows["failed"] = rows["status"].str.startswith(FAILED)
    rows["collapsed"] = rows["status"].str.startswith(("collapsed", "diverged"))
    rows.loc[rows["collapsed"], ["area_cut_star", "precision", "hit", *MEASURES, *OPTIONAL]] = np.nan
    rows["cut_suffices"] = rows["area_cut_star"].notna().astype(float).where(~rows["failed"] & ~rows["collapsed"])
    return rows


def settings_of(text: str) -> dict[str, Any]:
    """The settings of a row as a flat dictionary.

    Nested settings are named by their path, without "fit": {"fit": {"steps": 9, "lr": {"end": 0}}} becomes
    {"steps": 9, "lr.end": 0}.
    """
    flat: dict[str, Any] = {}

    def add(values: Mapping[str, Any], path: str) -> None:
        for name, value in values.items():
            if isinstance(value, dict):
                add(value, path if name == "fit" else f"{path}{name}.")
            else:
                flat[path + name] = value

    add(json.loads(text or "{}"), "")
    return flat


def setting_of(row: Mapping[str, Any]) -> str:
    """A hash of a run's method and settings, in 12 hexadecimal digits.  row: of `read_rows`."""
    return hashlib.sha256(f"{row['method']} {row['preset']} {row['settings']}".encode()).hexdigest()[:12]


def label_of(method: str) -> str:
    """What tables call a method: its label, or its name if it is not registered here."""
    return METHODS[method].label if method in METHODS else method


def _variants(rows: pd.DataFrame) -> pd.Series:
    """Name each run by its method and preset, such as "INR, crisp".

    If runs of one preset differ in some settings on some data set, these settings join the name on every data set.
    Where two methods would have one name, that of METHODS follows it: "RISE (rise)".
    """
    names = pd.Series("", index=rows.index)
    for (_, method, preset), runs in rows.groupby(["model", "method", "preset"]):
        settings = {text: settings_of(text) for text in runs["settings"].unique()}
        all_names = dict.fromkeys(name for one in settings.values() for name in one)
        together = [[settings[text] for text in one.unique()] for _, one in runs.groupby("dataset")["settings"]]
        differ = [
            name for name in all_names if any(len({json.dumps(one.get(name)) for one in ones}) > 1 for ones in together)
        ]
        own_name = preset.removeprefix(method).strip("_")  # "extremal_perturbation_quick" is its "quick"
        stem = ", ".join(part for part in (label_of(method), own_name) if part)
        for text, one in settings.items():
            own = [f"{name} {one.get(name)}" for name in differ]
            names[runs.index[runs["settings"] == text]] = ", ".join([stem, *own])
    shared = rows["method"].groupby(names).transform("nunique") > 1  # two methods have one label
    return names.mask(shared, names + " (" + rows["method"] + ")")
