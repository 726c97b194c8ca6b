"""Tables as CSV, Markdown and LaTeX (booktabs), with a caption that names every reduction from the paper's setting."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from inrexp.files import written_whole
from inrexp.study.captions import NONE, TITLES, WHOLE, caption, reductions
from inrexp.study.equal import KEPT, PRECISION, PROBABILITY, differences, equal_area, has_equal_areas
from inrexp.study.intervals import LEVEL
from inrexp.study.store import EQUAL_AREAS
from inrexp.study.tables import Table, left_out, seconds_table

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
DATA_SET = "Data set"
COMPANIONS = ("_equal.csv", "_differences.csv", "_seconds.csv")  # files that only some tables have
PAPER_TITLE = (
    "In the paper's layout, each method at masks of its own size: precision (hit rate), the number of pictures, and "
    "the mean size of the masks"
)
EQUAL_TITLE = (
    "At equal real area, all pictures that the method has: where an a* is found, and the probability p that masks keep"
)
HALF_TITLE = "At equal real area: the share of pictures of which a mask keeps half of p, and how the masks were made"
PRECISION_TITLE = "Precision at equal real area, and at each method's own a* beside a centred disc of that size"
DIFFERENCES_TITLE = "Differences at equal real area, paired by picture; p corrected for the number of comparisons"
PLACES = {at: f"{100 * area:g} %" for at, area in EQUAL_AREAS.items()}
PER_AREA = {"Half of p kept": KEPT, "p": PROBABILITY, "Precision": PRECISION}
EQUAL = {"found": "a* found", "star": "a*, 20 % where none"} | {
    name: f"{title}, {place}"
    for title, names in PER_AREA.items()
    for name, place in zip(names, PLACES.values(), strict=True)
}
OWN_AREA = {"precision_at_star": "Precision, own a*", "disc_at_star": "Disc, that a*", "object_share": "Object's share"}
FITTED = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{"  # no wider than the page
# pandas escapes cells but no caption, and leaves < and > as they are; this is for both.
ESCAPES = str.maketrans(
    {**{sign: f"\\{sign}" for sign in "&%$#_{}"}, "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"\\": r"\textbackslash{}", "<": r"\textless{}", ">": r"\textgreater{}", "[": "{[}", "]": "{]}"}
)


def parts(table: Table) -> dict[str, pd.DataFrame]:
    """The table for readers, as text in parts, by title.

    First the paper's own layout, in which every method has masks of another size. Then all methods at the same real
    area, which is left out for rows that have no such numbers: what masks keep, how precise they are, and the paired
    differences. Then what each number of the first part rests on (intervals, counts of pictures and runs, tests), and
    further measures.
    """
    models = table.frame["model"].nunique()
    layout: dict[str, dict[str, str]] = {}
    basis, further = [], []
    for line in table.frame.to_dict("records"):
        lead = _lead(line, models)
        place, name = lead[DATA_SET], lead["Method"]
        score = _score(line["precision"], line["hit_rate"])
        size = f", size {_number(line['size'])}" if pd.notna(line["size"]) else ""
        layout.setdefault(name, {})[place] = f"{score}, n = {line['pictures']}{size}"
        basis.append(lead | {"Precision (hit rate)": score} | _basis(line))
        further.append(lead | {title: _measured(line, measure) for measure, title in FURTHER.items()})
    empty = [title for measure, title in FURTHER.items() if not table.frame[f"{measure}_pictures"].any()]
    wide = pd.DataFrame.from_dict(layout, orient="index").fillna(NONE).rename_axis("Method").reset_index()
    return {
        PAPER_TITLE: wide,
        **_equal_parts(table, models),
        "What the first part rests on": pd.DataFrame(basis),
        "Further measures": pd.DataFrame(further).drop(columns=empty),
    }


def _equal_parts(table: Table, models: int) -> dict[str, pd.DataFrame]:
    """The parts at equal real area; none for rows without such numbers."""
    if not has_equal_areas(table.rows):
        return {}
    kept, half, precise = [], [], []
    for line in equal_area(table).to_dict("records"):
        count = f"{line['found_pictures']}"
        count += f" ({line['pairs']} pairs)" if line["pairs"] != line["found_pictures"] else ""
        lead = _lead(line, models) | {"n": count}
        ran = {"Fitted under": line["fitted_under"], "Collapsed": str(line["collapsed"]), "Failed": str(line["failed"])}
        kept.append(lead | {EQUAL[name]: _between(line, name) for name in ("found", "star", *PROBABILITY)})
        half.append(lead | {EQUAL[name]: _between(line, name) for name in KEPT} | ran)
        precise.append(lead | {title: _between(line, name) for name, title in _precise().items()})
    frames = {EQUAL_TITLE: pd.DataFrame(kept), PRECISION_TITLE: pd.DataFrame(precise)}
    found = {title: frame.loc[:, (frame != NONE).any()] for title, frame in frames.items()}
    compared: dict[tuple, dict[str, str]] = {}
    for line in differences(table).to_dict("records"):
        lead = _lead(line, models) | {"Less": line["against"], "Comparisons": str(line["comparisons"])}
        compared.setdefault(tuple(lead.items()), lead)[EQUAL[line["measure"]]] = _difference(line)
    found |= {DIFFERENCES_TITLE: pd.DataFrame(compared.values())} if compared else {}
    halves = pd.DataFrame(half)
    return found | {HALF_TITLE: halves.loc[:, (halves != NONE).any()]}


def _precise() -> dict[str, str]:
    return {name: EQUAL[name] for name in PRECISION} | OWN_AREA


def _lead(line: Mapping[Hashable, Any], models: int) -> dict[str, str]:
    """The first columns of every part; the model is named where the table has several."""
    name = line["method"] + (f", {_iteration(line['iteration'])}" if "iteration" in line else "")
    return {DATA_SET: f"{line['dataset']}, {line['model']}" if models > 1 else line["dataset"], "Method": name}


def _between(line: Mapping[Hashable, Any], measure: str) -> str:
    """A mean with its interval; the number of pictures too where it is not that of the line."""
    if pd.isna(line[measure]):
        return NONE
    said = _number(line[measure])
    said += f" [{_number(line[f'{measure}_low'])}, {_number(line[f'{measure}_high'])}]"
    count = line[f"{measure}_pictures"]
    return said + (f", n = {count}" if count != line["found_pictures"] else "")


def _difference(line: Mapping[Hashable, Any]) -> str:
    if pd.isna(line["difference"]):
        return NONE
    ends = ", ".join(_number(line[end], signed=True) for end in ("low", "high"))
    return f"{_number(line['difference'], signed=True)} [{ends}], p {_p(line['holm'])}"


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


def markdown(table: Table, stem: str = "") -> str:
    """The table's title, its parts, and below them the long caption.  stem: as in `caption`."""
    title = TITLES[table.name]
    blocks = [f"**Table {table.name[-1]}.** {plain(title)}"]
    for heading, part in parts(table).items():
        drawn = part.rename(columns=plain).map(plain).to_markdown(index=False, disable_numparse=True)
        blocks.append(f"{plain(heading)}:\n\n{drawn}")
    said = plain(caption(table, stem).removeprefix(title).strip())
    return "\n\n".join([*blocks, f"**What the numbers are.** {said}"]) + "\n"


