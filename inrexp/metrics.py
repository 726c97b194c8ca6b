"""Measures masks and maps against the truth (eq. 7), the asked area and each other, and by insertion and deletion.

Masks are (k, 1, h, w) in [0, 1], binary or soft. A pixel of a soft mask counts by its value, and the intersection of
two masks is their minimum. The precision and the overlap of an empty mask are NaN. The summaries leave empty masks out
of the mean and count them.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy import stats

from inrexp.attribution import CUT, Attribution
from inrexp.explanations import overlap_share
from inrexp.models.checks import check_tensor, checked_scores
from inrexp.models.classifier import Classifier, Target
from inrexp.paper.masks import keep_largest
from inrexp.paper.perturb import blend, blur
from inrexp.paper.smallest_area import PAPER_AREAS

HIT = 0.5  # section 3.3.1: a hit is a precision above it


def precision(mask: torch.Tensor, truth: torch.Tensor, *, counted: torch.Tensor | None = None) -> torch.Tensor:
    """Share of the mask that lies on the object, |M and S| / |M| (eq. 7).

    mask: (k, 1, h, w).  truth: (h, w) bool.
    counted: (h, w) bool, False where the truth is not known. Both sums leave such pixels out.
    Returns (k,); NaN for an empty mask.  Raises TypeError for what is no tensor and for a truth that is not bool, and
    ValueError for sizes that differ.
    """
    _check(mask, "mask")
    given = {"truth": truth} if counted is None else {"truth": truth, "counted": counted}
    for name, one in given.items():
        check_tensor(one, name, "(h, w) bool", "of a sample's .truth(classifier) give .object, and .counted beside it")
        if one.dtype != torch.bool:
            raise TypeError(f"{name} must be (h, w) bool, got {one.dtype}: {name} > 127 if white (255) is the object")
    if mask.shape[-2:] != truth.shape:
        raise ValueError(f"mask is {tuple(mask.shape[-2:])} pixels, truth is {tuple(truth.shape)}: resize one of them")
    if counted is not None:
        if counted.shape != truth.shape:
            raise ValueError(f"counted is {tuple(counted.shape)} pixels, truth is {tuple(truth.shape)}")
        mask = mask * counted.to(mask)
    return overlap_share(mask, truth.to(mask)[None, None])


def _on_cpu(values: torch.Tensor) -> torch.Tensor:
    """The values in float64 on the CPU.  They are moved first, because Apple's GPUs have no float64."""
    return values.detach().cpu().double()


def area_error(mask: torch.Tensor, area: "float | Sequence[float]") -> torch.Tensor:
    """Real area minus asked area, as fractions of the picture.  Returns (k,); above 0 the mask is too large.

    mask: (k, 1, h, w).  area: the asked area of each mask, or one for all.
    """
    _check(mask, "mask")
    asked = torch.as_tensor(area, dtype=mask.dtype, device=mask.device).reshape(-1)
    if len(asked) not in (1, len(mask)):
        raise ValueError(f"area must be one number or one for each of the {len(mask)} masks, got {len(asked)}")
    return mask.mean(dim=(1, 2, 3)) - asked


def monotonicity(mask: torch.Tensor) -> float:
    """Share of the masks that are larger than the mask before them; 1 means that the areas grow throughout.

    mask: (k, 1, h, w), k >= 2, in the order of their asked areas.
    """
    _check(mask, "mask", least=2)
    areas = mask.mean(dim=(1, 2, 3)).cpu()
    return float((areas[1:] > areas[:-1]).double().mean())


def nestedness(mask: torch.Tensor) -> torch.Tensor:
    """How much of each mask lies inside the next one: their intersection over the smaller of the two.

    mask: (k, 1, h, w), k >= 2, in the order of their asked areas.
    Returns (k - 1,); 1 where the next mask contains the whole mask, NaN beside an empty mask.
    """
    _check(mask, "mask", least=2)
    both = torch.minimum(mask[1:], mask[:-1]).sum(dim=(1, 2, 3))
    size = mask.sum(dim=(1, 2, 3))
    return both / torch.minimum(size[1:], size[:-1])


def pairwise_iou(mask: torch.Tensor) -> torch.Tensor:
    """Intersection over union of every pair of masks.  mask: (k, 1, h, w).  Returns (k, k); NaN if both are empty."""
    _check(mask, "mask")
    flat = mask.flatten(1)
    both = torch.stack([torch.minimum(one, flat).sum(1) for one in flat])
    either = torch.stack([torch.maximum(one, flat).sum(1) for one in flat])
    return both / either


def disagreement(mask: torch.Tensor) -> float:
    """How much masks differ that should be the same, such as those of several seeds: 1 - mean pairwise IoU.

    mask: (k, 1, h, w), k >= 2.
    Returns 0 if all masks are equal and 1 if no two of them overlap; NaN if both masks of a pair are empty.
    """
    _check(mask, "mask", least=2)
    above = torch.triu_indices(len(mask), len(mask), offset=1)
    return 1 - float(pairwise_iou(mask)[above[0], above[1]].mean())


