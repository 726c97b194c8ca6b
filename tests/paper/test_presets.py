"""Presets: section 3.4 and the published constants by hand, and names that stay honest."""

import dataclasses

import pytest

from inrexp.paper.fit import make_source
from inrexp.paper.inr import MaskField
from inrexp.paper.presets import DEFAULT, PRESETS, named
from inrexp.paper.settings import Descent, FitConfig, Growth, LatticeSettings


def test_the_paper_preset_is_section_3_4():
    paper = PRESETS["paper"]
    assert (paper.steps, paper.descent) == (4000, Descent("adam", 1e-4, None, 0.0))
    assert (paper.areas_per_step, paper.area_range) == (1, (0.025, 0.2))
    assert (paper.area_weight, paper.dice_weight, paper.sharpness) == (Growth(1.0), Growth(1.0), None)
    assert (paper.reward, paper.perturbation, paper.flip) == ("probability", "blur", False)
    field = make_source(paper, (28, 28), [0])
    assert isinstance(field, MaskField)
    assert (field.settings.grid, field.encode.width) == ("pixel", 128)
    assert (len(field.weights) - 1, field.weights[1].shape[2]) == (5, 256)


def test_extremal_perturbations_constants_are_the_published_ones():
    published = PRESETS["extremal_perturbation"]
    assert (published.steps, published.descent) == (800, Descent("sgd", 0.01))
    assert [published.area_weight.at(step, 800) for step in (0, 1)] == pytest.approx([300, 301.05])
    assert published.area_weight.at(799, 800) == pytest.approx(300 * 1.0035**799)
    assert (published.reward, published.perturbation, published.flip) == ("score", "levels", True)
    assert published.source == LatticeSettings((0.025, 0.05, 0.1, 0.2), margin=21, oversample=7)


def test_the_quick_way_of_extremal_perturbations_ends_at_the_published_loss():
    quick, published = PRESETS["extremal_perturbation_quick"], PRESETS["extremal_perturbation"]
    assert quick.area_weight.end == pytest.approx(published.area_weight.end)
    for name in ("reward", "perturbation", "flip"):
        assert getattr(quick, name) == getattr(published, name)
    assert quick.source.margin == published.source.margin


def test_crisp_and_crisp_random_have_one_loss_at_the_end_and_as_many_passes():
    crisp, random = PRESETS["crisp"], PRESETS["crisp_random"]
    assert (crisp.start, random.start) == ("grad_cam", None)
    for name in ("source", "steps", "areas_per_step", "reward", "sharpness", "level", "dice_weight", "perturbation"):
        assert getattr(crisp, name) == getattr(random, name)
    assert crisp.area_weight.end == random.area_weight.end
    assert crisp.passes == random.passes == 300
    assert PRESETS["draft"].passes == 60


def test_a_preset_knows_its_name():
    assert {name: one.name for name, one in PRESETS.items()} == {name: name for name in PRESETS}
    assert DEFAULT in PRESETS


def test_presets_by_name_and_by_value():
    assert named("paper") is PRESETS["paper"]
    own = FitConfig(steps=3)
    assert named(own) is own
    assert own.name == "custom"
    assert named(dataclasses.replace(PRESETS["paper"], steps=3)).name == "paper, changed"
    with pytest.raises(LookupError, match="no preset named 'fast'; presets are crisp, draft, crisp_random, paper"):
        named("fast")
    with pytest.raises(TypeError, match="preset must be a name or a FitConfig, got int"):
        named(7)  # type: ignore[arg-type]
