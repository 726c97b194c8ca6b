"""What the widgets are made of: a box that closes whole, a photograph that takes masks, a curve with a cursor."""

import atexit
import io
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import ipywidgets
import numpy as np
import torch
from PIL import Image, ImageColor

from inrexp.datasets.pictures import to_picture
from inrexp.explanation import CUT
from inrexp.figures.style import LINES, OUTLINE, percent

SIDE = 240  # px of a picture on the page: with the curve beside it, a notebook in a window of 1300 px holds two
STEP = 0.001  # of the area slider; between the measured areas the field is evaluated
EDGE = ImageColor.getrgb(OUTLINE)
PLOT = (340, 240, 34, 44)  # px: width, height, margin left and below


class Panel(ipywidgets.VBox):
    """A box with at most one thread of its own, whose `close` takes along all that is in it, observers too."""

    closed = False
    worker: threading.Thread | None = None

    def work(self, task: Callable[..., None], *arguments: object) -> None:
        """Run `task` in a thread; it looks at `closed` now and then."""
        _WORKING.add(self)
        self.worker = threading.Thread(target=task, args=arguments, daemon=True)
        self.worker.start()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            _close_below(self)
        super().close()


_WORKING: "weakref.WeakSet[Panel]" = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    """An interpreter that ends while a thread is inside torch would abort."""
    for panel in list(_WORKING):
        panel.close()
        if panel.worker is not None:
            panel.worker.join()


def _close_below(widget: ipywidgets.Widget) -> None:
    for child in getattr(widget, "children", ()):
        _close_below(child)
        child.close()
    for part in (getattr(widget, name, None) for name in ("layout", "style")):
        if isinstance(part, ipywidgets.Widget):
            part.close()
    widget.unobserve_all()


class Stage:
    """A photograph, finer than the page shows it, on which a mask becomes a JPEG within milliseconds."""

    def __init__(self, image: torch.Tensor, *, side: int = SIDE):
        h, w = image.shape[-2:]
        scale = 1.5 * side / max(h, w)  # for dense screens
        self.kept = to_picture(image).resize((round(scale * w), round(scale * h)), Image.Resampling.BICUBIC)
        grey = self.kept.convert("L").convert("RGB")
        self.removed = Image.blend(self.kept, grey, 0.5).point(lambda value: 0.45 * value)

    def outlined(self, mask: torch.Tensor) -> bytes:
        """The photograph, dark where the mask removes it, with the mask's outline at CUT.  mask: (1, 1, h, w)."""
        coarse = (255 * mask.detach()[0, 0]).round().to("cpu", torch.uint8).numpy()
        fine = Image.fromarray(coarse).resize(self.kept.size, Image.Resampling.BILINEAR)
        picture = np.array(Image.composite(self.kept, self.removed, fine))
        inside = np.asarray(fine) > 255 * CUT
        for reach, colour in ((2, (0, 0, 0)), (1, EDGE)):  # a dark line under a bright one, for any photograph
            picture[_grown(inside, reach) & _grown(~inside, reach)] = colour
        return jpeg(Image.fromarray(picture))


def _grown(inside: np.ndarray, reach: int) -> np.ndarray:
    """True up to `reach` px around what is true.  (h, w) bool."""
    wide = inside.copy()
    for step in range(1, reach + 1):
        wide[:, step:] |= inside[:, :-step]
        wide[:, :-step] |= inside[:, step:]
    high = wide.copy()
    for step in range(1, reach + 1):
        high[step:] |= wide[:-step]
        high[:-step] |= wide[step:]
    return high


def jpeg(picture: Image.Image) -> bytes:
    """A PIL picture as JPEG bytes, for ipywidgets.Image."""
    buffer = io.BytesIO()
    picture.save(buffer, format="jpeg", quality=90)
    return buffer.getvalue()


