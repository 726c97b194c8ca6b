"""Scores of the pixels by a method without masks (GradCAM, RISE, ...), and the masks that they become."""

from collections.abc import Sequence

import torch

from inrexp.attribution import Attribution, as_areas
from inrexp.models.checks import checked_scores
from inrexp.models.classifier import Classifier, Target
from inrexp.paper.conditions import checked_number
from inrexp.paper.masks import keep_largest
from inrexp.paper.smallest_area import searched_areas

PAPER_CUTS = {"imagenet": 0.2, "voc": 0.5}  # section 3.4, for saliency maps scaled to [0, 1]


class SaliencyMap(Attribution):
    """Scores of the pixels, and the masks that they become; section 3.4 cuts them at `PAPER_CUTS`.

    saliency: (1, 1, h, w), finite, unbounded.  scaled: the same, its range mapped onto [0, 1] (all 0 if constant).
    method: the name of the method.  Probabilities are those under a blur of 20 px, as for the INR.
    A constant map ranks nothing and explains nothing: it has no a*, and its masks are the picture's upper rows.
    Raises TypeError for a map that is no tensor, and ValueError for one of another size or with scores that are not
    finite.
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
        self.saliency, self.image, self.target = checked_scores(saliency, image).detach(), image, target
        self.classifier, self.classifier_name = classifier, classifier.name
        self.method, self.seed, self.seconds = method, seed, seconds
        self.unmasked = float(classifier.probability(image, target))

    @property
    def explains(self) -> bool:
        return bool(self.saliency.min() < self.saliency.max())

    @property
    def _made(self) -> str:
        return self.method

    @property
    def area_range(self) -> tuple[float, float]:
        return 1 / self.saliency.numel(), 1.0

    @property
    def searched_areas(self) -> tuple[float, ...]:
        """As for the INR: 36 areas of the paper's range."""
        return searched_areas()

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

        area: share of the pixels that the mask keeps, those of the highest scores (an exact count).
        threshold: keeps where the map scaled to [0, 1] is above it; the paper cuts at PAPER_CUTS.
        cut: changes nothing, these masks are binary already; here so that all methods' masks are asked for alike.
        """
        if area is not None and threshold is None:
            return keep_largest(self.saliency, as_areas(area)).to(self.image.dtype)
        if area is not None or threshold is None:
            raise ValueError(f"mask needs an area or a threshold, one of them; got area={area}, threshold={threshold}")
        if not 0 <= checked_number(threshold, "threshold") < 1:
            raise ValueError(f"threshold must lie in [0, 1), the map is scaled to [0, 1]; got {threshold}")
        return (self.scaled > threshold).to(self.image.dtype)
