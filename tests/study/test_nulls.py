"""Nulls of a fit: the same fit has none, masks are compared at exactly their area, runs go on where they stopped."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from planted import QUICK_FIT
from test_run import PLANTED, planted_dataset
from test_scores import a_map

from inrexp.paper.outcome import Outcome
from inrexp.study import nulls
from inrexp.study.nulls import compared, noisy, null_table, run_nulls

BRIEF = dataclasses.replace(QUICK_FIT, steps=4, area_range=(0.05, 0.4))


def test_a_fit_on_an_unchanged_picture_is_the_same_fit(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(nulls, "NOISE", 0.0)
    found = nulls.nulls(PLANTED.classifier, PLANTED.image, 1, BRIEF).set_index("kind")
    assert set(found.index) == set(nulls.KINDS)
    assert found.loc["noise", "iou"].tolist() == [1.0, 1.0, 1.0]
    assert found.loc["noise", "area_star_difference"].tolist() == [0.0] * 3
    assert found.loc["noise", "area"].tolist() == list(nulls.AREAS)
    assert found.loc["beside", "iou"].min() > 0.8  # four steps are too few for rounding to grow
    assert found.loc["seed", "iou"].max() < 0.8


def rows_kept(top: int) -> torch.Tensor:
    """Scores (112, 112) that fall from the row `top` on, and wrap around."""
    return -torch.arange(112.0).roll(top)[:, None].expand(112, 112)


def test_masks_are_compared_at_exactly_their_area():
    # a quarter of the picture is 28 rows; 14 of them are shared: 14 / 42
    found = compared(a_map(rows_kept(0)), a_map(rows_kept(14)), [0.25])
    assert found["iou"].tolist() == [pytest.approx(1 / 3)]
    assert compared(a_map(rows_kept(0)), a_map(rows_kept(0) * 5 - 2), [0.25])["iou"].tolist() == [1.0]


def test_a_fit_without_an_a_star_counts_as_the_largest_area_searched():
    on_it, beside = a_map(PLANTED.truth), a_map(~PLANTED.truth)
    star = on_it.smallest_area()
    assert star is not None
    assert beside.smallest_area() is None
    assert compared(on_it, beside)["area_star_difference"].tolist() == pytest.approx([0.2 - star] * 3)
    assert compared(beside, on_it)["area_star_difference"].tolist() == pytest.approx([star - 0.2] * 3)


def test_a_fit_that_collapsed_has_no_overlap_and_is_named():
    dead = a_map(PLANTED.truth)
    dead.outcome = Outcome("collapsed", mask="full")
    found = compared(a_map(PLANTED.truth), dead)
    assert found["iou"].isna().all()
    assert set(found["status"]) == {"collapsed to a full mask"}


def test_the_noise_is_seeded_tiny_and_stays_in_range():
    one = noisy(PLANTED.image, seed=3)
    assert torch.equal(one, noisy(PLANTED.image, seed=3))
    assert not torch.equal(one, noisy(PLANTED.image, seed=4))
    assert float((one - PLANTED.image).std()) == pytest.approx(1e-6, rel=0.05)
    assert noisy(torch.ones(1, 3, 20, 20)).max() == 1


def test_a_run_goes_on_where_it_stopped_and_replaces_what_other_settings_made(tmp_path: Path, monkeypatch):
    samples, out = planted_dataset(pictures=2).samples, tmp_path / "nulls.csv"
    rows = run_nulls(samples[:1], PLANTED.classifier, BRIEF, out, progress=False)
    assert list(rows.columns) == nulls.COLUMNS
    assert len(rows) == 9
    first = out.read_text()
    run_nulls(samples, PLANTED.classifier, BRIEF, out, progress=False)
    assert out.read_text().startswith(first)
    assert len(pd.read_csv(out)) == 18
    with monkeypatch.context() as patch:
        patch.setattr(nulls, "nulls", lambda *_, **__: pytest.fail("fitted again"))
        run_nulls(samples, PLANTED.classifier, BRIEF, out, progress=False)
    shorter = dataclasses.replace(BRIEF, steps=2)
    again = run_nulls(samples, PLANTED.classifier, shorter, out, progress=False)
    assert len(again) == 18  # under the same name
    assert not set(again["fit"]) & set(rows["fit"])


def test_a_run_keeps_the_rows_that_another_adds_during_its_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    samples, out = planted_dataset(pictures=2).samples, tmp_path / "nulls.csv"
    known = pd.DataFrame(dict.fromkeys(nulls.COLUMNS, [0.5])).assign(kind="seed")

    def fitted_beside_another_run(*_: object) -> pd.DataFrame:
        monkeypatch.setattr(nulls, "nulls", lambda *_: known)
        run_nulls(samples[1:], PLANTED.classifier, BRIEF, out, progress=False)
        return known

    monkeypatch.setattr(nulls, "nulls", fitted_beside_another_run)
    found = run_nulls(samples[:1], PLANTED.classifier, BRIEF, out, progress=False)
    assert found["picture"].tolist() == pd.read_csv(out)["picture"].tolist() == ["stripes/1", "stripes/0"]


def test_the_table_counts_what_collapsed_and_takes_no_mean_of_it():
    rows = pd.DataFrame(
        {
            "picture": ["a", "b", "c"],
            "preset": "crisp",
            "kind": "seed",
            "area": 0.1,
            "iou": [0.4, 0.8, np.nan],
            "area_star_difference": [0.05, -0.05, 0.02],
            "status": "finished",
        }
    )
    line = null_table(rows).iloc[0]
    assert line[["iou", "low", "high", "star"]].tolist() == pytest.approx([0.6, 0.0, 1.0, 0.04])  # two say nothing
    assert line[["pictures", "collapsed"]].tolist() == [2, 1]
