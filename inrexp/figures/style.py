"""The house style, drawing's smallest parts, and the grey lines that say what made a figure."""

import contextlib
import itertools
import os
import re
import textwrap
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from matplotlib.textpath import TextPath
from PIL import Image
from scipy import ndimage

from inrexp.attribution import CUT
from inrexp.comparison import METHODS
from inrexp.files import written_whole

WIDTH = 7.0  # inches, the text width of a two-column page; 830 px of a README then show 8 points as 13 px
GREY = "#6b6b6b"  # of the lines under a figure: 5.3 to 1 against white
SMALL, LINE, EDGE = 6.5, 0.125, 0.05  # points; inches: a line under the figure and its margin, whole pixels
MASK_MAP = "cividis"  # perceptually uniform, and the same to a colour-blind reader
OUTLINE = "#ffb000"  # colour-blind-safe, visible on light and dark pictures with the dark line under it
# Okabe and Ito, and a grey; the first four differ in lightness
LINES = ("#0072b2", "#d55e00", "#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#000000", "#999999")
DASHES = ("-", "--", ":", "-.")  # a method's second variant is dashed
STYLE: dict[Any, Any] = {
    "figure.dpi": 110,
    "savefig.dpi": 160,
    "figure.facecolor": "white",  # opaque: on a dark page a figure is a white card, whose thin grey text stays readable
    "savefig.facecolor": "white",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "axes.titlepad": 4,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=LINES),
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "figure.constrained_layout.use": True,
}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """The house style, for drawing inside a `with`."""
    interactive = matplotlib.is_interactive()
    with matplotlib.rc_context(STYLE):
        try:
            yield
        finally:  # a notebook's backend, loaded by the first figure, turns this on: the context would undo it for good
            interactive = interactive or matplotlib.is_interactive()
    matplotlib.interactive(interactive)


def to_array(image: torch.Tensor) -> np.ndarray:
    """(1, 3, h, w) or (3, h, w) in [0, 1] as (h, w, 3) for matplotlib."""
    return image.detach().cpu().reshape(3, *image.shape[-2:]).permute(1, 2, 0).clamp(0, 1).float().numpy()


def draw_image(axes: Axes, image: torch.Tensor, title: str = "") -> None:
    """The photograph.  image: (1, 3, h, w) in [0, 1]."""
    axes.imshow(to_array(image), interpolation="bilinear")
    axes.set_title(title)
    axes.set_axis_off()


def draw_mask(axes: Axes, mask: torch.Tensor, title: str = "") -> None:
    """The mask itself, 0 dark to 1 bright.  mask: (1, 1, h, w)."""
    axes.imshow(mask.detach().cpu().float().reshape(mask.shape[-2:]).numpy(), cmap=MASK_MAP, vmin=0, vmax=1)
    axes.set_title(title)
    axes.set_axis_off()


def draw_outline(axes: Axes, image: torch.Tensor, mask: torch.Tensor, title: str = "") -> None:
    """The photograph, dimmed where the mask removes it, and the outline of the mask cut at CUT.

    image: (1, 3, H, W).  mask: (1, 1, h, w), as large or smaller.
    """
    axes.imshow(dimmed(image, _stretched(mask, image)), interpolation="bilinear")
    outline(axes, image, mask)
    axes.set_title(title)
    axes.set_axis_off()


def outline(axes: Axes, image: torch.Tensor, mask: torch.Tensor, colour: Any = OUTLINE, *, width: float = 1.2) -> None:
    """The line where the mask passes CUT, bright on dark, smoothed by one pixel of the mask."""
    values = mask.detach().cpu().float().reshape(mask.shape[-2:]).numpy()
    if (values > CUT).any() and (values <= CUT).any():
        smooth = ndimage.gaussian_filter(values, 1.0)
        h, w = values.shape
        x, y = ((np.arange(n) + 0.5) * side / n - 0.5 for n, side in ((w, image.shape[-1]), (h, image.shape[-2])))
        if smooth.max() > CUT:
            thin = min(1.0, 0.4 + 0.5 * _side(axes))  # small panels have thinner lines
            axes.contour(x, y, smooth, levels=[CUT], colors="black", linewidths=(width + 1.0) * thin)
            axes.contour(x, y, smooth, levels=[CUT], colors=[colour], linewidths=width * thin)


