"""What every method's answer can do: masks of an area, the probability that they keep, the smallest that suffices."""

import functools
from collections.abc import Sequence

import torch

from inrexp.models.checks import checked_masks
from inrexp.models.classifier import Classifier, Target
from inrexp.paper.perturb import BLUR_SIGMA, Perturbation
from inrexp.paper.smallest_area import checked_threshold, searched_areas, smallest_area

CUT = 0.5  # mask values above it are 1 in a binary mask; the paper gives no value for the INR


def as_areas(area: "float | Sequence[float]") -> torch.Tensor:
    """One area or several as (k,) in float64 on the CPU.  Raises TypeError for what are no numbers."""
    try:
        return torch.as_tensor(area, dtype=torch.float64, device="cpu").flatten()
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"area must be a number or several, fractions of the picture, got {area!r}") from error


class Attribution:
    """What every method's answer can do.

    Attributes: image (1, 3, h, w), target, classifier (None after loading one that has no name), classifier_name,
    seed, seconds, unmasked (probability of the whole image).
    perturbation, blur_sigma: what the method blends with (eq. 1), as in `FitConfig`.
    saliency: (1, 1, h, w), scores that rank the pixels.
    """

    image: torch.Tensor
    target: Target
    classifier: Classifier | None
    classifier_name: str
    seed: int
    seconds: float
    unmasked: float
    perturbation: str = "blur"
    blur_sigma: float = BLUR_SIGMA
    saliency: torch.Tensor

    def __repr__(self) -> str:
        low, high = self.area_range
        return (
            f"<{type(self).__name__} of {self.target.label!r}, p = {self.unmasked:.2f} unmasked by "
            f"{self.classifier_name}: {self._made}, seed {self.seed}, areas {low:g} to {high:g}>"
        )

    @property
    def _made(self) -> str:
        """By what, for `repr`."""
        raise NotImplementedError

    @property
    def area_range(self) -> tuple[float, float]:
        """Smallest and largest area that there is a mask for."""
        raise NotImplementedError

    @property
    def held_areas(self) -> tuple[float, ...] | None:
        """The areas that there are masks for; None for every area in the range."""
        return None

    @property
    def searched_areas(self) -> tuple[float, ...]:
        """The areas among which a* is searched (`paper.smallest_area` says which and why)."""
        return self.held_areas or searched_areas(*self.area_range)

    @property
    def explains(self) -> bool:
        """Whether the masks say anything about the picture.

        Those of a fit that collapsed or diverged do not, nor do those of a constant map.
        """
        return True

    def mask(self, area: "float | Sequence[float]", *, cut: float | None = None) -> torch.Tensor:
        """The mask of one area or several.  Returns (k, 1, h, w) in [0, 1]; with `cut`, 0 or 1."""
        raise NotImplementedError

    def probability(self, area: "float | Sequence[float]", *, cut: float | None = None) -> torch.Tensor:
        """Phi of the image under M_a (eq. 1), for each area; with `cut`, under the mask cut to 0/1.  Returns (k,)."""
        return self.probability_of_mask(self.mask(area, cut=cut))

    def probability_of_mask(self, mask: torch.Tensor) -> torch.Tensor:
        """Phi(M * I + (1 - M) * I') for any mask (k, 1, h, w), with this method's perturbation.  Returns (k,).

        Raises TypeError for what is no tensor, and ValueError for another shape or for values outside [0, 1].
        """
        seen = self.blended(checked_masks(mask, self.image))
        return self.needed_classifier().probability(seen, self.target)

    def blended(self, mask: torch.Tensor) -> torch.Tensor:
        """What the classifier sees through a mask (eq. 1).  mask: (k, 1, h, w).  Returns (k, 3, h, w) in [0, 1].

        Raises RuntimeError for extremal perturbations' blend without the classifier, whose mean colour it shows.
        """
        return self._perturbed(mask.to(self.image)[None])[0]

    @functools.cached_property
    def _perturbed(self) -> Perturbation:
        levels = self.perturbation == "levels"  # of the perturbations it alone shows the classifier's mean colour
        outside = self.needed_classifier().mean_colour.to(self.image) if levels else None
        return Perturbation(self.image, self.perturbation, self.blur_sigma, outside=outside)

    def needed_classifier(self) -> Classifier:
        """The classifier.  Raises RuntimeError for an explanation that was loaded without it."""
        if self.classifier is None:
            raise RuntimeError(
                f"This explanation was loaded without its classifier {self.classifier_name!r}. "
                "Pass it: Explanation.load(path, classifier=...)."
            )
        return self.classifier

    @functools.cached_property
    def blank(self) -> float:
        """Phi of the picture of which nothing is kept.

        From the threshold on it says that the class needs nothing of the picture: every area suffices, and a* and its
        mask say nothing.
        """
        return float(self.probability_of_mask(torch.zeros_like(self.image[:, :1])))

    @functools.cached_property
    def curve(self) -> tuple[float, ...]:
        """Phi under the mask of each of the searched areas, in their order."""
        return tuple(self.probability(self.searched_areas).tolist())

    @property
    def threshold(self) -> float:
        """Phi_0's default, half of the unmasked probability; the paper gives no value."""
        return 0.5 * self.unmasked

    def smallest_area(self, threshold: float | None = None, *, cut: float | None = None) -> float | None:
        """a*, the smallest searched area whose mask keeps the probability at `threshold` or above (eq. 5).

        None where no area suffices, and for what explains nothing (`explains`).
        It says nothing where `blank` keeps the threshold, too.
        threshold: Phi_0; None is `self.threshold`.  cut: judge masks cut to 0/1.
        Raises ValueError for a threshold that is no probability.
        """
        wanted = checked_threshold(self.threshold if threshold is None else threshold)
        if not self.explains:
            return None
        kept = self.curve if cut is None else self.probability(self.searched_areas, cut=cut).tolist()
        return smallest_area(self.searched_areas, kept, wanted)
