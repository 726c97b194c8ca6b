"""The gradient of the score (Simonyan, Vedaldi, Zisserman 2014), as captum computes it: a map for any model."""

import torch
from captum.attr import Saliency
from torchvision.transforms.v2 import functional as T

from inrexp.baselines.grad_cam import score_of
from inrexp.models.classifier import Classifier, Target, frozen

SMOOTH = 10.0  # px, the standard deviation; the gradient of single pixels speckles


def gradient_map(classifier: Classifier, image: torch.Tensor, target: Target) -> torch.Tensor:
    """How much each pixel changes the target's score: |d score / d pixel|, summed over the colours and smoothed.

    image: (1, 3, h, w) in [0, 1].  Returns (1, 1, h, w), 0 or more.
    """
    with frozen(classifier.model), torch.enable_grad():
        saliency = Saliency(lambda inputs: score_of(classifier, inputs, target))
        each = saliency.attribute(classifier.normalise(image).requires_grad_())
    summed = each.detach().sum(1, keepdim=True)
    across, down = (2 * min(int(3 * SMOOTH), side - 1) + 1 for side in reversed(image.shape[-2:]))
    return T.gaussian_blur(summed, [across, down], [SMOOTH, SMOOTH])
