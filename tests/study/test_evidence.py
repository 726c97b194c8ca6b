"""The rows behind the claims: which pictures enter, how they are paired, and what is missing."""

from pathlib import Path

import pytest
from ledger_rows import STANDIN, VOC, controls, fitted, nulls, run, write

from inrexp.paper.presets import RANDOM
from inrexp.study import evidence
from inrexp.study.evidence import IMAGENET, read_evidence, runs_of
from inrexp.study.evidence import VOC as VOC_FAMILY
from inrexp.study.tables import by_photograph


def test_without_any_table_every_answer_is_empty(tmp_path: Path):
    found = read_evidence(tmp_path)
    runs = runs_of(found, IMAGENET)
    assert runs.empty
    assert evidence.difference(runs, runs, "precision_equal").empty
    assert evidence.of_variant(found, "crisp", "nested").empty
    assert evidence.control(found, "moved").empty
    assert evidence.overlap(found, ["seed"], at_most=0.05).empty
    assert evidence.agreement(found, "methods", "iou").empty


def test_a_folder_that_is_not_there_and_a_table_without_a_column_are_errors(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="no folder .*nowhere"):
        read_evidence(tmp_path / "nowhere")
    rows = [{name: value for name, value in row.items() if name != "iou"} for row in nulls("a", seed=0.1)]
    with pytest.raises(ValueError, match=r"nulls.csv lacks the columns iou"):
        read_evidence(write(tmp_path, nulls=rows))


def test_pictures_on_which_settings_were_chosen_do_not_enter(tmp_path: Path):
    study = [run("a", precision=0.9), run("b", precision=0.1)]
    tables = {"controls": controls("a", moved=0.9) + controls("b", moved=0.1), "nulls": nulls("a", seed=0.5)}
    found = read_evidence(write(tmp_path, study=study, tuned=["a"], **tables))
    assert by_photograph(runs_of(found, IMAGENET), "precision").to_dict() == {"b": 0.1}
    assert evidence.control(found, "moved").to_dict() == {"b": 0.1}
    assert evidence.overlap(found, ["seed"]).empty


def test_a_difference_is_paired_and_the_pairs_of_a_voc_picture_are_one_value(tmp_path: Path):
    study = [
        run("000001/dog", precision=0.8, dataset=VOC), run("000001/dog", "rise", 0.4, dataset=VOC),
        run("000001/cat", precision=0.5, dataset=VOC), run("000001/cat", "rise", 0.5, dataset=VOC),
        run("000002/cat", precision=0.3, dataset=VOC), run("000002/cat", "rise", 0.4, dataset=VOC),
        run("000003/cat", precision=0.9, dataset=VOC),
    ]  # fmt: skip
    found = read_evidence(write(tmp_path, study=study))
    values = evidence.difference(runs_of(found, VOC_FAMILY), runs_of(found, VOC_FAMILY, "rise"), "precision")
    assert values.to_dict() == pytest.approx({"000001": 0.2, "000002": -0.1})


def test_the_mean_over_seeds_comes_before_the_difference(tmp_path: Path):
    study = [run("a", precision=p, seed=seed) for seed, p in enumerate((0.2, 0.4, 0.9))]
    found = read_evidence(write(tmp_path, study=study))
    assert by_photograph(runs_of(found, IMAGENET), "precision")["a"] == pytest.approx(0.5)


def test_the_settings_nearest_the_publication_count(tmp_path: Path):
    quick = [run(name, "extremal_perturbation", 0.1) for name in "abc"]
    published = {"preset": "extremal_perturbation", "settings": '{"steps": 800}'}
    study = [*quick, run("a", "extremal_perturbation", 0.9, **published)]
    found = read_evidence(write(tmp_path, study=study))
    assert by_photograph(runs_of(found, IMAGENET, "extremal_perturbation"), "precision").to_dict() == {"a": 0.9}


def test_rows_of_two_networks_are_refused_with_a_way_out(tmp_path: Path):
    study = [run("a"), run("a", "rise", model="resnet50"), run("000001/dog", dataset=VOC, model="resnet50_voc")]
    found = read_evidence(write(tmp_path, study=study))
    with pytest.raises(ValueError, match=r"imagenet-s must be of one network, got efficientnet_lite0, resnet50: run"):
        runs_of(found, IMAGENET)
    assert len(runs_of(found, VOC_FAMILY)) == 1  # each data set has a network of its own, as in the paper