@dataclass(frozen=True)
class Leak:
    """The probability that remains under soft masks, and under the same masks cut to 0/1.

    soft, cut: the masks, (k, 1, h, w).  All others: (k,), one value for each area.
    If the soft mask keeps the class and the cut mask loses it, then the classifier saw the class where the mask looks
    empty.
    """

    area: torch.Tensor
    soft: torch.Tensor
    cut: torch.Tensor
    probability: torch.Tensor
    probability_cut: torch.Tensor
    soft_area: torch.Tensor
    cut_area: torch.Tensor

    @property
    def gap(self) -> torch.Tensor:
        """The probability that is lost by cutting the mask, (k,)."""
        return self.probability - self.probability_cut


def leak(found: Attribution, areas: Sequence[float] = PAPER_AREAS, *, cut: float = CUT) -> Leak:
    """Compare soft masks with the same masks cut at `cut`: the probability they keep and their real area.

    areas: fractions of the picture; one mask is compared for each.
    """
    mask = found.mask(areas)
    binary = (mask > cut).to(mask.dtype)
    return Leak(
        area=torch.tensor(list(areas), dtype=torch.float64),
        soft=mask,
        cut=binary,
        probability=found.probability_of_mask(mask).cpu(),
        probability_cut=found.probability_of_mask(binary).cpu(),
        soft_area=mask.mean((1, 2, 3)).cpu(),
        cut_area=binary.mean((1, 2, 3)).cpu(),
    )


@dataclass(frozen=True)
class Curve:
    """The target's probability as a function of the share of pixels inserted or deleted.

    share: (n + 1,), from 0 to 1.  probability: (n + 1,).
    """

    share: torch.Tensor
    probability: torch.Tensor

    @property
    def auc(self) -> float:
        """The area under the curve by the trapezoidal rule, in [0, 1]."""
        return float(torch.trapezoid(self.probability.double(), self.share.double()))


def insertion(found: Attribution, *, steps: int = 50, perturbed: torch.Tensor | None = None) -> Curve:
    """Insertion (Petsiuk et al. 2018): the best pixels return to the perturbed image first.  A high curve is good."""
    return ranked_curve(
        found.needed_classifier(), found.image, found.target, found.saliency, steps=steps, perturbed=perturbed
    )


def deletion(found: Attribution, *, steps: int = 50, perturbed: torch.Tensor | None = None) -> Curve:
    """Deletion (Petsiuk et al. 2018): the best pixels are removed from the image first.  A low curve is good."""
    return ranked_curve(
        found.needed_classifier(),
        found.image,
        found.target,
        found.saliency,
        steps=steps,
        perturbed=perturbed,
        delete=True,
    )


def ranked_curve(
    classifier: Classifier,
    image: torch.Tensor,
    target: Target,
    saliency: torch.Tensor,
    *,
    steps: int = 50,
    perturbed: torch.Tensor | None = None,
    delete: bool = False,
) -> Curve:
    """The insertion or deletion curve for any ranking of the pixels.

    saliency: (1, 1, h, w). Pixels with a higher score go first.
    steps: number of steps; each inserts or deletes the same number of pixels.
    perturbed: (1, 3, h, w), the image without its content. By default it is the image blurred by 20 px, the same for
        all methods.
    Raises TypeError for a saliency that is no tensor, and ValueError for one of another size or with scores that are
    not finite, or for steps below 1.
    """
    checked_scores(saliency, image)
    if steps < 1:
        raise ValueError(f"steps must be 1 or more, got {steps}")
    perturbed = blur(image) if perturbed is None else perturbed
    shares = torch.arange(steps + 1, dtype=torch.float64) / steps
    mask = keep_largest(saliency, shares).to(image)
    kept = classifier.probability(blend(image, perturbed, 1 - mask if delete else mask), target)
    return Curve(shares, kept.cpu())


def rank_similarity(first: torch.Tensor, second: torch.Tensor) -> float:
    """Spearman's rank correlation of two maps of one shape; equal scores share their mean rank.

    Returns 1 for the same order and 0 for unrelated maps; NaN if a map is constant.  Raises ValueError for two shapes.
    """
    if first.shape != second.shape:
        raise ValueError(f"maps must have one shape, got {tuple(first.shape)} and {tuple(second.shape)}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.ConstantInputWarning)  # the returned NaN says it
        return float(stats.spearmanr(_on_cpu(first.flatten()), _on_cpu(second.flatten())).statistic)


def _check(mask: torch.Tensor, name: str, least: int = 1) -> None:
    check_tensor(mask, name, f"(k, 1, h, w) with k >= {least}", "of a method's answer give its .mask(area)")
    if mask.dim() != 4 or mask.shape[1] != 1 or len(mask) < least:
        raise ValueError(f"{name} must be (k, 1, h, w) with k >= {least}, got {tuple(mask.shape)}")
