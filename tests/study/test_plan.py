"""What is part of a result's key and what is not; plans that are refused."""

import copy
import dataclasses

import pytest
import torch
from planted import QUICK_FIT, plant
from test_run import PLAN, PLANTED, planted_dataset

from inrexp.models.classifier import Classifier
from inrexp.paper.presets import PRESETS
from inrexp.study.plan import Job, StudyPlan, digest_of, tasks_of
from inrexp.study.store import key_of

CHANGES = {
    "preset": ({"options": {"inr": {"preset": dataclasses.replace(QUICK_FIT, steps=10, blur_sigma=19.0)}}}, {"inr"}),
    "steps": ({"options": {"inr": {"steps": 11}}}, {"inr"}),
    "threshold": ({"threshold": 0.25}, set(PLAN.methods)),
    "cut": ({"cut": 0.4}, {"inr", "extremal_perturbation"}),
    "curve_steps": ({"curve_steps": 3}, set(PLAN.methods)),
    "lattice": ({"options": {"extremal_perturbation": {"steps": 4}}}, {"extremal_perturbation"}),
    "masks": ({"options": {"rise": {"masks": 33}}}, {"rise"}),
    "map_cut": ({"map_cut": 0.3}, {"grad_cam", "rise"}),
    "batch": ({"batch": 4}, {"inr"}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_setting_reuses_no_row_that_depends_on_it(name: str):
    change, methods = CHANGES[name]
    if "options" in change:
        changed = {one: {**chosen, **change["options"].get(one, {})} for one, chosen in PLAN.options.items()}
        change = {"options": changed}
    plans = (PLAN, dataclasses.replace(PLAN, **change))
    old, new = ({key: job.method for job in jobs(plan) for key in job.keys} for plan in plans)
    assert {old[key] for key in old.keys() - new.keys()} == methods
    assert {new[key] for key in new.keys() - old.keys()} == methods


def jobs(plan: StudyPlan, classifier: Classifier = PLANTED.classifier) -> list[Job]:
    return [job for task in tasks_of(plan, planted_dataset(), classifier) for job in task]


def test_how_many_rows_there_are_is_no_part_of_a_key():
    keys = {key for job in jobs(PLAN) for key in job.keys}
    fewer = {key for job in jobs(dataclasses.replace(PLAN, limit=2, seeds=1, iterations=1)) for key in job.keys}
    assert fewer < keys


def test_a_key_is_that_of_the_exported_columns():
    for job in jobs(PLAN):
        for row in job.rows:
            assert row["key"] == key_of({name: str(row[name] or "") if name == "preset" else row[name] for name in row})
            assert row["key"] != key_of({**row, "dataset": "renamed by hand"})


def test_another_model_of_the_same_name_reuses_no_row():
    other = plant(gain=7.0).classifier
    assert other.name == PLANTED.classifier.name
    ours, theirs = ({key for job in jobs(PLAN, one) for key in job.keys} for one in (PLANTED.classifier, other))
    assert not ours & theirs


@pytest.mark.parametrize(
    ("fact", "value"),
    [
        ("size", (96, 96)),
        ("resize", 200),
        ("interpolation", "nearest"),
        ("activation", "sigmoid"),
        ("_mean", torch.full((1, 3, 1, 1), 0.123)),
        ("_std", torch.full((1, 3, 1, 1), 0.456)),
    ],
)
def test_the_same_weights_that_see_pictures_otherwise_reuse_no_row(fact: str, value: object):
    other = copy.copy(PLANTED.classifier)
    assert digest_of(other) == digest_of(PLANTED.classifier)
    assert repr(getattr(other, fact)) != repr(value)
    setattr(other, fact, value)
    assert digest_of(other) != digest_of(PLANTED.classifier)


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
        ({"options": {"extremal_perturbation": {"preset": "crisp"}}}, "fits a field"),
        ({"options": {"inr": {"preset": "extremal_perturbation"}}}, "fits a lattice and no field: give one of crisp"),
        ({"options": {"rise": {"masks": None}}}, "rise.masks must be int"),
        ({"options": {"rise": {"masks": -5}}}, "masks and cells must be 1 or more, got -5"),
        ({"options": {"rise": {"keep": 7}}}, r"keep must be a probability in \(0, 1\), got 7"),
        ({"options": {"smoothgrad": {}}}, "methods must be some of inr, .*; got smoothgrad"),
        ({"called": " "}, "called must be a text that is not empty, or None; got ' '"),
    ],
)
def test_plans_that_cannot_be_run_are_refused(change: dict, message: str):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(PLAN, **change)


@pytest.mark.parametrize(
    "change",
    [
        {"seeds": 2.5},
        {"seeds": None},
        {"seeds": "3"},
        {"seeds": True},
        {"iterations": None},
        {"limit": 1.5},
        {"cut": None},
        {"threshold": "0.5"},
        {"samples": "stripes/0"},
        {"methods": "rise"},
        {"dataset": None},
        {"called": 7},
        {"options": ["inr"]},
    ],
    ids=str,
)
def test_a_value_of_another_kind_is_refused_by_its_name(change: dict):
    (name,) = change
    with pytest.raises(TypeError, match=f"{name} must be a"):
        dataclasses.replace(PLAN, **change)


def test_options_of_a_method_that_name_nothing_are_refused_by_the_method():
    with pytest.raises(TypeError, match="options of rise must be a mapping from an option to its value, got 400"):
        dataclasses.replace(PLAN, options={"rise": 400})


def test_settings_hold_every_value_of_a_fit_and_every_option_of_another_method():
    fit = StudyPlan(options={"inr": {"preset": "paper"}}).settings("inr")["fit"]
    assert fit == dataclasses.asdict(PRESETS["paper"])
    assert StudyPlan().settings("rise")["masks"] == 8000
    assert StudyPlan(dataset="voc07").settings("grad_cam")["map_cut"] == 0.5
    assert StudyPlan(dataset="imagenet-s50").settings("grad_cam")["map_cut"] == 0.2
