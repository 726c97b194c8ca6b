"""Measures a method's answer on one sample: a row of numbers, and its masks in 8 bits (sections 3.3.1 and 3.4)."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from inrexp.attribution import Attribution
from inrexp.comparison import centred
from inrexp.datasets.samples import Sample, Truth
from inrexp.metrics import HIT, area_error, deletion, insertion, precision
from inrexp.models.classifier import Classifier
from inrexp.paper.masks import keep_largest
from inrexp.paper.perturb import blend, blur
from inrexp.paper.smallest_area import PAPER_AREAS
from inrexp.saliency import SaliencyMap
from inrexp.study.store import EQUAL_AREAS, Result

FAILED = "failed"


@dataclass(frozen=True)
class Judging:
    """How answers are measured.

    threshold: Phi_0 of eq. 5; None is half of the unmasked probability.
    cut: the mask value above which a pixel of a binary mask is 1.
    map_cut: the value at which a saliency map, scaled to [0, 1], is cut.
    curve_steps: number of steps of the insertion and deletion curves.
    """

    threshold: float | None
    cut: float
    map_cut: float
    curve_steps: int


def status_of(found: object) -> str:
    """How a fit ended, in words.  A method that fits nothing always has "finished"."""
    return str(getattr(found, "outcome", "finished"))


def sound(found: object) -> bool:
    """Whether there is an explanation to measure.  A fit that collapsed or diverged left none."""
    return status_of(found) == "finished"


def interrupted(found: object) -> bool:
    """Whether a fit, or a run of algorithm 1, was interrupted."""
    how = getattr(found, "outcome", None) or getattr(found, "ending", None)
    return how is not None and how.kind == "interrupted"


def areas_of(found: Attribution) -> list[float]:
    """The areas of the masks that a study keeps.

    They rise, so that the last is the largest. For a method with masks of certain areas, these are its areas. For a
    field, they are those of the paper's four areas that lie in its range, and the end of the range.
    """
    if isinstance(found, SaliencyMap):
        return list(PAPER_AREAS)
    low, high = found.area_range
    return sorted(found.held_areas or [*(one for one in PAPER_AREAS if low <= one < high), high])


def scored(
    known: dict[str, Any],
    found: Attribution,
    sample: Sample,
    judging: Judging,
    *,
    star: float | None,
    cut_star: float | None,
) -> Result:
    """A row of numbers with its masks: the soft masks of `areas_of` and a*, or a saliency map scaled to [0, 1].

    The row of a fit that collapsed or diverged has its status and no numbers.
    known: the other columns of the row.
    star, cut_star: a* of soft and of cut masks. None means that no area suffices; then the numbers at a* are None too.
    A precision is always that of a binary mask: the cut mask at a*, or a saliency map cut at `judging.map_cut`.
    """
    classifier = found.needed_classifier()
    row = {**known, "status": status_of(found), "unmasked": found.unmasked, "seconds": found.seconds}
    row |= {"label": found.target.label}  # of a folder's picture the sample says no more than "top-1", or an index
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
    row |= at_equal_area(found, sample, star)
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
    """Precision (eq. 7) against the data set's main truth, and against box and mask where it has both.

    Pixels that do not count are left out.  size: the real area of the mask, which differs from method to method.
    """
    truths = sample.truths(classifier)
    main = next(iter(truths))
    found: dict[str, Any] = {"precision_largest": _precision(largest, truths[main])}
    if binary is None:
        return found
    found["size"] = float(binary.mean())
    against = {name: _precision(binary, truth) for name, truth in truths.items()}
    found["precision"] = against[main]
    found["hit"] = None if math.isnan(against[main]) else int(against[main] > HIT)
    if "box" in against:
        found |= {f"precision_{name}": value for name, value in against.items()}
    return found


def at_equal_area(found: Attribution, sample: Sample, star: float | None) -> dict[str, float]:
    """Probability and precision of masks that have the same real area for every method, and the object's share.

    The mask of each of EQUAL_AREAS, and the one at a*, is brought to exactly its area by its largest values. Every
    method is then measured under the same fill, a blur of 20 px, and by the same truth. An area for which the method
    has no mask is left out, and so is a* if it is None.
    object_share: the object's share of the pixels that count, which is the expected precision of a random mask.
    disc_at_star: the precision of a disc of area a* around the picture's centre, a mask that saw nothing.
    """
    truth = next(iter(sample.truths(found.needed_classifier()).values()))
    areas = {at: area for at, area in {**EQUAL_AREAS, "star": star}.items() if area is not None and _has(found, area)}
    share = float((truth.object & truth.counted).sum() / truth.counted.sum())
    if not areas:
        return {"object_share": share}
    wanted = list(areas.values())
    mask = keep_largest(found.mask(wanted), torch.tensor(wanted))  # 0 or 1
    seen = blend(found.image, blur(found.image), mask.to(found.image))
    probability = found.needed_classifier().probability(seen, found.target).tolist()
    on_object = precision(mask, truth.object, counted=truth.counted).tolist()
    measured = {f"probability_at_{at}": one for at, one in zip(areas, probability, strict=True)}
    measured |= {f"precision_at_{at}": one for at, one in zip(areas, on_object, strict=True)}
    if "star" in areas:
        disc = keep_largest(centred(found.image), torch.tensor([areas["star"]]))
        measured["disc_at_star"] = _precision(disc, truth)
    return measured | {"object_share": share}


def _has(found: Attribution, area: float, near: float = 1e-6) -> bool:
    """Whether the method has a mask of this very area."""
    low, high = found.area_range
    held = found.held_areas
    return low - near <= area <= high + near if held is None else any(abs(area - one) <= near for one in held)


def _precision(binary: torch.Tensor, truth: Truth) -> float:
    return float(precision(binary, truth.object, counted=truth.counted))


def failed(row: dict[str, Any], error: Exception) -> Result:
    """The row of a job that raised an error; it holds the error's type and message."""
    return Result({**row, "status": FAILED, "error": " ".join(f"{type(error).__name__}: {error}".split())[:500]})
