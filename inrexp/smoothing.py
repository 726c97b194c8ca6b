"""The filter of M_a = Filter(f_L(x, a)) (section 3.1): a smooth maximum weighted by a radial basis function.

At pixel u, with taps k on a lattice of `STEP` px: M(u) = sum_k v_k softmax_k(BETA v_k), v_k = K(|u - x_k|) m_k and
K(d) = exp(-2 max(d / SIGMA - 1/2, 0)^2). Constants: Fong, Patrick, Vedaldi 2019, as published.
"""

import functools
import math

import torch
import torch.nn.functional as F

STEP = 7  # px between taps
SIGMA = 21.0  # px, the kernel's width
BETA = 20.0  # sharpness of the smooth maximum
RADIUS = 4  # taps reach this many steps, (2 * 4 + 1)^2 = 81 of them


def kernel(distance: torch.Tensor) -> torch.Tensor:
    """K(d), flat up to SIGMA / 2, then Gaussian.  distance in px."""
    return torch.exp(-2 * (distance / SIGMA - 0.5).clamp(min=0).square())


def lattice_size(size: tuple[int, int], margin: int = 0) -> tuple[int, int]:
    """Cells of STEP px that cover a picture of `size` (h, w) px, with `margin` cells more on each side."""
    return math.ceil(size[0] / STEP) + 2 * margin, math.ceil(size[1] / STEP) + 2 * margin


def smooth_max_lattice(lattice: torch.Tensor, oversample: int = 2) -> torch.Tensor:
    """The filter at `oversample`^2 points a lattice cell, which is all that its 21 px kernel can tell apart.

    lattice: (n, 1, gh, gw) in [0, 1], cell centres STEP px apart, 0 outside.
    Returns (n, 1, gh * oversample, gw * oversample) in [0, 1].  oversample = STEP gives every pixel: the exact filter.
    """
    n, _, gh, gw = lattice.shape
    weight = _tap_weights(oversample).to(lattice)  # (s*s, 81)
    taps = F.unfold(lattice, 2 * RADIUS + 1, padding=RADIUS)  # (n, 81, gh*gw)
    value = taps.unsqueeze(1) * weight[None, :, :, None]  # (n, s*s, 81, gh*gw)
    pooled = (value * torch.softmax(BETA * value, dim=2)).sum(2)  # (n, s*s, gh*gw)
    return F.pixel_shuffle(pooled.view(n, -1, gh, gw), oversample).clamp(0, 1)


@functools.lru_cache(maxsize=16)
def _tap_weights(oversample: int) -> torch.Tensor:
    """K of the distance from each sub-cell point to each tap.  (oversample^2, 81)."""
    point = ((torch.arange(oversample, dtype=torch.float64) + 0.5) / oversample - 0.5) * STEP
    tap = torch.arange(-RADIUS, RADIUS + 1, dtype=torch.float64) * STEP
    across = (point[:, None] - tap[None, :]).square()  # (s, 9)
    squared = across[:, None, :, None] + across[None, :, None, :]  # (s, s, 9, 9)
    return kernel(squared.sqrt()).reshape(oversample**2, (2 * RADIUS + 1) ** 2)


def to_pixels(coarse: torch.Tensor, size: tuple[int, int], oversample: int = 2) -> torch.Tensor:
    """Coarse filter output as a mask of `size` (h, w) px, cubic in between.  coarse: (n, 1, gh*s, gw*s)."""
    height, width = (side * STEP // oversample for side in coarse.shape[-2:])
    if oversample != STEP:
        coarse = F.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=False)
        coarse = coarse.clamp(0, 1)
    return coarse[..., : size[0], : size[1]]


def smooth_max_pixels(values: torch.Tensor) -> torch.Tensor:
    """The filter on a field known at every pixel: 81 taps, STEP px apart, around each pixel; slow, the reference.

    values: (n, 1, h, w) in [0, 1], 0 outside.  Returns (n, 1, h, w).
    """
    h, w = values.shape[-2:]
    reach = STEP * RADIUS
    padded = F.pad(values, (reach, reach, reach, reach))
    taps = [
        padded[..., dy : dy + h, dx : dx + w] * float(kernel(torch.tensor(math.hypot(dy - reach, dx - reach))))
        for dy in range(0, 2 * reach + 1, STEP)
        for dx in range(0, 2 * reach + 1, STEP)
    ]
    value = torch.cat(taps, dim=1)  # (n, 81, h, w)
    return (value * torch.softmax(BETA * value, dim=1)).sum(1, keepdim=True).clamp(0, 1)
