"""The numbers that figures draw: what a mask shows, what the network keeps of it, and which runs made it.

This is the one module of the room that computes, and it draws nothing.  The others draw what is handed to them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional as F

from inrexp.attribution import CUT, Attribution
from inrexp.comparison import METHODS
from inrexp.datasets.pictures import load_picture
from inrexp.explanation import Explanation
from inrexp.explanations import Explanations, coverage, overlap_share
from inrexp.files import credit_of
from inrexp.methods import Picture
from inrexp.metrics import pairwise_iou
from inrexp.models.checks import checked_masks
from inrexp.models.classifier import Classifier, to_image
from inrexp.paper.inr import MaskField
from inrexp.paper.masks import keep_largest
from inrexp.paper.perturb import blend, blur, fade
from inrexp.paper.presets import PRESETS
from inrexp.paper.settings import FieldSettings, FitConfig
from inrexp.saliency import SaliencyMap

MODELS = {f"efficientnet_lite{size}": f"EfficientNet-Lite{size}" for size in range(3)} | {
    "custom": "a custom model",
    "resnet50": "ResNet50",
    "resnet50_voc": "ResNet50 for VOC",
}


@dataclass(frozen=True, eq=False)
class Shown:
    """One mask, what the network sees through it, and the probability that it gives to that.

    image, seen: (1, 3, H, W) in [0, 1], the photograph and eq. 1's blend of it.  mask: (1, 1, h, w) in [0, 1].
    probability: of `seen`, as the network sees it.  unmasked: of the whole photograph.  threshold: Phi_0 of eq. 5.
    label: the class in words.  asked: the area that the mask was asked for, None where there was no such number.
    scores: (1, 1, h, w) in [0, 1], the saliency map behind the mask, where there is one.
    overlap: IoU with the row's first mask (`compared`), or the share of the mask on earlier ones (`shown_in_turn`).
    accepted: whether algorithm 1 counts the mask as an explanation; None outside of algorithm 1.
    sound: whether the fit behind the mask neither collapsed nor diverged (known in algorithm 1).
    """

    image: torch.Tensor
    seen: torch.Tensor
    mask: torch.Tensor
    probability: float
    unmasked: float
    threshold: float
    label: str
    asked: float | None = None
    scores: torch.Tensor | None = None
    overlap: float | None = None
    accepted: bool | None = None
    sound: bool = True

    @property
    def kept(self) -> float:
        """The mask's real area, a fraction of the picture."""
        return float(self.mask.cpu().double().mean())

    @property
    def suffices(self) -> bool:
        """Whether the network keeps the class: its probability is the threshold or more."""
        return self.probability >= self.threshold


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What figure 6 draws of one picture.

    found: the explanations in the order found.  truths: region -> (h, w) bool.  objects: the regions that are the
    object itself; all others are its surroundings.  sizes: region -> share of the picture.  shares: for each
    explanation, region -> share of the mask.
    """

    found: list[Shown]
    truths: Mapping[str, torch.Tensor]
    objects: tuple[str, ...]
    sizes: Mapping[str, float]
    shares: list[Mapping[str, float]]


@dataclass(frozen=True, eq=False)
class SchemeSteps:
    """What each box of figure 2 holds.  coordinates: (h, w, 3), x, y and the scaled area, each in [0, 1].

    field: (1, 1, h, w), f_L before the filter.  shown: the mask, the picture and what the network sees.
    perturbed: (1, 3, h, w), I' of eq. 1.  settings: of the field.
    """

    coordinates: np.ndarray
    field: torch.Tensor
    perturbed: torch.Tensor
    shown: Shown
    settings: FieldSettings


def shown(
    found: Attribution,
    areas: Sequence[float],
    *,
    judge: Attribution | None = None,
    soft: bool = False,
    fine: torch.Tensor | None = None,
) -> list[Shown]:
    """The masks of one answer at several areas, each 0/1 at exactly the area asked for (`exactly`).

    judge: whose classifier judges, and whose perturbation fills the removed pixels; give one judge to all rows that a
    figure compares.  Default: the answer itself.  An answer for another class is judged by its own class.
    soft: take the masks as they were fitted, values between 0 and 1 and other areas included.
    fine: the same picture at a higher resolution (`finer`), to draw on.
    """
    masks = found.mask(areas)
    if not soft:
        masks = exactly(masks, areas)
    row = shown_masks(judge or found, masks, asked=found, fine=fine)
    scores = found.scaled if isinstance(found, SaliencyMap) else None
    return [replace(one, asked=area, scores=scores) for one, area in zip(row, areas, strict=True)]


def shown_masks(
    judge: Attribution, masks: torch.Tensor, *, asked: Attribution | None = None, fine: torch.Tensor | None = None
) -> list[Shown]:
    """Any masks (k, 1, h, w) on the judge's picture, filled as the judge fills.  fine: as in `shown`.

    asked: whose class the network is asked for, where it is not the judge's.
    """
    asked = judge if asked is None or asked.target == judge.target else asked
    seen = judge.blended(checked_masks(masks, judge.image))
    probabilities = judge.needed_classifier().probability(seen, asked.target)
    image = judge.image if fine is None else fine
    seen = seen if fine is None else _blended_finely(judge, masks, fine)
    return [
        Shown(image, own, mask, float(p), asked.unmasked, asked.threshold, asked.target.label)
        for mask, own, p in zip(masks.split(1), seen.split(1), probabilities, strict=True)
    ]


def shown_in_turn(found: Explanations, *, fine: torch.Tensor | None = None) -> list[Shown]:
    """The explanations of algorithm 1 in the order found, each 0/1 at its own area, with its share on earlier masks."""
    if not len(found):
        raise ValueError(f"found must hold one explanation or more, got none ({found.ending})")
    masks = exactly(found.masks(), found.areas)
    start = found.union(first=0, cut=CUT)
    before = torch.cat([start, masks]).cumsum(0).clamp(0, 1)[:-1]
    shares = overlap_share(masks, before).tolist()
    row = shown_masks(found[0], masks, fine=fine)
    facts = zip(row, found, found.areas, shares, found.keeps, strict=True)
    return [
        replace(one, asked=area, overlap=share, accepted=accepted, threshold=found.threshold, sound=fit.explains)
        for one, fit, area, share, accepted in facts
    ]


def shown_leak(found: Attribution, area: float) -> tuple[Shown, Shown]:
    """The mask as it was fitted, and the same mask cut to 0/1 at CUT: what figure `leaks` compares."""
    soft = found.mask(area)
    first, second = shown_masks(found, torch.cat([soft, (soft > CUT).to(soft.dtype)]))
    return replace(first, asked=area), replace(second, asked=area)


def compared(row: Sequence[Shown]) -> list[Shown]:
    """The same row with each mask's overlap (IoU) with the first one."""
    overlaps = pairwise_iou(torch.cat([one.mask for one in row]))[0].tolist()
    return [replace(one, overlap=overlap) for one, overlap in zip(row, overlaps, strict=True)]


