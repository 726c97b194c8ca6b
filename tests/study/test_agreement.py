"""How far stored masks agree, by hand."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from ledger_rows import run

from inrexp.study.agreement import COLUMNS, OF_STARTS, agreement, starts
from inrexp.study.store import Result, Results


def block(*rows: int) -> np.ndarray:
    """A mask of 10 x 10 pixels whose named rows are kept."""
    mask = np.zeros((10, 10), np.uint8)
    mask[list(rows)] = 255
    return mask


def stored(folder: Path, *found: tuple[dict, dict[str, np.ndarray]]) -> Path:
    with Results(folder) as store:
        for row, masks in found:
            known = {name: value for name, value in row.items() if name != "format"} | {"format": 2}
            store.put([Result(known, tuple(masks), np.stack(list(masks.values())) if masks else None)])
    return folder


def test_methods_are_compared_at_a_tenth_of_the_picture(tmp_path: Path):
    ramp = np.repeat(np.arange(10, dtype=np.uint8)[:, None], 10, axis=1)  # its largest tenth is the last row
    half = block(9)
    half[9, :5], half[0, :5] = 0, 255
    stored(tmp_path, (run("a"), {"0.1": half}), (run("a", "rise"), {"map": ramp}))
    (pair,) = agreement(tmp_path).to_dict("records")
    assert (pair["one"], pair["other"], pair["kind"]) == ("inr, crisp", "rise", "methods")
    assert pair["iou"] == pytest.approx(5 / 15, abs=1e-4)
    assert pair["share"] == 0.5


def test_a_later_explanation_is_compared_with_all_before_it(tmp_path: Path):
    stored(
        tmp_path,
        (run("a"), {"0.1": block(0)}),
        (run("a", iteration=2), {"0.1": block(1)}),
        (run("a", iteration=3, area=0.2), {"0.1": block(5), "0.2": block(1, 2)}),
    )
    pairs = agreement(tmp_path)
    assert list(pairs["kind"]) == ["iterations", "iterations"]
    assert list(pairs["one"]) == ["2", "3"]
    assert list(pairs["share"]) == [0.0, 0.5]
    assert list(pairs["expected"]) == [0.1, 0.2]  # one row of ten is covered, then two
    assert list(pairs["found"]) == [1, 1]


def test_a_later_explanation_without_an_area_that_suffices_is_taken_at_the_largest(tmp_path: Path):
    none = run("a", iteration=2, precision=None), {"0.1": block(5), "0.2": block(0, 1)}
    stored(tmp_path, (run("a"), {"0.1": block(0)}), none)
    (pair,) = agreement(tmp_path).to_dict("records")
    assert (pair["area"], pair["share"], pair["found"]) == (0.2, 0.5, 0)


def test_one_explanation_has_no_pair(tmp_path: Path):
    stored(tmp_path, (run("a"), {"0.1": block(0)}))
    assert agreement(tmp_path).empty
    assert list(agreement(tmp_path).columns) == COLUMNS


def test_how_far_a_fit_leaves_its_start(tmp_path: Path):
    ramp = np.repeat(np.arange(10, 0, -1, dtype=np.uint8)[:, None], 10, axis=1)  # its largest tenth is the first row
    every = ("0.025", "0.05", "0.1", "0.2")
    half = block(0)
    half[0, :5], half[9, :5] = 0, 255  # half of the start's row, and half of the last
    known = {"probability_at_100": 0.8, "precision_at_100": 0.6}
    stored(
        tmp_path,
        (run("a", **known), dict.fromkeys(every, half)),
        (run("a", preset="crisp_random", **known), dict.fromkeys(every, block(9))),
        (run("a", "grad_cam", preset=None, precision_at_100=0.9), {"map": ramp}),
        (run("b"), dict.fromkeys(every, half)),  # without its start
    )
    found = starts(tmp_path)
    assert found["picture"].tolist() == ["a"] * 4
    tenth = found[found["area"] == 0.1].iloc[0]
    assert tenth["moved"] == pytest.approx(5 / 15)
    assert tenth["random"] == pytest.approx(5 / 15)
    assert tenth["map"] == 0.0
    assert (tenth["precision_start"], tenth["precision_started"], tenth["p_random"]) == (0.9, 0.6, 0.8)


def test_two_settings_of_one_method_are_two_methods_and_two_networks_are_never_mixed(tmp_path: Path):
    few, many = (json.dumps({"masks": count}) for count in (400, 4000))
    stored(
        tmp_path,
        (run("a", "rise", settings=few), {"map": block(0)}),
        (run("a", "rise", settings=many), {"map": block(1)}),
        (run("a", "rise", settings=few, model="another"), {"map": block(0)}),
    )
    (pair,) = agreement(tmp_path).to_dict("records")
    assert {pair["one"], pair["other"]} == {"rise, masks 400", "rise, masks 4000"}
    assert (pair["iou"], pair["model"]) == (0.0, "efficientnet_lite0")


def test_a_later_explanation_is_compared_with_those_of_its_own_network_and_settings(tmp_path: Path):
    short = json.dumps({"steps": 75})
    stored(
        tmp_path,
        (run("a"), {"0.1": block(0)}),
        (run("a", iteration=2), {"0.1": block(0)}),
        (run("a", settings=short), {"0.1": block(1)}),
        (run("a", settings=short, iteration=2), {"0.1": block(2)}),
        (run("a", model="another"), {"0.1": block(2)}),
        (run("a", model="another", iteration=2), {"0.1": block(2)}),
    )
    found = agreement(tmp_path)
    found = found[found["kind"] == "iterations"]
    assert found[["model", "share"]].to_numpy().tolist() == [
        ["another", 1.0],
        ["efficientnet_lite0", 1.0],
        ["efficientnet_lite0", 0.0],
    ]
    assert found["fit"].str.startswith("inr, crisp").all()
    assert found["fit"].nunique() == 3


def test_starts_of_two_networks_are_two_and_two_settings_are_refused(tmp_path: Path):
    every = dict.fromkeys(("0.025", "0.05", "0.1", "0.2"), block(0))
    known = {"probability_at_100": 0.8, "precision_at_100": 0.6}
    for model in ("one", "another"):
        stored(
            tmp_path, (run("a", **known, model=model), every), (run("a", "grad_cam", model=model), {"map": block(0)})
        )
    assert starts(tmp_path)["picture"].tolist() == ["a"] * 8
    stored(tmp_path, (run("a", settings="{}", model="one"), every))
    with pytest.raises(ValueError, match=r"several settings of \('inr', 'crisp'\) for a"):
        starts(tmp_path)


@pytest.mark.parametrize("words", [[], ["--starts"]])
def test_the_benchmark_never_writes_a_table_without_rows(words: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    script, out, study = (
        str(Path(__file__).parents[2] / "benchmarks" / "agreement.py"),
        tmp_path / "a.csv",
        tmp_path / "s",
    )
    monkeypatch.syspath_prepend(Path(script).parent)  # as `python benchmarks/agreement.py` has it
    out.write_text("committed")
    stored(study, (run("a"), {"0.1": block(0)}))
    assert list(starts(study).columns) == OF_STARTS
    for folder, error in ((tmp_path / "tpyo", FileNotFoundError), (study, SystemExit)):
        monkeypatch.setattr("sys.argv", ["agreement.py", str(folder), "--out", str(out), *words])
        with pytest.raises(error, match="no results.sqlite|nothing was written"):
            runpy.run_path(script, run_name="__main__")
    assert out.read_text() == "committed"
    assert not (tmp_path / "tpyo").exists()
