"""Extremal perturbations' mask: a lattice of free numbers for each area (Fong, Patrick, Vedaldi 2019)."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from inrexp.paper.masks import MaskSource, keep_largest, sharpen
from inrexp.paper.smoothing import STEP, lattice_size, smooth_max_lattice, to_pixels

LATTICE_AREAS = (0.025, 0.05, 0.1, 0.2)  # extremal perturbations' own


class MaskLattice(MaskSource):
    """Extremal perturbations' mask: a lattice of free numbers in [0, 1] for each area (Fong et al. 2019).

    areas: the areas that it holds, one lattice each.  margin: px around the picture that the area penalty counts too.
    oversample: 7 is the published filter, exact at every pixel; 2 is the fast one.
    """

    def __init__(
        self,
        size: tuple[int, int],
        seeds: Sequence[int],
        *,
        areas: Sequence[float] = LATTICE_AREAS,
        margin: int = 21,
        oversample: int = STEP,
        sharpness: float = 0.0,
        harden: bool = False,
    ):
        super().__init__()
        if not areas or not all(0 < area <= 1 for area in areas):
            raise ValueError(f"areas must be fractions in (0, 1], at least one; got {tuple(areas)}")
        if margin < 0:
            raise ValueError(f"margin must be 0 px or more, got {margin}")
        if oversample < 1:
            raise ValueError(f"oversample must be 1 or more outputs a cell, got {oversample}")
        self.size = (int(size[0]), int(size[1]))
        self.settings = {"areas": tuple(areas), "margin": margin, "oversample": oversample}
        self.settings |= {"sharpness": sharpness, "harden": harden}
        self.sharpness, self.harden = sharpness, harden
        self.areas = tuple(float(area) for area in areas)
        self.margin = math.ceil(margin / STEP)  # cells
        self.oversample = oversample
        self.values = nn.Parameter(torch.ones(len(seeds), len(self.areas), *lattice_size(self.size)))

    def render(self, areas: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        problems, k = areas.shape
        known = torch.tensor(self.areas).to(areas)
        index = (areas[..., None] - known).abs().argmin(-1)  # (p, k)
        chosen = self.values.gather(1, index[..., None, None].expand(-1, -1, *self.values.shape[-2:]))
        cells = F.pad(chosen.flatten(0, 1).unsqueeze(1), [self.margin] * 4)
        coarse = smooth_max_lattice(cells, self.oversample)
        edge = self.margin * STEP
        around = (self.size[0] + 2 * edge, self.size[1] + 2 * edge)
        whole = sharpen(to_pixels(coarse, around, self.oversample), self.sharpness)  # the picture and its margin
        mask = whole[..., edge : edge + self.size[0], edge : edge + self.size[1]]
        if self.harden:
            mask = keep_largest(mask, areas.flatten())
        return mask.reshape(problems, k, 1, *self.size), whole.reshape(problems, k, -1)

    def project(self) -> None:
        with torch.no_grad():
            self.values.clamp_(0, 1)
