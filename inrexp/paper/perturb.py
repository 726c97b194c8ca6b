"""What a pixel becomes when the mask takes it away, and the blend of eq. 1."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torchvision.transforms.v2 import functional as T

PERTURBATIONS = ("blur", "fade", "levels")
BLUR_SIGMA = 20.0  # px; the strongest blur of extremal perturbations, the paper gives no value of its own
LEVELS = tuple(BLUR_SIGMA * (7 - i) / 7 for i in range(8))  # px; extremal perturbations' eight blur levels
LEVEL_REACH = 4  # taps of these blurs, in standard deviations


def blur(image: torch.Tensor, sigma: float = BLUR_SIGMA) -> torch.Tensor:
    """I', the image under a Gaussian filter of `sigma` px (section 3.4), mirrored at its border.

    image, result: (n, 3, h, w) in [0, 1].  Raises ValueError for a negative sigma.
    """
    if sigma < 0:
        raise ValueError(f"sigma must be 0 px or more, got {sigma}")
    if sigma == 0:
        return image.clone()
    reach = [min(int(3 * sigma), side - 1) for side in image.shape[-2:]]  # reflection cannot exceed the picture
    across = T.gaussian_blur(image, [2 * reach[1] + 1, 1], [sigma, sigma])  # separable: 2 x 121 taps, not 121 x 121
    return T.gaussian_blur(across, [1, 2 * reach[0] + 1], [sigma, sigma]).clamp(0, 1)


def fade(image: torch.Tensor) -> torch.Tensor:
    """I' = 0, the fade-to-black perturbation (section 3.1)."""
    return torch.zeros_like(image)


def blend(image: torch.Tensor, perturbed: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """M * I + (1 - M) * I' (eq. 1); mask 1 keeps the pixel, 0 replaces it.  Shapes broadcast to (..., 3, h, w)."""
    return torch.lerp(perturbed, image, mask)


def blur_levels(
    image: torch.Tensor, sigmas: Sequence[float] = LEVELS, *, outside: torch.Tensor | None = None
) -> torch.Tensor:
    """The image at each of `sigmas` px, strongest first, as extremal perturbations blur (Fong et al. 2019).

    Their blur works on the normalised picture, reaches 4 standard deviations and sees zeros outside, which are the mean
    colour of the training pictures; so a border of about 20 px is pulled towards that colour.
    image: (p, 3, h, w).  outside: (1, 3, 1, 1), what lies around the picture; None is 0.
    Returns (p, levels, 3, h, w).
    """
    around = image.new_zeros(1, 3, 1, 1) if outside is None else outside.to(image)
    levels = []
    for sigma in sigmas:
        blurred = image - around
        if sigma > 0:
            reach = int(LEVEL_REACH * sigma)
            taps = torch.arange(-reach, reach + 1, dtype=image.dtype, device=image.device)
            kernel = torch.exp(-0.5 * (taps / sigma).square())
            kernel = (kernel / kernel.sum()).expand(3, 1, -1)  # (3, 1, taps), one for each colour
            blurred = F.conv2d(blurred, kernel[..., None, :], padding=(0, reach), groups=3)
            blurred = F.conv2d(blurred, kernel[..., None], padding=(reach, 0), groups=3)
        levels.append(blurred + around)
    return torch.stack(levels, dim=1)


def blend_levels(levels: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Extremal perturbations' blend: mask m picks blur level m * (L - 1), linear between neighbouring levels.

    levels: (p, L, 3, h, w), mask 0 shows the first, mask 1 the last.  mask: (p, k, 1, h, w).  Returns (p, k, 3, h, w).
    """
    last = levels.shape[1] - 1
    position = mask * last
    lower = position.detach().floor().clamp(0, last - 1)
    index = lower.long().expand(-1, -1, 3, -1, -1)  # (p, k, 3, h, w)
    return torch.lerp(levels.gather(1, index), levels.gather(1, index + 1), position - lower)


class Perturbation:
    """Pictures with their perturbed copies, ready to be blended by a mask (eq. 1).

    image: (p, 3, h, w) in [0, 1].  kind: one of `PERTURBATIONS`.  sigma: px, of the blur.
    outside: (1, 3, 1, 1) in [0, 1], what the blur levels see around the picture (`Classifier.mean_colour`).
    """

    def __init__(
        self,
        image: torch.Tensor,
        kind: str = "blur",
        sigma: float = BLUR_SIGMA,
        *,
        outside: torch.Tensor | None = None,
    ):
        if kind not in PERTURBATIONS:
            raise ValueError(f"perturbation must be one of {PERTURBATIONS}, got {kind!r}")
        self.kind, self.sigma = kind, sigma
        self.image = image[:, None]  # (p, 1, 3, h, w)
        if kind == "levels":
            self.perturbed = blur_levels(image, outside=outside)  # (p, L, 3, h, w)
        else:
            self.perturbed = (fade(image) if kind == "fade" else blur(image, sigma))[:, None]

    def mapped(self, function: Callable[[torch.Tensor], torch.Tensor]) -> "Perturbation":
        """The same with `function` applied to every picture, for instance a normalisation: it commutes with eq. 1."""
        other = object.__new__(Perturbation)
        other.kind, other.sigma = self.kind, self.sigma
        for name in ("image", "perturbed"):
            pictures = getattr(self, name)
            setattr(other, name, function(pictures.flatten(0, 1)).view_as(pictures))
        return other

    def __call__(self, mask: torch.Tensor) -> torch.Tensor:
        """M * I + (1 - M) * I' (eq. 1).  mask: (p, k, 1, h, w).  Returns (p, k, 3, h, w)."""
        if self.kind == "levels":
            return blend_levels(self.perturbed, mask)
        return blend(self.image, self.perturbed, mask)
