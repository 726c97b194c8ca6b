"""Drawing only: masks over areas, seeds and methods (figures 1, 3 and 4), the scheme (figure 2), and leaks."""

import itertools
import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from inrexp.figures.shown import SchemeSteps, Shown
from inrexp.figures.style import (
    DASHES,
    LINES,
    WIDTH,
    caption,
    draw_image,
    draw_mask,
    draw_outline,
    method_colours,
    panels,
    percent,
    row_name,
    style,
)
from inrexp.paper.masks import is_binary

BOLD = "p: the network's probability of the class, bold where it is half of the whole picture's or more."
NULL = "IoU: overlap with the first mask of the row."
GAP = 0.1  # of a panel, between two groups
NARROW = 5  # panels across; with more, a title's facts stand below each other
INSET = 0.32  # of a panel, the side of a small map in its corner
SAME_AREA = 5e-4  # fractions of the picture closer than this are written alike


def overlay(one: Shown) -> Figure:
    """A picture, the outline of its mask, and what the network sees through it."""
    with style():
        figure, axes = panels(1, 3)
        draw_image(axes[0, 0], one.image, f"{one.label}, p = {one.unmasked:.2f}")
        draw_outline(axes[0, 1], one.image, one.mask, f"the mask, {_area(one)}")
        draw_image(axes[0, 2], one.seen)
        probability(axes[0, 2], one, "what the network sees, ")
    caption(figure, BOLD)
    return figure


def area_strip(row: Sequence[Shown]) -> Figure:
    """Masks over areas: outlines over the photograph, and below each what the network sees, with its probability."""
    with style():
        figure, axes = panels(2, len(row), extra=0.2)
        for column, one in enumerate(row):
            draw_outline(axes[0, column], one.image, one.mask, _area(one))
            draw_image(axes[1, column], one.seen)
            probability(axes[1, column], one)
    first = row[0]
    label = first.label[:1].upper() + first.label[1:]  # "West Highland" keeps its capitals
    caption(figure, f"{label}, p = {first.unmasked:.2f} for the whole picture. {BOLD}")
    return figure


def strips(rows: Mapping[str, Sequence[Shown]]) -> Figure:
    """Figure 1: a row of masks over areas for each method or seed, with the probability that each mask keeps.

    rows: name -> the masks of one answer at the same areas, as `shown` gives them with one `judge` for all rows.
    """
    first = next(iter(rows.values()))
    with style():
        figure, axes = panels(len(rows), len(first), extra=0.22)
        for line, (name, row) in zip(axes, rows.items(), strict=True):
            for panel, one in zip(line, row, strict=True):
                draw_outline(panel, one.image, one.mask)
                probability(panel, one, _if_other_area(one))
            row_name(line[0], name)
        for panel, one in zip(axes[0], first, strict=True):
            if one.asked is not None:
                panel.set_title(f"{percent(one.asked)}\n{panel.get_title()}")
    caption(figure, f"Percentages are the area of the masks. {BOLD}")
    return figure


def seeds(
    rows: Mapping[str, Mapping[str, Shown]],
    null: Mapping[str, Mapping[str, Shown]],
    *,
    headings: tuple[str, str] = ("the seed changes", "the seed stays, rounding changes"),
) -> Figure:
    """Figure 3: a picture a row, its masks by seed, and beside them the same fit repeated with other rounding.

    rows: name of the picture -> name of the seed -> its mask.  null: the same pictures -> what was changed, such as
    "beside another fit" or "picture + 1e-6" -> the mask of the first seed then.  Overlaps are those of `compared`, of
    each mask with the first seed's.
    """
    if list(rows) != list(null):
        raise ValueError(f"null must have the pictures of rows, {', '.join(rows)}; got {', '.join(null)}")
    left, right = len(next(iter(rows.values()))), len(next(iter(null.values())))
    ratios = [1.0] * left + [GAP] + [1.0] * right
    side = (WIDTH - 0.25) / sum(ratios)
    title, apart = (0.58, "\n") if left + right > NARROW else (0.42, ", ")
    with style():
        figure = plt.figure(figsize=(WIDTH, 0.25 + len(rows) * (side + title)))
        heights = [0.1] + [1] * len(rows)
        grid = figure.add_gridspec(1 + len(rows), len(ratios), width_ratios=ratios, height_ratios=heights)
        for heading, columns in zip(headings, (slice(0, left), slice(left + 1, None)), strict=True):
            _heading(figure.add_subplot(grid[0, columns]), heading)
        places = [*range(left), *range(left + 1, len(ratios))]
        for line, name in enumerate(rows, 1):
            for place, (fit, one) in zip(places, [*rows[name].items(), *null[name].items()], strict=True):
                panel = figure.add_subplot(grid[line, place])
                overlap = f"IoU {one.overlap:.2f}{apart}" if one.overlap is not None and place else ""
                draw_outline(panel, one.image, one.mask)
                probability(panel, one, f"{fit}\n{overlap}")
                if not place:
                    row_name(panel, f"{name}\n{one.label}, p {one.unmasked:.2f}")
    area = percent(round(next(iter(next(iter(rows.values())).values())).kept, 3))
    caption(figure, f"Masks of {area}; left of a row its class, and p of the whole picture. {NULL} {BOLD}")
    return figure


