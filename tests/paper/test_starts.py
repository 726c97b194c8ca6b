"""A learned start: Reptile's step by hand, a start that helps on another picture, weights that come back."""

import dataclasses

import pytest
import torch
from conftest import QUICK_FIT, plant
from torchvision.transforms.v2 import functional as F

from inrexp.paper.fit import Problem, fit
from inrexp.paper.starts import learn, problems_in, write_initial

TARGET = plant().classifier.target(1, plant().image)
SHORT = dataclasses.replace(QUICK_FIT, steps=20)


def problem(box: tuple[int, int, int, int]) -> Problem:
    return Problem(plant((box,)).image, TARGET)


def test_one_turn_goes_the_rates_part_of_the_way_to_the_fitted_field():
    planted = plant()
    one = problem((56, 8, 48, 48))
    begun = SHORT.make_source((112, 112), [3]).state_dict()
    fitted = fit(planted.classifier, [dataclasses.replace(one, seed=4)], SHORT, progress=False, start=begun)[0]
    learned = learn(planted.classifier, [one], SHORT, rate=0.25, seed=3, progress=False)
    for key, value in fitted.source.state_dict().items():
        assert torch.allclose(learned[key], begun[key] + 0.25 * (value - begun[key]), atol=1e-6), key


def test_the_features_stay_those_that_the_weights_were_learned_with():
    begun = SHORT.make_source((112, 112), [0]).state_dict()
    learned = learn(plant().classifier, [problem((56, 8, 48, 48))], SHORT, progress=False)
    assert torch.equal(learned["encode.B"], begun["encode.B"])
    assert not torch.equal(learned["weights.0"], begun["weights.0"])


@pytest.mark.slow
def test_a_learned_start_is_better_on_a_picture_that_it_never_saw():
    places = [(8, 8, 48, 48), (8, 56, 48, 48), (56, 8, 48, 48), (32, 32, 48, 48)]
    classifier = plant().classifier
    learned = learn(classifier, [problem(box) for box in places], SHORT, epochs=3, progress=False)
    new = plant(((56, 56, 48, 48),))
    losses = [
        fit(classifier, [Problem(new.image, TARGET)], SHORT, progress=False, start=start)[0].history["loss"][-5:].mean()
        for start in (None, learned)
    ]
    assert losses[1] < losses[0]


def test_weights_come_back_from_their_file_and_a_fit_starts_there(tmp_path):
    planted = plant()
    learned = learn(planted.classifier, [problem((56, 8, 48, 48))], SHORT, progress=False)
    path = write_initial(learned, tmp_path / "start.safetensors")
    config = dataclasses.replace(SHORT, initial=str(path))
    source = config.make_source((112, 112), [5, 6])
    for key, value in source.state_dict().items():
        assert torch.allclose(value[1], learned[key][0], rtol=1e-3, atol=1e-4), key  # half precision


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"problems": []}, "problems must hold at least one"),
        ({"rate": 0.0}, "rate must lie in"),
        ({"config": dataclasses.replace(QUICK_FIT, source="lattice", sampling="fixed", source_settings={})}, "field"),
    ],
)
def test_wrong_input_is_refused_by_name(changes: dict, message: str):
    given = {"problems": [problem((56, 8, 48, 48))], "config": SHORT, "rate": 0.5} | changes
    with pytest.raises(ValueError, match=message):
        learn(plant().classifier, given["problems"], given["config"], rate=given["rate"], progress=False)


def test_a_folder_gives_a_problem_for_each_picture_that_the_model_is_sure_of(tmp_path):
    planted = plant()
    F.to_pil_image(planted.image[0]).save(tmp_path / "stripes.png")
    F.to_pil_image(torch.full((3, 112, 112), 0.5)).save(tmp_path / "plain.png")
    assert [one.target.label for one in problems_in(planted.classifier, tmp_path, sure=0.95)] == ["stripes"]
    assert [one.target.label for one in problems_in(planted.classifier, tmp_path, sure=0.5)] == ["nothing", "stripes"]
    with pytest.raises(ValueError, match="gives no picture in .* p >= 1"):
        problems_in(planted.classifier, tmp_path, sure=1.0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no picture to learn from"):
        problems_in(planted.classifier, tmp_path / "empty")
