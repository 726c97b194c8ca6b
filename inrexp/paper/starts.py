"""Where a fit starts: at the nested masks of a ranking of the pixels, before the first classifier pass."""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from inrexp.baselines.grad_cam import grad_cam_map
from inrexp.baselines.gradient import gradient_map
from inrexp.models.checks import checked_scores
from inrexp.models.classifier import Classifier, Target
from inrexp.paper.inr import MaskField
from inrexp.paper.lattice import MaskLattice
from inrexp.paper.masks import MaskSource, ranks
from inrexp.paper.perturb import Perturbation, blur
from inrexp.paper.settings import FitConfig
from inrexp.seeds import generator

STEPS = 60  # of Adam, one area each; 150 steps of four areas took six times as long and fitted no better masks
RATE = 4e-3
RANKERS = {"GradCAM": grad_cam_map, "the gradient": gradient_map}  # the first that ranks the pixels is the start
CLAMP = 0.1  # masks of the start lie in [0.1, 0.9]: a sigmoid nearer to 0 or 1 hardly moves again


def start_sources(source: MaskSource, classifier: Classifier, problems: Sequence[Any], config: FitConfig) -> None:
    """Let every stacked field or lattice start where the settings say.

    problems: as `fit.Problem`, with image, target, seed, baseline and saliency.
    """
    if config.start is None:
        return
    rankings = [
        ranking(one.saliency)
        if config.start == "saliency"
        else model_ranking(classifier, one.image, one.target, one.baseline, config, seed=one.seed)
        for one in problems
    ]
    if isinstance(source, MaskLattice):
        start_lattices(source, rankings)
    elif isinstance(source, MaskField):
        start_from_rankings(source, rankings, [one.seed for one in problems])


def checked_saliency(saliency: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Scores that rank the pixels of an image, (1, 1, h, w), as they came.

    Raises TypeError for what is no tensor, and ValueError for a map of another size and for one that ranks nothing:
    constant, or not finite.
    """
    checked_scores(saliency, image)
    if bool(saliency.min() == saliency.max()):
        raise ValueError("saliency must rank the pixels, got a constant map: give another, or none for random weights")
    return saliency


def ranking(saliency: torch.Tensor) -> torch.Tensor:
    """Share of the pixels that come before, in [0, 1): the mask of the top a of them is where it is below a.

    saliency: (1, 1, h, w), unbounded.  Higher scores come first, and of equal ones the upper left. Pixels of the lowest
        score, often most of a map's, come in the order of the scores around them: large masks then surround small ones.
    """
    low, high = saliency.aminmax()
    scaled = (saliency - low) / (high - low).clamp_min(torch.finfo(saliency.dtype).tiny)
    near = blur(scaled.expand(-1, 3, -1, -1))[:, :1].masked_fill(saliency > low, torch.inf)
    first = near.flatten().argsort(descending=True, stable=True)
    places = ranks(saliency.flatten()[first].view_as(saliency))[
        0
    ]  # of pixels in this order, which tells equal ones apart
    return torch.empty_like(places).scatter_(0, first, places).to(saliency.dtype).view_as(saliency) / len(first)


def model_ranking(
    classifier: Classifier,
    image: torch.Tensor,
    target: Target,
    baseline: torch.Tensor | None,
    config: FitConfig,
    *,
    seed: int = 0,
) -> torch.Tensor | None:
    """GradCAM's ranking of what the baseline leaves, so that the next explanation does not start as the last one.

    A model or a picture that GradCAM cannot rank is ranked by its gradient, with a warning.
    image: (1, 3, h, w).  baseline: M^b of eq. 6, (1, 1, h, w), or None.  config: says what stands in its place.
    seed: of the fit, for the warning alone: Python shows a repeated text only once.
    Returns (1, 1, h, w), or None, with a warning, where the gradient ranks nothing either.
    """
    if baseline is not None:
        outside = classifier.mean_colour.to(image)
        shown = Perturbation(image, config.perturbation, config.blur_sigma, outside=outside)
        image = shown((1 - baseline.to(image))[None])[0]
    failed, fit = "", f"The fit of {target.label!r} (seed {seed})"
    for name, made in RANKERS.items():
        try:
            found = ranking(checked_saliency(made(classifier, image, target), image))
        except (ValueError, RuntimeError, AssertionError) as error:  # of captum and autograd, for models unlike ours
            failed += f"{name} gives no ranking to start from ({error}). "
            continue
        if failed:
            warnings.warn(f"{failed}{fit} starts from the ranking by {name}.", stacklevel=2)
        return found
    cure = 'preset="crisp_random" is made for that'
    warnings.warn(f"{failed}{fit} starts at random weights; {cure}.", stacklevel=2)
    return None


def start_from_rankings(field: MaskField, rankings: Sequence[torch.Tensor | None], seeds: Sequence[int]) -> None:
    """Fit every stacked field to the nested masks of its ranking, by binary cross-entropy on the field's own grid.

    field: of one output.  rankings: of each problem, (1, 1, h, w), or None to leave its field at random.
    seeds: one a problem, for the areas drawn; the weights differ by seed already. No classifier is asked.
    """
    if all(one is None for one in rankings):
        return
    low, high = field.area_range
    parameters = list(field.parameters())
    like = parameters[0].detach()
    known = torch.tensor([one is not None for one in rankings], device=like.device)
    anything = like.new_zeros(1, 1, *field.size)
    stacked = torch.cat([anything if one is None else one.to(like) for one in rankings])  # (p, 1, h, w)
    before = [parameter.detach().clone() for parameter in parameters]
    generators = [generator(seed, "start") for seed in seeds]
    optimiser = torch.optim.Adam(parameters, RATE, fused=like.device.type in ("cpu", "cuda"))
    for _ in range(STEPS):
        drawn = torch.cat([torch.rand(1, 1, generator=one) for one in generators]).to(like)
        areas = low + (high - low) * drawn  # (p, 1)
        top = (stacked < areas[..., None, None]).to(like.dtype)
        wanted = F.interpolate(top, size=field.points_shape, mode="area").clamp(CLAMP, 1 - CLAMP)  # (p, 1, gh, gw)
        values = field.values(areas).clamp(1e-6, 1 - 1e-6)
        optimiser.zero_grad(set_to_none=True)
        F.binary_cross_entropy(values, wanted, reduction="none").mean((1, 2, 3)).sum().backward()
        optimiser.step()
    with torch.no_grad():
        for parameter, old in zip(parameters, before, strict=True):
            parameter.grad = None
            parameter.copy_(torch.where(known.view(-1, *[1] * (old.dim() - 1)), parameter, old))


def start_lattices(lattice: MaskLattice, rankings: Sequence[torch.Tensor | None]) -> None:
    """Set every stacked lattice to the nested masks of its ranking: each cell to the mask's share of its pixels.

    rankings: of each problem, (1, 1, h, w), or None to leave its lattice full.
    """
    with torch.no_grad():
        for values, ranked in zip(lattice.values, rankings, strict=True):  # values: (areas, cells, cells)
            if ranked is not None:
                top = (ranked.to(values) < lattice.held.view(-1, 1, 1, 1)).to(values)  # (areas, 1, h, w)
                shares = F.interpolate(top, size=values.shape[-2:], mode="area")
                values.copy_(shares[:, 0].clamp(CLAMP, 1 - CLAMP))
