"""A classifier: any nn.Module that gives class scores, with its normalisation and labels."""

import contextlib
import operator
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import nn
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from inrexp.models.checks import INTERPOLATIONS, check_model, check_normalisation, checked_labels, checked_sizes
from inrexp.names import did_you_mean


@dataclass(frozen=True)
class Target:
    """What is explained: one class, or a set of classes.

    indices: the classes, each once.  label: what figures and messages call them.
    Raises TypeError for what are no whole numbers, and ValueError for no class or for a class that is given twice.
    """

    indices: tuple[int, ...]
    label: str

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "indices", tuple(map(operator.index, self.indices)))  # numpy's are no JSON
        except TypeError as error:
            raise TypeError(f"indices must be a tuple of whole numbers, got {self.indices!r}") from error
        if not self.indices or len(set(self.indices)) < len(self.indices):
            raise ValueError(f"indices must hold one class or more, each once, got {self.indices}")


class Classifier:
    """Phi: gives class scores and probabilities for images (n, 3, h, w) in [0, 1].

    model: any nn.Module that maps normalised images to scores (n, C) before the activation.
    mean, std: the normalisation with which the model was trained, for images in [0, 1].
    size: the model's input (h, w) in px, or one number for a square.
    resize: length in px of a picture's short side before the centre crop. By default it is 8/7 of the input's side.
    interpolation: how pictures are resized, by torchvision's name.
    labels: the C names of the classes, so that a target can be given by name. They may be left out.
    activation: "softmax", or "sigmoid" for a multi-label head.
    name: what rows, figures and messages call the classifier.
    Raises TypeError for a model that is no nn.Module, for sizes that are no whole numbers and for labels that are no
    texts, and ValueError for values that do not fit.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        std: Sequence[float] = (0.229, 0.224, 0.225),
        size: int | tuple[int, int] = 224,
        resize: int | None = None,
        interpolation: str = "bilinear",
        labels: Sequence[str] | None = None,
        activation: str = "softmax",
        name: str = "custom",
    ):
        check_model(model)
        check_normalisation(mean, std)
        if activation not in ("softmax", "sigmoid"):
            raise ValueError(f"activation must be 'softmax' or 'sigmoid', got {activation!r}")
        if interpolation not in INTERPOLATIONS:
            raise ValueError(f"interpolation must be one of {', '.join(INTERPOLATIONS)}, got {interpolation!r}")
        self.model = model
        self.size, self.resize = checked_sizes(size, resize)
        self.interpolation = interpolation
        self.labels = checked_labels(labels)
        self.activation = activation
        self.name = name
        self._mean, self._std = (torch.tensor(list(v), dtype=torch.float64).view(1, 3, 1, 1) for v in (mean, std))
        convolutions = [p for p in model.parameters() if p.dim() == 4 and p.shape[1] > 1 and p.shape[2] > 1]
        self.channels_last = bool(convolutions) and all(
            p.is_contiguous(memory_format=torch.channels_last) for p in convolutions
        )

    @property
    def device(self) -> torch.device:
        tensor = next(iter([*self.model.parameters(), *self.model.buffers()]), None)
        return tensor.device if tensor is not None else torch.device("cpu")

    @property
    def at_once(self) -> int:
        """Pictures in a pass without gradients.

        A GPU wants many. On a CPU each of two takes three quarters of the time of each of 16, whose memory the system
        takes back and clears again after every pass (36 masks, EfficientNet-Lite0).
        """
        return 2 if self.device.type == "cpu" else 32

    @property
    def dtype(self) -> torch.dtype:
        floats = (p.dtype for p in self.model.parameters() if p.is_floating_point())
        return next(floats, torch.get_default_dtype())

    def prepare(self, picture: Image.Image) -> torch.Tensor:
        """An RGB picture as the model sees it, resized and cropped.  Returns (1, 3, h, w) in [0, 1] on its device.

        Raises TypeError for what is no PIL picture, and ValueError for one that is not RGB.
        """
        if not isinstance(picture, Image.Image):
            raise TypeError(f"picture must be a PIL image, got {type(picture).__name__}: inrexp.load_picture(path)")
        if picture.mode != "RGB":
            raise ValueError(f"picture must be RGB, got mode {picture.mode}: inrexp.load_picture(picture) converts it")
        image = to_image(picture, size=self.size, resize=self.resize, interpolation=self.interpolation)
        return image.to(device=self.device, dtype=self.dtype)

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """(images - mean) / std.

        Blending normalised images (eq. 1) gives the same as normalising the blend. A fit therefore normalises image and
        perturbed image once, and not the blend in every step.
        """
        return (images - self._mean.to(images)) / self._std.to(images)

    @property
    def mean_colour(self) -> torch.Tensor:
        """The colour that normalisation turns into 0: (1, 3, 1, 1) in [0, 1], float64 on the CPU."""
        return self._mean

    def scores(self, images: torch.Tensor, *, normalised: bool = False) -> torch.Tensor:
        """Class scores before the activation.  Returns (n, C).

        images: (n, 3, h, w) in [0, 1], or normalised already if `normalised` says so.
        Raises TypeError or ValueError if the model returns anything but a tensor of class scores.
        """
        inputs = images if normalised else self.normalise(images)
        if self.channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        scores = self.model(inputs)
        if not isinstance(scores, torch.Tensor):
            raise TypeError(
                f"model must return a tensor of class scores (n, C), got {type(scores).__name__}: wrap it in a module "
                "that returns the scores alone"
            )
        if scores.dim() != 2 or scores.shape[0] != images.shape[0] or scores.shape[1] < 2:
            cure = "pool and flatten feature maps first"
            if scores.shape[1:] == (1,):
                cure = "of a single score x return torch.cat([-x / 2, x / 2], 1), whose softmax is x's sigmoid"
            raise ValueError(
                f"model must return class scores ({images.shape[0]}, C) with C >= 2, got {tuple(scores.shape)}: {cure}"
            )
        if self.labels is not None and len(self.labels) != scores.shape[1]:
            raise ValueError(f"labels must name the model's {scores.shape[1]} classes, got {len(self.labels)} labels")
        return scores

    def probabilities(self, images: torch.Tensor, *, normalised: bool = False) -> torch.Tensor:
        """Probabilities after the activation, without gradients, `at_once` pictures a pass.  Returns (n, C).

        Raises ValueError if a score is NaN or infinite.
        """
        with frozen(self.model), torch.no_grad():
            scores = torch.cat([self.scores(part, normalised=normalised) for part in images.split(self.at_once)])
        if not torch.isfinite(scores).all():
            raise ValueError("model returned NaN or infinite scores: check its weights and the normalisation given")
        if self.activation == "softmax" and _are_probabilities(scores):
            warnings.warn(
                f"The scores of {self.name} lie in [0, 1] and sum to 1, as if a softmax had been taken of them. It is "
                "taken once more here: leave it out of the model.",
                stacklevel=1,  # one place, so that it is said once
            )
        return scores.softmax(1) if self.activation == "softmax" else scores.sigmoid()

    def __repr__(self) -> str:
        return f"Classifier({self.name!r}, {self.size[0]} x {self.size[1]} px, {self.activation}, {self.device})"

    def probability(self, images: torch.Tensor, target: Target, *, normalised: bool = False) -> torch.Tensor:
        """Phi: the probability of the target.  Returns (n,).

        The probability of a set of classes is the sum of its softmax probabilities, or the mean of its sigmoids.
        """
        chosen = self.probabilities(images, normalised=normalised)[:, list(target.indices)]
        return chosen.sum(1) if self.activation == "softmax" else chosen.mean(1)

    def top(self, image: torch.Tensor, k: int = 5) -> list[tuple[int, str, float]]:
        """The k most probable classes of an image (1, 3, h, w), each as (index, label, probability)."""
        probabilities = self.probabilities(image)[0]
        best = probabilities.topk(min(k, len(probabilities)))
        return [(int(i), self.label(int(i)), float(p)) for p, i in zip(best.values, best.indices, strict=True)]

    def label(self, index: int) -> str:
        return self.labels[index] if self.labels is not None else f"class {index}"

    def target(self, wanted: "int | str | Sequence[int] | Target | None", image: torch.Tensor) -> Target:
        """The target that a reader names.

        wanted: a class index, a label, several indices, a Target, or None for the image's most probable class. Of a
            text, a label of that name counts before an index.
        Raises TypeError for anything else, and ValueError for an index out of range. Raises LookupError for an unknown
        label; the message names similar labels.
        """
        if wanted is None:
            index, label, _ = self.top(image, 1)[0]
            return Target((index,), label)
        count = self.probabilities(image).shape[1]
        if isinstance(wanted, str):
            is_label = wanted.lower() in {label.lower() for label in self.labels or ()}
            if is_label or not re.fullmatch(r"-?\d+", wanted):
                return self._target_by_label(wanted)
            wanted = int(wanted)
        given = wanted.indices if isinstance(wanted, Target) else wanted
        several: list[Any] = list(given) if isinstance(given, Sequence) else [given]
        try:
            indices = tuple(operator.index(i) for i in several if not isinstance(i, bool))
        except TypeError:
            indices = ()
        if not indices or len(indices) < len(several):
            raise TypeError(f"target must be a class index, a label, a sequence of indices or None, got {wanted!r}")
        outside = [i for i in indices if not 0 <= i < count]
        if outside:
            raise ValueError(f"target {outside[0]} is out of range: the model has classes 0 to {count - 1}")
        if isinstance(wanted, Target):
            return wanted
        indices = tuple(dict.fromkeys(indices))
        return Target(indices, short_label([self.label(i) for i in indices]))

    def _target_by_label(self, wanted: str) -> Target:
        if self.labels is None:
            raise LookupError(
                f"target {wanted!r}: this classifier has no labels; give an index, or Classifier(labels=...)"
            )
        lower = [label.lower() for label in self.labels]
        matches = [i for i, label in enumerate(lower) if label == wanted.lower()]
        if len(matches) > 1:
            raise LookupError(f"target {wanted!r} names classes {matches}: give one of these indices")
        if not matches:
            advice = ": give one of Classifier.labels, or a class index"
            meant = did_you_mean(wanted, self.labels, otherwise=advice)
            raise LookupError(f"target {wanted!r} is not a label of {self.name}{meant}")
        return Target((matches[0],), self.labels[matches[0]])


def short_label(labels: Sequence[str]) -> str:
    """A name for a set of classes that is short enough for a figure's title.

    It names both of two classes. For more it names the first and says how many others there are.
    """
    if len(labels) <= 2:
        return " + ".join(labels)
    return f"{labels[0]} and {len(labels) - 1} more"


def _are_probabilities(scores: torch.Tensor) -> bool:
    sums = scores.sum(1)
    return bool(scores.min() >= 0) and bool(torch.isclose(sums, torch.ones_like(sums), atol=1e-3).all())


@contextlib.contextmanager
def frozen(model: nn.Module) -> Iterator[nn.Module]:
    """Hold the model in eval mode without parameter gradients.

    At the end its modes and its requires_grad are what they were before, also after an error.
    """
    modes = [(module, module.training) for module in model.modules()]
    gradients = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        model.eval().requires_grad_(False)
        yield model
    finally:
        for module, training in modes:
            module.training = training
        for parameter, requires_grad in gradients:
            parameter.requires_grad_(requires_grad)


def to_image(picture: Image.Image, *, size: tuple[int, int], resize: int, interpolation: str) -> torch.Tensor:
    """Resize the short side to `resize` px, then crop the centre to `size` (h, w).

    Returns an image (1, 3, h, w) in [0, 1].
    """
    picture = F.resize(picture, [resize], interpolation=InterpolationMode(interpolation), antialias=True)
    picture = F.center_crop(picture, list(size))
    return F.to_dtype(F.pil_to_tensor(picture), torch.float32, scale=True).unsqueeze(0).clamp(0, 1)


def to_picture(image: torch.Tensor) -> Image.Image:
    """An image (1, 3, h, w) or (3, h, w) in [0, 1] as a PIL picture."""
    return F.to_pil_image(image.detach().cpu().reshape(3, *image.shape[-2:]).clamp(0, 1))
