"""Weights drawn anew from the top down."""

import pytest
import torch
from planted import plant
from torch import nn

from inrexp import methods
from inrexp.metrics import rank_similarity
from inrexp.models.classifier import Classifier
from inrexp.models.randomise import randomised, weighted_layers


def three_layers() -> Classifier:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 3)).eval()
    return Classifier(model, size=8)


def test_layers_with_weights_are_listed_from_the_top():
    assert weighted_layers(three_layers()) == ["4", "2", "0"]


def test_the_top_layers_change_and_the_rest_and_the_original_stay():
    classifier = three_layers()
    before = {name: value.clone() for name, value in classifier.model.state_dict().items()}
    changed = randomised(classifier, 1).model.state_dict()
    for name, value in before.items():
        assert torch.equal(value, classifier.model.state_dict()[name])
        assert torch.equal(value, changed[name]) != name.startswith("4.")


def test_no_layer_is_the_model_itself_and_a_seed_gives_the_same_again():
    classifier = three_layers()
    image = torch.rand(1, 3, 8, 8)
    assert torch.equal(randomised(classifier, 0).probabilities(image), classifier.probabilities(image))
    first, again, other = (randomised(classifier, 3, seed=seed).probabilities(image) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_more_layers_than_there_are_is_refused():
    with pytest.raises(ValueError, match="0 to 3"):
        randomised(three_layers(), 4)


def test_the_map_of_a_randomised_model_is_another():
    planted = plant()
    maps = [
        methods.rise(one, planted.image, 1, masks=400, progress=False).saliency
        for one in (planted.classifier, randomised(planted.classifier, 3, seed=1))
    ]
    assert rank_similarity(maps[0], maps[0]) == pytest.approx(1.0)
    assert rank_similarity(maps[0], maps[1]) < 0.9
