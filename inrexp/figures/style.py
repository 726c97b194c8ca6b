"""The house style, drawing's smallest parts, and figures that say what made them."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from PIL import Image

from inrexp.attribution import CUT
from inrexp.files import written_whole

WIDTH = 7.0  # inches, the text width of a two-column page
STRIP = 0.15  # inches, below a quick figure
MASK_MAP = "cividis"  # perceptually uniform, and the same to a colour-blind reader
OUTLINE = "#ffb000"  # colour-blind-safe, visible on light and dark pictures with the dark line under it
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")  # Okabe and Ito
STYLE: dict[Any, Any] = {
    "figure.dpi": 110,
    "savefig.dpi": 160,
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
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
    axes.imshow(to_array(image), interpolation="bilinear")
    axes.set_title(title)
    axes.set_axis_off()


def draw_mask(axes: Axes, mask: torch.Tensor, title: str = "") -> None:
    """The mask itself, 0 dark to 1 bright.  mask: (1, 1, h, w)."""
    axes.imshow(mask.detach().cpu().float().reshape(mask.shape[-2:]).numpy(), cmap=MASK_MAP, vmin=0, vmax=1)
    axes.set_title(title)
    axes.set_axis_off()


def draw_outline(axes: Axes, image: torch.Tensor, mask: torch.Tensor, title: str = "", colour: str = OUTLINE) -> None:
    """The photograph, dimmed where the mask removes it, and the outline of the mask cut at CUT.  mask: (1, 1, h, w)."""
    values = mask.detach().cpu().float().reshape(mask.shape[-2:]).numpy()
    axes.imshow(_dimmed(image, values), interpolation="bilinear")
    if (values > CUT).any() and (values <= CUT).any():
        axes.contour(values, levels=[CUT], colors="black", linewidths=2.2)
        axes.contour(values, levels=[CUT], colors=colour, linewidths=1.2)
    axes.set_title(title)
    axes.set_axis_off()


def _dimmed(image: torch.Tensor, values: np.ndarray) -> np.ndarray:
    """The photograph, dark and half grey where the mask values (h, w) remove it.  (h, w, 3) in [0, 1]."""
    picture = to_array(image)
    dimmed = 0.225 * (picture + picture.mean(axis=2, keepdims=True))
    return np.clip(dimmed + values[..., None] * (picture - dimmed), 0, 1)


def panels(rows: int, columns: int, *, width: float = WIDTH, extra: float = 0.2) -> tuple[Figure, np.ndarray]:
    """A grid of square panels, `width` inches across, `extra` inches a row for titles.  axes: (rows, columns)."""
    side = width / columns
    with style():
        figure, axes = plt.subplots(rows, columns, figsize=(width, rows * (side + extra)), squeeze=False)
    return figure, axes


def percent(area: float) -> str:
    return f"{100 * area:.3g} %"


def _row_name(axes: Axes, name: str) -> None:
    axes.text(-0.04, 0.5, name, transform=axes.transAxes, rotation=90, ha="right", va="center")


def save_figure(
    figure: Figure, name: str, *, quick: bool, stamp: str = "QUICK", folder: "str | Path | None" = None
) -> Path:
    """Write `name`.png; a quick run stamps its word into the picture and never overwrites a full one.

    stamp: what a run says that is not the paper's setting.  folder: default $INREXP_FIGURES, else ../figures (notebooks
    run in notebooks/).  Returns the path written: where a full figure stands already, a quick one goes beside it as
    `name`.quick.png.
    """
    folder = Path(folder or os.environ.get("INREXP_FIGURES") or "../figures")
    path = folder / f"{name}.png"
    if quick:
        _stamp(figure, stamp)
        if path.exists() and _run_of(path) == "full":
            path = folder / f"{name}.quick.png"
    metadata = {"inrexp-run": "quick" if quick else "full", "Software": "inrexp"}
    with written_whole(path) as temporary:
        figure.savefig(temporary, dpi=STYLE["savefig.dpi"], metadata=metadata)
    return path


def _stamp(figure: Figure, word: str) -> None:
    """The word in a strip of its own below the picture, which keeps its size. A second stamp changes nothing."""
    if any(text.get_gid() == "stamp" for text in figure.texts):
        return
    width, height = figure.get_size_inches()
    low = STRIP / (height + STRIP)
    figure.set_size_inches(width, height + STRIP)
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.set(rect=(0, low, 1, 1 - low))  # type: ignore[call-arg]
    else:
        parts = figure.subplotpars
        figure.subplots_adjust(bottom=low + (1 - low) * parts.bottom, top=low + (1 - low) * parts.top)
    text = figure.text(0.998, 0.004, word, ha="right", va="bottom", fontsize=7, color="#b00000", weight="bold")
    text.set_gid("stamp")


def _run_of(path: Path) -> str:
    with Image.open(path) as picture:
        return str(picture.info.get("inrexp-run", "unknown"))
