"""Explain one picture: an overlay, a strip of masks over areas, the numbers as JSON, and the field itself.

The masks keep what is enough for the class (1 keeps a pixel, 0 blurs it). The field answers for every area in its
range: `inrexp.Explanation.load` reads it.
"""

import argparse
import dataclasses
import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import inrexp
from inrexp.commands.arguments import (
    DEFAULT_PRESET,
    INTERRUPTED,
    PICTURES,
    PRESETS,
    add_device,
    add_model,
    add_seed,
    check_out,
    fraction,
    positive,
)
from inrexp.files import written_whole

if TYPE_CHECKING:
    import torch

    from inrexp.explanation import Explanation
    from inrexp.models.classifier import Classifier, Target
    from inrexp.paper.settings import FitConfig

STRIP = (0.025, 0.05, 0.1, 0.15, 0.2)
WIDER = 0.5  # the largest area that is proposed where none up to the preset's suffices
WEAK = 0.1  # a probability below which half of it is no evidence


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "picture", nargs="?", default="coffee", help=f"a file, or one of {', '.join(PICTURES)} (default: coffee)"
    )
    add_model(parser)
    parser.add_argument("--target", help="class index or label (default: the model's top-1)")
    parser.add_argument(
        "--area",
        type=fraction,
        help="area of the overlay (default: a*, or the one that keeps most)",
    )
    parser.add_argument(
        "--preset",
        default=DEFAULT_PRESET,
        choices=PRESETS,
        metavar="NAME",
        help=f"{', '.join(PRESETS)} (default: crisp)",
    )
    parser.add_argument("--steps", type=positive, help="other than the preset's")
    parser.add_argument(
        "--area-range",
        type=fraction,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="areas that the field is fitted for, other than the preset's 0.025 to 0.2",
    )
    add_seed(parser)
    add_device(parser)
    parser.add_argument("--page", action="store_true", help="also one HTML file with an area slider, to mail")
    parser.add_argument(
        "--animate", action="store_true", help="also NAME.webp, a film of the mask that grows with its area"
    )
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the results (default: %(default)s)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Fit, write the files, print one line.  Returns 130 for a fit that Ctrl-C ended early."""
    check_out(options.out)
    picture = inrexp.load_picture(options.picture)
    config = _config(options)
    from inrexp import figures
    from inrexp.paper.outcome import FitFailed
    from inrexp.paper.presets import RANDOM

    classifier = inrexp.load_classifier(options.model, device=options.device)
    image = classifier.prepare(picture)
    target = classifier.target(options.target, image)
    _say_if_weak(classifier, image, target)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitFailed)  # the end says it in this command's words
        found = inrexp.explain(classifier, image, target, preset=config, seed=options.seed, steps=options.steps)
    suffices = found.smallest_area()
    low, high = found.area_range
    evenly = [low + (high - low) * step / 4 for step in range(5)]
    areas = found.held_areas or (evenly if options.area_range else [area for area in STRIP if low <= area <= high])
    kept, at = max(zip(found.curve, found.searched_areas, strict=True))
    area = options.area or suffices or (at if found.explains else high)
    stem = options.out / Path(options.picture).stem
    overlay, strip = figures.overlay(*figures.shown(found, [area])), figures.area_strip(figures.shown(found, areas))
    made_by = figures.made_by(found, pictures=[options.picture])
    for kind, figure in (("overlay", overlay), ("masks", strip)):
        figures.save_figure(figure, f"{stem.name}_{kind}", quick=False, made_by=made_by, folder=options.out)
    if options.animate:
        frames = figures.shown(found, found.searched_areas, fine=figures.finer(classifier, picture))
        figures.film(frames, f"{stem}.webp", progress=True)
    found.save(f"{stem}.safetensors")
    numbers = _numbers(found, areas)
    with written_whole(f"{stem}.json") as temporary:
        temporary.write_text(json.dumps(numbers, indent=2) + "\n")
    if options.page:
        from inrexp.widgets.page import write_explanation

        write_explanation(f"{stem}.html", found, picture, start=area, footer=made_by)
    if suffices:
        answer = f"a* = {suffices:.3g}{_if_soft(found, suffices, numbers['smallest_area_cut'])}"
    elif not found.explains:
        answer = "no a*"
    else:
        helps = [f"--preset {DEFAULT_PRESET}"] * (found.config.passes < inrexp.PRESETS[DEFAULT_PRESET].passes)
        helps += [f"--area-range {low:g} {WIDER:g}"] if high < WIDER else []
        helps += [f"--preset {RANDOM}"] if found.config.start is not None else []
        hint = f"; what may help: {', '.join([*helps, 'another --seed'])}" if found.config.is_field else ""
        answer = (
            f"no area from {low:g} to {high:g} keeps p at {found.threshold:.2f} (the most is {_probability(kept)}, at "
            f"{at:.3g}{hint})"
        )
    if found.blank >= found.threshold:
        answer += f", which says nothing: with nothing kept p = {found.blank:.2g}"
    kinds = ("_*.png", ".json", ".safetensors", *[".html"] * options.page, *[".webp"] * options.animate)
    written = ", ".join(f"{stem}{kind}" for kind in kinds)
    print(
        f"{found.target.label}: p = {_probability(found.unmasked)} unmasked; {answer}; {found.seconds:.0f} s; {written}"
    )
    if found.outcome.kind == "interrupted":
        return INTERRUPTED
    if not found.outcome.finished:
        cure = "try another --seed"
        if found.outcome.kind == "diverged":
            cure = "try another --preset, or a smaller learning rate in Python (FitConfig.descent)"
        elif (options.steps or config.steps) < config.steps:
            cure += f", or more --steps ({options.preset} has {config.steps})"
        raise RuntimeError(f"the fit {found.outcome}: the masks above explain nothing; {cure}")
    return 0


def _config(options: argparse.Namespace) -> "FitConfig":
    """The settings that are asked for, after checks of what would otherwise fail after the fit."""
    config = inrexp.PRESETS[options.preset]
    held = getattr(config.source, "areas", None)
    if options.area_range is not None:
        low, high = options.area_range
        if held:
            raise ValueError(f"--area-range must be left out with --preset {options.preset}, whose areas are {held}")
        if low >= high:
            raise ValueError(f"--area-range must be LOW below HIGH, got {low:g} {high:g}")
        config = dataclasses.replace(config, area_range=(low, high))
    low, high = config.area_range
    if options.area is not None and held and options.area not in held:
        raise ValueError(f"--area must be one of {held} with --preset {options.preset}, got {options.area:g}")
    if options.area is not None and not low <= options.area <= high:
        raise ValueError(
            f"--area must lie in the fitted range [{low:g}, {high:g}], got {options.area:g}: it is a fraction of the "
            f"picture, {high:g} for {high:.0%}. --area-range LOW HIGH fits another range"
        )
    return config


def _if_soft(found: "Explanation", area: float, cut: float | None) -> str:
    """What a soft mask's a* hides: how much of the picture the mask keeps, and what is left of a* once it is cut.

    area: a* of the soft masks.  cut: a* of the cut ones.
    """
    if found.config.sharpness is not None:
        return ""
    of_cut = "no area suffices" if cut is None else f"a* = {cut:.3g}"
    return f" by a soft mask that keeps {float(found.mask(area).mean()):.0%}; cut to 0 and 1 {of_cut}"


def _say_if_weak(classifier: "Classifier", image: "torch.Tensor", target: "Target") -> None:
    """A line on stderr where the network hardly believes in the class: half of so little is soon kept."""
    p = float(classifier.probability(image, target))
    if p < WEAK:
        _, first, its = classifier.top(image, 1)[0]
        instead = "" if first == target.label else f" ({first!r} {its:.2f})"
        print(
            f"inrexp: the network gives {target.label!r} p = {_probability(p)}{instead}. A mask that keeps half of so "
            "little says hardly anything",
            file=sys.stderr,
        )


def _probability(p: float) -> str:
    return f"{p:.2f}" if p >= 0.005 else f"{p:.1g}"


def _numbers(found: "Explanation", areas: Sequence[float]) -> dict:
    from inrexp.attribution import CUT

    def rounded(values: "torch.Tensor") -> list[float]:
        return [round(float(value), 4) for value in values]

    return {
        "target": {"indices": list(found.target.indices), "label": found.target.label},
        "unmasked_probability": round(found.unmasked, 4),
        "threshold": round(found.threshold, 4),
        "probability_with_nothing_kept": round(found.blank, 4),
        "smallest_area": found.smallest_area(),
        "smallest_area_cut": found.smallest_area(cut=CUT),
        "areas": list(areas),
        "probability": rounded(found.probability(areas)),
        "probability_cut": rounded(found.probability(areas, cut=CUT)),
        "area_kept": rounded(found.mask(areas).mean((1, 2, 3))),
        "area_kept_cut": rounded(found.mask(areas, cut=CUT).mean((1, 2, 3))),
        "model": found.classifier_name,
        "preset": found.preset,
        "seed": found.seed,
        "status": str(found.outcome),
        "steps": len(found.history["loss"]),
        "seconds": round(found.seconds, 1),
        "versions": found.versions,
    }
