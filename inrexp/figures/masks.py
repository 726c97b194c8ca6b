"""Drawing only: photographs with mask outlines, strips over areas, the scheme of figure 2."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from inrexp.attribution import CUT, Attribution
from inrexp.explanation import Explanation
from inrexp.explanations import Explanations
from inrexp.figures.style import LINES, WIDTH, _row_name, draw_image, draw_mask, draw_outline, panels, percent, style
from inrexp.metrics import leak
from inrexp.paper.inr import MaskField
from inrexp.paper.smallest_area import PAPER_AREAS
from inrexp.saliency import SaliencyMap


def overlay(explanation: Explanation, area: float) -> Figure:
    """The picture beside its mask at one area."""
    mask = explanation.mask(area)
    p = float(explanation.probability_of_mask(mask))
    with style():
        figure, axes = panels(1, 3)
        draw_image(axes[0, 0], explanation.image, f"{explanation.target.label}: p = {explanation.unmasked:.2f}")
        draw_outline(axes[0, 1], explanation.image, mask, f"{percent(area)} asked, {percent(float(mask.mean()))} kept")
        draw_image(axes[0, 2], explanation.blended(mask), f"what the network sees: p = {p:.2f}")
    return figure


def area_strip(explanation: Explanation, areas: Sequence[float] = PAPER_AREAS) -> Figure:
    """Masks over areas: outlines over the photograph, and below what the network sees, with its probability."""
    masks = explanation.mask(areas)
    soft = explanation.probability_of_mask(masks)
    cut = explanation.probability(areas, cut=CUT)
    with style():
        figure, axes = panels(2, len(areas), extra=0.36)
        for column, area in enumerate(areas):
            mask = masks[column : column + 1]
            title = f"{percent(area)} asked\n{percent(float(mask.mean()))} kept"
            draw_outline(axes[0, column], explanation.image, mask, title)
            draw_image(axes[1, column], explanation.blended(mask), f"p = {soft[column]:.2f}, cut {cut[column]:.2f}")
    return figure


def probability_curve(axes: Axes, explanation: Explanation, areas: Sequence[float]) -> None:
    """Probability over area, soft masks and masks cut to 0/1, with the threshold of eq. 5."""
    axes.plot(areas, explanation.probability(areas).cpu(), label="soft mask")
    axes.plot(areas, explanation.probability(areas, cut=CUT).cpu(), "--", label="mask cut to 0/1")
    axes.axhline(explanation.threshold, color="0.5", linewidth=0.8, label=r"threshold $\Phi_0$")
    axes.set(xlabel="area $a$ (fraction of the picture)", ylabel="probability", ylim=(0, 1))
    axes.legend(loc="upper left")


def leaks(rows: Mapping[str, Explanation], area: float) -> Figure:
    """A mask of each fit, what the network sees through it, and both again once the mask is cut to 0/1.

    A class that survives the second picture and not the fourth came through where the mask looks empty.
    """
    with style():
        figure, axes = panels(len(rows), 4, extra=0.3)
        for line, (name, found) in zip(axes, rows.items(), strict=True):
            both = leak(found, [area])
            draw_mask(line[0], both.soft, f"the mask, 0 to 1: {percent(float(both.soft_area[0]))}")
            draw_image(
                line[1], found.blended(both.soft), f"what the network sees\np = {float(both.probability[0]):.2f}"
            )
            draw_mask(line[2], both.cut, f"cut to 0/1: {percent(float(both.cut_area[0]))}")
            draw_image(
                line[3], found.blended(both.cut), f"through the cut mask\np = {float(both.probability_cut[0]):.2f}"
            )
            _row_name(line[0], name)
    return figure


def strips(rows: Mapping[str, Attribution], areas: Sequence[float], *, judge: Attribution | None = None) -> Figure:
    """One row of masks over areas for each method or seed, with the area really kept and the probability it keeps.

    judge: whose blend (eq. 1) gives the probabilities, so that rows compare; default each row's own.
    """
    with style():
        figure, axes = panels(len(rows), len(areas), width=max(WIDTH, 0.95 * len(areas)), extra=0.5)
        for line, (name, found) in zip(axes, rows.items(), strict=True):
            masks = found.mask(areas)
            kept = (judge or found).probability_of_mask(masks)
            for panel, mask, p in zip(line, masks.split(1), kept, strict=True):
                draw_outline(panel, found.image, mask, f"{percent(float(mask.mean()))} kept\np = {p:.2f}")
            _row_name(line[0], name)
        for panel, area in zip(axes[0], areas, strict=True):
            panel.set_title(f"{percent(area)} asked\n{panel.get_title()}")
    return figure


def methods_grid(rows: Mapping[str, Mapping[str, Attribution]], area: float) -> Figure:
    """Pictures down, methods across (figure 4): outlines of the mask at one area; saliency maps beside theirs.

    rows: name of the picture and model -> name of the method -> its answer.  The first column is the picture.
    """
    first = next(iter(rows.values()))
    columns = ["", *(name for name in first)]
    with style():
        figure, axes = panels(len(rows), len(columns), extra=0.34)
        for line, (name, found) in zip(axes, rows.items(), strict=True):
            one = next(iter(found.values()))
            draw_image(line[0], one.image, f"{one.target.label}, p = {one.unmasked:.2f}")
            _row_name(line[0], name)
            for panel, answer in zip(line[1:], found.values(), strict=True):
                mask = answer.mask(area)
                p = float(one.probability_of_mask((mask > CUT).to(mask.dtype)))
                draw_outline(panel, answer.image, mask, f"{percent(float(mask.mean()))}, cut p = {p:.2f}")
                if isinstance(answer, SaliencyMap):
                    inset = panel.inset_axes((0.68, 0.0, 0.32, 0.32))
                    draw_mask(inset, answer.scaled)
        for panel, title in zip(axes[0], columns, strict=True):
            panel.set_title(f"{title}\n{panel.get_title()}" if title else panel.get_title())
    return figure


def several(rows: Sequence[Explanations], *, columns: int | None = None, names: Sequence[str] = ()) -> Figure:
    """Figure 5: a picture a row, its explanations in the order found, with what each keeps, soft and cut to 0/1."""
    if not rows:
        raise ValueError("rows must hold the explanations of one picture or more, got none")
    columns = columns or max(len(found) for found in rows)
    with style():
        figure, axes = panels(len(rows), columns + 1, extra=0.5)
        for index, (line, found) in enumerate(zip(axes, rows, strict=True)):
            label, whole = found[0].target.label, found[0].unmasked
            draw_image(line[0], found.image, f"{label}\np = {whole:.2f} unmasked")
            for panel, mask, row in zip(line[1:], found.masks().split(1), found.table(), strict=False):
                draw_outline(panel, found.image, mask, _of_explanation(row))
            for panel in line[1 + len(found) :]:
                panel.set_axis_off()
                panel.text(0.5, 0.5, "not asked:\nnothing more", ha="center", va="center", transform=panel.transAxes)
            if names:
                _row_name(line[0], names[index])
    return figure


def _of_explanation(row: Mapping[str, Any]) -> str:
    verdict = "none" if row["none"] else f"a* = {percent(row['a_star'])}"
    numbers = f"p = {row['probability']:.2f}, cut {row['probability_cut']:.2f}"
    return f"{row['number']}: {verdict}\n{numbers}\noverlap {row['overlap']:.2f}"


def surroundings(
    found: Explanations, shares: Sequence[Mapping[str, float]], sizes: Mapping[str, float] | None = None
) -> Figure:
    """Figure 6: the explanations of one picture, and under each the share of its mask on each hand-drawn region.

    sizes: each region's share of the picture, drawn as a mark: what a mask that covers everything alike would have.
    """
    if len(shares) != len(found):
        raise ValueError(f"shares must have one entry per explanation, {len(found)}, got {len(shares)}")
    with style():
        names, masks = list(shares[0]), found.masks().split(1)
        side = WIDTH / max(4, len(found))
        size = (side * len(found) + 0.6, 1.8 * side + 0.9)
        figure, axes = plt.subplots(2, len(found), figsize=size, squeeze=False, height_ratios=[1, 0.6])
        for column, (mask, row, share) in enumerate(zip(masks, found.table(), shares, strict=True)):
            draw_outline(axes[0, column], found.image, mask, _of_explanation(row))
            bars = axes[1, column]
            bars.barh(names, [share[name] for name in names], color=LINES[0])
            if sizes is not None:
                bars.plot([sizes[name] for name in names], range(len(names)), "|", color="black", markersize=9)
            bars.set(xlim=(0, 1), xlabel="share of the mask", xticks=[0, 0.5, 1])
            bars.invert_yaxis()
            if column:
                bars.set_yticklabels([])
    return figure


def deletion(axes: Axes, found: Explanations) -> None:
    """What remains of the probability when the union of the first i masks is removed."""
    axes.plot(found.remaining().cpu(), "o-", label="soft masks")
    axes.plot(found.remaining(cut=CUT).cpu(), "s--", label="masks cut to 0/1")
    axes.set(xlabel="explanations removed", ylabel="probability left", ylim=(0, 1), xticks=range(len(found) + 1))
    axes.legend()


def scheme(explanation: Explanation, area: float) -> Figure:
    """Figure 2 of the paper, each box drawn from a real fit: coordinates and area, INR, filter, blend, classifier."""
    source = explanation.source
    if not isinstance(source, MaskField):
        raise TypeError(f"explanation must come from an INR (MaskField), got a {type(source).__name__}")
    low, high = explanation.area_range
    h, w = source.size
    y, x = np.mgrid[0:h, 0:w]
    everywhere = source.on_every_pixel()
    with torch.no_grad():
        values = everywhere.values(torch.tensor([[area]]).to(explanation.image))
    mask = explanation.mask(area)
    p = float(explanation.probability_of_mask(mask))
    with style():
        figure, axes = panels(2, 4, extra=0.45)
        (coordinates, field, filtered, outline), (whole, perturbed, blended, bars) = axes
        coordinates.imshow(np.stack([x / w, y / h, np.full((h, w), (area - low) / (high - low))], axis=-1))
        coordinates.set_title(f"$[x, y, a]$ in $[0, 1]$\narea {percent(area)}")
        coordinates.set_axis_off()
        draw_mask(field, values, "INR $f_L(x, a)$\nFourier features, 5 x 256")
        draw_mask(filtered, mask, "$M_a$ = Filter($f_L$)\nsmooth maximum, 21 px")
        draw_outline(outline, explanation.image, mask, "inside the line\n$M_a$ > 1/2, kept")
        draw_image(whole, explanation.image, "picture $I$")
        draw_image(perturbed, explanation.blended(torch.zeros_like(mask)), "perturbed $I'$")
        draw_image(blended, explanation.blended(mask), "$M_a I + (1 - M_a) I'$ (eq. 1)")
        bars.bar([0, 1], [explanation.unmasked, p], color=LINES[:2])
        bars.axhline(explanation.threshold, color="0.4", linewidth=0.8)
        bars.text(0.5, explanation.threshold, r"$\Phi_0$", ha="center", va="bottom", color="0.3")
        bars.set_xticks([0, 1], ["$I$", "masked"])
        bars.set(ylim=(0, 1), yticks=[0, 0.5, 1], box_aspect=1)
        bars.yaxis.tick_right()
        bars.spines["left"].set_visible(False)
        bars.set_title(f"$\\Phi$({explanation.target.label}) = {p:.2f}")
        for box in (field, filtered, outline, blended, bars):
            box.annotate("", (-0.02, 0.5), (-0.16, 0.5), "axes fraction", arrowprops={"arrowstyle": "->"})
        blended.annotate("", (0.5, 1.13), (0.5, 1.3), "axes fraction", arrowprops={"arrowstyle": "->"})
        whole.text(1.07, 0.5, ",", transform=whole.transAxes, fontsize=14)
        figure.get_layout_engine().set(wspace=0.1)  # type: ignore[union-attr, call-arg]
    return figure
