"""Replaces a classifier's weights by random ones, from the top layer down, to test an explanation.

An explanation that depends on what the classifier has learnt must change when the weights become random.
"""

import copy

import torch
from torch import nn

from inrexp.models.classifier import Classifier


def weighted_layers(classifier: Classifier) -> list[str]:
    """The names of the layers that have weights of their own.  The top layer, nearest to the scores, comes first."""
    return [
        name
        for name, module in classifier.model.named_modules()
        if next(module.parameters(recurse=False), None) is not None
    ][::-1]


def randomised(classifier: Classifier, layers: int, *, seed: int = 0) -> Classifier:
    """A copy whose top `layers` layers have random weights (cascading randomisation, Adebayo et al. 2018).

    Each tensor is drawn from a normal distribution with the tensor's own mean and standard deviation, so that
    activations keep their range. The given classifier is not changed.
    Raises ValueError for more layers than `weighted_layers` has.
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
