"""What is fitted: a picture, a target and a seed a problem, checked before any work; and the areas of every step."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import torch

from inrexp.models.classifier import Target
from inrexp.paper.settings import FitConfig, LatticeSettings
from inrexp.paper.starts import checked_saliency
from inrexp.seeds import generator


@dataclass(frozen=True)
class Problem:
    """One picture, what to explain in it, and a seed.

    image: (1, 3, h, w) in [0, 1].  baseline: M^b of eq. 6, (1, 1, h, w), or None.
    saliency: scores (1, 1, h, w) whose ranking the fit starts from, for `FitConfig.start` "saliency"; else None.
    """

    image: torch.Tensor
    target: Target
    seed: int = 0
    baseline: torch.Tensor | None = None
    saliency: torch.Tensor | None = None


def check_problems(problems: Sequence[Problem], config: FitConfig, max_batch: int) -> None:
    """Raises TypeError or ValueError for what would otherwise be found after hours, in a later group."""
    if not problems:
        raise ValueError("problems must hold at least one Problem, got none")
    if not isinstance(max_batch, Integral):
        raise TypeError(f"max_batch must be a whole number of masks, got {max_batch!r}")
    if max_batch < config.masks_per_step:
        needed = f"max_batch must hold the {config.masks_per_step} masks that a problem shows in each step"
        raise ValueError(f"{needed}, got {max_batch}: raise it, or fit fewer areas a step")
    shape, *others = sorted({tuple(problem.image.shape) for problem in problems})
    if others:
        raise ValueError(f"problems must have images of one size to share a batch, got {[shape, *others]}")
    if len(shape) != 4 or shape[:2] != (1, 3):
        raise ValueError(f"problems must have images (1, 3, h, w), got {shape}: one Problem for each picture")
    for problem in problems:
        if problem.baseline is not None and problem.baseline.shape != (1, 1, *shape[2:]):
            got = tuple(problem.baseline.shape)
            raise ValueError(f"baseline must be a mask {(1, 1, *shape[2:])} like the image, got {got}")
        if (problem.saliency is not None) != (config.start == "saliency"):
            raise ValueError("saliency must be given with start='saliency', and only with it")
        if problem.saliency is not None:
            checked_saliency(problem.saliency, problem.image)


def drawn_areas(config: FitConfig, seeds: Sequence[int]) -> torch.Tensor:
    """The areas of every step, each problem's from its own stream; a lattice's own, all in each step.

    Returns (p, steps, k) in float64, one area from each of k equal parts of the range.
    """
    if isinstance(config.source, LatticeSettings):
        held = torch.tensor(config.source.areas, dtype=torch.float64)
        return held.expand(len(seeds), config.steps, -1)
    low, high = config.area_range
    drawn = []
    for seed in seeds:
        shape = (config.steps, config.areas_per_step)
        unit = torch.rand(shape, generator=generator(seed, "areas"), dtype=torch.float64)
        drawn.append((unit + torch.arange(shape[1])) / shape[1])
    return low + (high - low) * torch.stack(drawn)


def stacked_baselines(problems: Sequence[Problem], images: torch.Tensor) -> torch.Tensor | None:
    """M^b of every problem, (p, 1, 1, h, w), empty for one without; None if none has one."""
    if all(problem.baseline is None for problem in problems):
        return None
    empty = images.new_zeros(1, 1, *images.shape[-2:])
    stacked = [empty if problem.baseline is None else problem.baseline for problem in problems]
    return torch.cat([one.to(images) for one in stacked])[:, None]