def surrounded(found: Explanations, truths: Mapping[str, torch.Tensor], objects: Sequence[str]) -> Surroundings:
    """Figure 6's numbers: what each explanation covers of the hand-drawn regions, and how large these are.

    truths: region -> (h, w) bool, as `packaged_truth` gives them.  objects: the names of the object's own regions.
    """
    unknown = set(objects) - set(truths)
    if unknown or not objects:
        raise ValueError(f"objects must name regions among {', '.join(truths)}, got {', '.join(objects) or 'none'}")
    row = shown_in_turn(found)
    sizes = {name: float(truth.cpu().double().mean()) for name, truth in truths.items()}
    shares = coverage(torch.cat([one.mask for one in row]), truths)
    return Surroundings(row, truths, tuple(objects), sizes, list(shares))


def scheme_steps(explanation: Explanation, area: float) -> SchemeSteps:
    """Figure 2's boxes from a real fit; the mask stays as soft as the fit left it.  Raises TypeError without an INR."""
    source = explanation.source
    if not isinstance(source, MaskField):
        raise TypeError(f"explanation must come from an INR (MaskField), got a {type(source).__name__}")
    low, high = explanation.area_range
    h, w = source.size
    y, x = np.mgrid[0:h, 0:w]
    everywhere = source.on_every_pixel()
    with torch.no_grad():
        values = everywhere.values(torch.tensor([[area]]).to(explanation.image))
    (one,) = shown(explanation, [area], soft=True)
    coordinates = np.stack([x / w, y / h, np.full((h, w), (area - low) / (high - low))], axis=-1)
    return SchemeSteps(coordinates, values, explanation.blended(torch.zeros_like(one.mask)), one, source.settings)


