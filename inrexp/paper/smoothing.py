"""The filter of M_a = Filter(f_L(x, a)) (section 3.1): a smooth maximum weighted by a radial basis function.

At pixel u, with taps k on a lattice of `STEP` px: M(u) = sum_k v_k softmax_k(BETA v_k), v_k = K(|u - x_k|) m_k and
K(d) = exp(-2 max(d / SIGMA - 1/2, 0)^2). Constants: Fong, Patrick, Vedaldi 2019, as published.

The 81 taps of a point differ only in how far they lie, down and across. So exp(BETA K m) is taken once for each pair of
distances (9 x 9 of them for the fast filter's four points a cell, not 4 x 81), and both sums over the taps are two
products with 0/1 bands, first along the rows, then along the columns.
"""

import functools
import math

import torch
import torch.nn.functional as F

STEP = 7  # px between taps
SIGMA = 21.0  # px, the kernel's width
BETA = 20.0  # sharpness of the smooth maximum; exp(BETA) = 5e8 is far from float32's end, so no maximum is taken off
RADIUS = 4  # taps reach this many steps, (2 * 4 + 1)^2 = 81 of them
TAPS = (2 * RADIUS + 1) ** 2


def kernel(distance: torch.Tensor, half_width: float | None = None) -> torch.Tensor:
    """K(d), how much of a tap reaches a point at this distance, in px.

    half_width: px at which a Gaussian has fallen to 1/2.  None is the published kernel, which is flat up to SIGMA / 2
        and falls to 1/2 at 22.9 px: where it is flat a mask has discs of one value, which enter it all at once.
    """
    if half_width is None:
        return torch.exp(-2 * (distance / SIGMA - 0.5).clamp(min=0).square())
    return torch.exp2(-(distance / half_width).square())


def lattice_size(size: tuple[int, int], margin: int = 0) -> tuple[int, int]:
    """Cells of STEP px that cover a picture of `size` (h, w) px, with `margin` cells more on each side."""
    return math.ceil(size[0] / STEP) + 2 * margin, math.ceil(size[1] / STEP) + 2 * margin


def smooth_max_lattice(lattice: torch.Tensor, oversample: int = 2, half_width: float | None = None) -> torch.Tensor:
    """The filter of section 3.1 at `oversample`^2 points a lattice cell, all that its 21 px kernel can tell apart.

    lattice: (n, 1, gh, gw) in [0, 1], float32 or float64, cell centres STEP px apart, 0 outside.
    half_width: of the kernel (`kernel`), in px.
    Returns (n, 1, gh * oversample, gw * oversample) in [0, 1].  oversample = STEP gives every pixel: the exact filter.
    """
    n, _, gh, gw = lattice.shape
    _, rows = _taps(gh, oversample, lattice.dtype, lattice.device)  # (H, a * gh)
    _, columns = _taps(gw, oversample, lattice.dtype, lattice.device)  # (W, b * gw)
    weight = _weights(gh, gw, oversample, half_width, lattice.dtype, lattice.device)  # (a, b)

    def over_taps(each: torch.Tensor) -> torch.Tensor:
        """Sum over the 81 taps of every point, those outside the lattice counting 0."""
        return rows @ (each.reshape(-1, columns.shape[1]) @ columns.mT).view(n, rows.shape[1], -1)  # (n, H, W)

    value = weight[:, None, :, None] * lattice.view(n, 1, gh, 1, gw)  # (n, a, gh, b, gw)
    grown = torch.exp(BETA * value)
    pooled = over_taps(value * grown) / (over_taps(grown - 1) + TAPS)  # a tap outside holds 0: exp(0) = 1
    return pooled.unsqueeze(1).clamp(0, 1)


@functools.lru_cache(maxsize=32)
def _taps(cells: int, oversample: int, dtype: torch.dtype, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Along one axis: the distances that occur between a point and a tap, in px, (d,) in float64 on the CPU; and
    (cells * oversample, d * cells), 1 where that cell is that far from that point and among its taps.
    """
    with torch.inference_mode(False):  # kept for later calls, which may want gradients
        point = torch.arange(cells * oversample)
        cell = torch.arange(cells)
        apart = ((2 * point[:, None] + 1) - oversample * (2 * cell + 1)).abs()  # in cells / (2 * oversample)
        near = (point[:, None] // oversample - cell).abs() <= RADIUS
        distances, which = apart[near].unique(return_inverse=True)
        band = torch.zeros(len(point), len(distances), cells, dtype=dtype)
        at, tap = near.nonzero(as_tuple=True)
        band[at, which, tap] = 1
        return distances.double() * STEP / (2 * oversample), band.flatten(1).to(device)


@functools.lru_cache(maxsize=32)
def _weights(
    gh: int, gw: int, oversample: int, half_width: float | None, dtype: torch.dtype, device: torch.device
) -> torch.Tensor:
    """K of every pair of distances that occur, down and across, (a, b); kept, so that no step copies to the device."""
    (down, _), (across, _) = (_taps(cells, oversample, dtype, device) for cells in (gh, gw))
    with torch.inference_mode(False):
        return kernel(torch.hypot(down[:, None], across), half_width).to(dtype=dtype, device=device)


def resize(coarse: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Cubic interpolation to `size`, clamped to [0, 1]: two matrix products, deterministic on a GPU too.

    coarse: (n, 1, gh, gw).  Returns (n, 1, *size), `F.interpolate(mode="bicubic", align_corners=False)`'s numbers.
    """
    rows = _cubic(coarse.shape[-2], size[0], coarse.dtype, coarse.device)
    columns = _cubic(coarse.shape[-1], size[1], coarse.dtype, coarse.device)
    return (rows @ (coarse @ columns.mT)).clamp(0, 1)


@functools.lru_cache(maxsize=32)
def _cubic(before: int, after: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Cubic interpolation along one axis as a matrix, (after, before)."""
    with torch.inference_mode(False):
        units = torch.eye(before, dtype=torch.float64)[None, None]  # a row each
        found = F.interpolate(units, size=(before, after), mode="bicubic", align_corners=False)
        return found[0, 0].mT.to(dtype=dtype, device=device).contiguous()


def to_pixels(coarse: torch.Tensor, size: tuple[int, int], oversample: int = 2) -> torch.Tensor:
    """Coarse filter output as a mask of `size` (h, w) px, cubic in between.  coarse: (n, 1, gh*s, gw*s)."""
    height, width = (side * STEP // oversample for side in coarse.shape[-2:])
    if oversample != STEP:
        coarse = resize(coarse, (height, width))
    return coarse[..., : size[0], : size[1]]


def smooth_max_pixels(values: torch.Tensor, half_width: float | None = None) -> torch.Tensor:
    """The filter on a field known at every pixel: 81 taps, STEP px apart, around each pixel; slow, the reference.

    values: (n, 1, h, w) in [0, 1], 0 outside.  half_width: of the kernel, in px.  Returns (n, 1, h, w).
    """
    h, w = values.shape[-2:]
    rows, columns = lattice_size((h, w))
    padded = F.pad(values, (0, columns * STEP - w, 0, rows * STEP - h))
    phases = F.pixel_unshuffle(padded, STEP)  # (n, 49, rows, columns): a pixel's taps all lie in its own phase
    pooled = smooth_max_lattice(phases.flatten(0, 1).unsqueeze(1), 1, half_width).view_as(phases)
    return F.pixel_shuffle(pooled, STEP)[..., :h, :w].contiguous()
