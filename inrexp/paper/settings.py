"""Every choice of a fit as a value, the gaps in the paper's text included."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from inrexp.paper.inr import MaskField, read_initial
from inrexp.paper.lattice import LATTICE_AREAS, MaskLattice
from inrexp.paper.masks import MaskSource
from inrexp.paper.objectives import REWARDS
from inrexp.paper.perturb import BLUR_SIGMA

PERTURBATIONS = ("blur", "fade", "mixed", "varied", "levels")
LEVELS = tuple(BLUR_SIGMA * (7 - i) / 7 for i in range(8))  # px; extremal perturbations' eight blur levels


@dataclass(frozen=True)
class FitConfig:
    """Every choice of a fit, the gaps in the paper's text included. The defaults are section 3.4's numbers.

    steps: optimiser steps ("epochs" in the paper).  lr: learning rate, constant or falling to `lr_end` (cosine).
    warmup: share of the steps over which it rises from 0 first: Adam's first steps have full length whatever the
        gradient, and at 2e-3 they drove 3 of 36 fields into the sigmoid's dead end.
    optimiser: "adam", or "sgd" with `momentum` and `dampening`.
    areas_per_step: masks per step and problem.  sampling: "uniform" draws a from U[0, 1]; "stratified" draws one from
        each of `areas_per_step` equal parts; "fixed" takes every area of a MaskLattice in every step.
    area_range: areas that map onto a in [0, 1].
    area_weight: lambda_r; it grows geometrically to `area_weight_end` over the first `ramp` share of the steps, or
        without an end by the factor `area_weight_growth` a step: lambda_r(t) = area_weight * growth^t.
    reward: "probability" (the paper), "log_probability", "log_odds" or "score".
    perturbation: "blur" (the paper), "fade", "mixed" (blur and fade by turns), "varied" (by
        turns blurs of half, once and twice `blur_sigma`, and fade) or "levels" (extremal perturbations).
    blur_sigma: px; the paper names no value, 20 is extremal perturbations' strongest blur.
    cut: "none", or "straight_through": the classifier sees the mask cut to 0/1, the gradient passes as if uncut;
        "late" does so on every second step of the last third.
    sharpness: of the masks (`fields.sharpen`), constant or growing geometrically to `sharpness_end` over the first
        `ramp` of the steps; the fitted masks keep the last one.
    harden: the fitted masks are 0 or 1, the a|M| largest values (`fields.keep_largest`), so that the classifier sees
        what the reader sees, and no more of it than was asked for.
    flip: mirror the picture on even steps.  dice_weight: lambda_d of eq. 6, used where a baseline is given and, pair by
        pair, between the outputs of a field that has several (source_settings={"outputs": n}); it grows geometrically
        to `dice_weight_end` over `ramp` too, since a strong Dice term at the start empties the mask for good.
    initial: where a field starts: None, random weights by the seed; "learned", the packaged ones; or a file that
        `initial.learn` wrote. From the same start, seeds differ in the areas drawn only.
    source: "field" (the INR) or "lattice" (extremal perturbations).  source_settings: passed to it.
    """

    steps: int = 4000
    lr: float = 1e-4
    lr_end: float | None = None
    warmup: float = 0.0
    optimiser: str = "adam"
    momentum: float = 0.0
    dampening: float = 0.0
    areas_per_step: int = 1
    sampling: str = "uniform"
    area_range: tuple[float, float] = (0.025, 0.2)
    area_weight: float = 1.0
    area_weight_end: float | None = None
    area_weight_growth: float = 1.0
    ramp: float = 1.0
    reward: str = "probability"
    perturbation: str = "blur"
    blur_sigma: float = BLUR_SIGMA
    cut: str = "none"
    sharpness: float = 0.0
    sharpness_end: float | None = None
    harden: bool = False
    flip: bool = False
    dice_weight: float = 1.0
    dice_weight_end: float | None = None
    initial: str | None = None
    source: str = "field"
    source_settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        low, high = self.area_range
        checks = {
            "steps": (self.steps >= 1, "1 or more"),
            "lr": (self.lr > 0, "above 0"),
            "optimiser": (self.optimiser in ("adam", "sgd"), "'adam' or 'sgd'"),
            "areas_per_step": (self.areas_per_step >= 1, "1 or more"),
            "sampling": (self.sampling in ("uniform", "stratified", "fixed"), "'uniform', 'stratified' or 'fixed'"),
            "area_range": (0 < low < high <= 1, "(low, high) with 0 < low < high <= 1"),
            "area_weight": (self.area_weight > 0, "above 0"),
            "area_weight_end": (self.area_weight_end is None or self.area_weight_end > 0, "above 0, or None"),
            "area_weight_growth": (
                self.area_weight_growth > 0 and (self.area_weight_growth == 1 or self.area_weight_end is None),
                "above 0, and 1 where area_weight_end is given",
            ),
            "ramp": (0 < self.ramp <= 1, "in (0, 1]"),
            "reward": (self.reward in REWARDS, f"one of {REWARDS}"),
            "perturbation": (self.perturbation in PERTURBATIONS, f"one of {PERTURBATIONS}"),
            "blur_sigma": (self.blur_sigma > 0, "above 0 px"),
            "cut": (self.cut in ("none", "straight_through", "late"), "'none', 'straight_through' or 'late'"),
            "dice_weight": (self.dice_weight >= 0, "0 or more"),
            "dice_weight_end": (
                self.dice_weight_end is None or (self.dice_weight_end > 0 and self.dice_weight > 0),
                "above 0 with a dice_weight above 0, or None",
            ),
            "warmup": (0 <= self.warmup < 1, "in [0, 1)"),
            "lr_end": (self.lr_end is None or self.lr_end >= 0, "0 or more, or None"),
            "initial": (self.initial is None or self.source == "field", "None for source='lattice'"),
            "sharpness": (self.sharpness >= 0, "0 or more"),
            "sharpness_end": (
                self.sharpness_end is None or (self.sharpness_end > 0 and self.sharpness > 0),
                "above 0 with a sharpness above 0, or None",
            ),
            "source": (self.source in ("field", "lattice"), "'field' or 'lattice'"),
        }
        for name, (good, wanted) in checks.items():
            if not good:
                raise ValueError(f"{name} must be {wanted}, got {getattr(self, name)!r}")
        if self.sampling == "fixed" and self.source != "lattice":
            raise ValueError("sampling must be 'uniform' or 'stratified' for a field; 'fixed' is for source='lattice'")

    @property
    def masks_per_step(self) -> int:
        """Classifier passes a step and problem."""
        if self.sampling == "fixed":
            return max(1, len(self.source_settings.get("areas", LATTICE_AREAS)))
        return self.areas_per_step * self.source_settings.get("outputs", 1)

    def area_weight_at(self, step: int) -> float:
        """lambda_r at a step: constant, growing by a factor a step, or up to an end after `ramp` of the steps."""
        if self.area_weight_end is None:
            return self.area_weight * self.area_weight_growth**step
        return self._grown(self.area_weight, self.area_weight_end, step)

    def dice_weight_at(self, step: int) -> float:
        """lambda_d at a step: constant, or geometric growth that ends after `ramp` of the steps."""
        if self.dice_weight_end is None:
            return self.dice_weight
        return self._grown(self.dice_weight, self.dice_weight_end, step)

    def sharpness_at(self, step: int) -> float:
        """beta at a step: constant, or geometric growth that ends after `ramp` of the steps."""
        if self.sharpness_end is None:
            return self.sharpness
        return self._grown(self.sharpness, self.sharpness_end, step)

    def _grown(self, start: float, end: float, step: int) -> float:
        progress = min(1.0, step / max(1.0, self.ramp * self.steps - 1))
        return start * (end / start) ** progress

    def make_source(self, size: tuple[int, int], seeds: Sequence[int]) -> MaskSource:
        if self.source == "lattice":
            return MaskLattice(size, seeds, **self.source_settings)
        field = MaskField(size, seeds, area_range=self.area_range, **self.source_settings)
        if self.initial is not None:
            field.start_from(read_initial(self.initial))
        return field
