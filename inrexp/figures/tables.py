"""Drawing only: how a study's numbers are spread over its pictures.  The rows are those of `rows.read_rows`."""

from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from inrexp.figures.shown import MODELS, counted
from inrexp.figures.style import DASHES, LINES, WIDTH, caption, method_colours, method_dashes, style
from inrexp.metrics import HIT
from inrexp.paper.smallest_area import PAPER_AREAS
from inrexp.study.captions import reductions
from inrexp.study.tables import by_picture, in_paper_order, iterations, of_several, samples_of

DATASETS = {
    "packaged": "packaged pictures",
    "imagenet-s50": "ImageNet-S50",
    "imagenet-s50-standin": "ImageNet-S50, stand-in",
    "voc07-difficult": "VOC07 difficult",
    "voc07-difficult-sample": "VOC07 difficult, sample",
}
MEAN: dict[str, Any] = {"marker": "D", "markersize": 4, "markerfacecolor": LINES[1], "markeredgecolor": "white"}
HIT_LINE: dict[str, Any] = {"color": "0.6", "linewidth": 0.8, "linestyle": ":"}


def made_by_rows(rows: pd.DataFrame) -> str:
    """The grey line under a figure of a study: how many runs, by which model, seeds, pictures of which data set."""
    sets = [
        f"{runs['sample'].nunique()} {samples_of(name)} of {_dataset(name)}"
        for name, runs in rows.groupby("dataset", sort=False)
    ]
    models = ", ".join(MODELS.get(name, name) for name in rows["model"].unique())
    seeds = counted("seed", [str(seed) for seed in sorted(rows["seed"].unique())])
    return f"Made by {len(rows)} runs of a study; {models}; {seeds}; {', '.join(sets)}."


def said_of_rows(rows: pd.DataFrame, table: str, note: str = "") -> dict[str, Any]:
    """What `save_figure` says of a study's rows: `made_by_rows`, how far they fall short of the paper's, if they do.

    table: the table that lists each reduction, by its file's name.  note: one more sentence.
    """
    count = sum(map(len, reductions(rows).values()))
    reduced = f"{count} reduction{'s' * (count > 1)}, which {table}.md lists" if count else ""
    return {"made_by": f"{made_by_rows(rows)} {note}".strip(), "reduced": reduced, "quick": bool(count)}


def precision_by_method(rows: pd.DataFrame, *, measure: str = "precision") -> Figure:
    """Table 1 spread out: a dot a picture or pair (mean over seeds), a box of the quartiles, a diamond at the mean."""
    pictures = by_picture(rows[rows["iteration"] == 1], measure)
    return _spread(pictures.assign(line=pictures["variant"]), measure)


def precision_by_iteration(rows: pd.DataFrame, *, measure: str = "precision") -> Figure:
    """Table 2 spread out, in the same way: iterations 1 to 3, and the best of them."""
    found = []
    for (_, model, name), group in of_several(rows).groupby(["dataset", "model", "variant"]):
        for number, runs in iterations(group).items():
            line = number if number == "best" else f"iteration {number}"
            means = by_picture(runs.assign(iteration=1), measure)  # the best of a picture's may be of any iteration
            found.append(means.assign(line=line, model=f"{MODELS.get(model, model)}, {name}"))
    return _spread(pd.concat(found), measure)


def _spread(pictures: pd.DataFrame, measure: str) -> Figure:
    """A panel for each data set and model, in it a row for each value of `line`."""
    with style():
        figure, panels = _panels(pictures, height=0.8 + 0.42 * pictures["line"].nunique())
        for axes, part in panels:
            counts = part.groupby("line", sort=False)["sample"].nunique()
            named = part.assign(line=part["line"].map({name: f"{name}\nn = {n}" for name, n in counts.items()}))
            size = min(2.2, 30 / len(named) ** 0.5)
            sns.swarmplot(named, x=measure, y="line", ax=axes, size=size, color=LINES[0], alpha=0.6, warn_thresh=1)
            sns.boxplot(
                named, x=measure, y="line", ax=axes, width=0.55, fill=False, color="0.25", linewidth=0.9,
                showfliers=False, showmeans=True, meanprops=MEAN,
            )  # fmt: skip
            axes.axvline(HIT, **HIT_LINE)
            axes.set(xlim=(-0.02, 1.02), ylabel="", xlabel=measure.replace("_", " "))
        figure.legend(handles=_marks(pictures), loc="outside lower center", ncols=4)
    return figure


def _marks(pictures: pd.DataFrame) -> list[Line2D]:
    """What each mark of `_spread` means."""
    samples = dict.fromkeys(samples_of(name).removesuffix("s") for name in pictures["dataset"].unique())
    dot = f"a {' or a '.join(samples)}"
    return [
        Line2D([], [], color=LINES[0], linestyle="", marker="o", markersize=3, label=dot),
        Line2D([], [], linestyle="", label="mean", **MEAN),
        Line2D(
            [],
            [],
            color="0.25",
            linestyle="",
            marker="|",
            markersize=8,
            label="median, middle half (box), 1.5 times that (whiskers)",
        ),
        Line2D([], [], label=f"hit: above {HIT:g}", **HIT_LINE),
    ]


