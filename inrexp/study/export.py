"""Tables as CSV, Markdown and LaTeX (booktabs), with a caption that names every reduction from the paper's setting."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from inrexp.comparison import METHODS, Method
from inrexp.datasets.lists import chose
from inrexp.files import written_whole
from inrexp.study.rows import settings_of
from inrexp.study.store import EQUAL_AREAS
from inrexp.study.tables import LEVEL, RESAMPLES, Table, family, left_out, seconds_table

# The data and the models of section 3.3. The settings of a method stand in its record (`Method.published`).
PAPER_DATA = {"imagenet-s": ("imagenet-s50", 752, 50), "voc": ("voc07-difficult", 2230, 20)}  # pictures, classes
PAPER_MODELS = {"imagenet-s": ("resnet50", "torchvision's ResNet50"), "voc": ("resnet50_voc", "TorchRay's ResNet50")}
TITLES = {
    "table1": "Precision (hit rate) of each method on each data set.",
    "table2": "Precision (hit rate) of consecutive explanations, and of the best of them for each picture and seed.",
}
REDUCTIONS, WHOLE = "Reductions from the paper's setting: ", "No reduction from the paper's setting."
NONE = "n/a"
FURTHER = {
    "precision_largest": "Precision, largest mask",
    "precision_box": "Precision, box",
    "precision_mask": "Precision, mask",
    "area": "a*",
    "area_error": "Area error, cut",
    "probability": "p, soft mask",
    "probability_cut": "p, cut mask",
    "cut_suffices": "Some cut mask suffices",
    "insertion": "Insertion",
    "deletion": "Deletion",
}
EQUAL_TITLE = "At equal real area: masks brought to it by their largest values, all under a blur of 20 px"
PLACES = {at: f"{100 * area:g} %" for at, area in EQUAL_AREAS.items()} | {"star": "a*"}
EQUAL = {
    f"{measure}_at_{at}": f"{title}, {place}"
    for measure, title in (("probability", "p"), ("precision", "Precision"))
    for at, place in PLACES.items()
} | {"object_share": "Object's share of the picture"}
FITTED = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{"  # no wider than the page
# pandas escapes cells but no caption, and leaves < and > as they are; this is for both.
ESCAPES = str.maketrans(
    {**{sign: f"\\{sign}" for sign in "&%$#_{}"}, "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"\\": r"\textbackslash{}", "<": r"\textless{}", ">": r"\textgreater{}", "[": "{[}", "]": "{]}"}
)


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
    start, there = family(dataset), f"{pictures} pictures of {classes} class{'es' * (classes > 1)}"
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
    found = _of_settings(record, preset, settings_of(runs["settings"].iloc[0]))
    seeds = runs["seed"].nunique()
    if record and seeds < record.seeds:
        found.append(f"{seeds} seed{'s' * (seeds > 1)} (paper: {record.seeds})")
    if runs["sample"].nunique() < pictures:
        found.append(f"{runs['sample'].nunique()} of the {pictures} pictures")
    if len(runs) < runs["sample"].nunique() * seeds * runs["iteration"].nunique():
        found.append("not every seed and iteration of every picture")
    return found


def _of_settings(record: Method | None, preset: str, settings: Mapping[str, Any]) -> list[str]:
    """Where a method's options differ from those in its publication."""
    if record is None or record.published is None:
        return ["not a method of the paper"]
    found = []
    for name, wanted in record.published.items():
        value = preset if name == "preset" else settings.get(name, "unknown")
        if value != wanted:
            found.append(
                f"preset {value} (paper: {wanted})" if name == "preset" else f"{value} {name} (published: {wanted})"
            )
    return found


