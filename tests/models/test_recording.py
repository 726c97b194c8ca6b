"""CUDA graphs: the same scores and gradients, and a fit that runs where there can be none."""

import copy
import dataclasses

import pytest
import torch
from planted import QUICK_FIT, Planted, plant
from torch import nn

from inrexp.models.classifier import Classifier, Target, frozen
from inrexp.models.recording import LARGEST, recorded
from inrexp.paper.fit import Problem, fit

STRIPES = Target((1,), "stripes")
BRIEF = dataclasses.replace(QUICK_FIT, steps=3)
on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")


def on_the_gpu(planted: Planted) -> Planted:
    planted.classifier.model.cuda()
    return planted


def test_without_a_gpu_nothing_is_recorded(planted: Planted):
    assert recorded(planted.classifier, (1, *planted.image.shape[1:])) is planted.classifier


@pytest.mark.gpu
@on_cuda
def test_a_recorded_pass_gives_the_scores_and_the_gradient_of_the_pass(planted: Planted):
    plain = on_the_gpu(planted).classifier
    replayed = recorded(plain, (2, *planted.image.shape[1:]))
    assert replayed is not plain
    for seed in range(3):  # the second replay must not see the first one's picture
        torch.manual_seed(seed)
        images = torch.rand(2, *planted.image.shape[1:]).cuda()
        found = []
        for classifier in (plain, replayed):
            seen = images.clone().requires_grad_()
            with frozen(classifier.model):
                scores = classifier.scores(seen)
            assert ("Graphed" in type(scores.grad_fn).__name__) == (classifier is replayed)
            scores.square().sum().backward()
            found.append((scores.detach().clone(), seen.grad))
        for one, other in zip(*found, strict=True):
            assert torch.allclose(one, other, atol=1e-5)
    assert torch.equal(plain.scores(planted.image.cuda()), replayed.scores(planted.image.cuda()))  # of another shape


@pytest.mark.gpu
@on_cuda
def test_large_passes_and_compiled_or_hooked_models_are_not_recorded(planted: Planted):
    classifier = on_the_gpu(planted).classifier
    assert recorded(classifier, (LARGEST + 1, *planted.image.shape[1:])) is classifier
    compiled = copy.copy(classifier)
    compiled.model = torch.compile(classifier.model)  # type: ignore[assignment]
    assert recorded(compiled, (1, *planted.image.shape[1:])) is compiled
    classifier.model.head.register_forward_hook(lambda layer, given, scores: None)
    assert recorded(classifier, (1, *planted.image.shape[1:])) is classifier


class Waiting(nn.Module):
    """Looks at its scores, which no recording can do."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores = self.model(images)
        return scores if float(scores.detach().sum()) < 1e9 else -scores


class Detached(Waiting):
    """Takes no gradient."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.model(images).detach()


def within(kind: type[Waiting], planted: Planted) -> Classifier:
    """The planted classifier on the GPU, its model inside another."""
    classifier = copy.copy(on_the_gpu(planted).classifier)
    classifier.model = kind(classifier.model)
    return classifier


@pytest.mark.gpu
@on_cuda
def test_a_model_that_cannot_be_recorded_is_fitted_without(planted: Planted):
    classifier = within(Waiting, planted)
    with pytest.warns(UserWarning, match="cannot be recorded as a CUDA graph"):
        (one,) = fit(classifier, [Problem(planted.image.cuda(), STRIPES)], BRIEF, progress=False)
    assert len(one.history["loss"]) == 3
    assert torch.rand(1, device="cuda").isfinite()  # nothing was left behind, and another model can be recorded
    other = on_the_gpu(plant()).classifier
    assert recorded(other, (1, *planted.image.shape[1:])) is not other


@pytest.mark.gpu
@on_cuda
def test_recordings_of_many_fits_do_not_pile_up(planted: Planted):
    classifier, shape = on_the_gpu(planted).classifier, (2, *planted.image.shape[1:])
    held = []
    for _ in range(50):
        assert recorded(classifier, shape) is not classifier
        held.append(torch.cuda.memory_reserved())
    # torch warms a recording up on a stream of its own, of 32, each of which gets a workspace of cuBLAS for good
    assert held[-1] <= 1.05 * held[35]


@pytest.mark.gpu
@on_cuda
def test_a_model_without_a_gradient_is_told_so_by_the_fit(planted: Planted):
    classifier = within(Detached, planted)
    with pytest.raises(ValueError, match="must give scores that can be differentiated"):
        fit(classifier, [Problem(planted.image.cuda(), STRIPES)], BRIEF, progress=False)
