"""The implicit neural representation f_L(x, a) of eq. 4, with its Fourier features."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from inrexp.files import DATA
from inrexp.paper.masks import RANKED, MaskSource, keep_largest, sharpen
from inrexp.paper.smoothing import STEP, lattice_size, resize, smooth_max_lattice, smooth_max_pixels, to_pixels

FEATURES = ("gaussian", "octaves", "none")
SINE_FREQUENCY = 30.0  # omega_0 of SIREN
ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": torch.relu_,  # in place: no gradient needs what went in
    "sine": lambda x: torch.sin(SINE_FREQUENCY * x),
}
SPREAD = 32.0  # several outputs start this much farther apart: from one start, or at 8, they descend to one mask


class FourierFeatures(nn.Module):
    """FE([x, y, a]): sines and cosines of the coordinates (Tancik et al. 2020; section 3.4).

    kind: "gaussian", `count` features sin and cos(2 pi B z) with B ~ N(0, scale^2), B_a scaled by `area_scale`;
        "octaves", sin and cos(2^j pi z) for j < `octaves` and each coordinate; "none", the coordinates themselves.
    """

    B: torch.Tensor

    def __init__(
        self,
        generators: Sequence[torch.Generator],
        *,
        kind: str = "gaussian",
        scale: float = 6.0,
        count: int = 128,
        octaves: int = 6,
        area_scale: float = 1.0,
    ):
        super().__init__()
        if kind not in FEATURES:
            raise ValueError(f"features must be one of {FEATURES}, got {kind!r}")
        self.kind = kind
        if kind == "gaussian":
            matrices = torch.stack([torch.randn(3, count // 2, generator=g) for g in generators]) * 2 * math.pi * scale
        elif kind == "octaves":
            one = torch.cat([torch.eye(3) * 2.0**j * math.pi for j in range(octaves)], dim=1)  # (3, 3 * octaves)
            matrices = one.expand(len(generators), -1, -1).clone()
        else:
            matrices = torch.eye(3).expand(len(generators), -1, -1).clone()
        matrices[:, 2] *= area_scale
        self.register_buffer("B", matrices)  # (p, 3, f)

    @property
    def width(self) -> int:
        return self.B.shape[2] * (1 if self.kind == "none" else 2)

    def forward(self, points: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        """points: (n, 2) in [0, 1].  conditions: (p, k) in [0, 1].  Returns (p, k * n, width)."""
        space = points @ self.B[:, :2]  # (p, n, f)
        phase = space[:, None] + conditions[..., None, None] * self.B[:, 2][:, None, None]  # (p, k, n, f)
        phase = phase.flatten(1, 2)
        return phase if self.kind == "none" else torch.cat([phase.sin(), phase.cos()], dim=-1)


class MaskField(MaskSource):
    """The implicit neural representation f_L(x, a) of eq. 4, behind the RBF smooth-max filter of section 3.1.

    size: picture (h, w) in px.  seeds: one per problem, for weights and Fourier features.
    grid: "pixel" evaluates the field at every pixel (the paper); "lattice" at the filter's taps, 7 px apart; an int n
        at n x n points, cubic in between. The 21 px filter erases what a smooth field (scale 1 or 2) holds
        between the taps, but not all that one of scale 6 does: their masks then differ by 0.02 to 0.06 on average.
    area_range: areas that map linearly onto a in [0, 1].
    layers, hidden: five hidden layers of 256 in the paper.  bias: start of the output's bias (0: mask near 1/2).
    outputs: masks for each area, one explanation each (beyond the paper); eq. 4 has one.
    sharpness: of `sharpen` after the filter; 0 leaves the filter's soft edges.  A fit may let it grow.
    harden: masks are 0 or 1 and have the very area that was asked for (`keep_largest`).  For a fitted field.
    activation: "relu" (eq. 4), or "sine" with the start that Sitzmann et al. 2020 give it (beyond the paper).
    """

    points: torch.Tensor

    def __init__(
        self,
        size: tuple[int, int],
        seeds: Sequence[int],
        *,
        grid: str | int = "lattice",
        features: str = "gaussian",
        scale: float = 6.0,
        area_scale: float = 1.0,
        feature_count: int = 128,
        octaves: int = 6,
        layers: int = 5,
        hidden: int = 256,
        bias: float = 0.0,
        area_range: tuple[float, float] = (0.025, 0.2),
        outputs: int = 1,
        sharpness: float = 0.0,
        harden: bool = False,
        activation: str = "relu",
    ):
        super().__init__()
        if grid not in ("pixel", "lattice") and not (isinstance(grid, int) and grid >= 2):
            raise ValueError(f"grid must be 'pixel', 'lattice' or 2 points or more a side, got {grid!r}")
        if outputs < 1:
            raise ValueError(f"outputs must be 1 or more, got {outputs}")
        self.size = (int(size[0]), int(size[1]))
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {tuple(ACTIVATIONS)}, got {activation!r}")
        self.outputs = outputs
        self.activation = activation
        self.sharpness = sharpness
        self.harden = harden
        self.settings = {
            "grid": grid,
            "features": features,
            "scale": scale,
            "area_scale": area_scale,
            "feature_count": feature_count,
            "octaves": octaves,
            "layers": layers,
            "hidden": hidden,
            "bias": bias,
            "area_range": tuple(area_range),
            "outputs": outputs,
            "sharpness": sharpness,
            "harden": harden,
            "activation": activation,
        }
        self.grid = grid
        self.area_range = (float(area_range[0]), float(area_range[1]))
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.encode = FourierFeatures(
            generators, kind=features, scale=scale, count=feature_count, octaves=octaves, area_scale=area_scale
        )
        widths = [self.encode.width, *[hidden] * layers, outputs]
        rows, columns = self._points()
        self.points_shape = (len(rows), len(columns))
        self.register_buffer("points", _pairs(columns, rows), persistent=False)  # (gh * gw, 2) as (x, y)
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for fan_in, fan_out in zip(widths[:-1], widths[1:], strict=True):
            bound = 1 / math.sqrt(fan_in)  # nn.Linear's own start
            if activation == "sine":
                bound = math.sqrt(6 / fan_in) / SINE_FREQUENCY
            drawn = [torch.empty(fan_in + 1, fan_out).uniform_(-bound, bound, generator=g) for g in generators]
            stacked = torch.stack(drawn)  # (p, fan_in + 1, fan_out)
            self.weights.append(nn.Parameter(stacked[:, :-1].clone()))
            self.biases.append(nn.Parameter(stacked[:, -1:].clone()))
        with torch.no_grad():
            self.biases[-1] += bias
            if outputs > 1:
                self.weights[-1] *= SPREAD

    def start_from(self, state: dict[str, torch.Tensor]) -> None:
        """Give every problem the weights and features of one field.  state: its state_dict, p = 1.

        Raises ValueError where the shapes are not this field's.
        """
        own = self.state_dict()
        if {key: value.shape[1:] for key, value in state.items()} != {k: v.shape[1:] for k, v in own.items()}:
            raise ValueError(
                "initial holds a field of other features, layers or outputs than source_settings ask for: "
                "learn one with these settings (inrexp learn)"
            )
        self.load_state_dict({key: value.expand_as(own[key]) for key, value in state.items()})

    def values(self, areas: torch.Tensor) -> torch.Tensor:
        """f_L on its grid, before the filter.  areas: (p, k).  Returns (p * k * o, 1, gh, gw) in [0, 1]."""
        low, high = self.area_range
        x = self.encode(self.points, (areas - low) / (high - low))  # (p, k * n, f)
        *hidden, last = range(len(self.weights))
        for layer in hidden:
            x = ACTIVATIONS[self.activation](torch.baddbmm(self.biases[layer], x, self.weights[layer]))
        x = torch.sigmoid(torch.baddbmm(self.biases[last], x, self.weights[last]))  # (p, k * n, o)
        if self.outputs > 1:
            x = x.unflatten(1, (areas.shape[1], -1)).transpose(2, 3)  # (p, k, o, n)
        return x.reshape(-1, 1, *self.points_shape)

    def output(self, index: int) -> "MaskField":
        """One of the outputs as a field of its own, detached and copied."""
        if not 0 <= index < self.outputs:
            raise ValueError(f"index must be an output, 0 to {self.outputs - 1}, got {index}")
        single = MaskField(self.size, [0] * len(self.encode.B), **{**self.settings, "outputs": 1})
        state = self.state_dict()
        last = len(self.weights) - 1
        for key in (f"weights.{last}", f"biases.{last}"):
            state[key] = state[key][..., index : index + 1].clone()
        single.to(self.encode.B)  # before loading: float64 weights would lose digits
        single.load_state_dict(state)
        return single

    def _points(self) -> tuple[torch.Tensor, torch.Tensor]:
        """y and x in [0, 1] of the grid's rows and columns, at the centres of its cells."""
        if self.grid == "pixel":
            return tuple((torch.arange(side) + 0.5) / side for side in self.size)  # type: ignore[return-value]
        cells = lattice_size(self.size)
        counts = cells if self.grid == "lattice" else (int(self.grid), int(self.grid))
        return tuple(  # type: ignore[return-value]
            (torch.arange(count) + 0.5) / count * cell * STEP / side
            for count, cell, side in zip(counts, cells, self.size, strict=True)
        )

    def render(self, areas: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        values = self.values(areas)
        problems, k = areas.shape[0], areas.shape[1] * self.outputs
        if self.grid == "pixel":
            soft = smooth_max_pixels(values)
            return self._finished(soft, areas), sharpen(soft, min(self.sharpness, RANKED)).view(problems, k, -1)
        cells = lattice_size(self.size)
        if tuple(values.shape[-2:]) != cells:
            values = resize(values, cells)
        coarse = smooth_max_lattice(values)  # (p * k, 1, 2 * cells)
        mask = self._finished(to_pixels(coarse, self.size), areas)
        inside = [math.ceil(2 * side / STEP) for side in self.size]  # the last cells may reach past the picture
        ranked = sharpen(coarse[..., : inside[0], : inside[1]], min(self.sharpness, RANKED))
        return mask, ranked.reshape(problems, k, -1)

    def _finished(self, soft: torch.Tensor, areas: torch.Tensor) -> torch.Tensor:
        """What the classifier is shown of the filter's output.  soft: (p * k * o, 1, h, w).  (p, k * o, 1, h, w)."""
        if self.harden:
            mask = keep_largest(soft, areas.repeat_interleave(self.outputs, 1).flatten())
        else:
            mask = sharpen(soft, self.sharpness)
        return mask.reshape(areas.shape[0], -1, 1, *self.size)


def _pairs(columns: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """(x, y) of every grid point, row by row.  (len(rows) * len(columns), 2)."""
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=1)


LEARNED = DATA / "initial.safetensors"  # written by `inrexp learn`


def read_initial(name: "str | Path") -> dict[str, torch.Tensor]:
    """A field's state to start from: "learned" is the packaged one, else a file of `inrexp learn`.

    Stored in half precision.  Raises FileNotFoundError, or ValueError for a file of another kind.
    """
    path = LEARNED if name == "learned" else Path(name)
    if not path.is_file():
        raise FileNotFoundError(f"initial: no weights at {path}; `inrexp learn FOLDER --out {path}` makes them")
    try:
        return {key: value.float() for key, value in load_file(path).items()}
    except SafetensorError as error:
        raise ValueError(f"initial: {path} is no file of `inrexp learn`: {error}") from error
