"""Extremal perturbations' mask: a lattice of free numbers for each area (Fong, Patrick, Vedaldi 2019)."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from inrexp.paper.masks import MaskSource
from inrexp.paper.settings import LatticeSettings
from inrexp.paper.smoothing import STEP, lattice_size, smooth_max_lattice, to_pixels


class MaskLattice(MaskSource):
    """A lattice of free numbers in [0, 1] for each area, all ones at first, behind the smooth-max filter.

    size: picture (h, w) in px.  problems: how many.  settings: the areas that it holds, the margin, the filter.
    """

    settings: LatticeSettings
    held: torch.Tensor

    def __init__(self, size: tuple[int, int], problems: int, settings: LatticeSettings | None = None):
        super().__init__()
        settings = settings or LatticeSettings()
        self.size, self.settings = (int(size[0]), int(size[1])), settings
        self.area_range = (min(settings.areas), max(settings.areas))
        self.cells_around = math.ceil(settings.margin / STEP)
        self.register_buffer("held", torch.tensor(settings.areas), persistent=False)
        self.values = nn.Parameter(torch.ones(problems, len(settings.areas), *lattice_size(self.size)))

    def fresh(self, problems: int) -> "MaskLattice":
        return MaskLattice(self.size, problems, self.settings)

    def soft(self, areas: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        problems, k = areas.shape
        index = (areas[..., None] - self.held).abs().argmin(-1)  # (p, k)
        chosen = self.values.gather(1, index[..., None, None].expand(-1, -1, *self.values.shape[-2:]))
        cells = F.pad(chosen.flatten(0, 1).unsqueeze(1), [self.cells_around] * 4)
        coarse = smooth_max_lattice(cells, self.settings.oversample, self.settings.half_width)
        edge = self.cells_around * STEP
        (h, w), (below, right) = self.size, self._margins_after()
        around = to_pixels(coarse, (2 * edge + h, 2 * edge + w), self.settings.oversample)
        mask = around[..., edge : edge + h, edge : edge + w]
        ranked = around[..., : edge + h + below, : edge + w + right]  # the picture and its margin
        return mask.reshape(problems, k, 1, h, w), ranked.reshape(problems, k, -1)

    def _margins_after(self) -> tuple[int, int]:
        """px below and right of the picture that the area penalty counts, as published: 15 for 21 px at 224 px.

        The published masks reach from the margin before the picture to the margin after the last cell's first pixel.
        """
        margin = self.cells_around * STEP
        before_last = [(cells - 1) * STEP + 1 for cells in lattice_size(self.size)]
        below, right = (max(0, margin + cell - side) for cell, side in zip(before_last, self.size, strict=True))
        return (below, right) if margin else (0, 0)

    def project(self) -> None:
        with torch.no_grad():
            self.values.clamp_(0, 1)