def latex(table: Table, stem: str = "") -> str:
    """A `table*` that holds a booktabs tabular for each part.  It needs \\usepackage{booktabs,graphicx}.

    stem: as in `caption`.
    """
    lines = [
        r"\begin{table*}",
        rf"\caption{{{escaped(caption(table, stem))}}}",
        rf"\label{{tab:{table.name}}}",
        r"\centering",
    ]
    for title, part in parts(table).items():
        lines.append(rf"\medskip {escaped(title)}\par")
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


def plain(text: str) -> str:
    """The text with Markdown's special characters escaped, which tabulate does not do."""
    return text.replace("*", r"\*").replace("|", r"\|").replace("<", "&lt;").replace("_", r"\_")


def write(table: Table, folder: "str | Path", seconds: pd.DataFrame | None = None) -> list[Path]:
    """Write NAME.csv (numbers to four digits), NAME.md, NAME.tex and NAME_left_out.csv.  Returns their paths.

    Rows that were measured at equal area also give NAME_equal.csv and NAME_differences.csv.

    No file is left half-written, and no file of an earlier table stays beside a table that does not give it. The same
    rows always give the same files, byte for byte.
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
        f"{stem}.md": markdown(table, stem),
        f"{stem}.tex": latex(table, stem),
        f"{stem}_left_out.csv": left_out(table.rows).to_csv(index=False, lineterminator="\n"),
    }
    if has_equal_areas(table.rows):
        for name, frame in (("equal", equal_area(table)), ("differences", differences(table))):
            if len(frame):
                contents[f"{stem}_{name}.csv"] = frame.to_csv(index=False, float_format="%.4g", lineterminator="\n")
    if seconds is not None:
        timed = seconds_table(table.rows, seconds)
        contents[f"{stem}_seconds.csv"] = timed.to_csv(index=False, float_format="%.4g", lineterminator="\n")
    for name, text in contents.items():
        with written_whole(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
    for ending in COMPANIONS:
        if f"{stem}{ending}" not in contents:
            (folder / f"{stem}{ending}").unlink(missing_ok=True)
    return [folder / name for name in contents]
