"""What the explorer holds: one picture, masks packed over the area, curves of probability; plain values, no drawing.

A scene is a dictionary that JSON can hold, so that it travels in a widget's state, in a saved notebook and in a page
that stands alone. `explorer.js` unpacks it; the two agree on `packed_masks` and on the names below.
"""

import base64
import io
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from inrexp.attribution import CUT, Attribution, as_areas
from inrexp.explanation import Explanation
from inrexp.explanations import Explanations
from inrexp.figures.shown import finer
from inrexp.figures.style import percent
from inrexp.models.classifier import Classifier, to_picture
from inrexp.paper.masks import is_binary
from inrexp.paper.perturb import BLUR_SIGMA, blend, blur, fade
from inrexp.paper.settings import FitConfig

Scene = dict[str, Any]
STEP = 0.001  # of the area, between which masks of zeros and ones are held
BLACK = "black"
BLURS = (5.0, 10.0, BLUR_SIGMA, 40.0)  # px


def scene_of(
    answers: Mapping[str, Attribution],
    *,
    what: str = "answer",
    areas: Sequence[float] | None = None,
    outsides: Sequence[str] | None = None,
    photograph: Image.Image | None = None,
) -> Scene:
    """Everything that the browser needs to show the answers of one picture.

    answers: name -> what a method answered.  what: the word for what tells the answers apart, such as "seed".
    areas: the slider's positions, None for every thousandth of an answer's range, or for the areas that it holds.
    outsides: what a removed pixel may become ("blur 20 px", "black"), the first answer's own first. The default is
        that one and the other kind. Probabilities are measured under each, with the first answer's classifier.
    photograph: the same crop in more pixels (`fine_crop`), to look at.
    Raises TypeError or ValueError for answers that do not belong together.
    """
    check_answers(answers)
    first = next(iter(answers.values()))
    outsides = list(outsides or default_outsides(first))
    held = {name: _positions(answer, areas) for name, answer in answers.items()}
    masks = {name: answer.mask(held[name][1]) for name, answer in answers.items()}  # where probabilities are measured
    scene = picture_scene(first.image, outsides, photograph=photograph)
    scene |= {
        "what": what,
        "threshold": round(first.threshold, 4),
        "offered": [*dict.fromkeys([*outsides, *(f"blur {sigma:g} px" for sigma in BLURS), BLACK])],
        "answers": [_answer(name, answer, *held[name], masks[name]) for name, answer in answers.items()],
    }
    for outside in outsides:
        _measure(scene, answers, masks, outside)
    return scene


def picture_scene(image: torch.Tensor, outsides: Sequence[str], *, photograph: Image.Image | None = None) -> Scene:
    """A scene without answers: the photograph, and what it becomes outside a mask.  image: (1, 3, h, w)."""
    return {
        "size": [int(image.shape[-1]), int(image.shape[-2])],
        "photo": webp(photograph or to_picture(image), quality=88 if photograph is None else 80),
        "outsides": {name: _outside_picture(image, name) for name in outsides},
        "offered": list(outsides),
        "answers": [],
    }


def with_together(scene: Scene, found: Explanations) -> Scene:
    """The scene of numbered explanations, with each one's own area and what is left once the first n are removed."""
    rows = found.table()
    for answer, row in zip(scene["answers"], rows, strict=True):
        own = (
            "no area that keeps the class by what it adds"
            if row["none"]
            else f"{percent(row['a_star'])} of the picture"
        )
        answer["note"] = f"Algorithm 1 found {own}; overlap with the earlier ones {row['overlap']:.2f}"
        answer["own"] = round(float(row["area"]), 6)
    return scene | {"together": {"left": _rounded(found.remaining()), "threshold": round(found.threshold, 4)}}


def with_outside(scene: Scene, answers: Mapping[str, Attribution], outside: str) -> Scene:
    """The scene with the probabilities of every answer's masks under one more `outside`, and the picture there."""
    scene = {**scene, "outsides": dict(scene["outsides"])}
    scene["answers"] = [{**one, "curves": dict(one["curves"])} for one in scene["answers"]]
    masks = {one["name"]: answers[one["name"]].mask(one["searched"]) for one in scene["answers"]}
    _measure(scene, answers, masks, outside)
    return scene


def _measure(scene: Scene, answers: Mapping[str, Attribution], masks: Mapping[str, torch.Tensor], outside: str) -> None:
    first = next(iter(answers.values()))
    classifier, perturbed = first.needed_classifier(), perturbed_image(first.image, outside)
    scene["outsides"][outside] = _outside_picture(first.image, outside)
    for described in scene["answers"]:
        answer, soft = answers[described["name"]], masks[described["name"]]
        described["curves"][outside] = {"soft": _probabilities(classifier, answer, soft, perturbed)}
        if described["masks"]["kind"] == "soft":
            cut = (soft > CUT).to(soft.dtype)
            described["curves"][outside]["cut"] = _probabilities(classifier, answer, cut, perturbed)


