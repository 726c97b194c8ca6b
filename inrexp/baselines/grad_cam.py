"""GradCAM (Selvaraju et al. 2017), as captum computes it. The layer is found automatically."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from captum.attr import LayerGradCam
from torch import nn

from inrexp.models.classifier import Classifier, Target, frozen

MAX_PREFIX = 8  # class, distillation and register tokens before a transformer's patches


@dataclass(frozen=True)
class Grid:
    """How a layer's output is arranged over the picture.

    kind: "channels first", "channels last" or "tokens".  height, width: cells of the grid.
    prefix: number of tokens before the patches.
    """

    kind: str
    height: int
    width: int
    prefix: int = 0

    def to_map(self, output: torch.Tensor) -> torch.Tensor:
        """The layer's output as (n, c, gh, gw)."""
        if self.kind == "channels first":
            return output
        if self.kind == "channels last":
            return output.permute(0, 3, 1, 2)
        return output[:, self.prefix :].transpose(1, 2).unflatten(2, (self.height, self.width))

    def from_map(self, grid: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """The inverse of `to_map`.  The tokens before the patches are taken from `output`."""
        if self.kind == "channels first":
            return grid
        if self.kind == "channels last":
            return grid.permute(0, 2, 3, 1)
        return torch.cat([output[:, : self.prefix], grid.flatten(2).transpose(1, 2)], dim=1)


def grid_of(output: Any, size: tuple[int, int]) -> Grid | None:
    """The grid in a layer's output for pictures of `size` (h, w); None if the output has none.

    A grid is (n, c, gh, gw) or (n, gh, gw, c) with more than one cell, or tokens (n, prefix + gh * gw, c).
    """
    if not isinstance(output, torch.Tensor) or not output.is_floating_point():
        return None
    aspect = size[0] / size[1]
    if output.dim() == 4:
        last = min(output.shape[1:3]) > 1 and abs(output.shape[1] / output.shape[2] - aspect) < 0.1 * aspect
        if last and abs(output.shape[2] / output.shape[3] - aspect) > 0.1 * aspect:
            return Grid("channels last", output.shape[1], output.shape[2])
        return Grid("channels first", output.shape[2], output.shape[3]) if min(output.shape[2:]) > 1 else None
    if output.dim() == 3:
        for prefix in range(min(MAX_PREFIX, output.shape[1] - 3)):
            patches = output.shape[1] - prefix
            height = round((patches * aspect) ** 0.5)
            if height > 1 and patches % height == 0 and abs(height * height / patches - aspect) < 0.1 * aspect:
                return Grid("tokens", height, patches // height, prefix)
    return None


def find_layer(classifier: Classifier, image: torch.Tensor, target: Target) -> str:
    """The name of the last layer whose output is a grid over the picture and still changes the score.

    In a CNN this is the end of the last convolutional stage. In a ViT it is the norm before the last attention, because
    after it only the class token matters and the patches have no gradient.  Raises ValueError if there is none.
    """
    found: list[tuple[str, torch.Tensor, Grid]] = []

    def note(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            grid = grid_of(output, (image.shape[-2], image.shape[-1]))
            if grid is not None and output.requires_grad:
                found.append((name, output, grid))

        return hook

    modules = [(name, module) for name, module in classifier.model.named_modules() if name]
    with frozen(classifier.model), hooked([(module, note(name)) for name, module in modules]), torch.enable_grad():
        score = score_of(classifier, classifier.normalise(image).requires_grad_(), target).sum()
        for name, output, grid in reversed(found):
            (gradient,) = torch.autograd.grad(score, output, retain_graph=True, allow_unused=True)
            if gradient is not None and bool(grid.to_map(gradient).ne(0).any()):
                return name
    raise ValueError(
        f"no layer of {classifier.name} gives a grid over the picture and changes the score of {target.label!r}: "
        "give layer=..., a module or its name"
    )


def grad_cam_map(
    classifier: Classifier, image: torch.Tensor, target: Target, *, layer: "str | nn.Module | None" = None
) -> torch.Tensor:
    """GradCAM (Selvaraju et al. 2017) of the target's score, enlarged to the image by bilinear interpolation.

    layer: a module, its name, or None for the layer that `find_layer` finds.
    Returns (1, 1, h, w), 0 or more. The model keeps no hooks and gets its modes back.
    Raises LookupError for a layer that the model does not have, and ValueError for a layer without a grid.
    """
    module = _module(classifier, find_layer(classifier, image, target) if layer is None else layer)
    size = (image.shape[-2], image.shape[-1])
    view = nn.Identity()  # captum averages gradients of (c, gh, gw), so tokens pass through here in that shape

    def pass_map(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        grid = grid_of(output, size)
        if grid is None:
            shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
            raise ValueError(
                f"layer must give a grid over the picture, (n, c, gh, gw) or tokens; its output is {shape}"
            )
        return grid.from_map(view(grid.to_map(output)), output)

    with frozen(classifier.model), hooked([(module, pass_map)]), torch.enable_grad():
        cam = LayerGradCam(lambda inputs: score_of(classifier, inputs, target), view)
        coarse = cam.attribute(classifier.normalise(image).requires_grad_(), relu_attributions=True)
    return F.interpolate(coarse.detach(), size=size, mode="bilinear", align_corners=False)


@contextlib.contextmanager
def hooked(hooks: list[tuple[nn.Module, Any]]) -> Iterator[None]:
    """Set forward hooks inside a `with`, and remove them at its end, also after an error."""
    handles = [module.register_forward_hook(hook) for module, hook in hooks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _module(classifier: Classifier, layer: "str | nn.Module") -> nn.Module:
    if isinstance(layer, nn.Module):
        if all(layer is not module for module in classifier.model.modules()):
            raise LookupError(f"layer, a {type(layer).__name__}, is not a part of {classifier.name}")
        return layer
    try:
        return classifier.model.get_submodule(layer)
    except AttributeError as error:
        names = [name for name, _ in classifier.model.named_children()]
        raise LookupError(f"{classifier.name} has no layer {layer!r}; its top layers are {', '.join(names)}") from error


def score_of(classifier: Classifier, inputs: torch.Tensor, target: Target) -> torch.Tensor:
    """The target's score before the activation, or the log-sum-exp of the scores of a set of classes.

    inputs: normalised images.  Returns (n,).
    """
    return classifier.scores(inputs, normalised=True)[:, list(target.indices)].logsumexp(1)
