"""Drawing only: the picture that opens README, and the film of a mask that grows with the area."""

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image
from tqdm.auto import tqdm

from inrexp.figures.masks import BOLD, probability
from inrexp.figures.shown import Shown
from inrexp.figures.style import (
    GREY,
    LINES,
    OUTLINE,
    WIDTH,
    caption,
    draw_image,
    draw_outline,
    outline,
    panels,
    percent,
    style,
    to_array,
)
from inrexp.files import written_whole

DPI = 120  # 7 inches are 840 px, a README's width
FRAME, HOLD = 120, 1500  # ms of a frame, and of the first and the last
LIMIT = 1_000_000  # bytes of a film


def opening(row: Sequence[Shown], chosen: Shown) -> Figure:
    """A photograph, the outlines of its masks over the area, and what the network sees through one of them.

    row: masks of growing area, drawn as one line each, from yellow to violet.  chosen: the mask of the last panel.
    """
    colours = [colormaps["plasma"](place) for place in np.linspace(0.95, 0.35, len(row))]
    with style():
        figure, axes = panels(1, 3, extra=0.42)
        draw_image(axes[0, 0], row[0].image, f"{row[0].label}, p = {row[0].unmasked:.2f}")
        middle = axes[0, 1]
        middle.imshow(0.75 * to_array(row[0].image), interpolation="bilinear")
        for one, colour in reversed(list(zip(row, colours, strict=True))):
            outline(middle, one.image, one.mask, colour, width=2.0)
        middle.set_axis_off()
        middle.set_title("its masks, by their area")
        handles = [
            Line2D([], [], color=colour, label=percent(one.kept)) for one, colour in zip(row, colours, strict=True)
        ]
        middle.legend(
            handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=len(row), handlelength=0.9,
            columnspacing=0.9, handletextpad=0.4, borderpad=0.2,
        )  # fmt: skip
        draw_image(axes[0, 2], chosen.seen)
        probability(axes[0, 2], chosen, f"the network sees {percent(chosen.kept)}: ")
    caption(figure, BOLD)
    return figure


def film(row: Sequence[Shown], path: "str | Path", *, progress: bool = False) -> Path:
    """An animated WebP of the mask growing with the area: its outline, what the network sees, and the probability.

    row: masks of growing area, a frame each; 36 of 2.5 to 20 % make four seconds.  Its quality falls until the
    file is below 1 MB, to 20 of 100 at the least.  progress: show a bar over the frames.  Returns the path written.
    Raises ValueError for fewer than two masks.
    """
    if len(row) < 2:
        raise ValueError(f"row must hold two masks or more of growing area, got {len(row)}")
    places = tqdm(range(len(row)), desc="film", unit="frame", leave=False, disable=not progress)
    frames = [_frame(row, place) for place in places]
    durations = [HOLD, *[FRAME] * (len(frames) - 2), HOLD]
    for quality in (80, 65, 50, 35, 20):
        buffer = io.BytesIO()
        frames[0].save(
            buffer,
            "WEBP",
            save_all=True,
            append_images=frames[1:],
            duration=durations,
            loop=0,
            quality=quality,
            method=4,
        )
        if buffer.tell() <= LIMIT:
            break
    with written_whole(Path(path)) as temporary:
        temporary.write_bytes(buffer.getvalue())
    return Path(path)


def _frame(row: Sequence[Shown], place: int) -> Image.Image:
    one = row[place]
    with style(), plt.rc_context({"figure.constrained_layout.use": False}):
        figure = plt.figure(figsize=(WIDTH, 4.35))
        left, right = figure.add_axes((0.01, 0.2, 0.485, 0.78)), figure.add_axes((0.505, 0.2, 0.485, 0.78))
        draw_outline(left, one.image, one.mask)
        draw_image(right, one.seen)
        _curve(figure.add_axes((0.075, 0.085, 0.72, 0.1)), row, place)
        figure.text(0.99, 0.135, f"{percent(one.kept)} of the picture", ha="right", va="center", fontsize=9)
        kept = f"{one.label}: p = {one.probability:.2f}"
        figure.text(0.99, 0.075, kept, ha="right", va="center", fontsize=9, weight="bold" if one.suffices else "normal")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=DPI, pil_kwargs={"compress_level": 0})  # read at once
        plt.close(figure)
    return Image.open(buffer).convert("RGB")


def _curve(axes: Axes, row: Sequence[Shown], place: int) -> None:
    """The probability up to this frame's area, on axes that stay the same through the film."""
    areas, kept = [one.kept for one in row], [one.probability for one in row]
    axes.axhline(row[0].threshold, color=GREY, linewidth=0.7, linestyle=":")
    axes.plot(areas, kept, color="0.85", linewidth=1.2)
    axes.plot(areas[: place + 1], kept[: place + 1], color=LINES[0])
    axes.plot(areas[place], kept[place], "o", color=OUTLINE, markeredgecolor="black", markersize=5)
    ticks = [areas[0], areas[-1]]
    axes.set(xlim=(areas[0] - 0.003, areas[-1] + 0.003), ylim=(0, 1.05), yticks=[0, 1], xticks=ticks)
    axes.set_xticklabels([percent(tick) for tick in ticks])
    axes.set_ylabel("p", rotation=0, va="center")
