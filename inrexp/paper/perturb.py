"""What a pixel becomes when the mask takes it away: blur and fade, and the blend of eq. 1."""

from collections.abc import Sequence

import torch
from torchvision.transforms.v2 import functional as F

BLUR_SIGMA = 20.0  # px; the strongest blur of extremal perturbations, the paper gives no value of its own


def blur(image: torch.Tensor, sigma: float = BLUR_SIGMA) -> torch.Tensor:
    """I', the image under a Gaussian filter of `sigma` px (section 3.4).  image, result: (n, 3, h, w)."""
    if sigma < 0:
        raise ValueError(f"sigma must be 0 px or more, got {sigma}")
    if sigma == 0:
        return image.clone()
    reach = [min(int(3 * sigma), side - 1) for side in image.shape[-2:]]  # reflection cannot exceed the picture
    across = F.gaussian_blur(image, [2 * reach[1] + 1, 1], [sigma, sigma])  # separable: 2 x 121 taps, not 121 x 121
    return F.gaussian_blur(across, [1, 2 * reach[0] + 1], [sigma, sigma]).clamp(0, 1)


def fade(image: torch.Tensor) -> torch.Tensor:
    """I' = 0, the fade-to-black perturbation (section 3.1)."""
    return torch.zeros_like(image)


def blend(image: torch.Tensor, perturbed: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """M * I + (1 - M) * I' (eq. 1); mask 1 keeps the pixel, 0 replaces it.  Shapes broadcast to (..., 3, h, w)."""
    return torch.lerp(perturbed, image, mask)


def blur_levels(image: torch.Tensor, sigmas: Sequence[float]) -> torch.Tensor:
    """The image at each of `sigmas` px, strongest first.  image: (p, 3, h, w).  Returns (p, levels, 3, h, w)."""
    return torch.stack([blur(image, sigma) for sigma in sigmas], dim=1)


def blend_levels(levels: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Extremal perturbations' blend: mask m picks blur level m * (L - 1), linear between neighbouring levels.

    levels: (p, L, 3, h, w), mask 0 shows the first, mask 1 the last.  mask: (p, k, 1, h, w).  Returns (p, k, 3, h, w).
    """
    last = levels.shape[1] - 1
    position = mask * last
    lower = position.detach().floor().clamp(0, last - 1)
    index = lower.long().expand(-1, -1, 3, -1, -1)  # (p, k, 3, h, w)
    return torch.lerp(levels.gather(1, index), levels.gather(1, index + 1), position - lower)
