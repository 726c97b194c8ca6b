"""Folding batch norms: the same scores and gradients, the given model as it was, what cannot be folded left alone."""

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from inrexp.models.classifier import Classifier
from inrexp.models.folding import folded, in_bfloat16, without_tf32
from inrexp.models.registry import load_classifier

IMAGE = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


class Layers(nn.Module):
    """conv -> norm -> relu -> mean, scores (n, 4); `path` may take another way through the same layers."""

    def __init__(self, path: object = None):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.conv = nn.Conv2d(3, 4, 3, bias=False)
        self.norm = nn.BatchNorm2d(4)
        with torch.no_grad():
            for tensor in (self.conv.weight, self.norm.weight, self.norm.bias, self.norm.running_mean):
                tensor.uniform_(-1, 1, generator=generator)
            self.norm.running_var.uniform_(0.5, 2, generator=generator)
        self.path = path

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.path is not None:
            return self.path(self, images)
        return self.norm(self.conv(images)).relu().mean((2, 3))


def norms(classifier: Classifier) -> int:
    return sum(isinstance(layer, nn.BatchNorm2d) for layer in classifier.model.modules())


def scores_and_gradient(classifier: Classifier, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    image = image.clone().requires_grad_()
    scores = classifier.scores(image)
    scores.logsumexp(1).sum().backward()
    return scores.detach(), image.grad


def test_a_model_without_batch_norm_is_used_as_it_is():
    classifier = Classifier(nn.Sequential(nn.Conv2d(3, 4, 32), nn.Flatten()), size=32)
    assert folded(classifier, IMAGE) is classifier


def test_folding_by_hand():
    classifier = Classifier(Layers().eval(), size=32)
    given = classifier.model
    share = given.norm.weight / (given.norm.running_var + given.norm.eps).sqrt()
    found = folded(classifier, IMAGE).model
    assert torch.allclose(found.conv.weight, given.conv.weight * share.view(4, 1, 1, 1))
    assert torch.allclose(found.conv.bias, given.norm.bias - given.norm.running_mean * share)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet18"])
def test_the_scores_and_gradients_stay_and_no_batch_norm_is_left(name: str):
    classifier = load_classifier(name, weights="IMAGENET1K_V1" if "lite" in name else None, device="cpu")
    classifier.model.double()  # in single precision a relu on the edge of 0 may turn, and its gradient with it
    image = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = folded(classifier, image)
    assert norms(classifier) > 0
    assert norms(found) == 0
    for value, wanted in zip(scores_and_gradient(found, image), scores_and_gradient(classifier, image), strict=True):
        assert torch.allclose(value, wanted, rtol=0, atol=1e-10 * float(wanted.abs().max()))


def test_the_given_model_is_not_touched():
    model = Layers().train()
    seen: list[int] = []
    model.register_forward_hook(lambda *_: seen.append(1))
    before = copy.deepcopy(model.state_dict())
    found = folded(Classifier(model, size=32), IMAGE)
    assert found.model is not model
    assert model.training
    assert model.norm.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert isinstance(model.norm, nn.BatchNorm2d)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert len(model._forward_hooks) == 1
    assert not model.conv._forward_hooks
    assert not found.model.conv._forward_hooks


def test_a_layer_with_a_hook_keeps_its_output():
    model = Layers().eval()
    model.conv.register_forward_hook(lambda layer, given, output: 2 * output)
    found = folded(Classifier(model, size=32), IMAGE)
    assert norms(found) == 1
    assert torch.equal(found.scores(IMAGE), Classifier(model, size=32).scores(IMAGE))


@pytest.mark.parametrize(
    "path",
    [
        lambda m, x: (m.norm(m.conv(x)) + m.conv(x)).mean((2, 3)),  # the convolution is used twice
        lambda m, x: (m.norm(m.norm(m.conv(x)))).mean((2, 3)),  # the norm is
        lambda m, x: (lambda y: m.norm(y) * y)(m.conv(x)).mean((2, 3)),  # its output has another reader
        lambda m, x: (m.norm(m.conv(x)) * m.norm.weight.view(4, 1, 1)).mean((2, 3)),  # its weights are read
    ],
)
def test_a_model_that_would_change_is_used_as_it_is(path: object, recwarn: pytest.WarningsRecorder):
    classifier = Classifier(Layers(path).eval(), size=32)
    found = folded(classifier, IMAGE)
    assert norms(found) == 1
    assert torch.equal(found.scores(IMAGE), classifier.scores(IMAGE))


def test_a_model_that_cannot_be_copied_is_used_as_it_is():
    model = Layers().eval()
    model.remembered = model.conv.weight * 2  # a tensor with a history: deepcopy refuses
    classifier = Classifier(model, size=32)
    with pytest.warns(UserWarning, match=r"batch norms of custom are not folded \(RuntimeError"):
        assert folded(classifier, IMAGE) is classifier


def test_a_refusal_says_by_how_much_the_scores_would_change():
    twice = Layers(lambda m, x: m.norm(m.conv(x)).mean((2, 3)) + m.conv.weight.sum())  # a reader that nobody sees
    with pytest.warns(UserWarning, match="not folded .its scores would change by [0-9]e[+-][0-9]+ of the largest"):
        folded(Classifier(twice.eval(), size=32), IMAGE)


@pytest.fixture
def with_tf32() -> Iterator[None]:
    before = tf32()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.mark.usefixtures("with_tf32")
def test_folding_is_compared_without_tf32_and_the_setting_comes_back():
    """With TF32 on, scores move by 2e-3 of the largest, and the sound copy would be refused."""
    seen = []
    model = Layers(lambda m, x: (seen.append(tf32()), m.norm(m.conv(x)).mean((2, 3)))[1]).eval()
    folded(Classifier(model, size=32), IMAGE)
    assert set(seen) == {(False, False)}
    assert tf32() == (True, True)
    with pytest.raises(ZeroDivisionError), without_tf32():
        raise ZeroDivisionError
    assert tf32() == (True, True)


def tf32() -> tuple[bool, bool]:
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


def test_batch_statistics_are_not_folded():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.Flatten())
    assert norms(folded(Classifier(model, size=32), IMAGE)) == 1


def test_bfloat16_keeps_kinds_and_roughly_the_scores():
    classifier = Classifier(Layers().eval(), size=32)
    found = in_bfloat16(classifier, IMAGE)
    for value, wanted in zip(scores_and_gradient(found, IMAGE), scores_and_gradient(classifier, IMAGE), strict=True):
        assert value.dtype == torch.float32
        assert 0 < float((value - wanted).norm()) < 0.2 * float(wanted.norm())
    assert found.dtype == torch.float32
    assert folded(found, IMAGE) is found
