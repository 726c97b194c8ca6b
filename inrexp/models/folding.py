"""Makes a classifier faster: batch norms are folded into the convolutions before them, and bfloat16 may be used.

In eval mode a batch norm multiplies each channel by a number and adds another. The convolution before it can do both,
if its weights and its bias are changed accordingly.
"""

import contextlib
import copy
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from timm.layers import BatchNormAct2d
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from inrexp.models.classifier import Classifier, frozen

TOLERANCE = 1e-4  # as a share of the largest score; folding in float32 changes scores by about 1e-6 of it


def folded(classifier: Classifier, image: torch.Tensor) -> Classifier:
    """The classifier with a copy of its model in which batch norms are folded.

    If no batch norm can be folded, the classifier itself is returned. The given model is never changed.
    image: (1, 3, h, w) in [0, 1]. Passes over it show which convolution feeds which batch norm, and check that the
        scores stay the same.
    Layers with hooks, layers used twice, batch norms without running statistics, and compiled models are not folded.
    A warning says so if the model cannot be copied or if its scores would change.
    """
    layers = list(classifier.model.modules())
    if hasattr(classifier.model, "_orig_mod") or not any(isinstance(layer, nn.BatchNorm2d) for layer in layers):
        return classifier
    try:
        own = copy.copy(classifier)
        own.model = copy.deepcopy(classifier.model)
        with frozen(own.model), torch.no_grad(), without_tf32():
            before = own.scores(image)
            for convolution, norm in _pairs(own, image):
                _fold(own, convolution, norm)
            after = own.scores(image)
    except Exception as error:  # a model may forbid any of this; it still works unfolded
        return _refused(classifier, f"{type(error).__name__}: {error}")
    if not bool(torch.isfinite(before).all()):  # the fit reports it
        return classifier
    largest = float(before.abs().max())
    off = float((before - after).abs().max()) / max(largest, 1e-30)
    if off > TOLERANCE:
        return _refused(classifier, f"its scores would change by {off:.0e} of the largest")
    return own


def _refused(classifier: Classifier, why: str) -> Classifier:
    warnings.warn(
        f"The batch norms of {classifier.name} are not folded ({why}). The fit uses the model as given and is slower.",
        stacklevel=3,
    )
    return classifier


@contextlib.contextmanager
def without_tf32() -> Iterator[None]:
    """Use full float32 arithmetic on CUDA inside a `with`, because TF32 alone changes scores by about 2e-3."""
    places: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [place.allow_tf32 for place in places]
    try:
        for place in places:
            place.allow_tf32 = False
        yield
    finally:
        for place, allowed in zip(places, before, strict=True):
            place.allow_tf32 = allowed


def in_bfloat16(classifier: Classifier, image: torch.Tensor) -> Classifier:
    """The folded classifier under bfloat16 autocast.  Images, scores and gradients keep their dtype.

    Its scores differ from the float32 ones by about 1 % of the largest, and so the fits differ too.
    benchmarks/mixed_precision.py compares this difference with the one between seeds. On a CPU with bfloat16
    instructions ResNet50 is twice as fast, and EfficientNet-Lite0 is no faster.
    """
    own = copy.copy(folded(classifier, image))
    own.model = _Bfloat16(own.model)
    return own


class _Bfloat16(nn.Module):
    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        with torch.autocast(images.device.type, torch.bfloat16):
            return self.model(images).to(images.dtype)


def _pairs(classifier: Classifier, image: torch.Tensor) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Pairs of a convolution and the batch norm that takes its output, both called exactly once in a pass."""
    made: list[tuple[nn.Module, torch.Tensor]] = []  # each convolution's output, kept alive so that `is` can compare it
    taken: list[tuple[nn.Module, torch.Tensor]] = []
    free = [layer for layer in classifier.model.modules() if not hooked(layer)]
    handles = [
        layer.register_forward_hook(lambda layer, given, output: made.append((layer, output)))
        for layer in free
        if isinstance(layer, nn.Conv2d) and "weight" in layer._parameters
    ]
    handles += [
        layer.register_forward_pre_hook(lambda layer, given: taken.append((layer, given[0])))
        for layer in free
        if type(layer) in (nn.BatchNorm2d, BatchNormAct2d) and layer.running_mean is not None
    ]
    classifier.scores(image)
    for handle in handles:
        handle.remove()
    calls = [layer for layer, _ in made + taken]
    pairs = [(conv, norm) for conv, output in made for norm, given in taken if output is given]
    return [pair for pair in pairs if all(calls.count(layer) == 1 for layer in pair)]  # type: ignore[misc]


def hooked(layer: nn.Module) -> bool:
    """Whether the layer has hooks."""
    return any((layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks))


def _fold(classifier: Classifier, convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    statistics = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
    weight, bias = fuse_conv_bn_weights(convolution.weight, convolution.bias, *statistics)  # type: ignore[arg-type]
    if classifier.channels_last:
        weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    convolution.weight, convolution.bias = weight, bias  # type: ignore[assignment]
    rest = nn.Sequential(norm.drop, norm.act) if isinstance(norm, BatchNormAct2d) else nn.Identity()
    for parent in list(classifier.model.modules()):
        for name, child in list(parent.named_children()):
            if child is norm:
                setattr(parent, name, rest)
