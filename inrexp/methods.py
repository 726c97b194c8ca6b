"""Each method of the comparison as one call on one picture, and the field's on many."""

import dataclasses
import math
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import nn

from inrexp.baselines.grad_cam import grad_cam_map
from inrexp.baselines.rise import rise_map
from inrexp.datasets.pictures import MIN_SIDE, load_picture
from inrexp.explanation import Explanation
from inrexp.explanations import Explanations
from inrexp.iterations import NumberedCallback, Rules, check_first, explain_in_turn, explain_jointly
from inrexp.models.classifier import Classifier, Target
from inrexp.paper.conditions import checked_number
from inrexp.paper.fit import Callback, Problem, fit
from inrexp.paper.presets import DEFAULT, EXTREMAL_PERTURBATION, RANDOM, named, with_steps
from inrexp.paper.settings import FitConfig, Growth, LatticeSettings
from inrexp.saliency import SaliencyMap
from inrexp.seeds import checked_seed

Picture = str | Path | Image.Image | torch.Tensor
Wanted = int | str | Sequence[int] | Target | None  # what to explain, as `Classifier.target` takes it


def as_image(classifier: Classifier, picture: Picture) -> torch.Tensor:
    """A path, packaged name, PIL picture or ready image as an image (1, 3, h, w) in [0, 1] on the model's device.

    Raises TypeError or ValueError for what is none of them, TypeError for a bare model.
    """
    if not isinstance(classifier, Classifier):
        raise TypeError(f"classifier must be an inrexp.Classifier(model, ...), got a bare {type(classifier).__name__}")
    if not isinstance(picture, torch.Tensor):
        return classifier.prepare(load_picture(picture))
    if picture.dim() != 4 or picture.shape[:2] != (1, 3) or not picture.is_floating_point():
        raise ValueError(f"image must be a float tensor (1, 3, h, w), got {picture.dtype} {tuple(picture.shape)}")
    if min(picture.shape[2:]) < MIN_SIDE:
        raise ValueError(f"image must be {MIN_SIDE} px a side or more, got {tuple(picture.shape[2:])}")
    if not bool(torch.isfinite(picture).all()) or picture.min() < 0 or picture.max() > 1:
        raise ValueError("image must lie in [0, 1], before the classifier's normalisation")
    return picture.detach().to(dtype=classifier.dtype).to(device=classifier.device)


def explain(
    classifier: Classifier,
    picture: Picture,
    target: Wanted = None,
    *,
    preset: str | FitConfig = DEFAULT,
    seed: int = 0,
    steps: int | None = None,
    saliency: torch.Tensor | None = None,
    progress: bool = True,
    callback: Callback | None = None,
) -> Explanation:
    """The paper's method on one picture: an INR fitted to eq. 2, one mask for every area (section 3.1).

    picture: a path, a packaged picture's name, a PIL picture, or an image (1, 3, h, w) in [0, 1].
    target: class index, label, several indices, or None for the top-1 class.
    preset: a name in `presets.PRESETS`, or settings of one's own.  steps: other than the preset's.
    seed: of the weights and of the areas drawn; one seed gives one result on one machine.
    saliency: scores (1, 1, h, w) of any method, whose ranking the field starts from instead of the preset's start.
    callback: called every few steps with (step, {"loss", "probability"}, source); it may raise `Cancelled`.
    Returns the masks of every area in range, with a*. Ctrl-C and `Cancelled` keep what was fitted so far, and a fit
    that failed warns; the outcome says so.  Raises TypeError, ValueError or LookupError for an argument, by its name.
    """
    return explain_batch(
        classifier,
        [picture],
        [target],
        preset=preset,
        seeds=checked_seed(seed),
        steps=steps,
        saliencies=None if saliency is None else [saliency],
        progress=progress,
        callback=callback,
    )[0]


