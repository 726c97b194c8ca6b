"""The implicit neural representation f_L(x, a) of eq. 4, with its Fourier features."""

import dataclasses
import math
from collections.abc import Sequence

import torch
from torch import nn

from inrexp.paper.masks import MaskSource
from inrexp.paper.settings import FieldSettings
from inrexp.paper.smallest_area import PAPER_AREAS
from inrexp.paper.smoothing import STEP, lattice_size, resize, smooth_max_lattice, smooth_max_pixels, to_pixels
from inrexp.seeds import generator

PAPER_RANGE = (PAPER_AREAS[0], PAPER_AREAS[-1])
SPREAD = 32.0  # several outputs start this much farther apart: from one start, or at 8, they descend to one mask


class FourierFeatures(nn.Module):
    """FE([x, y, a]): sines and cosines of the coordinates (Tancik et al. 2020; section 3.4).

    settings.features: "gaussian", sin and cos(2 pi B z) with B ~ N(0, scale^2), B_a scaled by `area_scale`;
        "octaves", sin and cos(2^j pi z) for j < `octaves` and each coordinate; "none", the coordinates themselves.
    generators: one a problem, from which B is drawn.
    """

    B: torch.Tensor

    def __init__(self, settings: FieldSettings, generators: Sequence[torch.Generator]):
        super().__init__()
        self.raw = settings.features == "none"
        if settings.features == "gaussian":
            drawn = [torch.randn(3, settings.feature_count // 2, generator=one) for one in generators]
            matrices = torch.stack(drawn) * 2 * math.pi * settings.scale
        elif settings.features == "octaves":
            one = torch.cat([torch.eye(3) * 2.0**j * math.pi for j in range(settings.octaves)], dim=1)  # (3, 3 * j)
            matrices = one.expand(len(generators), -1, -1).clone()
        else:
            matrices = torch.eye(3).expand(len(generators), -1, -1).clone()
        matrices[:, 2] *= settings.area_scale
        self.register_buffer("B", matrices)  # (p, 3, f)

    @property
    def width(self) -> int:
        return self.B.shape[2] * (1 if self.raw else 2)

    def forward(self, points: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        """points: (n, 2), in [0, 1] within the picture.  conditions: (p, k) in [0, 1].  Returns (p, k * n, width)."""
        space = points @ self.B[:, :2]  # (p, n, f)
        phase = space[:, None] + conditions[..., None, None] * self.B[:, 2][:, None, None]  # (p, k, n, f)
        phase = phase.flatten(1, 2)
        return phase if self.raw else torch.cat([phase.sin(), phase.cos()], dim=-1)


class MaskField(MaskSource):
    """The implicit neural representation f_L(x, a) of eq. 4, behind the RBF smooth-max filter of section 3.1.

    size: picture (h, w) in px.  seeds: one per problem, for weights and Fourier features.
    settings: the network.  area_range: the areas that map linearly onto a in [0, 1].
    """

    settings: FieldSettings
    points: torch.Tensor

    def __init__(
        self,
        size: tuple[int, int],
        seeds: Sequence[int],
        settings: FieldSettings | None = None,
        *,
        area_range: tuple[float, float] = PAPER_RANGE,
    ):
        super().__init__()
        settings = settings or FieldSettings()
        self.size, self.settings, self.outputs = (int(size[0]), int(size[1])), settings, settings.outputs
        self.area_range = (float(area_range[0]), float(area_range[1]))
        generators = [generator(seed, "weights") for seed in seeds]
        self.encode = FourierFeatures(settings, generators)
        rows, columns = self._points()
        self.points_shape = (len(rows), len(columns))
        self.register_buffer("points", _pairs(columns, rows), persistent=False)  # (gh * gw, 2) as (x, y)
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        widths = [self.encode.width, *[settings.hidden] * settings.layers, settings.outputs]
        for fan_in, fan_out in zip(widths[:-1], widths[1:], strict=True):
            bound = 1 / math.sqrt(fan_in)  # nn.Linear's own start
            drawn = [torch.empty(fan_in + 1, fan_out).uniform_(-bound, bound, generator=one) for one in generators]
            stacked = torch.stack(drawn)  # (p, fan_in + 1, fan_out)
            self.weights.append(nn.Parameter(stacked[:, :-1].clone()))
            self.biases.append(nn.Parameter(stacked[:, -1:].clone()))
        with torch.no_grad():
            self.biases[-1] += settings.bias
            if settings.outputs > 1:
                self.weights[-1] *= SPREAD

    def fresh(self, problems: int) -> "MaskField":
        return MaskField(self.size, [0] * problems, self.settings, area_range=self.area_range)

    def values(self, areas: torch.Tensor) -> torch.Tensor:
        """f_L on its grid, before the filter (eq. 4).  areas: (p, k).  Returns (p * k * o, 1, gh, gw) in [0, 1]."""
        low, high = self.area_range
        x = self.encode(self.points, (areas - low) / (high - low))  # (p, k * n, f)
        *hidden, last = range(len(self.weights))
        for layer in hidden:
            x = torch.relu_(
                torch.baddbmm(self.biases[layer], x, self.weights[layer])
            )  # rho; no gradient needs the input
        x = torch.sigmoid(torch.baddbmm(self.biases[last], x, self.weights[last]))  # (p, k * n, o)
        if self.outputs > 1:
            x = x.unflatten(1, (areas.shape[1], -1)).transpose(2, 3)  # (p, k, o, n)
        return x.reshape(-1, 1, *self.points_shape)

    def soft(self, areas: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        values = self.values(areas)
        problems, k = areas.shape[0], areas.shape[1] * self.outputs
        if self.settings.grid == "pixel":
            mask = smooth_max_pixels(values, self.settings.half_width)
            return mask.view(problems, k, 1, *self.size), mask.view(problems, k, -1)
        cells = lattice_size(self.size)
        if tuple(values.shape[-2:]) != cells:
            values = resize(values, cells)
        coarse = smooth_max_lattice(values, half_width=self.settings.half_width)  # (p * k, 1, 2 * cells)
        inside = [math.ceil(2 * side / STEP) for side in self.size]  # the last cells may reach past the picture
        mask = to_pixels(coarse, self.size)
        return mask.reshape(problems, k, 1, *self.size), coarse[..., : inside[0], : inside[1]].reshape(problems, k, -1)

    def output(self, index: int) -> "MaskField":
        """One of the outputs as a field of its own, detached and copied."""
        if not 0 <= index < self.outputs:
            raise ValueError(f"index must be an output, 0 to {self.outputs - 1}, got {index}")
        settings = dataclasses.replace(self.settings, outputs=1)
        single = MaskField(self.size, [0] * len(self.encode.B), settings, area_range=self.area_range)
        state = self.state_dict()
        last = len(self.weights) - 1
        for key in (f"weights.{last}", f"biases.{last}"):
            state[key] = state[key][..., index : index + 1].clone()
        single.to(self.encode.B)  # before loading: float64 weights would lose digits
        single.load_state_dict(state)
        single.hard = self.hard
        return single

    def on_every_pixel(self) -> "MaskField":
        """The same field evaluated at every pixel instead of on its grid."""
        settings = dataclasses.replace(self.settings, grid="pixel")
        other = MaskField(self.size, [0] * len(self.encode.B), settings, area_range=self.area_range)
        other.to(self.encode.B).load_state_dict(self.state_dict())
        other.hard = self.hard
        return other

    def _points(self) -> tuple[torch.Tensor, torch.Tensor]:
        """y and x of the grid's rows and columns, at the centres of its cells; 0 and 1 are the picture's edges.

        Cells of 7 px may reach past a picture whose side is no multiple of 7, so the last centre may lie beyond 1.
        """
        grid = self.settings.grid
        if grid == "pixel":
            return tuple((torch.arange(side) + 0.5) / side for side in self.size)  # type: ignore[return-value]
        cells = lattice_size(self.size)
        counts = cells if grid == "lattice" else (int(grid), int(grid))
        return tuple(  # type: ignore[return-value]
            (torch.arange(count) + 0.5) / count * cell * STEP / side
            for count, cell, side in zip(counts, cells, self.size, strict=True)
        )


def _pairs(columns: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """(x, y) of every grid point, row by row.  (len(rows) * len(columns), 2)."""
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=1)