def exactly(masks: torch.Tensor, areas: Sequence[float]) -> torch.Tensor:
    """Each mask as 0/1 at exactly its area: its largest values, of equal values those deepest inside the mask.

    masks: (k, 1, h, w) in [0, 1].  areas: k fractions.  A mask that is 0/1 and has its area already stays as it is,
    and so does one that has a single value, which ranks nothing.
    """
    values = masks.cpu().double()  # moved first, since Apple's GPUs have no float64
    ranked = values + 1e-3 * torch.as_tensor(ndimage.gaussian_filter(values.numpy(), sigma=(0, 0, 4, 4)))
    binary = keep_largest(ranked, torch.as_tensor(list(areas), dtype=torch.float64)).to(masks)
    constant = masks.flatten(1).std(1) == 0
    return torch.where(constant[:, None, None, None], masks, binary)


def finer(classifier: Classifier, picture: Picture, times: int = 3) -> torch.Tensor:
    """The part of the picture that the network sees, `times` as fine a side, for drawing.  (1, 3, times h, times w)."""
    if isinstance(picture, torch.Tensor):
        return F.interpolate(picture, scale_factor=times, mode="bicubic").clamp(0, 1)
    h, w = (times * side for side in classifier.size)
    resize = times * classifier.resize
    return to_image(load_picture(picture), size=(h, w), resize=resize, interpolation=classifier.interpolation)


def _blended_finely(judge: Attribution, masks: torch.Tensor, fine: torch.Tensor) -> torch.Tensor:
    """Eq. 1 at the resolution of `fine`, its blur as much wider.  (k, 3, H, W)."""
    if judge.perturbation == "levels":  # eight blurs: seen at the network's own resolution
        return F.interpolate(judge.blended(masks), size=fine.shape[-2:], mode="bicubic").clamp(0, 1)
    fine = fine.to(judge.image)
    times = fine.shape[-1] / judge.image.shape[-1]
    perturbed = fade(fine) if judge.perturbation == "fade" else blur(fine, times * judge.blur_sigma)
    return blend(fine, perturbed, F.interpolate(masks.to(fine), size=fine.shape[-2:], mode="bilinear"))


def made_by(*answers: "Attribution | Explanations", pictures: "Sequence[str | Path]" = (), note: str = "") -> str:
    """The grey line under a figure: methods with presets and passes, model, seeds, pictures.

    answers: all that the figure shows; of algorithm 1 the whole `Explanations`.  pictures: their names or files,
    which an answer does not know; what the licence of a packaged one asks for is said.  note: anything more, as a
    sentence without its full stop.
    """
    found = [one[0] if isinstance(one, Explanations) else one for one in answers]
    parts = [
        ", ".join(dict.fromkeys(_method_in_words(one) for one in found)),
        ", ".join(dict.fromkeys(MODELS.get(one.classifier_name, one.classifier_name) for one in found)),
        counted("seed", sorted({str(one.seed) for one in found}, key=int)),
        counted("picture", list(dict.fromkeys(Path(one).stem for one in pictures))),
        credit_of(pictures),
        note,
    ]
    return "Made by " + "; ".join(part for part in parts if part) + "."


def counted(noun: str, values: Sequence[str]) -> str:
    """The noun, in the plural where there are several values, and the values; nothing without values."""
    return f"{noun}{'s' * (len(values) > 1)} {', '.join(values)}" if values else ""


def _changed(config: FitConfig, preset: str) -> str:
    """Which settings are not the preset's, as "areas and oversample"; a lattice's rate follows from its steps."""
    own, now = ({**one, **one["source"]} for one in map(asdict, (PRESETS[preset], config)))
    names = [name for name in now if name not in ("name", "source") and now[name] != own.get(name)]
    if "steps" in names and not config.is_field:
        names = [name for name in names if name != "descent"]
    return " and ".join(name.replace("_", " ") for name in names)


def _method_in_words(found: Attribution) -> str:
    """As "INR (crisp, 300 passes)"; passes are the masks that the classifier judged during the fit."""
    if not isinstance(found, Explanation):
        name = getattr(found, "method", type(found).__name__)
        return METHODS[name].label if name in METHODS else name.replace("_", " ")
    name = found.preset.removesuffix(", changed")
    method = next((one for one in METHODS.values() if name in one.presets), None)
    label = method.label if method else "INR" if found.config.is_field else "Free masks"
    preset = name.removeprefix(method.name if method else "").strip("_") or "as published"
    preset = preset.replace("quick", "the short way")
    if name != found.preset:
        preset = f"{preset.replace('as published', 'the published way')} with other {_changed(found.config, name)}"
    passes = len(found.history["loss"]) * found.config.masks_per_step
    return f"{label} ({preset}, {passes} passes)"
