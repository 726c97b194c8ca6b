"""Mask sources: one call, source(areas) -> masks; how masks are sharpened to 0 and 1 and met in their area."""

import math
from typing import Any

import torch
from torch import nn

RANKED = 4.0  # the area penalty sees masks no sharper: beyond it a value far from 1/2 has no gradient left


class MaskSource(nn.Module):
    """What a fit needs of a source: `render`, `project` and problems that can be taken out one by one.

    settings: the keyword arguments that rebuild it, besides `size` and `seeds`; plain values, for saving.
    """

    size: tuple[int, int]
    settings: dict[str, Any]
    outputs: int = 1
    sharpness: float = 0.0
    harden: bool = False

    def render(self, areas: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """areas (p, k) -> masks (p, k, 1, h, w), and the values (p, k, n) that the area penalty ranks (eq. 3)."""
        raise NotImplementedError

    def forward(self, areas: torch.Tensor) -> torch.Tensor:
        """areas (p, k) -> masks (p, k, 1, h, w)."""
        return self.render(areas)[0]

    def project(self) -> None:
        """Bring parameters back into their range after an optimiser's step."""

    def set_sharpness(self, sharpness: float, *, harden: bool = False) -> None:
        """beta of `sharpen` from now on, and whether masks are 0 or 1; in the settings too."""
        self.sharpness = self.settings["sharpness"] = sharpness
        self.harden = self.settings["harden"] = harden

    def problem(self, index: int) -> "MaskSource":
        """One of the stacked problems, as a source of its own (p = 1), detached and copied."""
        single = type(self)(self.size, [0], **self.settings)
        state = {key: value[index : index + 1].clone() for key, value in self.state_dict().items()}
        single.to(next(self.parameters()))  # before loading: float64 weights would lose digits
        single.load_state_dict(state)
        return single


def sharpen(mask: torch.Tensor, sharpness: float) -> torch.Tensor:
    """Heaviside projection about 1/2 (Wang, Lazarov, Sigmund 2011): 0, 1/2 and 1 stay, all else moves off 1/2.

    sharpness: beta; 0 changes nothing, at 8 a value of 0.6 becomes 0.83, at 32 it is 1.00.
    """
    if sharpness == 0:
        return mask
    return 0.5 + 0.5 * torch.tanh(sharpness * (mask - 0.5)) / math.tanh(0.5 * sharpness)


def keep_largest(mask: torch.Tensor, areas: torch.Tensor) -> torch.Tensor:
    """vecsort(M) = r_a met exactly: the a|M| largest values become 1, all others 0 (eq. 3).

    mask: (n, 1, h, w).  areas: (n,), fractions; a|M| is rounded to whole pixels.
    """
    flat = mask.flatten(1)
    binary = torch.zeros_like(flat)
    for row, values, count in zip(binary, flat, (areas * flat.shape[1]).round().long().tolist(), strict=True):
        row[values.topk(count, sorted=False).indices] = 1
    return binary.view_as(mask)
