"""The gradient's map: where a planted model looks, for one class or several, and the model as it was."""

import pytest
import torch
from planted import FIRST_BOX, SECOND_BOX, plant, precision

from inrexp.baselines.gradient import gradient_map
from inrexp.models.classifier import Target
from inrexp.paper.masks import keep_largest


def test_the_map_is_highest_where_the_model_looks():
    planted = plant((FIRST_BOX,))
    found = gradient_map(planted.classifier, planted.image, Target((1,), "stripes"))
    assert precision(keep_largest(found, torch.tensor([0.05])), planted.truth) > 0.5


@pytest.mark.parametrize("classes", [(1,), (0, 1)])
def test_it_gives_a_score_of_0_or_more_to_every_pixel(classes: tuple[int, ...]):
    planted = plant((FIRST_BOX,))
    found = gradient_map(planted.classifier, planted.image, Target(classes, "planted"))
    assert found.shape == (1, 1, *planted.image.shape[-2:])
    assert torch.isfinite(found).all()
    assert found.min() >= 0


def test_it_is_the_gradient_s_size_and_not_its_sign():
    planted = plant((FIRST_BOX, SECOND_BOX))
    found = gradient_map(planted.classifier, planted.image, Target((1,), "stripes"))
    for truth in planted.truths:
        assert float(found[0, 0][truth.bool()].mean()) > float(found.mean())


def test_the_model_comes_back_as_it_was():
    planted = plant((FIRST_BOX,))
    before = [(p.requires_grad, p.clone()) for p in planted.classifier.model.parameters()]
    gradient_map(planted.classifier, planted.image, Target((1,), "stripes"))
    for (asked, value), now in zip(before, planted.classifier.model.parameters(), strict=True):
        assert now.requires_grad == asked
        assert now.grad is None
        assert torch.equal(value, now)
