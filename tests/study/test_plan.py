"""What is part of a result's key and what is not; plans that are refused."""

import dataclasses
import inspect

import pytest
from conftest import QUICK_FIT, plant
from test_run import PLAN, PLANTED, planted_dataset

from inrexp.methods import METHODS
from inrexp.models.classifier import Classifier
from inrexp.paper.inr import MaskField
from inrexp.paper.lattice import MaskLattice
from inrexp.paper.settings import FitConfig
from inrexp.study.plan import FORMAT, Job, StudyPlan, tasks_of

CHANGES = {
    "preset": dataclasses.replace(QUICK_FIT, steps=10, blur_sigma=19.0),
    "steps": 11,
    "threshold": 0.25,
    "cut": 0.4,
    "curve_steps": 3,
    "extremal_steps": 4,
    "rise_masks": 33,
    "map_cut": 0.3,
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_setting_reuses_no_row_that_depends_on_it(name: str):
    changed = dataclasses.replace(PLAN, **{name: CHANGES[name]})
    every = {"threshold", "curve_steps"}
    methods = {
        "preset": {"inr"},
        "steps": {"inr"},
        "cut": {"inr", "extremal_perturbation"},
        "extremal_steps": {"extremal_perturbation"},
        "rise_masks": {"rise"},
        "map_cut": {"grad_cam", "rise"},
    }.get(name, set(METHODS) if name in every else set())
    old, new = ({key: job.method for job in jobs(plan) for key in job.keys} for plan in (PLAN, changed))
    assert {old[key] for key in old.keys() - new.keys()} == methods
    assert {new[key] for key in new.keys() - old.keys()} == methods


def jobs(plan: StudyPlan, classifier: Classifier = PLANTED.classifier) -> list[Job]:
    return [job for task in tasks_of(plan, planted_dataset(), classifier) for job in task]


def test_the_way_of_working_is_no_part_of_a_key():
    keys = {key for job in jobs(PLAN) for key in job.keys}
    assert {key for job in jobs(dataclasses.replace(PLAN, batch=4)) for key in job.keys} == keys
    fewer = {key for job in jobs(dataclasses.replace(PLAN, limit=2, seeds=1, iterations=1)) for key in job.keys}
    assert fewer < keys


def test_another_model_of_the_same_name_reuses_no_row():
    other = plant(gain=7.0).classifier
    assert other.name == PLANTED.classifier.name
    ours, theirs = ({key for job in jobs(PLAN, one) for key in job.keys} for one in (PLANTED.classifier, other))
    assert not ours & theirs


def test_a_limit_spreads_over_the_data_set():
    plan = dataclasses.replace(PLAN, methods=("grad_cam",), limit=4)
    tasks = tasks_of(plan, planted_dataset(pictures=10), PLANTED.classifier)
    assert [job.sample.name for task in tasks for job in task] == [f"stripes/{index}" for index in (0, 2, 5, 7)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": ("inr", "smoothgrad")}, "methods must be some of inr, extremal_perturbation, grad_cam, rise"),
        ({"methods": ()}, "methods must be"),
        ({"seeds": 0}, "seeds must be 1 or more, got 0"),
        ({"cut": 1.5}, r"cut must lie in \[0, 1\), got 1.5"),
        ({"extremal_preset": "quick"}, "fits an INR"),
    ],
)
def test_plans_that_cannot_be_run_are_refused(change: dict, message: str):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(PLAN, **change)


# Defaults that old rows were computed with. Other options may join FitConfig, off by default; a change of one of these
# makes the same key mean another number: raise plan.FORMAT with it.
PINNED = {
    FitConfig: {
        "steps": 4000,
        "lr": 1e-4,
        "lr_end": None,
        "optimiser": "adam",
        "momentum": 0.0,
        "dampening": 0.0,
        "areas_per_step": 1,
        "sampling": "uniform",
        "area_range": (0.025, 0.2),
        "area_weight": 1.0,
        "area_weight_end": None,
        "area_weight_growth": 1.0,
        "ramp": 1.0,
        "reward": "probability",
        "perturbation": "blur",
        "blur_sigma": 20.0,
        "cut": "none",
        "flip": False,
        "dice_weight": 1.0,
        "dice_weight_end": None,
        "source": "field",
    },
    MaskField: {
        "grid": "lattice",
        "features": "gaussian",
        "scale": 6.0,
        "area_scale": 1.0,
        "feature_count": 128,
        "octaves": 6,
        "layers": 5,
        "hidden": 256,
        "bias": 0.0,
        "outputs": 1,
    },
    MaskLattice: {"areas": (0.025, 0.05, 0.1, 0.2), "margin": 21, "oversample": 7},
}


@pytest.mark.parametrize("kind", PINNED, ids=lambda kind: kind.__name__)
def test_defaults_that_settings_leave_out_are_those_of_this_format(kind: type):
    assert FORMAT == 1
    defaults = {name: one.default for name, one in inspect.signature(kind).parameters.items()}
    assert {name: defaults[name] for name in PINNED[kind]} == PINNED[kind]


def test_settings_name_the_steps_and_what_is_not_the_default():
    fit = StudyPlan(preset="paper").settings("inr")["fit"]
    assert fit == {"steps": 4000, "source_settings": {"grid": "pixel"}}
    assert StudyPlan().settings("rise")["masks"] == 8000
    assert StudyPlan(dataset="voc07").settings("grad_cam")["map_cut"] == 0.5
    assert StudyPlan(dataset="imagenet-s50").settings("grad_cam")["map_cut"] == 0.2
