"""The same classifier, faster: frozen batch norms as part of the convolutions before them, and bfloat16.

A batch norm in eval mode multiplies and adds per channel, and so can the convolution whose output it takes.
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

TOLERANCE = 1e-4  # of the largest score; folding in float32 moves scores by about 1e-6 of it


def folded(classifier: Classifier, image: torch.Tensor) -> Classifier:
    """The classifier on a copy of its model with batch norms folded; the classifier itself where nothing can be.

    image: (1, 3, h, w) in [0, 1]; passes over it show which convolution feeds which batch norm, and that the scores
    stay. The given model is not touched. Not folded: layers with hooks or used twice, statistics taken from the
    batch, compiled models, and a model that does not allow a copy or whose scores would change.
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
    except Exception as error:  # whatever a foreign model dislikes about this: it works as it was given
        return _refused(classifier, f"{type(error).__name__}: {error}")
    if not bool(torch.isfinite(before).all()):  # the fit will say so
        return classifier
    largest = float(before.abs().max())
    off = float((before - after).abs().max()) / max(largest, 1e-30)
    if off > TOLERANCE:
        return _refused(classifier, f"its scores would change by {off:.0e} of the largest")
    return own


def _refused(classifier: Classifier, why: str) -> Classifier:
    warnings.warn(
        f"The batch norms of {classifier.name} are not folded ({why}). The fit runs on the model as given, slower.",
        stacklevel=3,
    )
    return classifier


@contextlib.contextmanager
def without_tf32() -> Iterator[None]:
    """Whole float32 arithmetic on CUDA for the time of a `with`: TF32 alone moves scores by about 2e-3."""
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
    """The folded classifier under bfloat16 autocast; images, scores and gradients stay what they were in kind.

    Scores then differ by about 1 % of the largest, and so do fits; benchmarks/mixed_precision.py sets that against the
    spread between seeds. Twice as fast for ResNet50 on a CPU with bfloat16 instructions, no faster for Lite0.
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
    """Convolutions and the batch norms that take their output, each called once in a pass over the image."""
    made: list[tuple[nn.Module, torch.Tensor]] = []  # what each convolution returned, kept so that `is` holds
    taken: list[tuple[nn.Module, torch.Tensor]] = []
    free = [layer for layer in classifier.model.modules() if not _hooked(layer)]
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


def _hooked(layer: nn.Module) -> bool:
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
