"""A row's numbers: those of the explanation, none where there is no a*, pixels that do not count."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from planted import QUICK_FIT
from test_run import PLAN, PLANTED, PlantedSample, go, planted_dataset, table

from inrexp.comparison import METHODS
from inrexp.datasets.samples import Truth
from inrexp.methods import explain
from inrexp.metrics import deletion, insertion, precision
from inrexp.paper.perturb import blur
from inrexp.saliency import SaliencyMap
from inrexp.study.scores import areas_of, at_equal_area
from inrexp.study.store import AT_EQUAL_AREA, EQUAL_AREAS, Results


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
    assert row["precision_largest"] == pytest.approx(float(precision(found.mask(0.4, cut=0.5), PLANTED.truth)))
    assert row["precision_largest"] < row["precision"] - 0.1  # the patch fills 18 % of the picture
    assert row["insertion"] == pytest.approx(insertion(found, steps=PLAN.curve_steps).auc)
    assert row["deletion"] == pytest.approx(deletion(found, steps=PLAN.curve_steps).auc)
    assert row["insertion"] > row["deletion"] + 0.1
    assert row["area_error"] == pytest.approx(float(cut.mean()) - area, abs=1e-6)
    assert row["size"] == pytest.approx(float(cut.mean()))
    assert row["probability"] == pytest.approx(float(found.probability(area)))
    assert row["probability_cut"] == pytest.approx(float(found.probability(area, cut=0.5)))
    assert np.abs(masks[f"{area:g}"] / 255 - found.mask(area)[0, 0].numpy()).max() < 0.51 / 255


@pytest.mark.slow
@pytest.mark.parametrize("method", ["inr", "extremal_perturbation"])
def test_the_a_star_of_soft_masks_and_that_of_cut_ones_are_two_columns(method: str, tmp_path: Path):
    """Above 0.999 next to no pixel of a soft mask is left."""
    options = {"inr": {"preset": QUICK_FIT}, "extremal_perturbation": PLAN.options["extremal_perturbation"]}
    plan = dataclasses.replace(
        PLAN, methods=(method,), options={method: options[method]}, seeds=1, iterations=1, cut=0.999, threshold=0.02
    )
    go(tmp_path, plan, dataset=planted_dataset(pictures=1))
    with Results(tmp_path) as store:
        (row,) = store.rows()
    found = METHODS[method](PLANTED.classifier, PLANTED.image, 1, seed=0, progress=False, **options[method])
    assert row["area"] == found.smallest_area(0.02)
    assert row["area_cut_star"] == found.smallest_area(0.02, cut=0.999)
    assert row["area_cut_star"] != row["area"]


def test_the_last_area_is_the_largest_in_whatever_order_a_method_holds_its_masks():
    held = SimpleNamespace(held_areas=[0.2, 0.05, 0.1], area_range=(0.05, 0.2))
    assert areas_of(held) == [0.05, 0.1, 0.2]


@pytest.mark.slow
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
    assert row["size"] == pytest.approx(float(whole.mean()))  # of the picture, not of the pixels that count
    assert row["precision_mask"] == pytest.approx(float(precision(whole, PLANTED.truth)))


def a_map(scores: torch.Tensor) -> SaliencyMap:
    target = PLANTED.classifier.target(1, PLANTED.image)
    return SaliencyMap(
        scores[None, None].float(), image=PLANTED.image, target=target, classifier=PLANTED.classifier, method="by hand"
    )


def test_the_whole_patch_in_a_fifth_of_the_picture_keeps_what_the_classifier_sees_in_it():
    sample = planted_dataset(pictures=1).samples[0]
    row = at_equal_area(a_map(PLANTED.truth), sample, star=0.1)
    pixels = 112 * 112
    assert row["object_share"] == pytest.approx(48 * 48 / pixels)
    assert row["disc_at_star"] == pytest.approx(0.25, abs=0.01)  # the patch has a quarter of a disc of 10 %
    assert row["precision_at_100"] == row["precision_at_star"] == 1  # 1254 of the patch's 2304 pixels
    assert row["precision_at_200"] == pytest.approx(48 * 48 / 2509)  # 0.2 of 12544 pixels are 2509
    # The patch's response is 1, so `seen` is sqrt(1 + 1e-4) - 0.01, less log(2) / 20 for the two directions. The score
    # is 8 * 0.9554 - 4 = 3.643, against 0 and -2 of the other classes.
    assert row["probability_at_200"] == pytest.approx(np.exp(3.643) / (np.exp(3.643) + 1 + np.exp(-2)), abs=2e-3)
    assert row["probability_at_025"] < row["probability_at_100"] < row["probability_at_200"]


def test_a_centred_disc_is_a_quarter_on_a_patch_that_fills_a_quarter_around_the_centre(tmp_path: Path):
    plan = dataclasses.replace(PLAN, methods=("centred_disc",))
    assert go(tmp_path, plan, dataset=planted_dataset(pictures=1)) == {"finished": 1}
    with Results(tmp_path) as store:
        (row,) = store.rows()
    for at, area in EQUAL_AREAS.items():  # the patch has the quarter below and left of the centre, 48 px each way
        assert row[f"precision_at_{at}"] == pytest.approx(0.25, abs=1 / (area * 112 * 112))
    assert row["object_share"] == pytest.approx(48 * 48 / 112**2)


def test_a_soft_mask_is_brought_to_its_area_by_its_largest_values_under_one_blur(tmp_path: Path):
    plan = dataclasses.replace(PLAN, methods=("extremal_perturbation",))
    go(tmp_path, plan, dataset=planted_dataset(pictures=1))
    with Results(tmp_path) as store:
        (row,) = store.rows()
    method = METHODS["extremal_perturbation"]
    found = method(PLANTED.classifier, PLANTED.image, 1, progress=False, **plan.options["extremal_perturbation"])
    soft = found.mask(0.1).flatten()
    assert ((soft > 0.01) & (soft < 0.99)).any()
    binary = torch.zeros_like(soft)
    binary[soft.sort(descending=True, stable=True).indices[:1254]] = 1
    binary = binary.view(1, 1, 112, 112)
    seen = binary * PLANTED.image + (1 - binary) * blur(PLANTED.image, 20.0)
    probability = float(PLANTED.classifier.probability(seen, found.target))
    assert row["probability_at_100"] == pytest.approx(probability, abs=1e-5)
    assert row["precision_at_100"] == pytest.approx(float(precision(binary, PLANTED.truth)))


def test_an_area_that_a_method_has_no_mask_for_has_no_number(tmp_path: Path):
    plan = dataclasses.replace(PLAN, methods=("inr",), seeds=1, iterations=1, threshold=0.999)  # areas 0.1 to 0.4
    go(tmp_path, plan, dataset=planted_dataset(pictures=1))
    with Results(tmp_path) as store:
        (row,) = store.rows()
    none = [name for name in AT_EQUAL_AREA if row[name] is None]
    assert none == [f"{name}_at_{at}" for name in ("probability", "precision") for at in ("025", "050", "star")]
