"""A learned initialisation (section 5 names it): Reptile over fields that were fitted to other pictures."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from tqdm.auto import tqdm

from inrexp.datasets.pictures import load_picture
from inrexp.files import written_whole
from inrexp.models.classifier import Classifier
from inrexp.paper.fit import Problem, fit
from inrexp.paper.settings import FitConfig

PICTURES = (".jpg", ".jpeg", ".png")


def learn(
    classifier: Classifier,
    problems: Sequence[Problem],
    config: FitConfig,
    *,
    rate: float = 0.5,
    epochs: int = 1,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, torch.Tensor]:
    """Reptile (Nichol, Achiam, Schulman 2018): fit a field to one picture, move the start part of the way, go on.

    start <- start + rate_t (fitted - start), rate_t falling linearly from `rate` to 0; the Fourier features are the
    seed's and stay.  problems: pictures to learn from, each fitted by `config` once an epoch, in a drawn order.
    Returns the state of one field (p = 1), for `fit(..., start=...)` or `write_initial`.
    """
    if not problems:
        raise ValueError("problems must hold at least one Problem to learn from, got none")
    if config.source != "field":
        raise ValueError(f"config must fit a field, got source={config.source!r}")
    if not 0 < rate <= 1:
        raise ValueError(f"rate must lie in (0, 1], got {rate}")
    config = dataclasses.replace(config, initial=None)
    size = tuple(problems[0].image.shape[-2:])
    start = {key: value.clone() for key, value in config.make_source((size[0], size[1]), [seed]).state_dict().items()}
    generator = torch.Generator().manual_seed(seed)
    order = [int(i) for _ in range(epochs) for i in torch.randperm(len(problems), generator=generator)]
    bar = tqdm(order, desc="learned start", unit="picture", disable=not progress, leave=False)
    for turn, index in enumerate(bar):
        problem = dataclasses.replace(problems[index], seed=seed + 1 + turn)  # other areas each time
        fitted = fit(classifier, [problem], config, progress=False, start=start)[0]
        if fitted.status != "finished":
            continue
        share = rate * (1 - turn / len(order))
        for key, value in fitted.source.state_dict().items():
            start[key] = torch.lerp(start[key], value.cpu(), share)
        bar.set_postfix({"loss": f"{float(fitted.history['loss'][-1]):.3f}", "rate": f"{share:.2f}"})
    return start


def problems_in(classifier: Classifier, folder: "str | Path", *, sure: float = 0.3) -> list[Problem]:
    """One problem for each picture of a folder whose top-1 class has a probability of `sure` or more.

    Raises FileNotFoundError for a folder without pictures, ValueError if the classifier is sure of none.
    """
    paths = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in PICTURES)
    if not paths:
        raise FileNotFoundError(
            f"folder {folder} holds no picture to learn from: {', '.join(PICTURES)} were looked for"
        )
    problems = []
    for path in paths:
        image = classifier.prepare(load_picture(path))
        target = classifier.target(None, image)
        if float(classifier.probability(image, target)) >= sure:
            problems.append(Problem(image, target))
    if not problems:
        raise ValueError(f"{classifier.name} gives no picture in {folder} a class with p >= {sure}: lower `sure`")
    return problems


def write_initial(state: dict[str, torch.Tensor], path: "str | Path") -> Path:
    """Store a field's state in half precision, whole or not at all."""
    with written_whole(path) as temporary:
        save_file({key: value.half().contiguous() for key, value in state.items()}, temporary)
    return Path(path)
