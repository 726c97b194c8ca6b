"""Drawing only: several explanations of one picture (figures 5 and 6), and what is left without them."""

import itertools
from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from inrexp.figures.masks import BOLD, probability
from inrexp.figures.shown import Shown, Surroundings
from inrexp.figures.style import WIDTH, caption, draw_image, draw_outline, panels, percent, row_name, style, to_array

# The object's regions in warm colours, its surroundings in cool ones and greys; each pair differs in lightness too.
OBJECT = ("#e69f00", "#d55e00", "#f0e442", "#a6611a", "#fdc086", "#b2182b", "#7f3b08")
AROUND = ("#0072b2", "#56b4e9", "#009e73", "#8c8c8c", "#332288", "#c8c8c8", "#882255")
NARROW = 4  # panels across; with more, a title's facts stand below each other
OVERLAP = "Overlap: the share of a mask that lies on earlier ones, where there is any."
SOFT = (
    "The area over a mask is the smallest at which it keeps the class as it was fitted, with values between 0 and 1. "
    "The outline and p are of that mask cut to 0 and 1."
)


def several(rows: Mapping[str, Sequence[Shown]]) -> Figure:
    """Figure 5: a picture a row, its explanations in the order found, with what each keeps.

    rows: name of the picture or fit -> its explanations, as `shown_in_turn` gives them.
    """
    if not rows or not all(len(row) for row in rows.values()):
        raise ValueError("rows must hold the explanations of one picture or more, got none")
    columns = max(len(row) for row in rows.values())
    with style():
        figure, axes = panels(len(rows), columns + 1, extra=0.34)
        for line, (name, row) in zip(axes, rows.items(), strict=True):
            draw_image(line[0], row[0].image, f"{row[0].label}\np = {row[0].unmasked:.2f}")
            row_name(line[0], name)
            for number, (panel, one) in enumerate(zip(line[1:], row, strict=False), 1):
                draw_outline(panel, one.image, one.mask)
                probability(panel, one, f"{_verdict(number, one)}\n{_overlap(one)}")
            for panel in line[1 + len(row) :]:
                panel.set_axis_off()
                panel.text(0.5, 0.5, "not asked", ha="center", va="center", color="0.4", transform=panel.transAxes)
    caption(figure, f"{OVERLAP} {BOLD} {_if_soft(one for row in rows.values() for one in row)}".rstrip())
    return figure


def surroundings(pictures: Mapping[str, Surroundings]) -> Figure:
    """Figure 6: the explanations of each picture, and under each the share of its mask on every hand-drawn region.

    pictures: name -> what `surrounded` gives.  The first column has the regions in the colours of the bars, the
    object's in warm colours; the dark mark on a bar is the region's share of the picture, which a mask that covers
    everything alike would have.
    """
    if not pictures:
        raise ValueError("pictures must hold the explanations of one picture or more, got none")
    columns = 1 + max(len(one.found) for one in pictures.values())
    side = (WIDTH - 0.8) / columns
    title, label = (0.74, 0.44) if columns > NARROW else (0.36, 0.32)
    heights = [height for one in pictures.values() for height in (side + title, 0.16 * len(one.truths) + label)]
    with style():
        figure, axes = plt.subplots(
            len(heights), columns, figsize=(WIDTH, sum(heights)), squeeze=False, height_ratios=heights
        )
        for (name, one), above, below in zip(pictures.items(), axes[::2], axes[1::2], strict=True):
            _masks_and_shares(name, one, above, below)
    caption(
        figure,
        "Bars: the share of the mask on each region, the object's regions in warm colours with names in bold. "
        f"Dark marks: the region's share of the picture. {OVERLAP} {BOLD} "
        f"{_if_soft(one for picture in pictures.values() for one in picture.found)}".rstrip(),
    )
    return figure


