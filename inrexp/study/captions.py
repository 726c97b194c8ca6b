"""Captions of tables: what the numbers are, and every reduction from the paper's setting, read from the rows."""

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from inrexp.comparison import METHODS, Method
from inrexp.datasets.lists import chose
from inrexp.paper.smallest_area import PAPER_AREAS, searched_areas
from inrexp.saliency import PAPER_CUTS
from inrexp.study.equal import RECOGNISED, has_equal_areas
from inrexp.study.intervals import LEVEL
from inrexp.study.rows import settings_of
from inrexp.study.tables import Table, family, samples_of

# The data and the models of section 3.3. The settings of a method stand in its record (`Method.published`).
PAPER_DATA = {"imagenet-s": ("imagenet-s50", 752, 50), "voc": ("voc07-difficult", 2230, 20)}  # pictures, classes
PAPER_MODELS = {"imagenet-s": ("resnet50", "torchvision's ResNet50"), "voc": ("resnet50_voc", "TorchRay's ResNet50")}
TITLES = {
    "table1": "Precision (hit rate) of each method on each data set.",
    "table2": "Precision (hit rate) of consecutive explanations, and of the best of them for each picture and seed.",
}
REDUCTIONS, WHOLE = "Reductions from the paper's setting: ", "No reduction from the paper's setting."
NONE = "n/a"


def reductions(rows: pd.DataFrame) -> dict[str, list[str]]:
    """Where these runs fall short of the paper's setting, read from the rows of the runs.

    Returns a list of reductions for each data set, and then for each method. A method's reduction that holds on only
    some of its data sets names them. The dictionary is empty for runs in the paper's own setting.
    """
    found: dict[str, list[str]] = {}
    places: dict[str, dict[str, list[str]]] = {}  # method -> reduction -> data sets
    for (dataset, model), runs in rows.groupby(["dataset", "model"]):
        pictures = runs["sample"].nunique()
        found[f"{dataset}, {model}"] = _of_data(dataset, model, pictures, runs["label"].nunique())
        for variant, own in runs.groupby("variant"):
            for one in _of_method(own, pictures):
                places.setdefault(variant, {}).setdefault(one, []).append(dataset)
    spread = rows.groupby("variant")["dataset"].nunique()
    for variant, where in places.items():
        found[variant] = [
            one if len(names) == spread[variant] else f"{one} on {', '.join(names)}" for one, names in where.items()
        ]
    return {subject: short for subject, short in found.items() if short}


def _of_data(dataset: str, model: str, pictures: int, classes: int) -> list[str]:
    start, there = family(dataset), f"{pictures} {samples_of(dataset)} of {classes} class{'es' * (classes > 1)}"
    if not start:
        return ["not a data set of the paper", there]
    (name, wanted, most), (paper_model, in_words) = PAPER_DATA[start], PAPER_MODELS[start]
    found = ["stands in for the paper's"] if dataset != name or classes > most else []  # a copy has the same classes
    found += [] if pictures == wanted else [f"{there} (paper: {name}, {wanted} of {most})"]
    return found if model == paper_model else [*found, f"model {model} (paper: {in_words})"]


def _of_method(runs: pd.DataFrame, pictures: int) -> list[str]:
    """The reductions of one method on one data set, which has `pictures` pictures."""
    method, preset = runs[["method", "preset"]].iloc[0]
    record = METHODS.get(method)
    settings = settings_of(runs["settings"].iloc[0])
    found = _of_settings(record, preset, settings)
    cut = PAPER_CUTS.get({"imagenet-s": "imagenet"}.get(start := family(runs["dataset"].iloc[0]), start))
    if settings.get("map_cut", cut) != cut and cut is not None:
        found.append(f"maps cut at {settings['map_cut']} (paper: {cut})")
    seeds = runs["seed"].nunique()
    if record and seeds < record.seeds:
        found.append(f"{seeds} seed{'s' * (seeds > 1)} (paper: {record.seeds})")
    if runs["sample"].nunique() < pictures:
        found.append(f"{runs['sample'].nunique()} of the {pictures} {samples_of(runs['dataset'].iloc[0])}")
    if len(runs) < runs["sample"].nunique() * seeds * runs["iteration"].nunique():
        found.append("not every seed and iteration of every picture")
    return found


def _of_settings(record: Method | None, preset: str, settings: Mapping[str, Any]) -> list[str]:
    """Where a method's options differ from those in its publication.

    Another preset is one reduction, with the published options beside it. Otherwise every setting counts that the row
    has.
    """
    if record is None or record.published is None:
        return ["not a method of the paper"]
    said = {"preset": preset, **settings}
    found = []
    for name, wanted in record.published.items():
        value = said.get(name, "unknown")
        if value != wanted:
            found.append(
                f"preset {value} (paper: {wanted})" if name == "preset" else f"{value} {name} (published: {wanted})"
            )
    if record.published.get("preset", preset) != preset:
        return found
    every = settings_of(json.dumps(record.settings(record.published)))
    others = [name for name in every if name not in (*record.published, "version") and name in settings]
    return found + [
        f"{name} {settings[name]} (published: {every[name]})" for name in others if settings[name] != every[name]
    ]


