"""Settings are told apart by their rows, and compared on the pictures that both have."""

import json

import pandas as pd
import pytest

from inrexp.comparison import METHODS
from inrexp.study.quality import SETTINGS, Setting, quality
from inrexp.study.store import EQUAL_AREAS

PLACES = list(EQUAL_AREAS)


def rows_of(name: str, kept: dict[str, list[float]]) -> pd.DataFrame:
    """Rows of one setting.  kept: by picture, p at the four areas; unmasked it is 1 everywhere."""
    setting = SETTINGS[name]
    settings = json.dumps({**METHODS[setting.method].settings(setting.options), "weights": "w", "cut": 0.5})
    lines = []
    for picture, probabilities in kept.items():
        line = {"dataset": "d", "model": "m", "sample": picture, "method": setting.method, "settings": settings}
        line |= {"key": f"{name} {picture}", "unmasked": 1.0, "collapsed": False, "iteration": 1, "area": 0.1}
        for at, p in zip(PLACES, probabilities, strict=True):
            line |= {f"probability_at_{at}": p, f"precision_at_{at}": 0.5}
        lines.append(line)
    return pd.DataFrame(lines)


@pytest.fixture
def rows() -> pd.DataFrame:
    crisp = rows_of("crisp", {"a": [0, 0, 1, 1], "b": [1, 1, 1, 1], "c": [0, 0, 0, 0]})
    draft = rows_of("draft", {"a": [0, 0, 0, 1], "b": [0, 0, 1, 1]})
    return pd.concat([crisp, draft, rows_of("GradCAM", {"a": [0, 0, 0, 0]})], ignore_index=True)


def test_each_setting_has_its_own_rows(rows: pd.DataFrame):
    table = quality(rows)
    assert list(table.index) == ["crisp", "draft", "GradCAM"]
    assert table["pictures"].tolist() == [3, 2, 1]
    assert table["passes"].tolist() == [300, 60, 1]
    assert table.loc["crisp", ["found", "enough", "probability_at_100"]].tolist() == pytest.approx([2 / 3, 0.5, 2 / 3])


def test_differences_are_paired_by_picture(rows: pd.DataFrame):
    table = quality(rows)
    assert table.loc["draft", "difference"] == pytest.approx((0.25 - 0.5 + 0.5 - 1) / 2)  # c counts in neither
    assert table.loc["draft", "both"] == 2
    assert pd.isna(table.loc["crisp", "difference"])


def test_seconds_come_by_key(rows: pd.DataFrame):
    seconds = pd.DataFrame({"key": rows["key"], "seconds": range(len(rows))})
    assert quality(rows, seconds).loc["draft", "seconds"] == 3.5
    assert quality(rows)["seconds"].isna().all()


def test_settings_that_differ_in_one_number_are_two():
    row = {"method": "inr", "settings": json.dumps(METHODS["inr"].settings({"steps": 149}))}
    assert not [name for name, setting in SETTINGS.items() if setting.is_of(row)]
    assert Setting("inr", {"steps": 149}).is_of(row)


def test_a_row_is_of_its_settings_whatever_the_preset_was_called():
    settings = METHODS["inr"].settings({"preset": "crisp_random"})
    row = {"method": "inr", "settings": json.dumps(settings).replace('"crisp_random"', '"crisp"')}
    assert [name for name, setting in SETTINGS.items() if setting.is_of(row)] == ["crisp, random start"]
