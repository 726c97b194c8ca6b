"""ReX's regions beside the field's masks, on rows made by hand."""

import pandas as pd
import pytest
from ledger_rows import run

from inrexp.study.peers import OWN_BUDGET, quantus_table, rex_table
from inrexp.study.rows import read_rows
from inrexp.study.store import EQUAL_AREAS

PICTURES = ("a", "b")


def search(picture: str, budget: str, *, region: float, kept: float) -> dict:
    """A row of rex.csv whose masks of every area keep the same.  region: its area.  kept: p of all masks."""
    row = {"dataset": "imagenet-s50-standin", "model": "efficientnet_lite0", "sample": picture, "budget": budget}
    row |= {"search": 300, "extraction": 700, "seconds": 9.0, "unmasked": 0.9, "region_area": region}
    row |= {"region_probability": 0.5, "region_precision": 0.8, "object_share": 0.3}
    return (
        row | {f"probability_at_{at}": kept for at in EQUAL_AREAS} | {f"precision_at_{at}": 0.6 for at in EQUAL_AREAS}
    )


@pytest.fixture
def study(tmp_path) -> pd.DataFrame:
    """The field keeps the class of "a" at 10 % and 20 %, and that of "b" at none."""
    kept = {"probability_at_100": 0.8, "probability_at_200": 0.9, "probability_at_star": 0.8}
    kept |= {"precision_at_100": 0.7, "precision_at_200": 0.5, "precision_at_star": 0.7}
    none = {f"probability_at_{at}": 0.1 for at in EQUAL_AREAS} | {f"precision_at_{at}": 0.4 for at in EQUAL_AREAS}
    low = {f"probability_at_{at}": 0.1 for at in ("025", "050")}
    rows = [run("a", equal=0.6, **low | kept), run("b", precision=None, equal=0.4, **none), run("c", equal=0.5)]
    pd.DataFrame(rows).to_csv(tmp_path / "study_rows.csv", index=False)
    return read_rows(tmp_path / "study_rows.csv")


def test_a_line_for_each_budget_and_one_for_the_field_on_the_same_pictures(study: pd.DataFrame):
    rows = [search(name, "300", region=area, kept=0.1) for name, area in zip(PICTURES, (0.1, 0.4), strict=True)]
    rows += [search(name, OWN_BUDGET, region=0.15, kept=0.6) for name in PICTURES]
    table = rex_table(pd.DataFrame(rows), study)
    assert list(table.index) == ["ReX, 300 passes", "ReX, its own", "the field"]
    assert table["pictures"].tolist() == [2, 2, 2]  # not the third one of the study
    assert table["passes"].tolist()[:2] == [1000, 1000]
    assert table["area"].tolist() == pytest.approx([0.25, 0.15, (0.1 + 0.2) / 2])
    assert table["small"].tolist() == [0.5, 1.0, 0.5]
    assert table["a* found"].tolist() == [0.0, 1.0, 0.5]
    assert table.loc["the field", "probability"] == pytest.approx((0.8 + 0.1) / 2)  # without an a*: of 20 %
    assert table.loc["the field", "precision"] == pytest.approx((0.7 + 0.4) / 2)


def test_a_picture_that_the_study_lacks_enters_no_mean(study: pd.DataFrame):
    rows = [search(name, "300", region=0.1, kept=0.3) for name in PICTURES]
    more = pd.DataFrame([*rows, search("elsewhere", "300", region=0.9, kept=0.9)])
    pd.testing.assert_frame_equal(rex_table(more, study), rex_table(pd.DataFrame(rows), study))


def test_differences_are_rex_less_the_field_by_picture(study: pd.DataFrame):
    table = rex_table(pd.DataFrame([search(name, "300", region=0.1, kept=0.3) for name in PICTURES]), study)
    line = table.loc["ReX, 300 passes"]
    assert line["p at 10 %, less field"] == pytest.approx(((0.3 - 0.8) + (0.3 - 0.1)) / 2)
    half = 12.7062 * 0.35  # the t quantile of 1 degree of freedom, half of the distance of -0.5 and 0.2
    assert line["p at 10 %, low"] == pytest.approx(-0.15 - half, abs=1e-4)
    assert line["p at 10 %, high"] == pytest.approx(-0.15 + half, abs=1e-4)
    assert pd.isna(table.loc["the field", "p at 10 %, less field"])


def test_quantus_and_this_package_stand_side_by_side():
    rows = pd.DataFrame(
        [
            {"picture": name, "method": method, "key": f"{method} {name}", "top_tenth": top, "rank_accuracy": 0.5}
            | {"flipping": flipping}
            for method, top, flips in (("inr, crisp", 0.7, (0.1, 0.2)), ("rise", 0.6, (0.4, 0.3)))
            for name, flipping in zip(PICTURES, flips, strict=True)
        ]
    )
    study = pd.DataFrame({"key": rows["key"], "precision_at_100": [0.7, 0.72, 0.6, 0.6]})
    table = quantus_table(rows, study)
    assert table["pictures"].tolist() == [2, 2]
    assert table["top_tenth"].tolist() == pytest.approx([0.7, 0.6])
    assert table["ours"].tolist() == pytest.approx([0.71, 0.6])
    line = table.loc["rise"]
    assert line["flipping, less field"] == pytest.approx(0.2)
    half = 12.7062 * 0.1
    assert (line["flipping, low"], line["flipping, high"]) == pytest.approx((0.2 - half, 0.2 + half), abs=1e-4)
    assert pd.isna(table.loc["inr, crisp", "flipping, less field"])