def caption(table: Table) -> str:
    """What the numbers are, which reductions lie behind them, and on which data the published numbers were measured."""
    frame = table.frame
    said = [
        TITLES[table.name],
        "Each number is a mean over seeds, then over pictures; n is the number of pictures.",
        f"Brackets [ ] hold the {LEVEL:.0%} percentile bootstrap over pictures, with {RESAMPLES} resamples.",
        f"The precision of masks is that of the mask at a*, cut at {_settings(table.rows, 'cut')}, over the pictures "
        f"that have an a*. The threshold of a* is {_settings(table.rows, 'threshold')}.",
        *_of_lists(table.rows),
        *_of_maps(table.rows),
        "The table counts the runs that have no a*, whose fit collapsed (or diverged) and so left no explanation, or "
        "that failed with an error, and the pictures for which every run did. The list beside the table names them "
        f"({table.name}_left_out.csv).",
    ]
    if "against" in frame and frame["against"].notna().any():
        against = frame.dropna(subset="against").groupby("against")["dataset"].unique()
        names = " and ".join(f"{name} (on {', '.join(where)})" for name, where in against.items())
        said.append(
            f"The difference is the method's mean less that of {names}. p is of a paired t-test over the pictures that "
            "both have, uncorrected for the number of tests."
        )
    if (frame["published_on"] != "").any():
        said.append('The column "Paper" has what the paper\'s text gives, measured on the data set named there.')
    short = "; ".join(f"{subject}: {', '.join(found)}" for subject, found in reductions(table.rows).items())
    return " ".join([*said, f"{REDUCTIONS}{short}." if short else WHOLE, *([table.note] if table.note else [])])


def _of_lists(rows: pd.DataFrame) -> list[str]:
    """The sentence on the pictures that chose the default preset and those that did not; none without such pictures."""
    found = [(dataset, chose(runs["sample"])) for dataset, runs in rows.groupby("dataset")]
    said = "; ".join(f"{dataset}, {words}" for dataset, words in found if words)
    return [f"Pictures, by the lists of those on which settings were chosen: {said}."] if said else []


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


def parts(table: Table) -> dict[str, pd.DataFrame]:
    """The table for readers, as text in parts.

    The first part has the paper's layout. The second shows what each number rests on: intervals, counts of pictures
    and runs, tests. The third holds the further measures. The fourth compares all methods at the same real area; it is
    left out for rows that have no such numbers.
    """
    layout: dict[str, dict[str, str]] = {}
    basis, further, equal = [], [], []
    for line in table.frame.to_dict("records"):
        name = line["method"] + (f", {_iteration(line['iteration'])}" if "iteration" in line else "")
        place = f"{line['dataset']}, {line['model']}"
        score = _score(line["precision"], line["hit_rate"])
        layout.setdefault(name, {})[place] = f"{score}, n = {line['pictures']}"
        lead = {"Data set, model": place, "Method": name}
        basis.append(lead | {"Precision (hit rate)": score} | _basis(line))
        further.append(lead | {title: _measured(line, measure) for measure, title in FURTHER.items()})
        equal.append(lead | {title: _measured(line, measure) for measure, title in EQUAL.items()})
    empty = [title for measure, title in FURTHER.items() if not table.frame[f"{measure}_pictures"].any()]
    unequal = [title for measure, title in EQUAL.items() if not table.frame[f"{measure}_pictures"].any()]
    wide = pd.DataFrame.from_dict(layout, orient="index").fillna(NONE).rename_axis("Method").reset_index()
    found = {
        "": wide,
        "What it rests on": pd.DataFrame(basis),
        "Further measures": pd.DataFrame(further).drop(columns=empty),
    }
    if len(unequal) < len(EQUAL):
        found[EQUAL_TITLE] = pd.DataFrame(equal).drop(columns=unequal)
    return found


def _basis(line: Mapping[Hashable, Any]) -> dict[str, str]:
    said = {
        f"{LEVEL:.0%} interval": f"[{_number(line['precision_low'])}, {_number(line['precision_high'])}]",
        "of the hit rate": f"[{_number(line['hit_rate_low'])}, {_number(line['hit_rate_high'])}]",
        "Paper": NONE,
        "Pictures": f"{line['pictures']} of {line['pictures_asked']}",
        "Runs": str(line["runs"]),
        "Without a*": _counted(line["runs_without_star"], line["pictures_without_star"]),
        "Collapsed": _counted(line["runs_collapsed"], line["pictures_collapsed"]),
        "Failed": _counted(line["runs_failed"], line["pictures_failed"]),
    }
    if line["published_on"]:
        said["Paper"] = f"{_score(line['published_precision'], line['published_hit_rate'])}, {line['published_on']}"
    if "p" in line:
        tested = pd.notna(line["pairs"])
        said["Difference"] = _number(line["difference"], signed=True)
        said["Paired t-test, p (n pictures)"] = f"{_p(line['p'])} ({line['pairs']})" if tested else NONE
    return said