def dimmed(image: torch.Tensor, values: np.ndarray) -> np.ndarray:
    """The photograph, dark and half grey where the mask values (h, w) remove it.  (h, w, 3) in [0, 1]."""
    picture = to_array(image)
    dark = 0.275 * (picture + picture.mean(axis=2, keepdims=True))
    return np.clip(dark + values[..., None] * (picture - dark), 0, 1)


def _stretched(mask: torch.Tensor, image: torch.Tensor) -> np.ndarray:
    """The mask's values at the image's own pixels, (H, W)."""
    values = mask.detach().cpu().float().reshape(1, 1, *mask.shape[-2:])
    if values.shape[-2:] != image.shape[-2:]:
        values = torch.nn.functional.interpolate(values, size=image.shape[-2:], mode="bilinear")
    return values[0, 0].numpy()


def method_colours(names: Collection[str]) -> dict[str, str]:
    """The colour of each method or variant ("INR, crisp") by its name, the same in every figure.

    A method's colour follows from its place in `METHODS`. Other names take the colours that no name here has, in turn.
    """
    methods = dict.fromkeys(_method(name) for name in names)
    labels = [one.label for one in METHODS.values()]
    known = {method: LINES[labels.index(method) % len(LINES)] for method in methods if method in labels}
    left = itertools.cycle([colour for colour in LINES if colour not in known.values()] or LINES)
    chosen = {method: known.get(method) or next(left) for method in methods}
    return {name: chosen[_method(name)] for name in names}


def method_dashes(names: Iterable[str]) -> dict[str, str]:
    """Lines of one method's variants, which have one colour: the first is whole, the next dashed."""
    seen: Counter[str] = Counter()
    dashes = {}
    for name in names:
        method = _method(name)
        dashes[name] = DASHES[seen[method] % len(DASHES)]
        seen[method] += 1
    return dashes


def _method(name: str) -> str:
    """ "INR" of "INR", "INR, crisp" and "INR (n = 61)"."""
    first = re.split(r",| \(", name)[0]
    return first if first[:2].isupper() else first[:1].upper() + first[1:]


def panels(rows: int, columns: int, *, extra: float = 0.2) -> tuple[Figure, np.ndarray]:
    """A grid of square panels, WIDTH inches across, `extra` inches a row for titles.  axes: (rows, columns)."""
    side = WIDTH / columns
    with style():
        figure, axes = plt.subplots(rows, columns, figsize=(WIDTH, rows * (side + extra)), squeeze=False)
    return figure, axes


def percent(area: float) -> str:
    return f"{100 * area:.3g} %"


def row_name(axes: Axes, name: str) -> None:
    """The row's name, upright at the panel's left, in as many lines as its height asks for."""
    letters = max(13, int(_side(axes) / 0.062))
    lines = [
        part
        for line in name.splitlines()
        for part in textwrap.wrap(line, letters, break_long_words=False, break_on_hyphens=False)
    ]
    axes.text(
        -0.05, 0.5, "\n".join(lines), transform=axes.transAxes, rotation=90, ha="right", va="center",
        multialignment="center",
    )  # fmt: skip


def _side(axes: Axes) -> float:
    """About how many inches a square panel has a side, before the layout is known."""
    place = axes.get_subplotspec()
    figure = axes.get_figure(root=True)
    if place is None or figure is None:
        return WIDTH / 4
    grid = place.get_gridspec()
    ratios = np.asarray(grid.get_width_ratios() or [1.0] * grid.ncols, dtype=float)
    return float(figure.get_figwidth() * ratios[place.colspan.start] / ratios.sum())