def _masks_and_shares(name: str, one: Surroundings, above: Sequence[Axes], below: Sequence[Axes]) -> None:
    """Two lines of panels: the regions and the masks, and under them the bars."""
    colours = region_colours(list(one.truths), one.objects)
    first = one.found[0]
    above[0].imshow(tinted(first.image, one.truths, colours), interpolation="bilinear")
    above[0].set_axis_off()
    above[0].set_title(f"{first.label}\np = {first.unmasked:.2f}")
    row_name(above[0], name)
    _bars(below[0], one, one.sizes, colours, "share of the picture")
    below[0].set_yticks(range(len(colours)), list(colours))
    for label in below[0].get_yticklabels():
        label.set_fontweight("bold" if label.get_text() in one.objects else "normal")
    for number, (panel, bars, mask, shares) in enumerate(
        zip(above[1:], below[1:], one.found, one.shares, strict=False), 1
    ):
        draw_outline(panel, mask.image, mask.mask)
        probability(panel, mask, _words(number, mask, narrow=len(above) > NARROW))
        _bars(bars, one, shares, colours, "share of the mask")
    for panel in [*above[1 + len(one.found) :], *below[1 + len(one.found) :]]:
        panel.set_axis_off()


def _bars(axes: Axes, one: Surroundings, shares: Mapping[str, float], colours: Mapping[str, str], title: str) -> None:
    places = range(len(colours))
    axes.barh(places, [shares[name] for name in colours], color=list(colours.values()), height=0.7)
    axes.plot([one.sizes[name] for name in colours], places, "|", color="black", markersize=8, markeredgewidth=1.5)
    words = title.replace("of ", "of\n", 1) if len(one.found) >= NARROW else title
    axes.set(xlim=(0, 1), xlabel=words, xticks=[0, 0.5, 1], yticks=[], ylim=(len(colours) - 0.4, -0.6))
    axes.set_xticklabels(["0", "0.5", "1"])


def region_colours(names: Sequence[str], objects: Sequence[str]) -> dict[str, str]:
    """A colour for each region: warm ones for the object's, cool ones and greys for the others, repeated if need be."""
    warm, cool = iter(OBJECT * len(names)), iter(AROUND * len(names))
    ordered = [*(name for name in names if name in objects), *(name for name in names if name not in objects)]
    return {name: next(warm) if name in objects else next(cool) for name in ordered}


def tinted(image: torch.Tensor, truths: Mapping[str, torch.Tensor], colours: Mapping[str, str]) -> np.ndarray:
    """The photograph in grey under the colour of each region.  (h, w, 3) in [0, 1]."""
    grey = to_array(image).mean(axis=2, keepdims=True)
    tint = np.ones((*grey.shape[:2], 3))
    for name, truth in truths.items():
        tint[truth.cpu().numpy()] = to_rgb(colours[name])
    return np.clip(0.35 * grey + 0.65 * tint * (0.45 + 0.55 * grey), 0, 1)


def deletion(axes: Axes, lines: Mapping[str, Sequence[float]]) -> None:
    """What remains of the probability when the union of the first i masks is removed, i = 0, 1, ...

    lines: which masks -> the probabilities, as `Explanations.remaining` gives them.
    """
    with style():
        for (name, values), mark in zip(lines.items(), itertools.cycle(("o-", "s--", "^-."))):  # noqa: B905
            axes.plot(range(len(values)), values, mark, markersize=4, label=name)
        most = max(len(values) for values in lines.values())
        axes.set(xlabel="explanations removed", ylabel="probability left", ylim=(0, 1.02), xticks=range(most))
        axes.legend()


def _words(number: int, one: Shown, *, narrow: bool) -> str:
    """What stands over a mask before its p; in a narrow panel each fact has a line of its own."""
    if narrow:
        return "".join(f"{fact}\n" for fact in f"{_verdict(number, one)}, {_overlap(one)}".split(", ") if fact)
    return f"{_verdict(number, one)}\n{_overlap(one)}"


def _verdict(number: int, one: Shown) -> str:
    """Which explanation, how large, and why algorithm 1 does not count it where it does not."""
    if not one.sound:
        return f"{number}: the fit failed"
    if one.accepted is None or one.accepted:
        return f"{number}: {percent(one.kept)}"
    return f"{number}: {percent(one.kept)}, {'adds nothing' if one.suffices else 'not enough'}"


def _if_soft(masks: Iterable[Shown]) -> str:
    """What to say where algorithm 1 counts a soft mask that does not keep the class once it is cut."""
    return SOFT if any(one.accepted and not one.suffices for one in masks) else ""


def _overlap(one: Shown) -> str:
    return f"overlap {one.overlap:.2f}, " if one.overlap else ""