def perturbed_image(image: torch.Tensor, outside: str) -> torch.Tensor:
    """I' of eq. 1 by its name, "black" or "blur 20 px".  Raises ValueError for another."""
    if outside == BLACK:
        return fade(image)
    if not (sigma := re.fullmatch(r"blur (\d+(?:\.\d+)?) px", outside)):
        raise ValueError(f'outside must be "black" or a blur such as "blur 20 px", got {outside!r}')
    return blur(image, float(sigma[1]))


def default_outsides(first: Attribution | FitConfig) -> tuple[str, str]:
    """The perturbation of an answer or of a fit, then the other kind; blur levels become their strongest."""
    sigma = first.blur_sigma if first.perturbation == "blur" else BLUR_SIGMA
    both = (f"blur {sigma:g} px", BLACK)
    return (both[1], both[0]) if first.perturbation == "fade" else both


def fine_crop(classifier: Classifier, picture: Image.Image) -> Image.Image:
    """What `classifier.prepare` cuts out of a picture, twice as many pixels a side."""
    return to_picture(finer(classifier, picture, times=2))


def packed_masks(masks: torch.Tensor) -> dict[str, Any]:
    """Masks over the area in few bytes: each as its difference to the one before, deflated, base64.

    masks: (k, 1, h, w) in [0, 1].  Zeros and ones become bits, and the difference is XOR. Soft masks are halved in
    size (the filter makes them smooth) and become bytes, their difference modulo 256.
    """
    if is_binary(masks):
        kind, size = "binary", masks.shape[-2:]
        planes = np.packbits(masks.flatten(1).cpu().numpy() > 0.5, axis=1)
        planes[1:] ^= planes[:-1].copy()
    else:
        small = torch.nn.functional.avg_pool2d(masks.cpu().float(), 2)
        kind, size = "soft", small.shape[-2:]
        planes = (255 * small.flatten(1)).round().to(torch.uint8).numpy()
        planes[1:] -= planes[:-1].copy()
    data = base64.b64encode(zlib.compress(planes.tobytes(), 9)).decode()
    return {"kind": kind, "size": [int(size[1]), int(size[0])], "count": len(masks), "data": data}


def webp(picture: Image.Image, *, quality: int) -> str:
    """A picture as a data URL."""
    buffer = io.BytesIO()
    picture.save(buffer, format="webp", quality=quality, method=6)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def check_answers(answers: Mapping[str, Attribution]) -> None:
    if not isinstance(answers, Mapping) or not all(isinstance(one, Attribution) for one in answers.values()):
        raise TypeError("answers must map names to what methods answered, e.g. {'seed 0': inrexp.explain(...)}")
    if not answers:
        raise ValueError("answers must hold at least one, got none")
    first = next(iter(answers.values()))
    for name, one in answers.items():
        if one.image.shape != first.image.shape or not torch.equal(one.image, first.image):
            raise ValueError(f"answers must be of one picture, {name!r} is of another: one Explorer for each picture")


def _answer(
    name: str, answer: Attribution, fine: tuple[float, ...], searched: tuple[float, ...], masks: torch.Tensor
) -> dict[str, Any]:
    """One answer without its curves.  masks: those at the searched areas, (k, 1, h, w)."""
    binary = is_binary(masks)
    areas = fine if binary else searched  # the browser interpolates between two soft masks
    return {
        "name": name,
        "label": answer.target.label,
        "unmasked": round(answer.unmasked, 4),
        "sound": answer.explains,
        "areas": list(areas),
        "searched": list(searched),
        "masks": packed_masks(answer.mask(fine) if binary and fine != searched else masks),
        "curves": {},
    }


def _positions(answer: Attribution, areas: Sequence[float] | None) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The areas at which an answer's masks are held, and those at which its probabilities are measured."""
    low, high = answer.area_range
    if areas is not None:
        areas = as_areas(areas).tolist()
        if not areas or not all(low - 1e-6 <= area <= high + 1e-6 for area in areas):
            raise ValueError(f"areas must lie in every answer's range, here [{low:g}, {high:g}], got {areas}")
        searched = tuple(sorted(areas))
    else:
        searched = answer.searched_areas
    slow = isinstance(answer, Explanation) and getattr(answer.source.settings, "grid", None) == "pixel"
    if areas is not None or answer.held_areas is not None or slow:
        return searched, searched
    first, last = searched[0], searched[-1]
    thousandths = {round(first + STEP * i, 6) for i in range(round((last - first) / STEP) + 1)}
    near = {area for area in thousandths if min(abs(area - one) for one in searched) < STEP / 10}
    return tuple(sorted({*searched, *(thousandths - near)})), searched


def _probabilities(
    classifier: Classifier, answer: Attribution, masks: torch.Tensor, perturbed: torch.Tensor
) -> list[float]:
    return _rounded(classifier.probability(blend(answer.image, perturbed, masks), answer.target))


def _outside_picture(image: torch.Tensor, outside: str) -> str | None:
    return None if outside == BLACK else webp(to_picture(perturbed_image(image, outside)), quality=80)


def _rounded(values: torch.Tensor) -> list[float]:
    return [round(value, 4) for value in values.tolist()]
