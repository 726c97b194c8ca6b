"""explain(): from any picture and any classifier to an explanation."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from planted import FIRST_BOX, QUICK_FIT, Planted, plant, precision

import inrexp
from inrexp import Classifier, explain, load_classifier, load_picture
from inrexp.methods import as_image, explain_batch
from inrexp.models.classifier import to_picture
from inrexp.paper.outcome import Cancelled, Outcome
from inrexp.paper.settings import Growth

BRIEF = dataclasses.replace(QUICK_FIT, steps=5)


def test_a_ready_image_is_taken_as_it_is(planted: Planted):
    assert torch.equal(as_image(planted.classifier, planted.image), planted.image)
    assert as_image(planted.classifier, planted.image.double()).dtype == torch.float32
    assert not as_image(planted.classifier, planted.image.clone().requires_grad_()).requires_grad


def test_a_bare_model_is_refused_with_what_to_do(planted: Planted):
    with pytest.raises(TypeError, match=r"classifier must be an inrexp.Classifier\(model, ...\), got a bare"):
        explain(planted.classifier.model, "coffee")  # type: ignore[arg-type]


def test_a_path_a_name_and_a_picture_are_prepared_for_the_classifier(planted: Planted, tmp_path: Path):
    picture = to_picture(planted.image)
    picture.save(tmp_path / "one.png")
    for given in (picture, tmp_path / "one.png", str(tmp_path / "one.png")):
        assert torch.allclose(as_image(planted.classifier, given), planted.image, atol=1 / 255)
    assert as_image(planted.classifier, "coffee").shape == (1, 3, 112, 112)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (
            torch.zeros(3, 112, 112),
            ValueError,
            r"image must be a float tensor \(1, 3, h, w\), got torch.float32 \(3, 112",
        ),
        (torch.zeros(2, 3, 112, 112), ValueError, r"got torch.float32 \(2, 3"),
        (torch.zeros(1, 1, 112, 112), ValueError, r"got torch.float32 \(1, 1"),
        (torch.zeros(1, 3, 112, 112, dtype=torch.uint8), ValueError, "got torch.uint8"),
        (torch.zeros(1, 3, 1, 1), ValueError, "image must be 16 px a side or more"),
        (torch.full((1, 3, 112, 112), 255.0), ValueError, r"image must lie in \[0, 1\]"),
        (torch.full((1, 3, 112, 112), -0.1), ValueError, r"image must lie in \[0, 1\]"),
        (torch.full((1, 3, 112, 112), torch.nan), ValueError, r"image must lie in \[0, 1\]"),
        ("missing.png", FileNotFoundError, "no picture at missing.png"),
        (Image.new("RGB", (1, 1)), ValueError, "the picture is 1 x 1 px"),
        (7, TypeError, "picture must be a path, a packaged name, a PIL image or a float tensor .* got int"),
        ("penguin", FileNotFoundError, "did you mean 'penguins'"),
        (Path(__file__).parent, FileNotFoundError, "is a folder: give one picture"),
    ],
)
def test_what_is_no_image_is_refused(planted: Planted, given: object, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        explain(planted.classifier, given, preset=BRIEF)  # type: ignore[arg-type]


def test_the_top_class_is_explained_where_none_is_asked_for(planted: Planted):
    assert explain(planted.classifier, planted.image, preset=BRIEF, progress=False).target.label == "stripes"
    other = explain(planted.classifier, planted.image, "other", preset=BRIEF, progress=False)
    assert other.target.indices == (2,)


def test_other_steps_than_the_presets(planted: Planted):
    found = explain(planted.classifier, planted.image, preset=QUICK_FIT, steps=7, progress=False)
    assert found.config.steps == len(found.history["loss"]) == 7
    with pytest.raises(ValueError, match="steps must be 1 or more, got 0"):
        explain(planted.classifier, planted.image, preset=QUICK_FIT, steps=0)
    with pytest.raises(ValueError, match="steps must be a whole number, got 2.5"):
        explain(planted.classifier, planted.image, preset=QUICK_FIT, steps=2.5)  # type: ignore[arg-type]


def test_a_batch_is_a_list(planted: Planted):
    with pytest.raises(TypeError, match=r"pictures must be a list of pictures, got str: \[picture\] for one"):
        inrexp.explain_batch(planted.classifier, "coffee")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"targets": "12"}, r"targets must be a list with one entry an explanation, got '12': \['12'\] for one"),
        ({"targets": 1}, r"targets must be a list .* got 1: \[1\] for one"),
        ({"seeds": "12"}, "seeds must be a list .* got '12'"),
        ({"seeds": [0.5, 1.9]}, "seeds must be a whole number, got 0.5"),
        ({"seeds": 1.5}, "seeds must be a whole number, got 1.5"),
        ({"seeds": None}, "seeds must be a whole number, got None"),
    ],
)
def test_entries_of_a_batch_are_not_read_as_something_else(planted: Planted, given: dict, message: str):
    with pytest.raises(TypeError, match=message):
        explain_batch(planted.classifier, [planted.image], **given, preset=BRIEF)


@pytest.mark.parametrize("seed", [1.5, None, "1"])
def test_a_seed_that_is_not_whole_is_refused_by_name(planted: Planted, seed: object):
    for call in (explain, inrexp.explain_many):
        with pytest.raises(TypeError, match=f"^seed must be a whole number, got {seed!r}"):
            call(planted.classifier, planted.image, preset=BRIEF, seed=seed)


def test_seeds_may_be_numpy_s(planted: Planted):
    seeds = np.array([3, 4])
    found = explain_batch(planted.classifier, [planted.image], seeds=seeds, preset=BRIEF, progress=False)
    assert [(one.seed, type(one.seed)) for one in found] == [(3, int), (4, int)]


def test_two_runs_with_one_seed_agree_and_another_seed_does_not(planted: Planted):
    state = torch.random.get_rng_state()
    one, same, other = (
        explain(planted.classifier, planted.image, preset=BRIEF, seed=seed, progress=False) for seed in (1, 1, 2)
    )
    assert torch.equal(one.mask([0.1, 0.3]), same.mask([0.1, 0.3]))
    assert not torch.equal(one.mask([0.1, 0.3]), other.mask([0.1, 0.3]))
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("ends", [KeyboardInterrupt, Cancelled])
def test_ctrl_c_and_cancelled_give_what_was_fitted(planted: Planted, ends: type[BaseException]):
    def stop(step: int, *_: object) -> None:
        raise ends

    with pytest.warns(UserWarning, match="interrupted at step 10. What was fitted is kept"):
        found = explain(planted.classifier, planted.image, preset=QUICK_FIT, progress=False, callback=stop)
    assert found.outcome == Outcome("interrupted", step=10)
    assert len(found.history["loss"]) == 10
    assert torch.isfinite(found.mask(0.2)).all()


def test_several_pictures_targets_and_seeds_at_once_are_what_each_is_alone(planted: Planted):
    pictures = [planted.image, planted.image.flip(-1)]
    found = explain_batch(planted.classifier, pictures, [1, "other"], seeds=[3, 4], preset=BRIEF, progress=False)
    for one, picture, target, seed in zip(found, pictures, (1, 2), (3, 4), strict=True):
        alone = explain(planted.classifier, picture, target, seed=seed, preset=BRIEF, progress=False)
        assert (one.target, one.seed) == (alone.target, seed)
        assert torch.allclose(one.mask([0.1, 0.3]), alone.mask([0.1, 0.3]), atol=1e-4)


def test_one_picture_counts_for_all_seeds(planted: Planted):
    found = explain_batch(planted.classifier, [planted.image], seeds=range(3), preset=BRIEF, progress=False)
    assert [one.seed for one in found] == [0, 1, 2]
    assert {one.target.label for one in found} == {"stripes"}
    assert not torch.equal(found[0].mask(0.2), found[1].mask(0.2))


def test_lists_of_different_lengths_are_refused(planted: Planted):
    with pytest.raises(ValueError, match="seeds must have one entry or as many as the longest list, 3, got 2"):
        explain_batch(planted.classifier, [planted.image] * 3, seeds=[0, 1], preset=BRIEF)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_the_default_preset_finds_the_planted_patch(seed: int):
    planted = plant(((80, 24, 72, 72),), size=(168, 168))  # 18 % of the picture
    found = explain(planted.classifier, planted.image, 1, seed=seed, progress=False)
    areas = (0.1, 0.2)
    kept = found.mask(areas).mean((1, 2, 3)).tolist()
    assert kept == pytest.approx(areas, abs=0.05)
    assert precision(found.mask(0.1), planted.truth) > 0.7
    assert float(found.probability(0.2)) > 0.7


def test_a_picture_that_is_not_square():
    planted = plant((FIRST_BOX,), size=(112, 136))
    found = explain(planted.classifier, planted.image, preset=BRIEF, progress=False)
    assert found.mask(0.2).shape == (1, 1, 112, 136)


def test_a_vision_transformer_is_explained():
    """Random weights: that it runs, leaves the model as it was and moves towards the target's probability."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = timm.create_model("vit_tiny_patch16_224", pretrained=False, img_size=64, depth=2, num_classes=10)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    classifier = Classifier(model, size=64, mean=[0.5] * 3, std=[0.5] * 3)
    config = dataclasses.replace(
        QUICK_FIT, steps=40, reward="log_probability", perturbation="fade", area_weight=Growth(1.0)
    )
    found = explain(classifier, load_picture("coffee"), 3, preset=config, progress=False)
    assert found.mask([0.1, 0.4]).shape == (2, 1, 64, 64)
    assert model.training
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert float(found.history["loss"][-5:].mean()) < float(found.history["loss"][:5].mean())


