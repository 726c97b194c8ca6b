"""The records of the methods that the paper compares (section 3.4). METHODS holds them and those of the reader."""

import time
from collections.abc import Sequence

import torch

from inrexp.baselines.rise import check_rise
from inrexp.explanations import Explanations
from inrexp.iterations import NumberedCallback, Rules, explain_in_turn
from inrexp.method import METHODS, PACKAGED, Method, load_methods, register
from inrexp.methods import (
    Picture,
    Wanted,
    as_image,
    explain,
    extremal_perturbation,
    grad_cam,
    lattice_config,
    rise,
    saliency_map,
)
from inrexp.models.classifier import Classifier
from inrexp.paper.fit import Problem
from inrexp.paper.presets import DEFAULT, EXTREMAL_PERTURBATION, PRESETS, named, with_steps
from inrexp.paper.settings import FitConfig
from inrexp.saliency import SaliencyMap

__all__ = ["METHODS", "Method", "explain_each", "load_methods", "register"]


def field_config(preset: str | FitConfig = DEFAULT, *, steps: int | None = None) -> FitConfig:
    """The settings of a field's preset, with another number of steps if given.

    Raises LookupError for an unknown preset, and ValueError for a preset that fits a lattice.
    """
    config = named(preset)
    if not config.is_field:
        raise ValueError(f"preset {config.name!r} fits a lattice and no field: give one of {', '.join(FIELDS)}")
    return with_steps(config, steps)


FIELDS = tuple(name for name, config in PRESETS.items() if config.is_field)
LATTICES = tuple(name for name in PRESETS if name not in FIELDS)


def explain_each(
    classifier: Classifier,
    pictures: Sequence[Picture],
    targets: Sequence[Wanted],
    *,
    seeds: Sequence[int],
    n: int = 1,
    threshold: float | None = None,
    preset: str | FitConfig = DEFAULT,
    steps: int | None = None,
    callback: NumberedCallback | None = None,
) -> list[Explanations]:
    """Algorithm 1 on several pictures in one batch.

    Each picture gets n explanations, even if the later ones add nothing.  Returns a list, one result for each picture.
    """
    images = [as_image(classifier, picture) for picture in pictures]
    wanted = [classifier.target(target, image) for target, image in zip(targets, images, strict=True)]
    return explain_in_turn(
        classifier,
        [Problem(*one) for one in zip(images, wanted, seeds, strict=True)],
        field_config(preset, steps=steps),
        n=n,
        rules=Rules(threshold=threshold, stop=False),
        progress=False,
        callback=callback,
    )


def centred_disc(
    classifier: Classifier, picture: Picture, target: Wanted = None, *, seed: int = 0, progress: bool = True
) -> SaliencyMap:
    """A map that never looks at the picture: minus the distance of a pixel from the picture's centre, in px.

    Its masks are discs around the centre. They show how much precision comes from a mask's place and size alone.
    seed, progress: change nothing.
    """
    image = as_image(classifier, picture)
    wanted = classifier.target(target, image)
    begun = time.perf_counter()
    nearness = centred(image)
    return saliency_map(nearness, classifier, image, wanted, method="centred_disc", seed=seed, begun=begun)


def centred(image: torch.Tensor) -> torch.Tensor:
    """Minus the distance of each pixel of an image (n, c, h, w) from its centre, in px.  Returns (1, 1, h, w)."""
    h, w = image.shape[-2:]
    down = torch.arange(h, device=image.device, dtype=image.dtype)[:, None] - (h - 1) / 2
    right = torch.arange(w, device=image.device, dtype=image.dtype)[None] - (w - 1) / 2
    return -(down.square() + right.square()).sqrt()[None, None]


# The settings are from section 3.4. 800 steps and 8000 masks are those of the published methods. The scores are from
# the paper's text: 0.68, 0.44 and 0.46 from section 4.1, the others from table 2. The text lacks the body of table 1.
RECORDS = (
    Method(
        "inr",
        "INR",
        explain,
        answers="masks",
        published={"preset": "paper", "steps": 4000},
        seeds=5,
        presets=FIELDS,
        config=field_config,
        in_turn=explain_each,
        scores={"imagenet-s": (0.68, 0.72), "voc": (0.44, None)},
        scores_in_turn={"imagenet-s": {"1": (0.68, 0.72), "2": (0.42, 0.42), "3": (0.30, 0.24), "best": (0.73, 0.77)}},
    ),
    Method(
        "extremal_perturbation",
        "Extremal perturbations",
        extremal_perturbation,
        answers="masks",
        draws=False,
        published={"preset": EXTREMAL_PERTURBATION.name, "steps": 800},
        presets=LATTICES,
        config=lattice_config,
        scores={"voc": (0.46, None)},
    ),
    Method("grad_cam", "GradCAM", grad_cam, draws=False, published={}, shown="the whole picture"),
    Method("rise", "RISE", rise, published={"masks": 8000}, shown="the mean colour", check=check_rise),
    # a control, not of the paper
    Method("centred_disc", "A centred disc", centred_disc, draws=False, shown="nothing, it never looks"),
)
for record in RECORDS:
    PACKAGED.add(register(record).name)