def test_the_equal_areas_are_missing_where_one_of_them_is(tmp_path: Path):
    study = [run("a", equal=0.4), run("b", equal=0.4, precision_at_025=0.8), run("c", equal=0.4, precision_at_025=None)]
    found = read_evidence(write(tmp_path, study=study))
    values = by_photograph(runs_of(found, IMAGENET), "precision_equal")
    assert values.to_dict() == pytest.approx({"a": 0.4, "b": 0.5})


def test_failed_runs_are_left_out_and_collapsed_ones_have_no_star(tmp_path: Path):
    study = [run("a"), run("b", precision=None, status="collapsed to empty"), run("c", precision=None, status="failed")]
    found = read_evidence(write(tmp_path, study=study))
    assert by_photograph(runs_of(found, IMAGENET), "found").to_dict() == {"a": 1.0, "b": 0.0}


def test_the_columns_of_a_variant_by_hand(tmp_path: Path):
    rows = fitted("v", "x/a", nested=(0.4, 0.6, 0.8), soft=(0.05, 0.04, 0.1, 0.3))
    found = read_evidence(write(tmp_path, variants=rows + fitted("v", "chelsea"), tuned=["x/b"]))
    assert evidence.of_variant(found, "v", "nested")["x/a"] == pytest.approx(0.6)
    assert evidence.of_variant(found, "v", "grows")["x/a"] == pytest.approx(2 / 3)
    assert evidence.of_variant(found, "v", "error")["x/a"] == pytest.approx((0.025 + 0.01 + 0 + 0.1) / 4)
    assert list(evidence.of_variant(found, "v", "nested").index) == ["x/a"]  # no packaged picture


def test_a_mask_is_kept_when_cut_at_the_soft_masks_own_area(tmp_path: Path):
    rows = fitted("v", "x/a", cut=0.5) + fitted("v", "x/b", cut=0.1) + fitted("v", "x/tuned")
    rows[0] |= {"probability": 0.1, "probability_cut": 0.0}  # a's a* is the second area
    found = read_evidence(write(tmp_path, variants=rows, tuned=["x/tuned"]))
    assert evidence.kept_when_cut(found, "v").to_dict() == {"x/a": 1.0, "x/b": 0.0}


def test_controls_by_hand(tmp_path: Path):
    rows = controls("a", kept=0.8, moved=0.1, black=0.6)
    rows += [row | {"area": 0.2} for row in controls("a", kept=0.8, moved=0.9, black=0.1)]
    rows += [row | {"area": 0.05} for row in controls("a", kept=0.1, black=0.0)]  # not enough in the first place
    rows += [row | {"unmasked": 0.05} for row in controls("b", kept=0.04)]  # not recognised
    rows += [row | {"method": "GradCAM"} for row in controls("a", kept=0.3)]
    found = read_evidence(write(tmp_path, controls=rows))
    assert evidence.control(found, "moved").to_dict() == {"a": 0.1}  # of the mask of a tenth
    assert evidence.control(found, "moved", measure="half").to_dict() == {"a": 0.0}
    assert evidence.control(found, "black", measure="enough").to_dict() == {"a": 0.5}
    assert evidence.control(found, "kept").to_dict() == {"a": 0.8}
    assert evidence.control(found, "kept", method="grad_cam").to_dict() == {"a": 0.3}


def test_overlaps_by_hand(tmp_path: Path):
    rows = nulls("a", seed=0.04) + nulls("a", seed=0.4) + nulls("b", seed=0.3, noise=0.7)
    rows += nulls("a", preset="crisp", seed=0.9)
    rows += nulls("c", seed=None)  # a fit that collapsed has no overlap
    found = read_evidence(write(tmp_path, nulls=rows))
    seeds = {"kinds": ["seed"], "preset": RANDOM}
    assert evidence.overlap(found, **seeds).to_dict() == pytest.approx({"a": 0.22, "b": 0.3})
    assert evidence.overlap(found, **seeds, at_most=0.05).to_dict() == {"a": 1.0, "b": 0.0}
    assert evidence.overlap(found, ["seed"]).to_dict() == {"a": 0.9}


def test_only_pairs_of_the_papers_methods_show_how_they_differ(tmp_path: Path):
    pair = {"picture": "a", "dataset": STANDIN, "kind": "methods", "area": 0.1, "share": 0.1, "expected": 0.1}
    pair["found"] = None
    rows = [
        pair | {"one": "inr, crisp", "other": "rise", "iou": 0.2},
        pair | {"one": "inr, crisp", "other": "inr, paper", "iou": 0.9},
        pair | {"one": "inr, crisp", "other": "centred_disc", "iou": 0.9},
    ]
    found = read_evidence(write(tmp_path, agreement=rows))
    assert evidence.agreement(found, "methods", "iou").to_dict() == {"a": 0.2}
