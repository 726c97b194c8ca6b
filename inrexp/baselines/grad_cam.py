"""GradCAM (Selvaraju et al. 2017), captum's, with the layer found by itself."""

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
    """How a layer's output lies over the picture.  kind: "channels first", "channels last" or "tokens"."""

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
        """The inverse of `to_map`; tokens that are no patches are taken from `output`."""
        if self.kind == "channels first":
            return grid
        if self.kind == "channels last":
            return grid.permute(0, 2, 3, 1)
        return torch.cat([output[:, : self.prefix], grid.flatten(2).transpose(1, 2)], dim=1)


def grid_of(output: Any, size: tuple[int, int]) -> Grid | None:
    """The grid in a layer's output for pictures of `size` (h, w); None if there is none.

    (n, c, gh, gw) and (n, gh, gw, c) with more than one cell, or (n, prefix + gh * gw, c) tokens.
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
    """The last layer whose output lies on a grid over the picture and still changes the score there.

    In a CNN the end of the last convolutional stage; in a ViT the norm before the last attention, because after it
    only the class token counts and the patches have no gradient.  Returns its name.
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
        score = _score(classifier, classifier.normalise(image).requires_grad_(), target).sum()
        for name, output, grid in reversed(found):
            (gradient,) = torch.autograd.grad(score, output, retain_graph=True, allow_unused=True)
            if gradient is not None and bool(grid.to_map(gradient).ne(0).any()):
                return name
    raise ValueError(
        f"no layer of {classifier.name} lies on a grid over the picture and changes {target.label!r}: "
        "give layer=..., a module or its name"
    )


def grad_cam_map(
    classifier: Classifier, image: torch.Tensor, target: Target, *, layer: "str | nn.Module | None" = None
) -> torch.Tensor:
    """GradCAM (Selvaraju et al. 2017) of the class score, by captum, bilinear up to the image.  (1, 1, h, w), >= 0.

    layer: a module, its name, or None for `find_layer`'s.  The model comes back without hooks, in its own modes.
    Raises LookupError for a name that the model does not have, ValueError for a layer without a grid.
    """
    module = _module(classifier, find_layer(classifier, image, target) if layer is None else layer)
    size = (image.shape[-2], image.shape[-1])
    view = nn.Identity()  # captum averages gradients over (c, gh, gw): tokens pass through here in that shape

    def pass_map(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        grid = grid_of(output, size)
        if grid is None:
            shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
            raise ValueError(
                f"layer must give a grid over the picture, (n, c, gh, gw) or tokens; its output is {shape}"
            )
        return grid.from_map(view(grid.to_map(output)), output)

    with frozen(classifier.model), hooked([(module, pass_map)]), torch.enable_grad():
        cam = LayerGradCam(lambda inputs: _score(classifier, inputs, target), view)
        coarse = cam.attribute(classifier.normalise(image).requires_grad_(), relu_attributions=True)
    return F.interpolate(coarse.detach(), size=size, mode="bilinear", align_corners=False)


@contextlib.contextmanager
def hooked(hooks: list[tuple[nn.Module, Any]]) -> Iterator[None]:
    """Forward hooks for the time of a `with`, removed after an error too."""
    handles = [module.register_forward_hook(hook) for module, hook in hooks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _module(classifier: Classifier, layer: "str | nn.Module") -> nn.Module:
    if isinstance(layer, nn.Module):
        if all(layer is not module for module in classifier.model.modules()):
            raise LookupError(f"layer, a {type(layer).__name__}, is no part of {classifier.name}")
        return layer
    try:
        return classifier.model.get_submodule(layer)
    except AttributeError as error:
        names = [name for name, _ in classifier.model.named_children()]
        raise LookupError(f"{classifier.name} has no layer {layer!r}; its top layers are {', '.join(names)}") from error


def _score(classifier: Classifier, inputs: torch.Tensor, target: Target) -> torch.Tensor:
    """The raw score of the target, log-sum-exp over a set of classes.  inputs: normalised.  Returns (n,)."""
    return classifier.scores(inputs, normalised=True)[:, list(target.indices)].logsumexp(1)
