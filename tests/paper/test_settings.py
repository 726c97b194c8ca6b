"""Settings as values: growth, descent, what is refused by name, what JSON gives back."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from inrexp.paper.presets import PRESETS
from inrexp.paper.settings import Descent, FieldSettings, FitConfig, Growth, LatticeSettings, from_plain
from inrexp.paper.smoothing import kernel, smooth_max_lattice, to_pixels


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


def test_numbers_of_numpy_become_those_that_json_takes():
    source = FieldSettings(grid=np.int64(16), hidden=np.int32(8))
    config = FitConfig(steps=np.int64(3), source=source, area_range=(np.float32(0.125), np.float64(0.25)))
    assert from_plain(json.loads(json.dumps(dataclasses.asdict(config)))) == config
    assert (config.steps, config.source.grid, config.area_range) == (3, 16, (0.125, 0.25))


@pytest.mark.parametrize(
    ("section", "settings", "message"),
    [
        (FitConfig, {"steps": 0}, "steps must be 1 or more, got 0"),
        (FitConfig, {"areas_per_step": 0}, "areas_per_step must be 1 or more"),
        (
            FitConfig,
            {"area_range": (0.2, 0.1)},
            r"area_range must be a tuple \(low, high\) with 0 < low < high <= 1, got \(0.2, 0.1\)",
        ),
        (FitConfig, {"area_range": (0.0, 0.1)}, "area_range must be"),
        (FitConfig, {"area_weight": Growth(0.0)}, "area_weight must be above 0"),
        (FitConfig, {"sharpness": Growth(0.0)}, "sharpness must be above 0, or None"),
        (FitConfig, {"reward": "accuracy"}, "reward must be one of"),
        (FitConfig, {"perturbation": "noise"}, "perturbation must be one of"),
        (FitConfig, {"blur_sigma": 0}, "blur_sigma must be above 0 px"),
        (FitConfig, {"start": "grad_cam", "source": FieldSettings(outputs=2)}, "for a field of one output, got"),
        (FitConfig, {"source": "unet"}, "source must be FieldSettings or LatticeSettings, got 'unet'"),
        (Descent, {"lr": 0}, "lr must be above 0, got 0"),
        (Descent, {"lr": float("nan")}, "lr must be a finite number, got nan"),
        (Descent, {"lr_end": -1e-3}, "lr_end must be 0 or more, or None, got -0.001"),
        (Descent, {"optimiser": "lbfgs"}, r"optimiser must be one of \('adam', 'sgd'\), got 'lbfgs'"),
        (Descent, {"warmup": 1.0}, r"warmup must be in \[0, 1\)"),
        (Growth, {"start": -1}, "start must be 0 or more"),
        (Growth, {"start": 1.0, "end": 0.0}, "end must be above 0"),
        (Growth, {"start": 0.0, "end": 8.0}, "end must be above 0 with a start above 0"),
        (Growth, {"start": 1.0, "end": 8.0, "until": 0.0}, r"until must be in \(0, 1\]"),
        (FieldSettings, {"features": "wavelets"}, "features must be one of .* got 'wavelets'"),
        (FieldSettings, {"grid": "fine"}, "grid must be 'pixel', 'lattice' or 2 points or more a side, got 'fine'"),
        (FieldSettings, {"grid": 1}, "grid must be .* got 1"),
        (FieldSettings, {"outputs": 0}, "outputs must be 1 or more, got 0"),
        (LatticeSettings, {"areas": ()}, "areas must be a tuple of rising fractions"),
        (LatticeSettings, {"areas": (0.1, 1.5)}, "areas must be a tuple of rising fractions"),
        (LatticeSettings, {"areas": (0.2, 0.05)}, r"areas must be a tuple of rising fractions .* got \(0.2, 0.05\)"),
        (LatticeSettings, {"areas": (0.1, 0.1)}, "areas must be a tuple of rising fractions"),
        (LatticeSettings, {"areas": ("0.1", 0.2)}, "areas must be a tuple of rising fractions"),
        (FitConfig, {"steps": "30"}, "steps must be a whole number, got '30'"),
        (FitConfig, {"blur_sigma": None}, "blur_sigma must be a finite number, got None"),
        (FitConfig, {"area_range": ("0.05", 0.3)}, r"area_range must be a tuple .* got \('0.05', 0.3\)"),
        (FitConfig, {"area_range": [0.05, 0.3]}, r"area_range must be a tuple .* got \[0.05, 0.3\]"),
        (Growth, {"start": "1"}, "start must be a finite number, got '1'"),
        (LatticeSettings, {"margin": -1}, "margin must be 0 px or a multiple of 7 px, got -1"),
        (LatticeSettings, {"oversample": 0}, "oversample must be 1 or more"),
        (FitConfig, {"steps": 2.0}, "steps must be a whole number, got 2.0"),
        (FitConfig, {"steps": True}, "steps must be a whole number, got True"),
        (FitConfig, {"areas_per_step": 1.5}, "areas_per_step must be a whole number, got 1.5"),
        (FitConfig, {"area_range": 0.1}, r"area_range must be a tuple \(low, high\) .* got 0.1"),
        (FitConfig, {"area_range": (0.1, 0.2, 0.3)}, "area_range must be"),
        (FitConfig, {"sharpness": Growth(2.0), "level": 0.5}, "level must be a tuple of two rising shares .* got 0.5"),
        (FitConfig, {"blur_sigma": float("inf")}, "blur_sigma must be a finite number, got inf"),
        (Descent, {"lr": float("inf")}, "lr must be a finite number, got inf"),
        (Growth, {"start": 1.0, "end": float("inf")}, "end must be a finite number, got inf"),
        (FieldSettings, {"layers": 2.5}, "layers must be a whole number, got 2.5"),
        (FieldSettings, {"hidden": 2.5}, "hidden must be a whole number, got 2.5"),
        (FieldSettings, {"feature_count": 3}, "feature_count must be even, 2 or more, got 3"),
        (FieldSettings, {"scale": float("nan")}, "scale must be a finite number, got nan"),
        (FieldSettings, {"half_width": 6.0}, "half_width must be 7 to 22 px, .* or None, got 6.0"),
        (LatticeSettings, {"half_width": 23.0}, "half_width must be 7 to 22 px, .* or None, got 23.0"),
        (LatticeSettings, {"areas": 0.1}, r"areas must be a tuple of rising fractions in \(0, 1\], .* got 0.1"),
        (LatticeSettings, {"margin": 10}, "margin must be 0 px or a multiple of 7 px, got 10"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(section: type, settings: dict, message: str):
    with pytest.raises(ValueError, match=message):
        section(**settings)


@pytest.mark.parametrize(
    ("half_width", "allowed"), [(None, True), (7.0, True), (22.0, True), (6.0, False), (23.0, False)]
)
def test_the_widths_allowed_are_those_whose_masks_have_no_holes_and_no_edges(half_width: float | None, allowed: bool):
    full = to_pixels(smooth_max_lattice(torch.ones(1, 1, 16, 16), 7, half_width), (112, 112), 7)[..., 35:-35, 35:-35]
    at_the_last_tap = float(kernel(torch.tensor(28.0), half_width))
    assert (float(full.min()) > 0.74 and at_the_last_tap < 1 / 3) == allowed


@pytest.mark.parametrize("name", ["area_weight", "dice_weight", "sharpness"])
def test_a_plain_number_where_something_grows_is_refused_with_the_way_out(name: str):
    with pytest.raises(TypeError, match=f"{name} must be a Growth, got 2.0: Growth.2.0. is constant"):
        FitConfig(**{name: 2.0})
