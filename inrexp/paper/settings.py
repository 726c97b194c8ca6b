"""Every choice of a fit as a value, the gaps in the paper's text included. The defaults are section 3.4's numbers."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

import torch

from inrexp.paper.conditions import ONE_OR_MORE, check_settings, one_of, rising, rising_pair
from inrexp.paper.objectives import REWARDS
from inrexp.paper.perturb import BLUR_SIGMA, PERTURBATIONS
from inrexp.paper.smallest_area import PAPER_AREAS
from inrexp.paper.smoothing import STEP

FEATURES = ("gaussian", "octaves", "none")
OPTIMISERS = ("adam", "sgd")
STARTS = ("grad_cam", "saliency")
# Under a narrower kernel a full mask has holes between the taps, and a wider one is cut off where they end (28 px).
HALF_WIDTH = (lambda px: px is None or 7 <= px <= 22, "7 to 22 px, the widths that give whole masks, or None")


@dataclass(frozen=True)
class Growth:
    """A number that grows geometrically over a fit; without an end it is constant.

    start, end: its first and last value, both above 0 where there is an end.
    until: the share of the steps, in (0, 1], after which it has reached its end.
    """

    start: float
    end: float | None = None
    until: float = 1.0

    def __post_init__(self) -> None:
        check_settings(
            self,
            start=(lambda start: start >= 0, "0 or more"),
            end=(lambda end: end is None or (end > 0 and self.start > 0), "above 0 with a start above 0, or None"),
            until=(lambda until: 0 < until <= 1, "in (0, 1]"),
        )

    def at(self, step: int, steps: int) -> float:
        """The value at a step, 0 to steps - 1."""
        if self.end is None:
            return self.start
        progress = min(1.0, step / max(1.0, self.until * steps - 1))
        return self.start * (self.end / self.start) ** progress


@dataclass(frozen=True)
class Descent:
    """How an optimiser goes down the loss.

    optimiser: "adam" (section 3.4), or "sgd" with extremal perturbations' momentum and dampening of 0.9.
    beta2: Adam's memory of squared gradients; 0.999 is its own default, a short fit forgets faster.
    lr: the learning rate.  lr_end: where it ends after half a cosine; None keeps it constant.
    warmup: the share of the steps, in [0, 1), over which the rate rises from 0. Adam's first steps have full length
        whatever the gradient, and at 2e-3 they drove 3 of 36 fields into the sigmoid's dead end.
    """

    optimiser: str = "adam"
    lr: float = 1e-4
    lr_end: float | None = None
    warmup: float = 0.0
    beta2: float = 0.999

    def __post_init__(self) -> None:
        check_settings(
            self,
            optimiser=one_of(OPTIMISERS),
            lr=(lambda lr: lr > 0, "above 0"),
            lr_end=(lambda end: end is None or end >= 0, "0 or more, or None"),
            warmup=(lambda share: 0 <= share < 1, "in [0, 1)"),
            beta2=(lambda beta2: 0 <= beta2 < 1, "in [0, 1)"),
        )

    def rate(self, step: int, steps: int) -> float:
        """The learning rate at a step, 0 to steps - 1."""
        rising = min(1.0, (step + 1) / max(1.0, self.warmup * steps))
        if self.lr_end is None:
            return rising * self.lr
        fallen = 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))  # 1 to 0
        return rising * (self.lr_end + (self.lr - self.lr_end) * fallen)

    def over(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """The optimiser of these parameters."""
        parameters = list(parameters)
        if self.optimiser == "sgd":
            return torch.optim.SGD(parameters, self.lr, momentum=0.9, dampening=0.9)
        betas = (0.9, self.beta2)
        return torch.optim.Adam(parameters, self.lr, betas=betas, fused=parameters[0].device.type in ("cpu", "cuda"))


@dataclass(frozen=True)
class FieldSettings:
    """The implicit network of eq. 4.

    grid: where the field is evaluated. "pixel" is every pixel (the paper); "lattice" the filter's taps, 7 px apart; an
        int n is n x n points with cubic interpolation between them. The 21 px filter erases what a smooth field
        (scale 1 or 2) holds between the taps, but not all that one of scale 6 does.
    features: "gaussian" draws Fourier features at random, "octaves" takes powers of two, "none" the coordinates.
    scale: standard deviation of the Gaussian features' frequencies, in periods across the picture. The paper's "six
        frequencies and 128 components" is read as scale 6 with 128 features.
    area_scale: the same for the area's frequencies, as a share of `scale`.
    feature_count: sines and cosines together.  octaves: powers of two for each coordinate; the other reading of "six".
    layers, hidden: hidden layers and their width.  bias: where the output's bias starts; 0 puts the mask near 1/2.
    outputs: masks for each area, one explanation each (beyond the paper); eq. 4 has one.
    half_width: px, 7 to 22, at which the filter's kernel, a Gaussian, is 1/2. None is extremal perturbations' kernel,
        flat up to 10.5 px and 1/2 at 22.9 px; the paper says "based on the radial basis function".
    """

    grid: str | int = "pixel"
    features: str = "gaussian"
    scale: float = 6.0
    area_scale: float = 1.0
    feature_count: int = 128
    octaves: int = 6
    layers: int = 5
    hidden: int = 256
    bias: float = 0.0
    outputs: int = 1
    half_width: float | None = None

    def __post_init__(self) -> None:
        check_settings(
            self,
            grid=(
                lambda grid: grid in ("pixel", "lattice") or (isinstance(grid, int) and grid >= 2),
                "'pixel', 'lattice' or 2 points or more a side",
            ),
            features=one_of(FEATURES),
            feature_count=(lambda count: count >= 2 and count % 2 == 0, "even, 2 or more"),
            octaves=ONE_OR_MORE,
            layers=ONE_OR_MORE,
            hidden=ONE_OR_MORE,
            outputs=ONE_OR_MORE,
            half_width=HALF_WIDTH,
        )


@dataclass(frozen=True)
class LatticeSettings:
    """Extremal perturbations' lattice of free numbers (Fong, Patrick, Vedaldi 2019).

    areas: the areas that it holds, rising, one lattice each; there is no mask between them.
    margin: px above and left of the picture that the area penalty counts too, whole cells of 7 px.
    oversample: filter outputs a cell and axis; 7 is the published filter, exact at every pixel, 2 is the fast one.
    half_width: of the filter's kernel, as of `FieldSettings`; None is the published one.
    """

    areas: tuple[float, ...] = PAPER_AREAS
    margin: int = 21
    oversample: int = 7
    half_width: float | None = None

    def __post_init__(self) -> None:
        check_settings(
            self,
            areas=(
                lambda areas: rising(areas) and areas[0] > 0,
                "a tuple of rising fractions in (0, 1], at least one",
            ),
            margin=(lambda margin: margin >= 0 and margin % STEP == 0, f"0 px or a multiple of {STEP} px"),
            oversample=ONE_OR_MORE,
            half_width=HALF_WIDTH,
        )


@dataclass(frozen=True)
class FitConfig:
    """Every choice of a fit. The defaults are section 3.4's.

    name: the preset's; "custom" for settings of one's own.
    source: what is fitted, a field (eq. 4) or a lattice (extremal perturbations).
    steps: optimiser steps ("epochs" in the paper).  descent: the optimiser and its rate.
    areas_per_step: masks a step and problem. One area is drawn from U[0, 1]; several are drawn one from each of as many
        equal parts. A lattice takes all of its areas in every step instead.
    area_range: the areas that map onto a in [0, 1].
    area_weight: lambda_r of eq. 2.  dice_weight: lambda_d of eq. 6; a strong Dice term at the start would empty the
        mask for good, so it may grow.
    sharpness: beta of `masks.sharpen`. None leaves the masks soft (the paper). Otherwise the classifier sees masks that
        are sharpened towards 0 and 1 while they are fitted, and the fitted masks are 0 or 1 in their very area.
    level: the shares of the steps between which the level of the sharpening moves from 1/2 to the area's own
        (`masks.area_level`), so that the masks meet their area while they are fitted; None keeps it at 1/2.
    start: None is random weights (the paper), and for a lattice all ones. "grad_cam" starts at the nested masks of
        GradCAM's ranking (of the gradient's where GradCAM ranks nothing), "saliency" at those of each problem's own
        scores (`starts`). Several outputs that start from one ranking would end at one mask.
    reward: "probability" (the paper), "log_probability", "probability_and_log" or "score" (`objectives.reward`).
    perturbation: "blur" (the paper), "fade", or "levels" (extremal perturbations).
    blur_sigma: px; the paper names no value, 20 is extremal perturbations' strongest blur.
    flip: mirror the picture on even steps.
    """

    name: str = "custom"
    source: FieldSettings | LatticeSettings = field(default_factory=FieldSettings)
    steps: int = 4000
    descent: Descent = field(default_factory=Descent)
    areas_per_step: int = 1
    area_range: tuple[float, float] = (0.025, 0.2)
    area_weight: Growth = Growth(1.0)
    dice_weight: Growth = Growth(1.0)
    sharpness: Growth | None = None
    level: tuple[float, float] | None = None
    start: str | None = None
    reward: str = "probability"
    perturbation: str = "blur"
    blur_sigma: float = BLUR_SIGMA
    flip: bool = False

    def __post_init__(self) -> None:
        for name in ("area_weight", "dice_weight", "sharpness"):
            value = getattr(self, name)
            if not isinstance(value, Growth) and (value is not None or name != "sharpness"):
                raise TypeError(f"{name} must be a Growth, got {value!r}: Growth({value!r}) is constant")
        check_settings(
            self,
            source=(
                lambda source: isinstance(source, FieldSettings | LatticeSettings),
                "FieldSettings or LatticeSettings",
            ),
            steps=ONE_OR_MORE,
            areas_per_step=ONE_OR_MORE,
            area_range=(lambda pair: rising_pair(pair) and pair[0] > 0, "a tuple (low, high) with 0 < low < high <= 1"),
            area_weight=(lambda weight: weight.start > 0, "above 0"),
            sharpness=(lambda beta: beta is None or beta.start > 0, "above 0, or None"),
            level=(
                lambda level: level is None or (self.sharpness is not None and rising_pair(level)),
                "a tuple of two rising shares of the steps, for masks with a sharpness, or None",
            ),
            start=(
                lambda start: start is None or (start in STARTS and getattr(self.source, "outputs", 1) == 1),
                f"None, or one of {STARTS} for a field of one output",
            ),
            reward=one_of(REWARDS),
            perturbation=one_of(PERTURBATIONS),
            blur_sigma=(lambda sigma: sigma > 0, "above 0 px"),
        )

    def level_at(self, step: int) -> float:
        """How far the sharpening's level has moved at a step, from 0 (at 1/2) to 1 (at the area's own)."""
        if self.level is None:
            return 0.0
        begin, end = self.level
        return min(1.0, max(0.0, (step / self.steps - begin) / (end - begin)))

    @property
    def is_field(self) -> bool:
        """Whether a field is fitted, not a lattice."""
        return isinstance(self.source, FieldSettings)

    @property
    def masks_per_step(self) -> int:
        """Classifier passes a step and problem."""
        if isinstance(self.source, LatticeSettings):
            return len(self.source.areas)
        return self.areas_per_step * self.source.outputs

    @property
    def passes(self) -> int:
        """Classifier passes of a whole fit of one problem."""
        return self.steps * self.masks_per_step


def from_plain(values: dict[str, Any]) -> FitConfig:
    """The settings that `dataclasses.asdict` and JSON made plain.  Raises TypeError for fields that there are not."""
    values = dict(values)
    source = FieldSettings if "grid" in values["source"] else LatticeSettings
    sections: dict[str, Any] = {"source": source, "descent": Descent}
    sections |= dict.fromkeys((one.name for one in fields(FitConfig) if "Growth" in str(one.type)), Growth)
    for name, section in sections.items():
        if values[name] is not None:
            values[name] = section(**{key: _tupled(value) for key, value in values[name].items()})
    return FitConfig(**{key: _tupled(value) for key, value in values.items()})


def _tupled(value: Any) -> Any:
    """JSON knows no tuples."""
    return tuple(value) if isinstance(value, list) else value
