"""Each method of the comparison as one call on one picture."""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn

from inrexp.baselines.grad_cam import grad_cam_map
from inrexp.baselines.rise import rise_map
from inrexp.baselines.saliency import SaliencyMap
from inrexp.datasets.pictures import MIN_SIDE, load_picture
from inrexp.explanation import Explanation
from inrexp.models.classifier import Classifier, Target
from inrexp.paper.algorithm1 import Explanations, NumberedCallback, explain_in_turn, explain_jointly
from inrexp.paper.fit import Callback, Problem, fit
from inrexp.paper.presets import PRESETS
from inrexp.paper.settings import FitConfig

Picture = str | Path | Image.Image | torch.Tensor
DEFAULT_PRESET = "crisp"


def as_image(classifier: Classifier, picture: Picture) -> torch.Tensor:
    """A path, packaged name, PIL picture or ready image as an image (1, 3, h, w) in [0, 1] on the model's device.

    Raises TypeError or ValueError for what is neither.
    """
    if not isinstance(picture, torch.Tensor):
        return classifier.prepare(load_picture(picture))
    if picture.dim() != 4 or picture.shape[:2] != (1, 3) or not picture.is_floating_point():
        raise ValueError(f"image must be a float tensor (1, 3, h, w), got {picture.dtype} {tuple(picture.shape)}")
    if min(picture.shape[2:]) < MIN_SIDE:
        raise ValueError(f"image must be {MIN_SIDE} px a side or more, got {tuple(picture.shape[2:])}")
    if not bool(torch.isfinite(picture).all()) or picture.min() < 0 or picture.max() > 1:
        raise ValueError("image must lie in [0, 1], before the classifier's normalisation")
    return picture.detach().to(device=classifier.device, dtype=classifier.dtype)


def config_of(preset: str | FitConfig) -> tuple[str, FitConfig]:
    """A preset's name and values; a FitConfig of the reader's own is called "custom"."""
    if isinstance(preset, FitConfig):
        return "custom", preset
    if preset not in PRESETS:
        raise LookupError(f"no preset named {preset!r}; presets are {', '.join(PRESETS)}")
    return preset, PRESETS[preset]


def explain(
    classifier: Classifier,
    picture: Picture,
    target: "int | str | Sequence[int] | Target | None" = None,
    *,
    preset: str | FitConfig = DEFAULT_PRESET,
    seed: int = 0,
    steps: int | None = None,
    progress: bool = True,
    callback: Callback | None = None,
) -> Explanation:
    """The paper's method on one picture: an INR fitted to eq. 2, one mask for every area (section 3.1).

    target: class index, label, several indices, or None for the top-1 class.  steps: other than the preset's.
    """
    name, config = config_of(preset)
    if steps is not None:
        config = dataclasses.replace(config, steps=steps)
    image = as_image(classifier, picture)
    wanted = classifier.target(target, image)
    fitted = fit(classifier, [Problem(image, wanted, seed)], config, progress=progress, callback=callback)[0]
    return Explanation.of_fit(fitted, classifier, image, wanted, config=config, preset=name, seed=seed)


def explain_many(
    classifier: Classifier,
    picture: Picture,
    target: "int | str | Sequence[int] | Target | None" = None,
    *,
    n: int = 3,
    preset: str | FitConfig = DEFAULT_PRESET,
    seed: int = 0,
    steps: int | None = None,
    dice_weight: float | None = None,
    initial: torch.Tensor | None = None,
    baseline_area: str | float = "smallest",
    threshold: float | None = None,
    cut: float | None = None,
    joint: bool = False,
    stop: bool = True,
    progress: bool = True,
    callback: NumberedCallback | None = None,
) -> Explanations:
    """Algorithm 1: up to n explanations of one picture, each pushed off the earlier ones by a soft Dice term (eq. 6).

    A fresh field, seed `seed_of(seed, i)`, is fitted for each; M^b is the clamped sum of the masks before it.
    dice_weight: lambda_d, other than the preset's.  initial: M^0, masks (m, 1, h, w) that count as explained already.
    baseline_area: which of a field's masks enters M^b. "smallest" (default) is the mask at a*, or at the range's end
        where there is no a*: eq. 5 calls it the explanation, it bars what suffices and leaves the rest of the picture
        open. "largest" is the range's end, which bars more; a number is that area for every explanation.
    threshold: Phi_0 (default: half of the unmasked probability).  cut: judge masks cut to 0/1 there.
    joint: n masks from one fit instead, beyond the paper; see `many.explain_jointly`.
    stop: end at the first explanation that adds nothing which keeps the class at any area in range (judged without what
        the earlier masks cover); it is in the result, marked as none.
    callback: called with (number, step, {"loss", "probability"}, source).  Ctrl-C keeps the finished explanations.
    """
    name, config = config_of(preset)
    changes: dict[str, Any] = {"steps": steps, "dice_weight": dice_weight}
    config = dataclasses.replace(config, **{key: value for key, value in changes.items() if value is not None})
    image = as_image(classifier, picture)
    problem = Problem(image, classifier.target(target, image), seed)
    if joint:
        return explain_jointly(
            classifier,
            problem,
            config,
            n=n,
            preset=name,
            area=baseline_area,
            initial=initial,
            threshold=threshold,
            cut=cut,
            progress=progress,
            callback=callback,
        )
    return explain_in_turn(
        classifier,
        [problem],
        config,
        n=n,
        preset=name,
        initial=initial,
        baseline_area=baseline_area,
        threshold=threshold,
        cut=cut,
        stop=stop,
        progress=progress,
        callback=callback,
    )[0]