def _heading(axes: Axes, words: str) -> None:
    """A heading over several columns, with a line under it."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, words, ha="center", va="center", fontsize=9)
    axes.plot([0, 1], [0, 0], color="0.6", linewidth=0.8)
    axes.set(xlim=(0, 1), ylim=(0, 1))


def _emptiest_corner(mask: torch.Tensor) -> tuple[float, float]:
    """Lower left of a square inset, in shares of the panel, in the corner where the mask (1, 1, h, w) keeps least."""
    height, width = (math.ceil(INSET * side) for side in mask.shape[-2:])
    rows = {0.0: slice(-height, None), 1 - INSET: slice(None, height)}  # the panel's y grows upwards
    columns = {1 - INSET: slice(-width, None), 0.0: slice(None, width)}
    kept = {(x, y): float(mask[..., rows[y], columns[x]].sum()) for y in rows for x in columns}
    return min(kept, key=kept.__getitem__)  # of equal ones the lower right comes first


def methods_grid(rows: Mapping[str, Mapping[str, Shown]]) -> Figure:
    """Figure 4: pictures down, methods across, all masks at one area and judged under one fill.

    rows: name of the picture or model -> name of the method -> its mask, as `shown` gives it with one `judge` a row.
    The first column is the picture; a saliency map stands small in the corner that its mask leaves emptiest.
    """
    first = next(iter(rows.values()))
    with style():
        figure, axes = panels(len(rows), 1 + len(first), extra=0.26 + 0.16 / len(rows))
        for line, (name, row) in zip(axes, rows.items(), strict=True):
            one = next(iter(row.values()))
            draw_image(line[0], one.image, f"{one.label}, p = {one.unmasked:.2f}")
            row_name(line[0], name)
            for panel, mask in zip(line[1:], row.values(), strict=True):
                draw_outline(panel, mask.image, mask.mask)
                probability(panel, mask, _if_other_area(mask))
                if mask.scores is not None:
                    draw_mask(panel.inset_axes((*_emptiest_corner(mask.mask), INSET, INSET)), mask.scores)
        for panel, method in zip(axes[0, 1:], first, strict=True):
            panel.set_title(f"{method}\n{panel.get_title()}")
    area = next(iter(first.values())).kept
    caption(figure, f"All masks keep {percent(area)} of the picture. {BOLD}")
    return figure


def leaks(rows: Mapping[str, tuple[Shown, Shown]]) -> Figure:
    """A mask of each fit, what the network sees through it, and both again once the mask is cut to 0/1.

    rows: name of the fit -> its soft mask and the cut one, as `shown_leak` gives them.  A class that survives the
    second picture and not the fourth came through where the mask looks empty.
    """
    with style():
        figure, axes = panels(len(rows), 4, extra=0.34)
        for line, (name, (soft, cut)) in zip(axes, rows.items(), strict=True):
            draw_mask(line[0], soft.mask, f"the mask, 0 to 1:\n{percent(soft.kept)} of the picture")
            draw_image(line[1], soft.seen)
            probability(line[1], soft, "what the network sees\n")
            draw_mask(line[2], cut.mask, f"cut to 0/1:\n{percent(cut.kept)} of the picture")
            draw_image(line[3], cut.seen)
            probability(line[3], cut, "through the cut mask\n")
            row_name(line[0], name)
    caption(figure, BOLD)
    return figure


FEATURES_IN_WORDS = {"gaussian": "Fourier features", "octaves": "powers of two", "none": "coordinates"}


def scheme(steps: SchemeSteps) -> Figure:
    """Figure 2: coordinates and area, INR, filter, blend, classifier.  steps: as `scheme_steps` gives them."""
    one = steps.shown
    with style():
        figure, axes = panels(2, 4, extra=0.45)
        (coordinates, field, filtered, outline), (whole, perturbed, blended, bars) = axes
        coordinates.imshow(steps.coordinates)
        coordinates.set_title(f"$[x, y, a]$ in $[0, 1]$\narea {percent(one.asked or one.kept)}")
        coordinates.set_axis_off()
        layers = f"{FEATURES_IN_WORDS[steps.settings.features]}, {steps.settings.layers} x {steps.settings.hidden}"
        draw_mask(field, steps.field, f"INR $f_L(x, a)$\n{layers}")
        words = "smooth maximum, then 0 or 1" if is_binary(one.mask) else "smooth maximum"
        draw_mask(filtered, one.mask, f"$M_a$ = Filter($f_L$)\n{words}")
        draw_outline(outline, one.image, one.mask, "inside the line\n$M_a$ > 1/2, kept")
        draw_image(whole, one.image, "picture $I$")
        draw_image(perturbed, steps.perturbed, "perturbed $I'$")
        draw_image(blended, one.seen, "$M_a I + (1 - M_a) I'$ (eq. 1)")
        bars.bar([0, 1], [one.unmasked, one.probability], color=LINES[:2], width=0.66)
        bars.axhline(one.threshold, color="0.4", linewidth=0.8)
        bars.text(0.5, one.threshold, r"$\Phi_0$", ha="center", va="bottom", color="0.3")
        bars.set_xticks([0, 1], ["$I$", "masked"])
        bars.set(xlim=(-0.55, 1.55), ylim=(0, 1), yticks=[0, 0.5, 1], box_aspect=1)
        bars.yaxis.tick_right()
        bars.spines["left"].set_visible(False)
        bars.set_title(f"$\\Phi$({one.label}) = {one.probability:.2f}")
        for box in (field, filtered, outline, perturbed, blended, bars):
            box.annotate("", (-0.02, 0.5), (-0.15, 0.5), "axes fraction", arrowprops={"arrowstyle": "->"})
        _arrow(filtered, (0.5, -0.02), blended, (0.5, 1.14))
        _arrow(whole, (0.5, -0.02), blended, (0.5, -0.02), "arc3,rad=0.12")
        figure.get_layout_engine().set(wspace=0.16)  # type: ignore[union-attr, call-arg]
    return figure


def _arrow(first: Axes, start: tuple[float, float], second: Axes, end: tuple[float, float], bend: str = "arc3") -> None:
    """An arrow from a place of one panel to a place of another, each as shares of its panel; it takes no room."""
    second.annotate(
        "", end, start, "axes fraction", first.transAxes, arrowprops={"arrowstyle": "->", "connectionstyle": bend}
    ).set_in_layout(False)


def probability_curve(
    axes: Axes, areas: Sequence[float], lines: Mapping[str, Sequence[float]], *, threshold: float
) -> None:
    """Probability over area with the threshold of eq. 5.  lines: what was judged -> a probability for each area."""
    colours = method_colours(lines)
    with style():
        for (name, values), mark in zip(lines.items(), itertools.cycle(DASHES)):  # noqa: B905
            axes.plot(areas, values, mark, color=colours[name], label=name)
        axes.axhline(threshold, color="0.45", linewidth=0.8, label=r"threshold $\Phi_0$")
        axes.set(xlabel="area $a$ (fraction of the picture)", ylabel="probability", ylim=(0, 1.02))
        axes.legend(loc="best")


def probability(axes: Axes, one: Shown, before: str = "") -> None:
    """The panel's title: words, and p, bold where the mask keeps the class."""
    p = f"p = {one.probability:.2f}"
    axes.set_title(before + (rf"$\mathbf{{{p}}}$" if one.suffices else p))


def _area(one: Shown) -> str:
    return f"{percent(one.kept)} ({percent(one.asked)} asked)" if one.asked and _other(one) else percent(one.kept)


def _if_other_area(one: Shown) -> str:
    """The real area, where it is not the one in the heading."""
    return f"{percent(one.kept)}, " if _other(one) else ""


def _other(one: Shown) -> bool:
    """Whether the mask keeps another area than it was asked for."""
    return one.asked is not None and abs(one.asked - one.kept) >= SAME_AREA