@pytest.mark.slow
def test_a_fifth_of_the_picture_is_an_espresso_to_lite0_and_its_blur_is_not():
    classifier = load_classifier(device="cpu")
    found = explain(classifier, "coffee", steps=100, progress=False)
    assert found.target.label == "espresso"
    assert found.unmasked == pytest.approx(0.95, abs=0.02)
    assert float(found.probability(0.2)) > float(found.probability_of_mask(torch.zeros(1, 1, 224, 224))) + 0.3


def test_another_dice_weight_is_the_one_at_the_end_and_grows_as_the_presets_does(planted: Planted):
    def weight(usual: Growth, wanted: float) -> Growth:
        preset = dataclasses.replace(QUICK_FIT, steps=1, dice_weight=usual)
        asked = {"preset": preset, "n": 1, "dice_weight": wanted, "progress": False}
        return inrexp.explain_many(planted.classifier, planted.image, 1, **asked)[0].config.dice_weight

    assert weight(Growth(0.5, 4.0, until=0.6), 8.0) == Growth(1.0, 8.0, until=0.6)
    assert weight(Growth(0.5, 4.0, until=0.6), 0) == Growth(0.0)
    assert weight(Growth(1.0), 5) == Growth(5.0)


@pytest.mark.parametrize("wanted", [-1.0, float("nan"), float("inf")])
def test_a_dice_weight_below_zero_or_without_a_value_is_refused(planted: Planted, wanted: float):
    with pytest.raises(ValueError, match="dice_weight must be a number of 0 or more, got"):
        inrexp.explain_many(planted.classifier, planted.image, 0, dice_weight=wanted)