def markdown(table: Table) -> str:
    blocks = [f"**Table {table.name[-1]}.** {_plain(caption(table))}"]
    for title, part in parts(table).items():
        drawn = part.rename(columns=_plain).map(_plain).to_markdown(index=False, disable_numparse=True)
        blocks.append((f"{title}:\n\n" if title else "") + drawn)
    return "\n\n".join(blocks) + "\n"


def latex(table: Table) -> str:
    """A `table*` that holds a booktabs tabular for each part.  It needs \\usepackage{booktabs,graphicx}."""
    lines = [
        r"\begin{table*}",
        rf"\caption{{{escaped(caption(table))}}}",
        rf"\label{{tab:{table.name}}}",
        r"\centering",
    ]
    for title, part in parts(table).items():
        lines += [rf"\medskip {escaped(title)}\par"] if title else []
        drawn = part.style.format(escaped).format_index(escaped, axis="columns").hide(axis="index")
        lines.append(FITTED + drawn.to_latex(hrules=True, column_format="l" * len(part.columns)).strip() + r"}\par")
    return "\n".join([*lines, r"\end{table*}"]) + "\n"


def escaped(text: str) -> str:
    """The text with LaTeX's special characters escaped."""
    return str(text).translate(ESCAPES)


def _number(value: Any, *, signed: bool = False, digits: int = 2) -> str:
    return NONE if pd.isna(value) else f"{round(value, digits) + 0.0:{'+' * signed}.{digits}f}"  # + 0.0: no "-0.00"


def _measured(line: Mapping[Hashable, Any], measure: str) -> str:
    return f"{_number(line[measure], signed=measure == 'area_error', digits=3)}, n = {line[f'{measure}_pictures']}"


def _score(precision: Any, hit_rate: Any) -> str:
    return _number(precision) + (f" ({_number(hit_rate)})" if pd.notna(hit_rate) else "")


def _p(value: Any) -> str:
    return NONE if pd.isna(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _counted(runs: int, pictures: int) -> str:
    return f"{runs} run{'s' * (runs != 1)}, {pictures} picture{'s' * (pictures != 1)}" if runs else "0"


def _iteration(number: str) -> str:
    return f"iteration {number}" if number.isdigit() else "best"


def _plain(text: str) -> str:
    """The text with Markdown's special characters escaped, which tabulate does not do."""
    return text.replace("*", r"\*").replace("|", r"\|").replace("<", "&lt;").replace("_", r"\_")


def write(table: Table, folder: "str | Path", seconds: pd.DataFrame | None = None) -> list[Path]:
    """Write NAME.csv (numbers to four digits), NAME.md, NAME.tex and NAME_left_out.csv.  Returns their paths.

    No file is left half-written. The same rows always give the same files, byte for byte.
    seconds: what `rows.read_seconds` returns. The times go into NAME_seconds.csv, a file of their own, because they
        differ from run to run.
    A table with reductions never replaces a table without them. It is written beside it as NAME.quick.csv and so on.
    """
    folder, stem = Path(folder), table.name
    there = folder / f"{stem}.md"
    if reductions(table.rows) and there.is_file() and WHOLE in there.read_text(encoding="utf-8"):
        stem += ".quick"
    contents = {
        f"{stem}.csv": table.frame.to_csv(index=False, float_format="%.4g", lineterminator="\n"),
        f"{stem}.md": markdown(table),
        f"{stem}.tex": latex(table),
        f"{stem}_left_out.csv": left_out(table.rows).to_csv(index=False, lineterminator="\n"),
    }
    if seconds is not None:
        timed = seconds_table(table.rows, seconds)
        contents[f"{stem}_seconds.csv"] = timed.to_csv(index=False, float_format="%.4g", lineterminator="\n")
    for name, text in contents.items():
        with written_whole(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
    return [folder / name for name in contents]
