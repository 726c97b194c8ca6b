"""One method's answer on one sample as a row of numbers and its masks in 8 bits (sections 3.3.1 and 3.4)."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from inrexp.attribution import Attribution
from inrexp.datasets.samples import Sample, Truth
from inrexp.metrics import HIT, area_error, deletion, insertion, precision
from inrexp.models.classifier import Classifier
from inrexp.paper.smallest_area import PAPER_AREAS
from inrexp.saliency import SaliencyMap
from inrexp.study.store import Result

FAILED = "failed"


@dataclass(frozen=True)
class Judging:
    """How answers are judged.

    threshold: Phi_0; None is half of the unmasked probability.  cut: where a mask is cut to 0/1.
    map_cut: where a saliency map scaled to [0, 1] is cut.  curve_steps: of insertion and deletion.
    """

    threshold: float | None
    cut: float
    map_cut: float
    curve_steps: int


def status_of(found: object) -> str:
    """How a fit ended, in words; a method without a fit has always "finished"."""
    return str(getattr(found, "outcome", "finished"))


def sound(found: object) -> bool:
    """Whether there is something to measure: a fit that collapsed or diverged left no explanation."""
    return status_of(found) == "finished"


def interrupted(found: object) -> bool:
    """Whether a fit, or a run of algorithm 1, was ended early."""
    how = getattr(found, "outcome", None) or getattr(found, "ending", None)
    return how is not None and how.kind == "interrupted"


def areas_of(found: Attribution) -> list[float]:
    """The areas of the masks that are kept: those held, or the paper's four in range."""
    if isinstance(found, SaliencyMap):
        return list(PAPER_AREAS)
    low, high = found.area_range
    return list(found.held_areas or [*(one for one in PAPER_AREAS if low <= one < high), high])


def scored(
    known: dict[str, Any],
    found: Attribution,
    sample: Sample,
    judging: Judging,
    *,
    star: float | None,
    cut_star: float | None,
) -> Result:
    """A row, and the soft masks at `areas_of` and a* (of a saliency map the map itself, scaled to [0, 1]).

    A fit that collapsed or diverged is no result: its row has its status and no number.
    known: the row's other columns.  star, cut_star: a* of soft and of cut masks, None where no area suffices: then what
    is measured at a* is None too.  Precisions are of binary masks: of masks cut at a*, of maps cut at their value.
    """
    classifier = found.needed_classifier()
    row = {**known, "status": status_of(found), "unmasked": found.unmasked, "seconds": found.seconds}
    if not sound(found):
        return Result(row)
    areas = areas_of(found)
    is_map = isinstance(found, SaliencyMap)
    row |= {"area": star, "area_cut_star": cut_star}
    binary = found.mask(threshold=judging.map_cut) if isinstance(found, SaliencyMap) else None
    if star is not None:
        soft, cut = found.mask(star), found.mask(star, cut=judging.cut)
        row["area_soft"], row["area_cut"] = float(soft.mean()), float(cut.mean())
        row["area_error"] = float(area_error(cut, star))
        row["probability"], row["probability_cut"] = found.probability_of_mask(torch.cat([soft, cut])).tolist()
        binary = cut if binary is None else binary
    largest = found.mask(areas[-1], cut=judging.cut)
    row |= _precisions(binary, largest, sample, classifier)
    row["insertion"] = insertion(found, steps=judging.curve_steps).auc
    row["deletion"] = deletion(found, steps=judging.curve_steps).auc
    areas = sorted({*areas, *([] if star is None else [star])})
    kept = found.scaled if is_map else found.mask(areas)  # type: ignore[attr-defined]
    names = ("map",) if is_map else tuple(f"{area:g}" for area in areas)
    numbers = {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}
    return Result(numbers, names, (kept[:, 0] * 255).round().to(torch.uint8).cpu().numpy().astype(np.uint8))


def _precisions(
    binary: torch.Tensor | None, largest: torch.Tensor, sample: Sample, classifier: Classifier
) -> dict[str, Any]:
    """Eq. 7 against the data set's main truth, and with boxes against both, without the pixels that do not count."""
    truths = sample.truths(classifier)
    main = next(iter(truths))
    found: dict[str, Any] = {"precision_largest": _precision(largest, truths[main])}
    if binary is None:
        return found
    against = {name: _precision(binary, truth) for name, truth in truths.items()}
    found["precision"] = against[main]
    found["hit"] = None if math.isnan(against[main]) else int(against[main] > HIT)
    if "box" in against:
        found |= {f"precision_{name}": value for name, value in against.items()}
    return found


def _precision(binary: torch.Tensor, truth: Truth) -> float:
    return float(precision(binary, truth.object, counted=truth.counted))


def failed(row: dict[str, Any], error: Exception) -> Result:
    """The row of a job that raised."""
    return Result({**row, "status": FAILED, "error": " ".join(f"{type(error).__name__}: {error}".split())[:500]})
