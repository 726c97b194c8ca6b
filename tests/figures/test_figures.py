"""Every figure: panels say what is handed in, no label lies over another, none leaves the figure."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from inrexp import figures
from inrexp.figures import SchemeSteps, Shown, Surroundings
from inrexp.figures import tables as table_figures
from inrexp.figures.masks import INSET, _emptiest_corner
from inrexp.figures.several import region_colours
from inrexp.figures.shown import exactly
from inrexp.files import DATA
from inrexp.paper.settings import FieldSettings
from inrexp.study.rows import read_rows

SIDE = 64
LABEL = "king penguin"
METHODS = ("INR", "extremal perturbations", "GradCAM", "RISE")
AREAS = (0.025, 0.05, 0.1, 0.2)
WORDS = (
    "Made by INR (crisp, 300 passes), extremal perturbations (quick, 400 passes), GradCAM, RISE; EfficientNet-Lite0; "
    "seeds 0, 1, 2; pictures macaws, penguins, monarch."
)


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


def disc(area: float) -> torch.Tensor:
    """A 0/1 mask of the area, the pixels nearest to the middle."""
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    distance = (y - SIDE / 2) ** 2 + (x - SIDE / 2) ** 2
    return exactly(-distance[None, None].double() / SIDE**2, [area]).float()


def one(area: float = 0.1, p: float = 0.87, **facts) -> Shown:
    image = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    mask = disc(area)
    return Shown(image, image * mask, mask, p, 0.9, 0.45, LABEL, **({"asked": area} | facts))


def row(areas=AREAS, **facts) -> list[Shown]:
    return [one(area, min(0.99, 5 * area), **facts) for area in areas]


def around() -> Surroundings:
    left = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    left[:, : SIDE // 4] = True
    names = ("adult", "chick", "snow and ice", "penguins behind", "sky")
    truths = {name: left.roll(number * SIDE // 5, 1) for number, name in enumerate(names)}
    shares = [{name: 0.2 + 0.1 * number for number, name in enumerate(names)}] * 3
    found = [one(0.05, overlap=0.0, accepted=True), one(0.1, overlap=0.02, accepted=True)]
    found.append(one(0.2, 0.1, overlap=0.31, accepted=False))
    return Surroundings(found, truths, ("adult", "chick"), dict.fromkeys(names, 0.25), shares)


def of_five(one: Surroundings) -> Surroundings:
    """Five explanations instead of three."""
    return replace(one, found=[*one.found, *one.found[1:]], shares=[*one.shares, *one.shares[1:]])


def seeds(count: int = 3, nulls: tuple[str, ...] = ("beside another fit", "picture + 1e-6"), **words) -> Figure:
    groups = [{name: one(overlap=0.63) for name in group} for group in ([f"seed {n}" for n in range(count)], nulls)]
    rows, null = (dict.fromkeys((LABEL, "monarch"), group) for group in groups)
    return figures.seeds(rows, null, **words)


def methods() -> Figure:
    marked = {name: one(scores=disc(0.2) if name in ("GradCAM", "RISE") else None) for name in METHODS}
    return figures.methods_grid(dict.fromkeys(("macaws\nEfficientNet-Lite0", "macaws\nEfficientNet-Lite1"), marked))


def curves() -> Figure:
    figure, axes = figures.panels(1, 2, extra=0.3)
    figures.probability_curve(axes[0, 0], AREAS, {"the mask": [0.1, 0.2, 0.6, 0.9]}, threshold=0.45)
    figures.deletion(axes[0, 1], {"masks": [0.9, 0.7, 0.3]})
    return figure


def scheme() -> Figure:
    return figures.scheme(
        SchemeSteps(np.zeros((SIDE, SIDE, 3)), disc(0.1), torch.zeros(1, 3, SIDE, SIDE), one(), FieldSettings(layers=3))
    )


def of_rows(draw: Callable[[pd.DataFrame], Figure]) -> Callable[[], Figure]:
    return lambda: draw(read_rows(DATA / "results" / "study_rows.csv"))


def leak_curves() -> Figure:
    rows = pd.read_csv(DATA / "results" / "variants.csv")
    return table_figures.leak_curves(rows[rows["area"] <= 0.2], ["paper, 4000 passes", "paper, 300 passes", "crisp"])


DRAWN: dict[str, Callable[[], Figure]] = {
    "overlay": lambda: figures.overlay(one()),
    "overlay of another area": lambda: figures.overlay(one(asked=0.075)),
    "area strip": lambda: figures.area_strip(row()),
    "area strip of five": lambda: figures.area_strip(row((0.025, 0.05, 0.1, 0.15, 0.2))),
    "figure 1": lambda: figures.strips(dict.fromkeys(METHODS[:2], row())),
    "figure 1, ten areas": lambda: figures.strips(
        dict.fromkeys(METHODS[:2], row((0.025, 0.0375, 0.05, 0.075, 0.1, 0.12, 0.14, 0.16, 0.18, 0.2)))
    ),
    "figure 1, soft masks": lambda: figures.strips({"INR": row(asked=0.3)}),
    "figure 2": scheme,
    "figure 3": seeds,
    "figure 3, five seeds": lambda: seeds(
        5, ("picture + 1e-06",), headings=("the seed changes", "only rounding changes")
    ),
    "figure 4": methods,
    "figure 5": lambda: figures.several({LABEL: around().found, "monarch": around().found[:2]}),
    "figure 6": lambda: figures.surroundings({"penguins": around(), "monarch": around()}),
    "figure 6, five explanations": lambda: figures.surroundings({"penguins": of_five(around())}),
    "leaks": lambda: figures.leaks({"the paper's objective": (one(), one()), "crisp": (one(), one())}),
    "curves": curves,
    "opening": lambda: figures.opening(row(), one()),
    "precision by method": of_rows(table_figures.precision_by_method),
    "precision by iteration": of_rows(table_figures.precision_by_iteration),
    "smallest areas": of_rows(table_figures.smallest_areas),
    "soft against cut": of_rows(table_figures.soft_against_cut),
    "leak curves": leak_curves,
}


def ticked(axis: Axis) -> list[Text]:
    """Labels of the ticks that lie in view."""
    low, high = sorted(axis.get_view_interval())
    places = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=False)
    return [label for place, label in places if low <= place <= high]


def labels(figure: Figure) -> list[Text]:
    """All the words that the figure shows."""
    found = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    for axes in figure.axes:
        found += [axes.title, *axes.texts, *(legend.get_texts() if (legend := axes.get_legend()) else [])]
        if axes.axison:
            found += [axes.xaxis.label, axes.yaxis.label, *ticked(axes.xaxis), *ticked(axes.yaxis)]
    return [text for text in found if text.get_visible() and text.get_text().strip()]


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    figure.draw_without_rendering()
    boxes = [(text.get_text(), text.get_window_extent().padded(-0.5)) for text in labels(figure)]
    return [(a, b) for (a, first), (b, second) in combinations(boxes, 2) if first.overlaps(second)]


def outside(figure: Figure) -> list[str]:
    whole = figure.bbox.padded(1)
    corners = ((text.get_text(), text.get_window_extent().corners()) for text in labels(figure))
    return [words for words, four in corners if not all(whole.contains(*corner) for corner in four)]


def test_labels_that_do_overlap_are_found():
    figure = plt.figure()
    figure.text(0.5, 0.5, "one label")
    figure.text(0.51, 0.5, "another")
    figure.text(0.99, 0.1, "a long one that leaves the figure")
    assert overlapping(figure) == [("one label", "another")]
    assert outside(figure) == ["a long one that leaves the figure"]


@pytest.mark.parametrize("name", DRAWN)
def test_no_label_lies_over_another_or_leaves_the_figure(name: str, tmp_path: Path, monkeypatch):
    figure = DRAWN[name]()
    # savefig lays the figure out twice, too; the labels have their places without the pixels
    monkeypatch.setattr(figure, "savefig", lambda file, **_: figure.draw_without_rendering())
    figures.save_figure(figure, "a", quick=True, made_by=WORDS, reduced="100 steps instead of 800", folder=tmp_path)
    assert overlapping(figure) == []
    assert outside(figure) == []
    assert figure.get_figwidth() == figures.WIDTH  # one width for all: the same letters on a page


def titles(figure: Figure) -> str:
    return " ".join(axes.get_title() for axes in figure.axes).replace(r"$\mathbf{", "").replace("}$", "")


def lines_under(figure: Figure) -> str:
    return " ".join(text.get_text().replace("\n", " ") for text in figure.texts)


def test_an_overlay_names_class_area_and_probability():
    assert titles(figures.overlay(one())) == "king penguin, p = 0.90 the mask, 10 % what the network sees, p = 0.87"
    assert "10 % (7.5 % asked)" in titles(figures.overlay(one(asked=0.075)))


def test_p_is_bold_where_the_mask_suffices():
    def bold(p: float) -> bool:
        return "mathbf" in figures.overlay(one(p=p)).axes[2].get_title()

    assert (bold(0.44), bold(0.45)) == (False, True)


def test_figure_1_says_the_real_area_where_it_is_another():
    assert titles(figures.strips({"INR": [one(0.1, 0.5)]})) == "10 %\np = 0.50"
    soft = one(0.1, 0.5, asked=0.3)
    assert titles(figures.strips({"INR": [soft]})) == f"30 %\n{figures.percent(soft.kept)}, p = 0.50"


def test_figure_3_has_the_null_beside_the_seeds():
    words = titles(seeds())
    assert words.count("seed 1 IoU 0.63, p = 0.87".replace(" IoU", "\nIoU")) == 2
    assert words.count("picture + 1e-6\nIoU 0.63, p = 0.87") == 2
    with pytest.raises(ValueError, match="null must have the pictures of rows, a; got b"):
        figures.seeds({"a": {"seed 0": one()}}, {"b": {"beside": one()}})


def test_figure_5_says_why_algorithm_1_does_not_count_a_mask():
    enough, none = one(0.2, 0.6, accepted=False, overlap=0.5), one(0.2, 0.1, accepted=False, overlap=0.5)
    failed = one(0.2, 0.1, accepted=False, sound=False)
    words = titles(figures.several({"a": [one(accepted=True), enough, none, failed]}))
    assert "1: 10 %" in words
    assert "2: 20 %, adds nothing" in words
    assert "3: 20 %, not enough" in words
    assert "4: the fit failed" in words
    with pytest.raises(ValueError, match="rows must hold the explanations"):
        figures.several({})


def test_figure_5_says_how_a_mask_can_count_that_does_not_keep_the_class_once_it_is_cut():
    soft, kept = one(p=0.0, accepted=True), one(accepted=True)
    for figure in (figures.several({"a": [kept, soft]}), figures.surroundings({"a": replace(around(), found=[soft])})):
        assert "that mask cut to 0 and 1" in lines_under(figure)
    assert "cut to 0 and 1" not in lines_under(figures.several({"a": [kept, one(p=0.0, accepted=False)]}))


def test_figure_6_has_a_bar_for_each_region_and_a_mark_at_its_size():
    figure = figures.surroundings({"penguins": around()})
    first, second = figure.axes[4], figure.axes[5]  # the second line: the regions' own sizes, then the masks
    assert [bar.get_width() for bar in first.patches] == [0.25] * 5
    assert [bar.get_width() for bar in second.patches] == pytest.approx([0.2, 0.3, 0.4, 0.5, 0.6])
    assert list(second.get_lines()[0].get_xdata()) == [0.25] * 5
    weights = {label.get_text(): label.get_fontweight() for label in first.get_yticklabels()}
    assert weights["chick"] == "bold"
    assert weights["sky"] == "normal"


def test_each_region_has_a_colour_of_its_own():
    names = ["adult", "chick", "sky", "snow", "ice", "rock"]
    colours = region_colours(names, ["adult", "chick"])
    assert len(set(colours.values())) == len(names)
    assert list(colours)[:2] == ["adult", "chick"]


def test_the_curve_is_what_was_handed_in():
    kept, left = (axes.get_lines() for axes in curves().axes)
    assert list(kept[0].get_ydata()) == [0.1, 0.2, 0.6, 0.9]
    assert kept[1].get_ydata()[0] == 0.45
    assert list(left[0].get_xdata()) == [0, 1, 2]


def test_a_film_has_a_frame_for_each_mask_and_stays_small(tmp_path: Path):
    grown = [one(area, 4 * area) for area in (0.05, 0.1, 0.2)]
    path = figures.film(grown, tmp_path / "out" / "film.webp")
    with Image.open(path) as film:
        assert film.n_frames == 3
        assert film.size[0] == 840
        first = np.asarray(film.convert("RGB")).astype(int)
        film.seek(2)
        assert np.abs(np.asarray(film.convert("RGB")) - first).max() > 100
    assert path.stat().st_size < 1_000_000
    with pytest.raises(ValueError, match="two masks or more"):
        figures.film(grown[:1], path)


def test_a_small_map_stands_where_the_mask_keeps_least():
    mask = torch.zeros(1, 1, 100, 100)
    assert _emptiest_corner(mask) == (1 - INSET, 0.0)  # all alike: the lower right
    mask[..., 60:, 60:] = 1  # lower right
    assert _emptiest_corner(mask) == (0.0, 0.0)
    mask[..., 60:, :] = 1
    assert _emptiest_corner(mask) == (1 - INSET, 1 - INSET)
    mask[..., 60:] = 1
    assert _emptiest_corner(mask) == (0.0, 1 - INSET)
