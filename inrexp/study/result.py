"""The result of a run, a row with its masks, and how both lie in files: masks as one PNG in 8 bits, rows as CSV."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Result:
    """One row and its masks.

    row: a value for each column; None where there is none.
    names: what each mask is: its area, or "map".
    masks: (k, h, w) uint8; a pixel of 255 is kept.
    """

    row: dict[str, Any]
    names: tuple[str, ...] = ()
    masks: np.ndarray | None = None


def to_png(masks: np.ndarray) -> bytes:
    """Masks (k, h, w) uint8 as one PNG, one below the other.  It has 1 bit a pixel if every value is 0 or 255."""
    drawn = Image.fromarray(masks.reshape(-1, masks.shape[-1]))
    if np.isin(masks, (0, 255)).all():
        drawn = drawn.convert("1", dither=Image.Dither.NONE)
    file = io.BytesIO()
    drawn.save(file, "PNG")
    return file.getvalue()


def from_png(png: bytes, count: int) -> np.ndarray:
    """The masks in a PNG that `to_png` made.  count: how many there are.  Returns (count, h, w) uint8."""
    with Image.open(io.BytesIO(png)) as drawn:
        pixels = np.asarray(drawn.convert("L"))
    return pixels.reshape(count, -1, pixels.shape[-1])


def to_csv(names: Sequence[str], rows: Sequence[Mapping[str, object]]) -> str:
    """These columns of the rows as text, a line a row below the names.

    A float has six digits after the point and None is empty, so that the same rows always give the same text.
    """
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([_written(row[name]) for name in names])
    return file.getvalue()


def _written(value: object) -> object:
    return f"{value:.6f}" if isinstance(value, float) else value
