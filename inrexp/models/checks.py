"""What a reader hands in, checked where it comes in: a classifier's settings, scores of pixels, and masks."""

import math
import operator
from collections.abc import Sequence

import torch
from torch import nn
from torchvision.transforms import InterpolationMode

INTERPOLATIONS = tuple(mode.value for mode in InterpolationMode)
ROUNDING = 0.01  # by which a mask may leave [0, 1]; bfloat16 has no number between 1 and 1.008


def check_model(model: object) -> None:
    """Raises TypeError for what is no nn.Module that can be hooked, and ValueError for one in half precision.

    Image, field and filter take the model's type, and a field in bfloat16 cannot tell coordinates 1/256 apart.
    """
    if not isinstance(model, nn.Module) or isinstance(model, torch.jit.ScriptModule):
        raise TypeError(
            f"model must be a torch.nn.Module that gives class scores, got {type(model).__name__}; of a scripted "
            "or traced model give the module that it was made from"
        )
    types = {parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()}
    if half := types - {torch.float32, torch.float64}:
        came = ", ".join(sorted(str(one).removeprefix("torch.") for one in half))
        raise ValueError(
            f"model must be in float32 or float64, got {came}: model.float(); "
            "inrexp.models.folding.in_bfloat16 then takes its arithmetic alone to bfloat16"
        )


def check_normalisation(mean: Sequence[float], std: Sequence[float]) -> None:
    """Raises ValueError for what is no normalisation of images in [0, 1]."""
    means, deviations = _finite(mean), _finite(std)
    if len(means) != 3 or len(deviations) != 3 or min(deviations) <= 0:
        raise ValueError(f"mean and std must hold 3 numbers, finite, std above 0; got mean={mean}, std={std}")
    if min(means) < 0 or max(means) > 1:
        raise ValueError(
            f"mean must lie in [0, 1], since images do, got {tuple(means)}: divide mean and std by 255 if the model "
            "was trained on pictures in 0 to 255"
        )


def _finite(numbers: Sequence[float]) -> list[float]:
    """The numbers as floats; none if one of them is not finite or no number."""
    try:
        found = [float(number) for number in numbers]
    except (TypeError, ValueError):
        return []
    return found if all(map(math.isfinite, found)) else []


def checked_sizes(size: int | Sequence[int], resize: int | None) -> tuple[tuple[int, int], int]:
    """A model's input (h, w), and the length of a picture's short side before the crop, in px.

    Raises TypeError for what are no whole numbers, and ValueError for sizes below 1 or a crop beyond the picture.
    """
    try:
        sides = [operator.index(side) for side in (size if isinstance(size, Sequence) else (size, size))]
        shortest = None if resize is None else operator.index(resize)
    except TypeError as error:
        raise TypeError(f"size and resize must be whole numbers of px, got size={size!r}, resize={resize!r}") from error
    if len(sides) != 2 or min(sides) < 1:
        raise ValueError(f"size must be one number of px or two, (h, w), each 1 or more; got {size!r}")
    shortest = round(min(sides) * 8 / 7) if shortest is None else shortest
    if shortest < max(sides):
        raise ValueError(f"resize must be at least the input's larger side {max(sides)} px, got {shortest}")
    return (sides[0], sides[1]), shortest


def checked_labels(labels: Sequence[str] | None) -> tuple[str, ...] | None:
    """The names of the classes, if there are any.  Raises TypeError for anything but a sequence of texts."""
    if labels is None:
        return None
    found = () if isinstance(labels, str) else tuple(labels)
    if not found or not all(isinstance(label, str) for label in found):
        raise TypeError(f"labels must be a list of texts, one for each class, got {labels!r:.80}")
    return found


def check_tensor(value: object, name: str, wanted: str, cure: str) -> None:
    """Raises TypeError for anything but a tensor.  wanted: its shape and meaning.  cure: what to give in its place."""
    if not isinstance(value, torch.Tensor):
        raise TypeError(
            f"{name} must be a torch tensor, {wanted}, got {type(value).__name__}: {cure}; "
            "of an array give torch.from_numpy(array)"
        )


def checked_scores(saliency: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Scores of the pixels of an image, (1, 1, h, w), as they came; a constant map is one, too.

    Raises TypeError for what is no tensor, and ValueError for another size or for scores that are not finite.
    """
    wanted = (1, 1, *image.shape[-2:])
    check_tensor(saliency, "saliency", f"scores {wanted}", "of a method's answer give its .saliency")
    if tuple(saliency.shape) != wanted:
        raise ValueError(f"saliency must be {wanted} like the image, got {tuple(saliency.shape)}: interpolate it first")
    if not bool(torch.isfinite(saliency).all()):
        raise ValueError("saliency must hold finite scores, got NaN or infinite ones: check how it was made")
    return saliency


def checked_masks(mask: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Masks (k, 1, h, w) of an image, in its type and on its device.

    Raises TypeError for what is no tensor, and ValueError for another shape or for values outside [0, 1].
    """
    h, w = image.shape[-2:]
    check_tensor(mask, "mask", f"(k, 1, {h}, {w})", "of a method's answer give its .mask(area)")
    if mask.dim() != 4 or tuple(mask.shape[1:]) != (1, h, w) or not len(mask):
        raise ValueError(f"mask must be (k, 1, {h}, {w}) like the image, k >= 1, got {tuple(mask.shape)}")
    mask = mask.to(image)
    low, high = (float(end) for end in mask.aminmax())
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):  # also for NaN
        raise ValueError(f"mask must lie in [0, 1], 1 keeps the pixel, got values from {low:g} to {high:g}")
    return mask
