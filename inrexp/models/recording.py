"""Makes small passes faster on a GPU: they are recorded once as a CUDA graph, and replayed.

A pass of one picture is hundreds of small kernels, and a GPU ends each before Python has asked for the next. A CUDA
graph asks for all of them at once. The kernels are the same, and so are the numbers but for rounding.
"""

import copy
import gc
import warnings
from typing import cast

import torch
from torch import nn

from inrexp.models.classifier import Classifier, frozen
from inrexp.models.folding import hooked

LARGEST = 16  # masked pictures in one pass; more keep the GPU busy without a recording, which holds a pass's memory


def recorded(classifier: Classifier, shape: tuple[int, int, int, int]) -> Classifier:
    """The classifier with passes, forward and backward, over images of this shape (n, 3, h, w) recorded.

    Other shapes run as before. The scores of a recorded pass are overwritten by the next one.
    The classifier itself is returned without a GPU, for more than `LARGEST` images, for a compiled model, for one with
    hooks, which no replay would call, and, with a warning, for a model that cannot be recorded.
    """
    model = classifier.model
    if classifier.device.type != "cuda" or shape[0] > LARGEST or hasattr(model, "_orig_mod"):
        return classifier
    if any(hooked(layer) for layer in model.modules()):
        return classifier
    layout = torch.channels_last if classifier.channels_last else torch.contiguous_format
    images = torch.zeros(shape, device=classifier.device, dtype=classifier.dtype).to(memory_format=layout)
    own = copy.copy(classifier)
    try:
        with frozen(model), torch.cuda.device(classifier.device), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, about the streams that a recording changes
            if not model(images.requires_grad_()).requires_grad:
                return classifier  # the fit says what is wrong with such a model
            _pass_without_waiting(model, images)  # a recording that fails would leave torch's memory in disorder
            gc.collect()  # one that is freed during another would spoil it
            own.model = _Recorded(model, images)
    except Exception as error:  # a model may wait for the GPU, or choose its way by what it sees
        warnings.warn(
            f"The passes of {classifier.name} cannot be recorded as a CUDA graph ({type(error).__name__}: "
            f"{str(error).partition(chr(10))[0]}). The fit runs without, and is slower.",
            stacklevel=2,
        )
        return classifier
    return own


def _pass_without_waiting(model: nn.Module, images: torch.Tensor) -> None:
    """One pass, forward and backward.  Raises RuntimeError where the processor waits for the GPU."""
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        torch.autograd.grad(model(images).sum(), images)
    finally:
        torch.cuda.set_sync_debug_mode(mode)


class _Recorded(nn.Module):
    def __init__(self, model: nn.Module, images: torch.Tensor):
        super().__init__()
        self.model, self.shape = model, images.shape
        # a function, not the module: a recorded module is changed, and takes all its weights as arguments
        self.replay = torch.cuda.make_graphed_callables(lambda seen: model(seen), (images,))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.shape == self.shape and images.requires_grad and torch.is_grad_enabled():
            with torch.cuda.device(images.device):  # of several, another one may be the current
                return cast(torch.Tensor, self.replay(images))
        return self.model(images)
