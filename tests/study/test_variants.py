"""The comparison of variants: what is measured of one mask, and the table's numbers by hand."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from planted import QUICK_FIT, plant
from test_run import PLANTED, planted_dataset

from inrexp.datasets.samples import Truth
from inrexp.methods import explain
from inrexp.metrics import leak
from inrexp.paper.presets import PRESETS
from inrexp.study import variants
from inrexp.study.variants import (
    CRISP,
    VARIANTS,
    against,
    changed,
    measured,
    run_variants,
    suffices,
    summary,
)


def rows(variant: str, picture: str, soft: list[float], cut: list[float], **other: list[float]) -> pd.DataFrame:
    areas = [0.05, 0.1, 0.2]
    table = pd.DataFrame({"area": areas, "unmasked": 0.8, "probability": soft, "probability_cut": cut})
    table = table.assign(
        soft_area=areas, cut_area=areas, nested=[0.9, 1.0, None], precision=[0.9, 0.7, 0.5], passes=300
    )
    return table.assign(variant=variant, picture=picture, **other)


def test_a_variant_is_its_preset_but_for_what_its_name_says():
    assert VARIANTS["crisp"] is PRESETS["crisp"] is CRISP
    named = {"150 passes": 150, "paper, 4000 passes": 4000, "extremal perturbations, quick": 400}
    assert {name: config.passes for name, config in VARIANTS.items() if config.passes != 300} == named


def test_the_smallest_area_that_suffices_is_none_where_none_does():
    both = pd.concat([rows("v", "a", [0.1, 0.4, 0.7], [0.0, 0.3, 0.5]), rows("v", "b", [0.1, 0.1, 0.39], [0, 0, 0])])
    star = suffices(both)
    assert star["v", "a"] == 0.1  # half of 0.8, met exactly
    assert pd.isna(star["v", "b"])
    assert suffices(both, "probability_cut")["v", "a"] == 0.2


def test_the_table_by_hand():
    one = rows(
        "v", "a", [0.5, 0.6, 0.7], [0.1, 0.5, 0.7], cut_area=[0.07, 0.1, 0.2]
    )  # a* 0.05: lost when cut, and 0.02 off
    two = rows("v", "b", [0.1, 0.5, 0.7], [0.1, 0.45, 0.7])  # a* 0.1: kept and met
    three = rows("v", "c", [0.0, 0.1, 0.2], [0.0, 0.1, 0.2])  # none
    found = summary(pd.concat([one, two, three])).loc["v"]
    assert (found["pictures"], found["none"], found["none_cut"]) == (3, 1, 1)
    assert found["a*"] == pytest.approx(0.075)
    assert found["a*_cut"] == pytest.approx(0.1)
    assert (found["kept"], found["met"]) == (0.5, 0.5)
    assert found["nested"] == pytest.approx(0.95)
    assert found["precision"] == pytest.approx(0.8)
    assert found["p_0.2"] == pytest.approx(1.6 / 3)
    assert found["p_cut_0.1"] == pytest.approx(1.05 / 3)


def test_what_is_measured_is_what_the_masks_give():
    planted = plant()
    config = changed(QUICK_FIT, steps=40, area_range=(0.1, 0.4))
    found = explain(planted.classifier, planted.image, 1, preset=config, progress=False)
    everything = torch.ones(112, 112, dtype=torch.bool)
    table = measured(found, Truth(planted.truth, everything))
    assert table["area"].tolist() == [0.1, 0.2, 0.3, 0.4]
    assert table["probability"].tolist() == pytest.approx(found.probability([0.1, 0.2, 0.3, 0.4]).tolist(), abs=1e-6)
    cut = found.mask(0.2, cut=0.5)
    assert table["precision"][1] == pytest.approx(float((cut * planted.truth).sum() / cut.sum()))
    assert table["cut_area"][1] == pytest.approx(float(cut.mean()))
    assert (table["passes"] == 80).all()


def test_a_leak_is_what_cutting_the_mask_loses():
    planted = plant()
    found = explain(planted.classifier, planted.image, 1, preset=changed(QUICK_FIT, steps=20), progress=False)
    both = leak(found, (0.1, 0.3), cut=0.5)
    soft, cut = found.probability([0.1, 0.3]), found.probability([0.1, 0.3], cut=0.5)
    assert torch.allclose(both.gap, (soft - cut).cpu(), atol=1e-6)
    assert torch.allclose(both.cut_area, found.mask([0.1, 0.3], cut=0.5).mean((1, 2, 3)))
    assert both.area.tolist() == [0.1, 0.3]


def test_against_the_reference_by_hand():
    low, high = [0.1, 0.5, 0.7], [0.1, 0.1, 0.1]  # a* 0.1, and none
    table = pd.concat(
        [
            rows("first", "a", low, low),
            rows("first", "b", [0.5, 0.5, 0.5], low),  # a* 0.05
            rows("first", "c", low, low),  # the variant did not see it
            rows("v", "a", low, low).assign(precision=[0.9, 0.8, 0.5], passes=150),
            rows("v", "b", high, high).assign(precision=[0.9, 0.4, 0.5], passes=150),  # three places from 0.05
        ]
    ).assign(passes=lambda one: one["passes"].where(one["variant"] == "v", 4000))
    found = against(table, "first").loc["v"]
    assert (found["pictures"], found["both"]) == (2, 1)
    assert found["difference"] == pytest.approx((0.1 - 0.3) / 2)
    half = 12.706 * 0.2  # Student's t of one degree of freedom, and the standard error
    assert found[["low", "high"]].tolist() == pytest.approx([-0.1 - half, -0.1 + half], rel=1e-3)
    assert found["difference*"] == pytest.approx(0.1)
    assert found["near"] == 0.5
    assert found["passes_share"] == pytest.approx(150 / 4000)


def test_another_seed_or_setting_under_the_same_name_is_fitted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    samples, out = planted_dataset(pictures=2).samples, tmp_path / "variants.csv"
    brief = {"one": changed(QUICK_FIT, steps=2, area_range=(0.1, 0.4))}
    first = run_variants(samples, PLANTED.classifier, brief, out, progress=False)
    assert first["picture"].unique().tolist() == ["stripes/0", "stripes/1"]
    with monkeypatch.context() as patch:
        patch.setattr(variants, "explain", lambda *_, **__: pytest.fail("fitted again"))
        same = run_variants(samples, PLANTED.classifier, brief, out, progress=False)
    assert same["fit"].tolist() == first["fit"].tolist()
    longer = {"one": changed(brief["one"], steps=3)}
    for config, seed in ((brief, 1), (longer, 1)):
        again = run_variants(samples, PLANTED.classifier, config, out, seed=seed, progress=False)
        assert len(again) == len(first)
        assert not set(again["fit"]) & set(first["fit"])
        first = again


def test_rows_that_do_not_say_what_they_depend_on_are_replaced(tmp_path: Path):
    samples, out = planted_dataset(pictures=1).samples, tmp_path / "variants.csv"
    old = pd.concat([rows("one", "stripes/0", [0, 0, 0], [0, 0, 0]), rows("gone", "a", [0, 0, 0], [0, 0, 0])])
    old.to_csv(out, index=False)
    brief = {"one": changed(QUICK_FIT, steps=2)}
    found = run_variants(samples, PLANTED.classifier, brief, out, progress=False)
    assert len(found[found["variant"] == "gone"]) == 3
    assert found[found["variant"] == "one"]["fit"].notna().all()