def explain_batch(
    classifier: Classifier,
    pictures: Sequence[Picture],
    targets: "Sequence[Wanted] | None" = None,
    *,
    preset: str | FitConfig = DEFAULT,
    seeds: int | Sequence[int] = 0,
    steps: int | None = None,
    saliencies: Sequence[torch.Tensor] | None = None,
    max_batch: int = 64,
    progress: bool = True,
    callback: Callback | None = None,
) -> list[Explanation]:
    """`explain` for several pictures, targets or seeds at once, in shared classifier passes.

    pictures, targets, seeds, saliencies: one entry an explanation; a list of one, and a single seed, count for all.
    targets: None explains each picture's top-1 class.
    max_batch: pictures in one classifier pass, which bounds memory.
    Returns one explanation for each entry, in their order; after Ctrl-C or `Cancelled` those that were begun.
    Raises ValueError for lists of different lengths, TypeError for what is no list and for a seed that is not whole.
    """
    if isinstance(pictures, str | Path | Image.Image | torch.Tensor):
        raise TypeError(f"pictures must be a list of pictures, got {type(pictures).__name__}: [picture] for one")
    if not isinstance(seeds, Iterable):
        seeds = [checked_seed(seeds, "seeds")]
    for name, given in (("targets", targets), ("seeds", seeds)):
        if isinstance(given, str) or not isinstance(given, Iterable | None):
            raise TypeError(f"{name} must be a list with one entry an explanation, got {given!r}: [{given!r}] for one")
    config = with_steps(named(preset), steps)
    if saliencies is not None:
        config = named(dataclasses.replace(config, start="saliency"))
    listed: dict[str, list] = {
        "pictures": list(pictures),
        "targets": [None] if targets is None else list(targets),
        "seeds": [checked_seed(one, "seeds") for one in seeds],
        "saliencies": [None] if saliencies is None else list(saliencies),
    }
    count = max(len(entries) for entries in listed.values())
    for name, entries in listed.items():
        if len(entries) not in (1, count):
            raise ValueError(f"{name} must have one entry or as many as the longest list, {count}, got {len(entries)}")
        listed[name] = entries * count if len(entries) == 1 else entries
    problems = []
    images = {id(one): as_image(classifier, one) for one in listed["pictures"]}  # one read for a picture that repeats
    for picture, wanted, seed, saliency in zip(*listed.values(), strict=True):
        image = images[id(picture)]
        problems.append(Problem(image, classifier.target(wanted, image), seed, saliency=saliency))
    fitted = fit(classifier, problems, config, max_batch=max_batch, progress=progress, callback=callback)
    return [
        Explanation.of_fit(one, classifier, problem.image, problem.target, config, problem.seed)
        for one, problem in zip(fitted, problems, strict=False)
    ]


def explain_many(
    classifier: Classifier,
    picture: Picture,
    target: Wanted = None,
    *,
    n: int = 3,
    preset: str | FitConfig | None = None,
    seed: int = 0,
    steps: int | None = None,
    dice_weight: float | None = None,
    initial: torch.Tensor | None = None,
    first: Explanation | None = None,
    baseline_area: str | float = "smallest",
    threshold: float | None = None,
    cut: float | None = None,
    joint: bool = False,
    stop: bool = True,
    progress: bool = True,
    callback: NumberedCallback | None = None,
) -> Explanations:
    """Algorithm 1: up to n explanations of one picture, each pushed off the earlier ones by a soft Dice term (eq. 6).

    A fresh field, seed `algorithm1.seed_of(seed, i)`, is fitted for each; M^b is the clamped sum of earlier masks.
    preset: None is "crisp", and for `joint` "crisp_random".
    dice_weight: lambda_d at the end of the fit, other than the preset's. A large M^0 needs a larger one.
    initial: M^0, masks (m, 1, h, w) that count as explained already.
    first: `explain`'s answer for the same picture, class, settings and seed, if it is there: it is not fitted again.
    baseline_area: which of a field's masks enters M^b. "smallest" (default) is the mask at a*, or at the range's end
        where there is no a*: eq. 5 calls it the explanation. The next explanation must avoid this mask but may use the
        rest of the picture. "largest" is the range's end, which leaves less; a number is that area for every one.
    threshold: Phi_0 (default: half of the unmasked probability).  cut: judge masks cut to 0/1 there.
    joint: n masks from one fit instead, beyond the paper; see `iterations.explain_jointly`.
    stop: end after the first explanation that adds nothing: without what the earlier masks cover, its mask keeps the
        class at no area in range. It is in the result too, marked as none. A `joint` run always gives all n.
    callback: called with (number, step, {"loss", "probability"}, source); it may raise `Cancelled`.
    Ctrl-C and `Cancelled` keep the finished explanations.
    Raises ValueError for a `first` of another fit, or one beside `initial` or `joint`.
    """
    config = named(preset or (RANDOM if joint else DEFAULT))
    if dice_weight is not None:
        config = named(dataclasses.replace(config, dice_weight=_ending_at(dice_weight, config.dice_weight)))
    config = with_steps(config, steps)
    rules = Rules(baseline_area, threshold, cut, stop)
    image = as_image(classifier, picture)
    problem = Problem(image, classifier.target(target, image), checked_seed(seed))
    shared = {"n": n, "rules": rules, "initial": initial, "progress": progress, "callback": callback}
    made = None if first is None else [first]
    if joint:
        check_first(made, classifier, [problem], config, alone=False)
        return explain_jointly(classifier, problem, config, **shared)  # type: ignore[arg-type]
    return explain_in_turn(classifier, [problem], config, first=made, **shared)[0]  # type: ignore[arg-type]


