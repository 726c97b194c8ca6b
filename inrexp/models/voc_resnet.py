"""TorchRay's ResNet50 for Pascal VOC (Fong et al. 2019), a network from Caffe. Its 20 scores go through a sigmoid."""

import hashlib
import pickle
import re
from pathlib import Path

import torch
from torch import nn
from torchvision.models import ResNet, resnet50

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
MEAN = (123.68 / 255, 116.779 / 255, 103.939 / 255)  # of RGB in [0, 1]; the published network takes BGR in 0 to 255
STD = (1 / 255, 1 / 255, 1 / 255)
BGR = [2, 1, 0]
CHECKSUM = re.compile(r"-([0-9a-f]{8})\.")


def voc_resnet() -> ResNet:
    """The architecture with random weights.  It maps RGB images (n, 3, h, w), normalised by MEAN and STD, to (n, 20).

    It differs from torchvision's ResNet50 in three ways. In each stage the first 1x1 convolution has the stride. The
    first convolution of the network has a bias. The pooling after it has no padding and rounds its size up.
    """
    model = resnet50(num_classes=len(VOC_CLASSES))
    model.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=True)
    model.maxpool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
    for stage in (model.layer2, model.layer3, model.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    return model.eval()


def load_voc_resnet(path: "str | Path") -> ResNet:
    """`voc_resnet` with the published weights, from a file.

    Raises ValueError if the file's sha256 does not begin as its name says, or if its tensors do not fit the network.
    """
    path = Path(path)
    _check_checksum(path)
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise ValueError(f"{path} is no checkpoint that torch reads: {error}") from error
    weights = flattened_names(stored.get("state_dict", stored) if isinstance(stored, dict) else {}, path)
    model = voc_resnet()
    _check_layout(weights, model.state_dict(), path)
    weights["conv1.weight"] = weights["conv1.weight"][:, BGR]  # so that the network takes RGB
    weights["fc.weight"] = weights["fc.weight"].flatten(1)
    model.load_state_dict(weights, strict=False)  # only the batch norms' counters may be missing
    return model


def flattened_names(stored: dict, path: Path) -> dict[str, torch.Tensor]:
    """The tensors under torchvision's names.

    For instance bn1.0.running_mean becomes bn1.running_mean and bn1.1.weight becomes bn1.weight, and in the same way
    for downsample.1.0.*.  Raises ValueError if two tensors would get one name.
    """
    weights: dict[str, torch.Tensor] = {}
    for name, value in stored.items():
        flat = re.sub(r"\b(bn\d|downsample\.\d)\.[01]\.", r"\1.", str(name))
        if flat in weights:
            raise ValueError(f"{path}: {name} and another tensor are both {flat} in this network")
        weights[flat] = value
    return weights


def _check_checksum(path: Path) -> None:
    wanted = CHECKSUM.search(path.name)
    if wanted is None:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(wanted[1]):
        raise ValueError(f"{path} is damaged: sha256 is {found[:8]}..., its name says {wanted[1]}...: fetch it again")


def _check_layout(weights: dict, expected: dict[str, torch.Tensor], path: Path) -> None:
    needed = {name for name in expected if not name.endswith("num_batches_tracked")}
    missing, unknown = sorted(needed - set(weights)), sorted(set(weights) - set(expected))
    if missing or unknown:
        raise ValueError(
            f"{path} does not hold TorchRay's VOC ResNet50: of {len(needed)} tensors {len(missing)} are missing"
            f"{_some(missing)}, and {len(unknown)} are unknown{_some(unknown)}"
        )
    for name in needed:
        found, wanted = tuple(getattr(weights[name], "shape", ())), tuple(expected[name].shape)
        if found != wanted and not (name == "fc.weight" and found == (*wanted, 1, 1)):
            raise ValueError(f"{path}: {name} has shape {found}, the VOC ResNet50's is {wanted}")


def _some(names: list[str]) -> str:
    return f" ({', '.join(names[:4])}{', ...' if len(names) > 4 else ''})" if names else ""
