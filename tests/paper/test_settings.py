"""Settings as values: growth, descent, what is refused by name, what JSON gives back."""

import dataclasses
import json

import pytest

from inrexp.paper.presets import PRESETS
from inrexp.paper.settings import Descent, FieldSettings, FitConfig, Growth, LatticeSettings, from_plain


def test_a_number_grows_geometrically_to_its_end():
    weight = Growth(1.0, 100.0)
    assert [weight.at(step, 101) for step in (0, 50, 100)] == pytest.approx([1, 10, 100])
    half = Growth(1.0, 100.0, until=0.5)
    assert [half.at(step, 100) for step in (0, 49, 99)] == pytest.approx([1, 100, 100])


def test_without_an_end_it_is_constant():
    assert [Growth(3.0).at(step, 10) for step in (0, 5, 9)] == [3, 3, 3]


def test_the_learning_rate_rises_over_the_warm_up_then_falls():
    descent = Descent(lr=1e-3, lr_end=1e-4, warmup=0.1)
    rates = [descent.rate(step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(1e-4)
    assert rates[4] == pytest.approx(5e-4, rel=0.01)
    assert max(rates) == max(rates[8:12])
    assert rates[99] == pytest.approx(1e-4, rel=0.01)
    assert {Descent(lr=1e-4).rate(step, 100) for step in range(100)} == {1e-4}


def test_passes_a_step_are_areas_times_outputs_or_the_lattices_areas():
    assert FitConfig(areas_per_step=3, source=FieldSettings(outputs=2)).masks_per_step == 6
    assert FitConfig(source=LatticeSettings(areas=(0.1, 0.2, 0.3))).masks_per_step == 3
    assert FitConfig(steps=7, areas_per_step=3).passes == 21


@pytest.mark.parametrize("name", list(PRESETS))
def test_settings_come_back_from_json(name: str):
    plain = json.loads(json.dumps(dataclasses.asdict(PRESETS[name])))
    assert from_plain(plain) == PRESETS[name]


@pytest.mark.parametrize(
    ("section", "settings", "message"),
    [
        (FitConfig, {"steps": 0}, "steps must be 1 or more, got 0"),
        (FitConfig, {"areas_per_step": 0}, "areas_per_step must be 1 or more"),
        (FitConfig, {"area_range": (0.2, 0.1)}, "area_range must be .* 0 < low < high <= 1"),
        (FitConfig, {"area_range": (0.0, 0.1)}, "area_range must be"),
        (FitConfig, {"area_weight": Growth(0.0)}, "area_weight must be above 0"),
        (FitConfig, {"sharpness": Growth(0.0)}, "sharpness must be above 0, or None"),
        (FitConfig, {"reward": "accuracy"}, "reward must be one of"),
        (FitConfig, {"perturbation": "noise"}, "perturbation must be one of"),
        (FitConfig, {"blur_sigma": 0}, "blur_sigma must be above 0 px"),
        (FitConfig, {"start": "grad_cam", "source": FieldSettings(outputs=2)}, "for a field of one output, got"),
        (FitConfig, {"source": "unet"}, "source must be FieldSettings or LatticeSettings, got 'unet'"),
        (Descent, {"lr": 0}, "lr must be above 0, got 0"),
        (Descent, {"lr": float("nan")}, "lr must be above 0, got nan"),
        (Descent, {"lr_end": -1e-3}, "lr_end must be 0 or more, or None, got -0.001"),
        (Descent, {"optimiser": "lbfgs"}, "optimiser must be 'adam' or 'sgd', got 'lbfgs'"),
        (Descent, {"warmup": 1.0}, r"warmup must be in \[0, 1\)"),
        (Growth, {"start": -1}, "start must be 0 or more"),
        (Growth, {"start": 1.0, "end": 0.0}, "end must be above 0"),
        (Growth, {"start": 0.0, "end": 8.0}, "end must be above 0 with a start above 0"),
        (Growth, {"start": 1.0, "end": 8.0, "until": 0.0}, r"until must be in \(0, 1\]"),
        (FieldSettings, {"features": "wavelets"}, "features must be one of .* got 'wavelets'"),
        (FieldSettings, {"grid": "fine"}, "grid must be 'pixel', 'lattice' or 2 points or more a side, got 'fine'"),
        (FieldSettings, {"grid": 1}, "grid must be .* got 1"),
        (FieldSettings, {"outputs": 0}, "outputs must be 1 or more, got 0"),
        (LatticeSettings, {"areas": ()}, "areas must be fractions"),
        (LatticeSettings, {"areas": (0.1, 1.5)}, "areas must be fractions"),
        (LatticeSettings, {"margin": -1}, "margin must be 0 px or more"),
        (LatticeSettings, {"oversample": 0}, "oversample must be 1 or more"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(section: type, settings: dict, message: str):
    with pytest.raises(ValueError, match=message):
        section(**settings)


def test_about_fifteen_fields_a_fit():
    assert len(dataclasses.fields(FitConfig)) <= 15


@pytest.mark.parametrize("name", ["area_weight", "dice_weight", "sharpness"])
def test_a_plain_number_where_something_grows_is_refused_with_the_way_out(name: str):
    with pytest.raises(TypeError, match=f"{name} must be a Growth, got 2.0: Growth.2.0. is constant"):
        FitConfig(**{name: 2.0})
