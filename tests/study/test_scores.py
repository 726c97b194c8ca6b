"""A row's numbers: those of the explanation, none where there is no a*, pixels that do not count."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import QUICK_FIT
from test_run import PLAN, PLANTED, PlantedSample, go, planted_dataset, table

from inrexp.comparison import METHODS
from inrexp.datasets.samples import Truth
from inrexp.methods import explain
from inrexp.metrics import precision
from inrexp.study.store import Results


def test_a_rows_numbers_are_those_of_the_explanation_itself(tmp_path: Path):
    plan = dataclasses.replace(PLAN, options={"inr": {"preset": QUICK_FIT}}, methods=("inr",), seeds=1, iterations=1)
    go(tmp_path, plan, dataset=planted_dataset(pictures=1))
    with Results(tmp_path) as store:
        (row,) = store.rows()
        masks = store.masks(row["key"])
    found = explain(PLANTED.classifier, PLANTED.image, 1, preset=QUICK_FIT, progress=False)
    area = found.smallest_area()
    cut = found.mask(area, cut=0.5)
    assert row["area"] == area
    assert row["precision"] == pytest.approx(float(precision(cut, PLANTED.truth)))
    assert row["hit"] == (row["precision"] > 0.5)
    assert row["area_error"] == pytest.approx(float(cut.mean()) - area, abs=1e-6)
    assert row["probability"] == pytest.approx(float(found.probability(area)))
    assert row["probability_cut"] == pytest.approx(float(found.probability(area, cut=0.5)))
    assert np.abs(masks[f"{area:g}"] / 255 - found.mask(area)[0, 0].numpy()).max() < 0.51 / 255


def test_a_row_without_a_star_has_none_where_it_is_needed(tmp_path: Path):
    plan = dataclasses.replace(PLAN, threshold=0.999)
    go(tmp_path, plan, dataset=planted_dataset(pictures=1))
    with Results(tmp_path) as store:
        rows = store.rows()
    assert {row["threshold"] for row in rows} == {0.999}
    at_star = ("area", "area_cut_star", "area_soft", "area_cut", "probability", "probability_cut", "area_error")
    for row in rows:
        assert [row[name] for name in at_star] == [None] * len(at_star)
        assert (row["precision"] is None) == (row["method"] in ("inr", "extremal_perturbation"))
        assert row["precision_largest"] is not None
        assert 0 < row["deletion"] < 1
        assert 0 < row["insertion"] < 1
    assert ",,,,,,,,,,,," in table(tmp_path).decode()


def test_pixels_that_do_not_count_are_left_out_of_the_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    counted = torch.zeros_like(PLANTED.truth)
    counted[:, :40] = True  # the patch lies in columns 8 to 55
    truths = {"box": Truth(PLANTED.truth & counted, counted), "mask": Truth(PLANTED.truth, torch.ones_like(counted))}
    monkeypatch.setattr(PlantedSample, "truths", lambda self, classifier: truths)
    plan = dataclasses.replace(PLAN, methods=("grad_cam",))
    go(tmp_path, plan, dataset=planted_dataset(pictures=1))
    with Results(tmp_path) as store:
        (row,) = store.rows()
    mask = METHODS["grad_cam"](PLANTED.classifier, PLANTED.image, 1).mask(threshold=0.2)[..., :40]
    expected = float((mask * PLANTED.truth[:, :40]).sum() / mask.sum())
    assert row["precision"] == row["precision_box"] == pytest.approx(expected)
    whole = METHODS["grad_cam"](PLANTED.classifier, PLANTED.image, 1).mask(threshold=0.2)
    assert row["precision_mask"] == pytest.approx(float(precision(whole, PLANTED.truth)))