def save_figure(
    figure: Figure,
    name: str,
    *,
    quick: bool,
    made_by: str = "",
    reduced: str = "",
    folder: "str | Path | None" = None,
) -> Path:
    """Write `name`.png with its grey lines (`caption`); a quick run never overwrites a full one.

    made_by: what made the figure, as `shown.made_by` says it.  reduced: where it falls short of the paper's figure.
    quick: whether the settings are less than the paper's; the file remembers it ("inrexp-run").
    folder: default $INREXP_FIGURES, else ../figures (notebooks run in notebooks/).  Returns the path written: where a
    full figure stands already, a quick one goes beside it as `name`.quick.png.
    """
    folder = Path(folder or os.environ.get("INREXP_FIGURES") or "../figures")
    path = folder / f"{name}.png"
    if quick and path.exists() and _run_of(path) == "full":
        path = folder / f"{name}.quick.png"
    caption(figure, made_by)
    caption(figure, reduced and f"Against the paper: {reduced.rstrip('.')}.")
    metadata = {"inrexp-run": "quick" if quick else "full", "Software": "inrexp"}
    with written_whole(path) as temporary:
        figure.savefig(temporary, dpi=STYLE["savefig.dpi"], metadata=metadata, facecolor="white")
    return path


def caption(figure: Figure, words: str) -> None:
    """Small grey lines under the figure, below those already there; the drawing itself keeps its size.

    Words that stand there already are not written twice.
    """
    old = next((text for text in figure.texts if text.get_gid() == "caption"), None)
    before = old.get_text().splitlines() if old is not None else []
    width, height = figure.get_size_inches()
    added = wrapped(words, width - 2 * EDGE)
    if not added or "\n".join(added) in "\n".join(before):
        return
    drawing = height - _strip(len(before))
    lines = before + added
    low = _strip(len(lines)) / (drawing + _strip(len(lines)))
    figure.set_size_inches(width, drawing + _strip(len(lines)))
    taken = low
    for legend in figure.legends:  # one below the panels would stand at the figure's edge, and the engine not know it
        legend.set_bbox_to_anchor((0, low, 1, 1 - low), figure.transFigure)
        taken = max(taken, low + legend.get_window_extent().height / figure.bbox.height + EDGE / height)
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.set(rect=(0, taken, 1, 1 - taken))  # type: ignore[call-arg]
    else:
        was, parts = _strip(len(before)) / height, figure.subplotpars
        bottom, top = ((low + (1 - low) * (edge - was) / (1 - was)) for edge in (parts.bottom, parts.top))
        figure.subplots_adjust(bottom=bottom, top=top)
    text = old or figure.text(0, 0, "", ha="left", va="top", fontsize=SMALL, color=GREY, gid="caption")
    text.set(
        text="\n".join(lines), position=(EDGE / width, low - 0.3 * EDGE / height), linespacing=72 * LINE / SMALL / 1.2
    )


def _strip(lines: int) -> float:
    """Inches that so many lines take under a figure."""
    return lines * LINE + EDGE if lines else 0.0


def wrapped(words: str, width: float) -> list[str]:
    """Words in lines of at most `width` inches, in the size of `caption`."""
    lines: list[str] = []
    for word in words.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and _points(longer) <= 72 * width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _points(words: str) -> float:
    """The width of the ink, from the corners of the letters: `get_extents` follows each curve, and takes ten times."""
    ink = TextPath((0, 0), words, size=SMALL)
    return float(np.ptp(np.asarray(ink.vertices)[np.asarray(ink.codes) != TextPath.CLOSEPOLY, 0]))


def _run_of(path: Path) -> str:
    with Image.open(path) as picture:
        return str(picture.info.get("inrexp-run", "unknown"))
