"""Each method of the comparison as one call on one picture."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from inrexp.classifiers import Classifier, Target
from inrexp.explanation import Explanation
from inrexp.fit import PRESETS, Callback, FitConfig, Problem, fit
from inrexp.images import load_picture

Picture = str | Path | Image.Image | torch.Tensor
DEFAULT_PRESET = "quick"


def as_image(classifier: Classifier, picture: Picture) -> torch.Tensor:
    """A path, packaged name, PIL picture or ready image as an image (1, 3, h, w) in [0, 1] on the model's device.

    Raises TypeError or ValueError for what is neither.
    """
    if not isinstance(picture, torch.Tensor):
        return classifier.prepare(load_picture(picture))
    if picture.dim() != 4 or picture.shape[:2] != (1, 3) or not picture.is_floating_point():
        raise ValueError(f"image must be a float tensor (1, 3, h, w), got {picture.dtype} {tuple(picture.shape)}")
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