EXTREMAL = "extremal_perturbation"  # the preset with the published constants


def extremal_config(
    preset: str = EXTREMAL,
    *,
    areas: Sequence[float] | None = None,
    steps: int | None = None,
    margin: int | None = None,
    flip: bool | None = None,
    perturbation: str | None = None,
    oversample: int | None = None,
) -> FitConfig:
    """The preset of extremal perturbations, or a departure from it; `fit` takes it for several pictures at once.

    steps: other than the preset's (published: 800).  The learning rate and the area weight's growth a step are then
    scaled by their ratio, so that a short run comes as far as a long one would, only more coarsely.
    """
    _, config = config_of(preset)
    if config.source != "lattice":
        raise ValueError(f"preset {preset!r} fits an INR: give one of extremal perturbations, or call explain")
    held = {"areas": areas and tuple(areas), "margin": margin, "oversample": oversample}
    settings = config.source_settings | {key: value for key, value in held.items() if value is not None}
    changes: dict[str, Any] = {"flip": flip, "perturbation": perturbation}
    if steps is not None:
        faster = config.steps / steps if steps > 0 else 1.0  # FitConfig refuses steps below 1
        changes |= {"steps": steps, "lr": config.lr * faster, "area_weight_growth": config.area_weight_growth**faster}
    changes = {key: value for key, value in changes.items() if value is not None}
    return dataclasses.replace(config, source_settings=settings, **changes)


def extremal_perturbation(
    classifier: Classifier,
    picture: Picture,
    target: "int | str | Sequence[int] | Target | None" = None,
    *,
    preset: str = EXTREMAL,
    areas: Sequence[float] | None = None,
    steps: int | None = None,
    margin: int | None = None,
    flip: bool | None = None,
    perturbation: str | None = None,
    oversample: int | None = None,
    seed: int = 0,
    progress: bool = True,
    callback: Callback | None = None,
) -> Explanation:
    """Extremal perturbations (Fong, Patrick, Vedaldi 2019): a mask of free numbers for each area, all areas at once.

    By default the published method, in every constant; a departure is an option (None: as the preset has it):
    areas: those that the masks are fitted for, 0.025 0.05 0.1 0.2; there are none between them.
    steps: 800.  margin: px around the picture that the area penalty counts too, 21; 0 makes the picture's own area the
    one asked for.  flip: mirror the picture on even steps, True.  perturbation: "levels" (eight blurs), "blur", "fade".
    oversample: filter outputs per lattice cell and axis; 7 is every pixel, 2 is ten times faster, but short runs
    with it have ended at other masks, and worse ones.
    preset: "extremal_perturbation_quick" reaches the same final loss by another, shorter way.
    seed: changes nothing, the method draws no random number.
    The smallest area that keeps the class (`smallest_area`) is our rule, as eq. 5 has it; the method gives masks only.
    """
    config = extremal_config(
        preset,
        areas=areas,
        steps=steps,
        margin=margin,
        flip=flip,
        perturbation=perturbation,
        oversample=oversample,
    )
    image = as_image(classifier, picture)
    wanted = classifier.target(target, image)
    fitted = fit(classifier, [Problem(image, wanted, seed)], config, progress=progress, callback=callback)[0]
    name = preset if config == PRESETS[preset] else f"{preset}, changed"
    return Explanation.of_fit(fitted, classifier, image, wanted, config=config, preset=name, seed=seed)


def grad_cam(
    classifier: Classifier,
    picture: Picture,
    target: "int | str | Sequence[int] | Target | None" = None,
    *,
    layer: str | nn.Module | None = None,
    seed: int = 0,
    progress: bool = True,
) -> SaliencyMap:
    """GradCAM (Selvaraju et al. 2017), captum's.  layer: a module or its name; None finds it (`saliency.find_layer`).

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
    target: "int | str | Sequence[int] | Target | None" = None,
    *,
    masks: int = 8000,
    cells: int = 7,
    keep: float = 0.5,
    normalisation: str = "rise",
    kind: str = "probability",
    batch: int = 32,
    seed: int = 0,
    progress: bool = True,
) -> SaliencyMap:
    """RISE (Petsiuk, Das, Saenko 2018): random masks, weighted by the probability they keep; see `rise_map`."""
    image = as_image(classifier, picture)
    wanted = classifier.target(target, image)
    begun = time.perf_counter()
    saliency = rise_map(
        classifier,
        image,
        wanted,
        masks=masks,
        cells=cells,
        keep=keep,
        normalisation=normalisation,
        kind=kind,
        seed=seed,
        batch=batch,
        progress=progress,
    )
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
