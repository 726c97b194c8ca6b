"""A check that an explanation depends on what the model learnt: weights drawn anew, from the top layer down."""

import copy

import torch
from torch import nn

from inrexp.models.classifier import Classifier


def weighted_layers(classifier: Classifier) -> list[str]:
    """Names of the layers with weights of their own, the top one (nearest to the scores) first."""
    return [
        name
        for name, module in classifier.model.named_modules()
        if next(module.parameters(recurse=False), None) is not None
    ][::-1]


def randomised(classifier: Classifier, layers: int, *, seed: int = 0) -> Classifier:
    """A copy whose top `layers` layers have random weights (cascading randomisation, Adebayo et al. 2018).

    Each tensor is drawn from a normal distribution of its own mean and spread, so that activations stay in range.  The
    given classifier is left as it is.  Raises ValueError for more layers than there are (`weighted_layers`).
    """
    names = weighted_layers(classifier)
    if not 0 <= layers <= len(names):
        raise ValueError(f"layers must be 0 to {len(names)} for {classifier.name}, got {layers}")
    changed = copy.copy(classifier)
    changed.model = copy.deepcopy(classifier.model)
    changed.name = f"{classifier.name}, {layers} layers random" if layers else classifier.name
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name in names[:layers]:
            for parameter in changed.model.get_submodule(name).parameters(recurse=False):
                _redraw(parameter, generator)
    return changed


def _redraw(parameter: nn.Parameter, generator: torch.Generator) -> None:
    values = parameter.detach().float()
    drawn = torch.randn(values.shape, generator=generator).to(values)
    spread = values.std() if values.numel() > 1 else torch.zeros_like(values.mean())
    parameter.copy_(values.mean() + spread * drawn)
