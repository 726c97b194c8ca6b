"""Mask sources: one call, source(areas) -> masks; how masks are sharpened to 0 and 1 and how they meet their area.

A source holds p problems at once, stacked in the leading dimension of its parameters, so that many pictures and seeds
are fitted in one batch. areas: (p, k) fractions of the picture. masks: (p, k, 1, h, w) in [0, 1]; a field with o
outputs gives (p, k * o, 1, h, w), the outputs of one area side by side.
"""

import math

import torch
from torch import nn

from inrexp.paper.settings import FieldSettings, LatticeSettings

BISECTIONS = 20  # of the area's own level: it is then known to a millionth
RANKED = 4.0  # the area penalty sees masks no sharper: beyond it a value far from 1/2 has no gradient left


class MaskSource(nn.Module):
    """What a fit needs of a source: soft masks, a range to stay in, and problems that can be taken out one by one.

    settings: what rebuilds it.  size: picture (h, w) in px.  area_range: smallest and largest area of a mask.
    hard: whether `forward` gives masks of 0 and 1 in their very area (`keep_largest`), or the soft ones.
    """

    size: tuple[int, int]
    settings: FieldSettings | LatticeSettings
    area_range: tuple[float, float]
    outputs: int = 1
    hard: bool = False

    def soft(self, areas: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """areas (p, k) -> soft masks (p, k, 1, h, w), and the values (p, k, n) that the area penalty ranks (eq. 3)."""
        raise NotImplementedError

    def forward(self, areas: torch.Tensor) -> torch.Tensor:
        """areas (p, k), on any device -> masks (p, k, 1, h, w)."""
        areas = areas.to(next(self.parameters()))
        mask = self.soft(areas)[0]
        if not self.hard:
            return mask
        return keep_largest(mask.flatten(0, 1), areas.repeat_interleave(self.outputs, 1).flatten()).view_as(mask)

    def project(self) -> None:
        """Bring parameters back into their range after an optimiser's step."""

    def fresh(self, problems: int) -> "MaskSource":
        """A source of the same settings for so many problems, not fitted yet."""
        raise NotImplementedError

    def problem(self, index: int) -> "MaskSource":
        """One of the stacked problems, as a source of its own (p = 1), detached and copied."""
        single = self.fresh(1)
        state = {key: value[index : index + 1].clone() for key, value in self.state_dict().items()}
        single.to(next(self.parameters()))  # before loading: float64 weights would lose digits
        single.load_state_dict(state)
        single.hard = self.hard
        return single


def sharpen(mask: torch.Tensor, sharpness: float, level: torch.Tensor | None = None) -> torch.Tensor:
    """Heaviside projection (Wang, Lazarov, Sigmund 2011): values above the level move towards 1, others towards 0.

    sharpness: beta, above 0; at 8 and a level of 1/2 a value of 0.6 becomes 0.83, at 32 it is 1.00.
    level: (n,), one for each mask (n, ...); None is 1/2, about which 0 and 1 stay what they are.
    """
    if level is None:
        return 0.5 + 0.5 * torch.tanh(sharpness * (mask - 0.5)) / math.tanh(0.5 * sharpness)
    return 0.5 + 0.5 * torch.tanh(sharpness * (mask - level.view(-1, *[1] * (mask.dim() - 1))))


def is_binary(mask: torch.Tensor) -> bool:
    """Whether every value is 0 or 1: nothing is left that could leak through a soft edge.  mask: any shape."""
    return bool(((mask == 0) | (mask == 1)).all())


def area_level(values: torch.Tensor, areas: torch.Tensor, sharpness: float) -> torch.Tensor:
    """tau_a, the level about which sharpened values have the mean a: mean sigmoid(2 beta (v - tau_a)) = a.

    It is found by bisection. Its gradient is the implicit one, d tau = sum(w dv) with w = s (1 - s) normalised, so
    that a step which lifts all values alike changes nothing.
    values: (n, m).  areas: (n,), fractions.  sharpness: beta, above 0.  Returns (n,).
    """
    with torch.no_grad():
        low, high = values.amin(1) - 3 / sharpness, values.amax(1) + 3 / sharpness
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            above = torch.sigmoid(2 * sharpness * (values - middle[:, None])).mean(1) > areas
            low, high = torch.where(above, middle, low), torch.where(above, high, middle)
        level = (low + high) / 2
        share = torch.sigmoid(2 * sharpness * (values - level[:, None]))
        weight = share * (1 - share)
        weight = weight / weight.sum(1, keepdim=True).clamp_min(1e-12)
    return level + (weight * (values - values.detach())).sum(1)


def keep_largest(mask: torch.Tensor, areas: torch.Tensor) -> torch.Tensor:
    """vecsort(M) = r_a met exactly: the a|M| largest values become 1, all others 0 (eq. 3).

    mask: (n, 1, h, w), any ranking of the pixels.  areas: (n,), fractions in [0, 1]; a|M| is rounded to whole pixels.
    One mask may be given for many areas, n = 1.  Of equal values the upper left come first.
    Returns (len(areas), 1, h, w).  Raises ValueError for an area outside [0, 1].
    """
    if areas.numel() == 0 or not bool(((areas >= 0) & (areas <= 1)).all()):
        raise ValueError(f"area must lie in [0, 1] (a fraction of the picture), got {areas.tolist()}")
    rank = ranks(mask)
    count = (areas.cpu().double() * rank.shape[1]).round().long()  # on the CPU, since Apple's GPUs have no float64
    return (rank < count.to(mask.device)[:, None]).to(mask.dtype).view(len(areas), 1, *mask.shape[-2:])


def ranks(mask: torch.Tensor) -> torch.Tensor:
    """The place of each pixel among those of its mask, 0 for the largest value; of equal ones the upper left first.

    mask: (n, 1, h, w).  Returns (n, h*w), whole numbers.
    """
    order = mask.flatten(1).argsort(dim=1, descending=True, stable=True)
    places = torch.arange(order.shape[1], device=mask.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places)