def smallest_areas(rows: pd.DataFrame) -> Figure:
    """The share of a method's runs whose a* (eq. 5) is an area or less; a run without one counts in no area's share.

    Failed runs are left out. The steps of a method that has masks of few areas lie at these.
    """
    runs = in_paper_order(rows[(rows["iteration"] == 1) & ~rows["failed"]])
    largest = max(runs["area"].fillna(0).max(), *PAPER_AREAS)  # all that was searched
    runs = _counted(runs.assign(star=runs["area"].fillna(2.0)))  # beyond every area
    colours, dashes = method_colours(runs["line"].unique()), method_dashes(runs["line"].unique())
    with style():
        figure, panels = _panels(runs, height=2.8)
        for axes, part in panels:
            for name, group in part.groupby("line", sort=False):
                stars = [*group["star"].sort_values(), 3.0]  # so that a line goes on after its last step
                shares = [*(np.arange(1, len(group) + 1) / len(group)), 1.0]
                drawn = {"color": colours[name], "ls": dashes[name], "label": name}
                if dashes[name] != DASHES[0]:  # darker and above, since it may run along the whole line of its method
                    drawn |= {"color": [0.55 * part for part in to_rgb(colours[name])], "zorder": 3}
                axes.step([0, *stars], [0, *shares], where="post", **drawn)
            axes.set(xlabel="area asked, as a fraction of the picture", ylabel="share with a* up to here")
            axes.set(ylim=(0, 1.02), xlim=(0, 1.02 * largest))
            axes.legend()
        _one_legend(figure)
    caption(
        figure, "Masks as fitted: a soft one may be larger than asked, and each method is judged under its own fill."
    )
    return figure


def soft_against_cut(rows: pd.DataFrame) -> Figure:
    """What the soft mask at a* keeps of the class, and what is left of it when the mask is cut to 0/1; a dot a run.

    Saliency maps have no soft mask (their mask of an area is 0/1): both numbers are one, and they are left out.
    """
    runs = in_paper_order(rows[rows["iteration"] == 1].dropna(subset=["probability", "probability_cut"]))
    runs = runs[(runs["probability"] != runs["probability_cut"]).groupby(runs["variant"]).transform("any")]
    runs = _counted(runs)
    colours = method_colours(runs["line"].unique())
    with style():
        figure, panels = _panels(runs, height=3.2)
        for axes, part in panels:
            axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8, zorder=0)
            sns.scatterplot(
                part, x="probability", y="probability_cut", hue="line", hue_order=list(colours), palette=colours,
                style="line", style_order=list(colours), ax=axes, s=14, alpha=0.7, linewidth=0,
            )  # fmt: skip
            axes.set(xlim=(0, 1.02), ylim=(-0.02, 1.02), xlabel="p, soft mask at a*", ylabel="p, mask cut to 0/1")
        _one_legend(figure)
    return figure


def leak_curves(rows: pd.DataFrame, variants: Sequence[str]) -> Figure:
    """Probability over area, mean of the pictures with a 95 % bootstrap band: soft masks, and the same cut to 0/1.

    rows: of `variants.measured`, as in data/results/variants.csv; a panel for each of `variants`.
    """
    kinds = {"probability": "soft mask", "probability_cut": "mask cut to 0/1"}
    long = rows.melt(["variant", "picture", "area"], list(kinds), "mask", "kept").replace({"mask": kinds})
    with style():
        figure, axes = plt.subplots(1, len(variants), figsize=(WIDTH, 2.5), sharey=True, squeeze=False)
        for panel, name in zip(axes[0], variants, strict=True):
            part = long[long["variant"] == name]
            sns.lineplot(
                part, x="area", y="kept", hue="mask", style="mask", palette=list(LINES[:2]), ax=panel, seed=0,
                legend=name == variants[-1],
            )  # fmt: skip
            panel.set(
                title="\n".join([*name.split(", ", 1), f"n = {part['picture'].nunique()}"]),
                xlabel="area asked",
                ylim=(0, 1.05),
            )
        axes[0, 0].set_ylabel("probability kept")
        _one_legend(figure)
    caption(figure, "A line is the mean of n pictures, not the same in every panel; its band is a 95 % interval.")
    return figure


def _dataset(name: str) -> str:
    return DATASETS.get(name, name.replace("_", " "))


def _one_legend(figure: Figure) -> None:
    """One legend below all panels instead of one in each."""
    legends = [legend for axes in figure.axes if (legend := axes.get_legend()) is not None]
    if not legends:
        return
    names = [text.get_text() for text in legends[0].get_texts()]
    handles = [handle for handle in legends[0].legend_handles if handle is not None]
    fitting = max(1, 110 // (6 + max(map(len, names))))  # columns, by their letters
    figure.legend(handles, names, loc="outside lower center", ncols=min(4, len(names), fitting))
    for legend in legends:
        legend.remove()


def _counted(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with a column `line`: the variant, and of how many pictures or pairs it has runs in each panel."""
    counts = runs.groupby(["variant", "dataset", "model"], sort=False)["sample"].nunique()
    said = {name: f"{name} (n = {', '.join(map(str, part))})" for name, part in counts.groupby("variant", sort=False)}
    return runs.assign(line=runs["variant"].map(said))


def _panels(rows: pd.DataFrame, *, height: float) -> tuple[Figure, Iterator[tuple[Axes, pd.DataFrame]]]:
    """A panel side by side for each data set and model, titled with them; height in inches."""
    parts = list(rows.groupby(["dataset", "model"], sort=False))
    figure, line = plt.subplots(1, max(1, len(parts)), figsize=(WIDTH, max(1.0, height)), squeeze=False)
    if not parts:  # as where no run of a short study has an a*
        line[0, 0].set_axis_off()
        line[0, 0].text(0.5, 0.5, "no run has this measure", ha="center", va="center")
    for axes, ((dataset, model), _) in zip(line[0], parts, strict=False):
        axes.set_title(f"{_dataset(dataset)}\n{MODELS.get(model, model)}")
    return figure, zip(line[0], (part for _, part in parts), strict=False)