def caption(table: Table, stem: str = "") -> str:
    """What the numbers are, which reductions lie behind them, and on which data the published numbers were measured.

    stem: of the table's files, by default the table's name.
    """
    frame = table.frame
    said = [
        TITLES[table.name],
        *_of_equal(table.rows),
        "Each number is a mean over seeds, then over pictures; n is the number of pictures, and on VOC that of pairs "
        "of a picture and a class.",
        f"Brackets [ ] hold a {LEVEL:.0%} interval. It is that of the mean over photographs, on VOC too, since the "
        "pairs of one are not independent: the exact binomial one where each value is 0 or 1, otherwise Student's t, "
        "cut at the least and the greatest value that there can be.",
        *_of_masks(table.rows),
        f"The threshold of a* is {_settings(table.rows, 'threshold')}.",
        *_of_lists(table.rows),
        *_of_maps(table.rows),
        "The table counts the runs that have no a*, whose fit collapsed (or diverged) and so left no explanation, or "
        "that failed with an error, and the pictures for which every run did. The list beside the table names them "
        f"({stem or table.name}_left_out.csv).",
    ]
    if "against" in frame and frame["against"].notna().any():
        against = frame.dropna(subset="against").groupby("against")["dataset"].unique()
        names = " and ".join(f"{name} (on {', '.join(where)})" for name, where in against.items())
        said.append(
            f"The difference is the mean of the method's precision less that of {names} over the photographs that both "
            "have, so it may differ from that of the two means. p is of the paired t-test over these photographs, "
            "uncorrected for the number of tests."
        )
    if (frame["published_on"] != "").any():
        said.append('The column "Paper" has what the paper\'s text gives, measured on the data set named there.')
    short = "; ".join(f"{subject}: {', '.join(found)}" for subject, found in reductions(table.rows).items())
    return " ".join([*said, f"{REDUCTIONS}{short}." if short else WHOLE, *([table.note] if table.note else [])])


def _of_equal(rows: pd.DataFrame) -> list[str]:
    """The sentences on the comparison at equal area; none for rows that lack it."""
    if not has_equal_areas(rows):
        return []
    later = (
        " The a* of a later explanation is the study's own, raised to the next of these areas. It was found without "
        f"what the earlier masks cover, by a threshold of {_settings(rows, 'threshold')}; what its masks keep may lean "
        "on that cover."
    )
    return [
        "The parts at equal real area are on all pictures that the method has; compare lines only with equal n, or by "
        "the paired differences. Every mask is brought to 2.5, 5, 10 and 20 % of the picture by its largest values and "
        "shown over a blur of 20 px. a* is the smallest of these "
        f"areas that keeps half of the unmasked probability, and 20 % for a picture without one."
        f"{later if (rows['iteration'] > 1).any() else ''} A fit that collapsed "
        "has no a* and keeps nothing (p = 0); it has no precision. Means and intervals are over pictures, after the "
        "mean over seeds and over the classes asked for in one picture. Where the network gives a class less than "
        f"{RECOGNISED:g} unmasked, it does not recognise it, and these pairs stand apart. In the differences, p is of "
        "the paired t-test over pictures, corrected by Holm's rule for the number of comparisons on the data set, "
        "those of recognised and other pairs together.",
        "The other parts are the paper's own columns, in which every method has masks of another size.",
    ]


def _of_lists(rows: pd.DataFrame) -> list[str]:
    """The sentence on the pictures that chose the default preset and those that did not; none without such pictures."""
    found = [(dataset, chose(runs["sample"])) for dataset, runs in rows.groupby("dataset")]
    said = "; ".join(f"{dataset}, {words}" for dataset, words in found if words)
    return [f"Pictures, by the lists of those on which settings were chosen: {said}."] if said else []


def _of_masks(rows: pd.DataFrame) -> list[str]:
    """The sentences on masks of an area; none for a table of saliency maps alone."""
    cut = _settings(rows, "cut")
    if cut == NONE:
        return []
    said = [f"The precision of masks is that of the mask at a*, cut at {cut}, over the pictures that have an a*."]
    if rows["method"].nunique() > 1:
        said.append(
            f"a* is searched among {len(searched_areas())} areas for fields and maps and among the paper's "
            f"{len(PAPER_AREAS)} for lattices, so that in the paper's own columns fields have smaller and mostly more "
            f"precise masks; the claims (`inrexp claims`) search {len(PAPER_AREAS)} for all first masks of 0 and 1."
        )
    said.append(
        "Where masks are made as 0 and 1 with exactly the area asked for, the area error of the cut mask is 0 and p of "
        "the cut mask is that of the soft mask, so these numbers say nothing."
    )
    return said


def _of_maps(rows: pd.DataFrame) -> list[str]:
    """The sentence on saliency maps, which are cut at a value instead of an area; none for a table without maps."""
    cut = _settings(rows, "map_cut")
    if cut == NONE:
        return []
    return [f"Saliency maps are scaled to [0, 1] and cut at {cut}; they need no a*, so all their pictures count."]


def _settings(rows: pd.DataFrame, name: str) -> str:
    """All values that one setting has in these rows, as text."""
    values = {str(settings_of(text).get(name)) for text in rows["settings"].unique()} - {"None"}
    return " or ".join(sorted(values)) or NONE
