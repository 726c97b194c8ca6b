"""Scores of the pixels by a method without masks, and the masks that they become."""

from collections.abc import Sequence

import torch

from inrexp.explanation import Attribution
from inrexp.models.classifier import Classifier, Target


class SaliencyMap(Attribution):
    """Scores of the pixels by a method without masks (GradCAM, RISE, ...), and the masks that they become.

    saliency: (1, 1, h, w), finite, unbounded.  scaled: the same, its range mapped onto [0, 1] (all 0 if constant).
    method: the name of the method.  Probabilities are those under a blur of 20 px, as for the INR.
    """

    def __init__(
        self,
        saliency: torch.Tensor,
        *,
        image: torch.Tensor,
        target: Target,
        classifier: Classifier,
        method: str,
        seed: int = 0,
        seconds: float = 0.0,
    ):
        if tuple(saliency.shape) != (1, 1, *image.shape[-2:]):
            raise ValueError(
                f"saliency must be (1, 1, {image.shape[-2]}, {image.shape[-1]}) like the image, "
                f"got {tuple(saliency.shape)}: interpolate it to the picture first"
            )
        if not bool(torch.isfinite(saliency).all()):
            raise ValueError(f"saliency of {method} holds NaN or infinite scores: check the classifier's scores")
        self.saliency, self.image, self.target = saliency.detach(), image, target
        self.classifier, self.classifier_name = classifier, classifier.name
        self.method, self.seed, self.seconds = method, seed, seconds
        self.unmasked = float(classifier.probability(image, target))

    @property
    def _made(self) -> str:
        return self.method

    @property
    def area_range(self) -> tuple[float, float]:
        return 1 / self.saliency.numel(), 1.0

    @property
    def scaled(self) -> torch.Tensor:
        low, high = self.saliency.min(), self.saliency.max()
        return (self.saliency - low) / (high - low) if high > low else torch.zeros_like(self.saliency)

    def mask(  # type: ignore[override]
        self,
        area: "float | Sequence[float] | None" = None,
        *,
        threshold: float | None = None,
        cut: float | None = None,
    ) -> torch.Tensor:
        """A binary mask by area or by threshold, one of them.  Returns (k, 1, h, w), 0 or 1.

        area: share of the pixels that the mask keeps, the top-ranked ones (`top_ranked`: an exact count).
        threshold: keeps where the map scaled to [0, 1] is above it; the paper cuts at PAPER_CUTS.
        cut: changes nothing, these masks are binary already; here so that all methods' masks are asked for alike.
        """
        if (area is None) == (threshold is None):
            raise ValueError(f"mask needs an area or a threshold, one of them; got area={area}, threshold={threshold}")
        if threshold is not None:
            if not 0 <= threshold < 1:
                raise ValueError(f"threshold must lie in [0, 1), the map is scaled to [0, 1]; got {threshold}")
            return (self.scaled > threshold).to(self.image.dtype)
        areas = [area] if isinstance(area, int | float) else list(area)  # type: ignore[arg-type]
        return top_ranked(self.saliency, areas).to(self.image.dtype)


def top_ranked(saliency: torch.Tensor, areas: Sequence[float]) -> torch.Tensor:
    """Masks of the highest scores: exactly round(area * h * w) pixels each, of equal scores the upper left first.

    saliency: (1, 1, h, w).  areas: fractions in [0, 1].  Returns (k, 1, h, w), 0 or 1.
    """
    if not areas or not all(0 <= area <= 1 for area in areas):
        raise ValueError(f"area must lie in [0, 1] (a fraction of the picture), got {list(areas)}")
    order = saliency.flatten().argsort(descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(0, order, torch.arange(order.numel(), device=order.device))  # (h*w,)
    kept = torch.tensor([round(area * order.numel()) for area in areas], device=order.device)
    return (rank < kept[:, None]).to(saliency.dtype).view(len(areas), 1, *saliency.shape[-2:])