def _ending_at(weight: float, usual: Growth) -> Growth:
    """Another lambda_d.  One that grows keeps its shape: its start is the same share of its end."""
    if not 0 <= checked_number(weight, "dice_weight") < math.inf:
        raise ValueError(f"dice_weight must be a number of 0 or more, got {weight}")
    if usual.end is None or weight == 0:
        return Growth(weight)
    return dataclasses.replace(usual, start=weight * usual.start / usual.end, end=weight)


def extremal_perturbation(
    classifier: Classifier,
    picture: Picture,
    target: Wanted = None,
    *,
    preset: str | FitConfig = EXTREMAL_PERTURBATION.name,
    areas: Sequence[float] | None = None,
    steps: int | None = None,
    seed: int = 0,
    progress: bool = True,
    callback: Callback | None = None,
) -> Explanation:
    """Extremal perturbations (Fong, Patrick, Vedaldi 2019): a mask of free numbers for each area, all areas at once.

    By default the published method, constant by constant (`presets.EXTREMAL_PERTURBATION`).
    preset: "extremal_perturbation_quick" reaches the same final loss by another, shorter way.
    areas: those that masks are fitted for, rising; 0.025, 0.05, 0.1 and 0.2. There are none between them.
    steps: other than the preset's, 800 as published. The learning rate is scaled by their ratio, so that a short run
        comes as far as a long one, only more coarsely.
    seed: changes nothing, the method draws no random number.
    The smallest area that keeps the class (`smallest_area`) is our rule, as eq. 5 has it; the method gives masks only.
    """
    config = lattice_config(preset, areas=areas, steps=steps)
    return explain(classifier, picture, target, preset=config, seed=seed, progress=progress, callback=callback)


def lattice_config(
    preset: str | FitConfig = EXTREMAL_PERTURBATION.name,
    *,
    areas: Sequence[float] | None = None,
    steps: int | None = None,
) -> FitConfig:
    """The settings that `extremal_perturbation` fits by.  Raises ValueError for a preset of a field."""
    config = named(preset)
    if not isinstance(config.source, LatticeSettings):
        raise ValueError(f"preset {config.name!r} fits a field: give one of extremal perturbations, or call explain")
    if areas is not None:
        config = named(dataclasses.replace(config, source=dataclasses.replace(config.source, areas=tuple(areas))))
    return with_steps(config, steps)


def grad_cam(
    classifier: Classifier,
    picture: Picture,
    target: Wanted = None,
    *,
    layer: str | nn.Module | None = None,
    seed: int = 0,
    progress: bool = True,
) -> SaliencyMap:
    """GradCAM (Selvaraju et al. 2017), captum's.  layer: a module or its name; None finds it (`grad_cam.find_layer`).

    seed, progress: change nothing, one pass forward and backward is all.
    """
    image = as_image(classifier, picture)
    wanted = classifier.target(target, image)
    begun = time.perf_counter()
    saliency = grad_cam_map(classifier, image, wanted, layer=layer)
    return saliency_map(saliency, classifier, image, wanted, method="grad_cam", seed=seed, begun=begun)


def rise(
    classifier: Classifier,
    picture: Picture,
    target: Wanted = None,
    *,
    masks: int = 8000,
    cells: int = 7,
    keep: float = 0.5,
    seed: int = 0,
    progress: bool = True,
) -> SaliencyMap:
    """RISE (Petsiuk, Das, Saenko 2018): random masks, weighted by the probability they keep; see `rise_map`."""
    image = as_image(classifier, picture)
    wanted = classifier.target(target, image)
    begun = time.perf_counter()
    saliency = rise_map(classifier, image, wanted, masks=masks, cells=cells, keep=keep, seed=seed, progress=progress)
    return saliency_map(saliency, classifier, image, wanted, method="rise", seed=seed, begun=begun)


def saliency_map(
    saliency: torch.Tensor,
    classifier: Classifier,
    image: torch.Tensor,
    target: Target,
    *,
    method: str,
    seed: int = 0,
    begun: float | None = None,
) -> SaliencyMap:
    """A method's scores (1, 1, h, w) as its answer.  begun: time.perf_counter() of its start."""
    if image.device.type == "cuda":
        torch.cuda.synchronize(image.device)
    seconds = time.perf_counter() - begun if begun is not None else 0.0
    return SaliencyMap(
        saliency, image=image, target=target, classifier=classifier, method=method, seed=seed, seconds=seconds
    )