@dataclass(frozen=True)
class Curve:
    """Probabilities that an answer's masks keep, soft and cut to 0/1, at the areas where they were measured."""

    areas: tuple[float, ...]
    soft: tuple[float, ...]
    cut: tuple[float, ...]

    def smallest(self, threshold: float, *, cut: bool) -> float | None:
        """a* of eq. 5 among the measured areas; None if none keeps the threshold."""
        return next(
            (a for a, p in zip(self.areas, self.cut if cut else self.soft, strict=True) if p >= threshold), None
        )

    def at(self, area: float, *, cut: bool) -> str:
        """The probability at an area: "= 0.52" where measured, "≈ 0.52" on the line between two measured areas."""
        sign = "=" if min(abs(area - one) for one in self.areas) < STEP / 10 else "≈"
        return f"{sign} {np.interp(area, self.areas, self.cut if cut else self.soft):.2f}"


def curve_svg(
    lines: Sequence[tuple[str, Curve | None]],
    *,
    area: float,
    threshold: float,
    cut: bool,
    limits: tuple[float, float],
) -> str:
    """Probability over area as inline SVG: solid for soft masks, dashed for cut ones, the cursor at `area`.

    lines: name and curve, None while it is measured.  cut: which of the two the cursor's dot follows.
    """
    width, height, left, below = PLOT
    low, high = limits

    def x(value: float) -> float:
        return left + (width - left - 14) * (value - low) / ((high - low) or 1)

    def y(value: float) -> float:
        return 20 + (height - below - 20) * (1 - value)

    grey = "stroke='#767676' stroke-width='1'"
    drawn = [f"<path d='M{x(low):.1f} {y(1):.1f}V{y(0):.1f}H{x(high):.1f}' fill='none' {grey}/>"]
    for value in (0, 0.5, 1):
        drawn.append(f"<text x='{left - 5}' y='{y(value) + 4:.1f}' text-anchor='end'>{value:g}</text>")
    for value, anchor in ((low, "start"), ((low + high) / 2, "middle"), (high, "end")):
        drawn.append(f"<text x='{x(value):.1f}' y='{y(0) + 14:.1f}' text-anchor='{anchor}'>{percent(value)}</text>")
    drawn.append(f"<path d='M{x(low):.1f} {y(threshold):.1f}H{x(high):.1f}' {grey} stroke-dasharray='1 3'/>")
    drawn.append(f"<text x='{x(low) + 3:.1f}' y='{y(threshold) - 3:.1f}'>threshold</text>")
    drawn.append(f"<text x='{left}' y='11'>probability of the class, over area</text>")
    drawn.append(f"<path d='M{x(area):.1f} {y(0):.1f}V{y(1):.1f}' stroke='#000' stroke-width='1.5'/>")
    for colour, (name, curve), row in zip(LINES, lines, range(len(lines)), strict=False):
        key = f"{escape(name)}: soft ――, cut to 0/1 ‐ ‐ ‐" if curve else f"{escape(name)}: measuring ..."
        drawn.append(f"<text x='{left}' y='{height - 16 + 13 * row}' fill='{colour}'>{key}</text>")
        if curve is None:
            continue
        for values, dash in ((curve.soft, ""), (curve.cut, "stroke-dasharray='5 3'")):
            points = " ".join(f"{x(a):.1f},{y(p):.1f}" for a, p in zip(curve.areas, values, strict=True))
            drawn.append(f"<polyline points='{points}' fill='none' stroke='{colour}' stroke-width='2' {dash}/>")
        p = float(np.interp(area, curve.areas, curve.cut if cut else curve.soft))
        drawn.append(f"<circle cx='{x(area):.1f}' cy='{y(p):.1f}' r='4.5' fill='{colour}' stroke='#fff'/>")
    label = escape("; ".join(f"{name}: p {curve.at(area, cut=cut)}" for name, curve in lines if curve), quote=True)
    return (
        f"<svg width='{width}' height='{height + 6}' role='img' font-size='11' font-family='sans-serif' "
        f"aria-label='probability over area; at {percent(area)} {label}'>"
        f"<rect width='100%' height='100%' fill='#fff'/>{''.join(drawn)}</svg>"
    )
