"""Tables 1 and 2: hand-computed numbers, what is counted, and captions that say what a study really was."""

import csv
import dataclasses
import json
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from inrexp.commands import cli
from inrexp.comparison import METHODS
from inrexp.datasets.lists import LISTS, read_names
from inrexp.figures import tables as study_figures
from inrexp.study import captions, tables
from inrexp.study import export as table_text
from inrexp.study import rows as study_rows
from inrexp.study.store import FORMAT, ROWS, Result, Results, key_of
from inrexp.study.tables import Table

PRESETS = {"inr": "quick", "extremal_perturbation": "extremal_perturbation_quick"}
FIT = {"fit": {"steps": 150, "source_settings": {"scale": 2.0}}, "cut": 0.5}


def run(sample: str = "a", method: str = "inr", seed: int = 0, iteration: int = 1, precision=0.5, **others) -> dict:
    """One row as a study exports it; precision None is a run without an a*."""
    none = precision is None
    row = {
        "dataset": "imagenet-s50-standin",
        "sample": sample,
        "label": "tabby",
        "model": "efficientnet_lite0",
        "method": method,
        "preset": PRESETS.get(method),
        "settings": json.dumps(FIT if method in PRESETS else {"masks": 500}),
        "seed": seed,
        "iteration": iteration,
        "status": "finished",
        "error": None,
        "area": None if none else 0.1,
        "area_cut_star": None,
        "probability": None if none else 0.6,
        "probability_cut": None if none else 0.2,
        "area_error": None if none else 0.01,
        "precision": precision,
        "hit": None if none else int(precision > 0.5),
        "precision_largest": 0.3,
        "insertion": 0.7,
        "deletion": 0.1,
    } | others
    row |= {"format": FORMAT, "contents": "0123456789ab", "beside": ""}
    return {"key": key_of(row)} | row


def failed(**others) -> dict:
    empty = dict.fromkeys(("area", "probability", "precision", "precision_largest", "insertion", "deletion"))
    return run(**{"status": "failed", "error": "RuntimeError: too large", **others}) | empty | {"hit": None}


def rows(*runs: dict) -> pd.DataFrame:
    return study_rows.checked(pd.DataFrame(runs))


def line(table: Table, **wanted: str) -> dict:
    frame = table.frame
    for name, value in wanted.items():
        frame = frame[frame[name] == value]
    (found,) = frame.to_dict("records")
    return found


# two pictures, two seeds: the INR's means are 0.7 and 0.3, the other's 0.4 and 0.2
TWO = [
    *(run("a", seed=seed, precision=p) for seed, p in enumerate((0.8, 0.6))),
    *(run("b", seed=seed, precision=p) for seed, p in enumerate((0.1, 0.5))),
    *(run("a", "rise", seed=seed, precision=p) for seed, p in enumerate((0.2, 0.6))),
    *(run("b", "rise", seed=seed, precision=p) for seed, p in enumerate((0.2, 0.2))),
]


def test_precision_is_the_mean_over_seeds_then_over_pictures():
    inr = line(tables.table_1(rows(*TWO)), method="INR, quick")
    assert inr["precision"] == pytest.approx(0.5)
    assert inr["hit_rate"] == pytest.approx(0.5)  # both seeds of a, none of b
    assert (inr["pictures"], inr["runs"]) == (2, 4)
    uneven = rows(*TWO[:4], run("a", seed=2, precision=0.1))  # 1.5 / 3 and 0.3: not 2.1 / 5
    assert line(tables.table_1(uneven), method="INR, quick")["precision"] == pytest.approx(0.4)


def test_the_t_test_is_the_paired_one_over_pictures():
    rise = line(tables.table_1(rows(*TWO)), method="RISE")
    # differences 0.4 - 0.7 = -0.3 and 0.2 - 0.3 = -0.1: mean -0.2, standard error 0.1, t = -2 with one degree of
    # freedom, whose distribution is Cauchy's: p = 1 - 2 atan(2) / pi
    assert rise["difference"] == pytest.approx(-0.2)
    assert rise["p"] == pytest.approx(1 - 2 * np.arctan(2) / np.pi)
    assert (rise["pairs"], rise["against"]) == (2, "INR, quick")
    assert pd.isna(line(tables.table_1(rows(*TWO)), method="INR, quick")["p"])


def test_p_is_against_the_inr_with_the_most_pictures_or_the_one_asked_for():
    few = run("a", precision=0.9, preset="crisp")
    table = tables.table_1(rows(*TWO, few))
    assert line(table, method="RISE")["against"] == "INR, quick"
    assert line(table, method="INR, crisp")["pairs"] == 1
    asked = tables.table_1(rows(*TWO, few), reference="INR, crisp")
    assert line(asked, method="RISE")["against"] == "INR, crisp"
    assert pd.isna(line(asked, method="INR, crisp")["p"])
    with pytest.raises(LookupError, match=r"'INR, best' has no rows; there are \['INR, crisp', 'INR, quick', 'RISE'\]"):
        tables.table_1(rows(*TWO, few), reference="INR, best")


def test_without_the_inr_there_is_a_table_and_no_test():
    table = tables.table_1(rows(*TWO[4:]))
    assert line(table, method="RISE")["precision"] == pytest.approx(0.3)
    assert pd.isna(line(table, method="RISE")["p"])
    assert "paired t-test" not in table_text.caption(table)


def test_the_best_of_three_is_chosen_for_each_picture_and_seed():
    precisions = {("a", 0): (0.2, 0.9, 0.1), ("a", 1): (0.5, 0.4, 0.3), ("b", 0): (0.6, None, 0.4)}
    several = rows(
        *(
            run(sample, seed=seed, iteration=number, precision=p)
            for (sample, seed), three in precisions.items()
            for number, p in enumerate(three, 1)
        )
    )
    table = tables.table_2(several)
    best = line(table, iteration="best")
    assert best["precision"] == pytest.approx(((0.9 + 0.5) / 2 + 0.6) / 2)
    assert best["hit_rate"] == pytest.approx((0.5 + 1) / 2)
    assert [line(table, iteration=number)["precision"] for number in "123"] == pytest.approx(
        [((0.2 + 0.5) / 2 + 0.6) / 2, (0.9 + 0.4) / 2, ((0.1 + 0.3) / 2 + 0.4) / 2]
    )
    assert [line(table, iteration=number)["pictures"] for number in ("1", "2", "3", "best")] == [2, 1, 2, 2]
    assert line(table, iteration="2")["pictures_without_star"] == 1
    assert line(table, iteration="best")["runs_without_star"] == 0


def test_table_2_has_three_iterations_and_a_study_of_one_has_no_table_2():
    four = rows(*(run(iteration=number, precision=0.1 * number) for number in (1, 2, 3, 4)))
    assert list(tables.table_2(four).frame["iteration"]) == ["1", "2", "3", "best"]
    assert line(tables.table_2(four), iteration="best")["precision"] == pytest.approx(0.3)
    assert line(tables.table_1(four), method="INR, quick")["precision"] == pytest.approx(0.1)
    with pytest.raises(ValueError, match="rows hold no second iteration"):
        tables.table_2(rows(*TWO))


def test_runs_without_a_star_or_that_failed_are_counted_named_and_given_no_number():
    found = rows(
        run("a", precision=0.8), run("a", seed=1, precision=None), run("b", precision=None), failed(sample="c")
    )
    inr = line(tables.table_1(found), method="INR, quick")
    assert inr["precision"] == pytest.approx(0.8)
    assert (inr["pictures"], inr["pictures_asked"], inr["runs"]) == (1, 3, 4)
    assert (inr["runs_without_star"], inr["pictures_without_star"]) == (2, 1)
    assert (inr["runs_failed"], inr["pictures_failed"]) == (1, 1)
    assert (inr["precision_largest_pictures"], inr["insertion_pictures"]) == (2, 2)
    named = tables.left_out(found)
    assert list(zip(named["sample"], named["seed"], named["reason"], strict=True)) == [
        ("a", 1, "no a*"),
        ("b", 0, "no a*"),
        ("c", 0, "failed: RuntimeError: too large"),
    ]


def test_a_mask_that_is_empty_when_cut_is_named():
    found = rows(run("a", precision=0.8), run("b", precision=None, area=0.1))
    assert line(tables.table_1(found), method="INR, quick")["pictures"] == 1
    assert tables.left_out(found)[["sample", "reason"]].to_numpy().tolist() == [["b", "empty when cut"]]


def test_the_caption_takes_cuts_and_threshold_from_the_rows():
    own = {**FIT, "cut": 0.4, "threshold": 0.7}
    maps = {"masks": 500, "map_cut": 0.2, "threshold": 0.7}
    text = table_text.caption(
        tables.table_1(rows(run(settings=json.dumps(own)), run(method="rise", settings=json.dumps(maps))))
    )
    assert "mask at a*, cut at 0.4, over" in text
    assert "Saliency maps are scaled to [0, 1] and cut at 0.2; they need no a*" in text
    assert "The threshold of a* is 0.7." in text


def test_the_caption_says_which_pictures_chose_settings_and_which_chose_nothing():
    tuned, reported, voc = (read_names(LISTS / f"{name}.txt") for name in ("tuned", "reported", "reported_voc"))
    several = [*(run(name) for name in (*reported[:2], tuned[0])), run(voc[0], dataset="voc07-difficult")]
    text = table_text.caption(tables.table_1(rows(*several)))
    assert (
        "Pictures, by the lists of those on which settings were chosen: imagenet-s50-standin, 2 pictures that chose "
        "nothing and 1 picture that chose the default preset; voc07-difficult, 1 picture that chose nothing."
    ) in text
    only = table_text.caption(tables.table_1(rows(*(run(name) for name in reported))))
    assert "imagenet-s50-standin, 61 pictures that chose nothing." in only
    assert "settings were chosen" not in table_text.caption(tables.table_1(rows(*TWO)))  # on no list


def test_a_method_that_failed_on_every_picture_has_a_line_without_a_number():
    table = tables.table_1(rows(*TWO, failed(method="grad_cam")))
    grad_cam = line(table, method="GradCAM")
    assert pd.isna(grad_cam["precision"])
    assert (grad_cam["pictures"], grad_cam["runs_failed"], grad_cam["pairs"]) == (0, 1, 0)
    assert ["GradCAM", "n/a, n = 0"] in cells(table_text.markdown(table))


def test_a_map_has_a_precision_without_an_a_star():
    table = tables.table_1(rows(run(), run(method="rise", precision=0.4, area=None)))
    rise = line(table, method="RISE")
    assert (rise["precision"], rise["pictures"], rise["runs_without_star"]) == (0.4, 1, 1)


def test_presets_and_settings_that_differ_are_lines_of_their_own():
    few = {**FIT, "fit": {**FIT["fit"], "steps": 50}}
    found = rows(
        run(),
        run(preset="crisp"),
        run(preset="paper_lattice"),
        run(settings=json.dumps(few), precision=0.1),
        run(method="extremal_perturbation"),
        run(method="rise"),
        run(method="mine"),
    )
    assert list(tables.table_1(found).frame["method"]) == [
        "INR, crisp",
        "INR, paper_lattice",
        "INR, quick, steps 150",
        "INR, quick, steps 50",
        "Extremal perturbations, quick",
        "RISE",
        "mine",
    ]


def test_two_settings_of_one_name_do_not_hide_each_other():
    grown = {"fit": {"steps": 9, "area_weight": {"start": 1.0}, "dice_weight": {"start": 2.0}}, "cut": 0.5}
    found = study_rows.settings_of(json.dumps(grown))
    assert found == {"steps": 9, "area_weight.start": 1.0, "dice_weight.start": 2.0, "cut": 0.5}


def test_an_interval_is_over_photographs_and_a_hit_rate_has_the_exact_one():
    pairs, alone = (
        [run(f"00000{n}/{label}", precision=p) for n, p in ((1, 0.2), (2, 0.4), (3, 0.9)) for label in labels]
        for labels in (("cat", "dog"), ("cat",))
    )
    voc, once = (
        line(tables.table_1(rows(*(one | {"dataset": "mine"} for one in runs))), method="INR, quick")
        for runs in (pairs, alone)
    )
    assert (voc["pictures"], once["pictures"]) == (6, 3)
    for end in ("precision_low", "precision_high", "hit_rate_low", "hit_rate_high"):
        assert voc[end] == pytest.approx(once[end])  # the other pair of a photograph is no further evidence
    assert voc["precision_high"] == 1.0  # Student's t goes beyond, a share does not
    assert (voc["hit_rate_low"], voc["hit_rate_high"]) == pytest.approx((0.0084, 0.9057), abs=1e-4)  # 1 of 3


def test_a_photograph_is_told_by_the_samples_name_whatever_the_data_set_is_called():
    assert [tables.photograph(name) for name in ("000014/bus", "000014/car", "n01558993/ECSSD_0398", "a", "14/x")] == [
        "000014", "000014", "n01558993/ECSSD_0398", "a", "14/x",
    ]  # fmt: skip
    runs = rows(run("000001/dog", precision=0.2), run("000001/cat", precision=0.6), run("000002/cat", precision=0.1))
    assert tables.by_photograph(runs, "precision").to_dict() == pytest.approx({"000001": 0.4, "000002": 0.1})


def test_table_1_is_paired_over_photographs_and_not_over_pairs():
    voc = {"dataset": "voc07-difficult"}
    runs = []
    for n, less in enumerate((0.1, 0.2, 0.4)):
        for label in ("cat", "dog", "bus")[: n + 1]:
            runs += [run(f"00000{n}/{label}", precision=0.7, **voc)]
            runs += [run(f"00000{n}/{label}", "rise", precision=0.7 - less, **voc)]
    rise = line(tables.table_1(rows(*runs)), method="RISE")
    assert rise["pairs"] == 3
    assert rise["difference"] == pytest.approx(-0.7 / 3)
    assert rise["p"] == pytest.approx(stats.ttest_1samp([0.1, 0.2, 0.4], 0).pvalue)


def test_the_order_of_the_rows_changes_no_byte(tmp_path: Path):
    several = [*TWO, *(run(s, iteration=2, precision=p) for s, p in (("a", 0.2), ("b", 0.7)))]
    shuffled = [several[place] for place in np.random.default_rng(0).permutation(len(several))]
    for folder, runs in (("one", several), ("two", shuffled)):
        for table in (tables.table_1(rows(*runs)), tables.table_2(rows(*runs))):
            table_text.write(table, tmp_path / folder)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert len(names) == 8
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_published_numbers_stand_beside_their_own_data_set_only():
    voc = {"dataset": "voc07-difficult"}
    found = rows(*TWO, run(**voc), run(method="extremal_perturbation", **voc), run(dataset="packaged"))
    table = tables.table_1(found)
    published = {
        (one["dataset"], one["method"]): (one["published_precision"], one["published_hit_rate"], one["published_on"])
        for one in table.frame.to_dict("records")
    }
    assert published["imagenet-s50-standin", "INR, quick"] == (0.68, 0.72, "ImageNet-S50")
    assert published["voc07-difficult", "INR, quick"][::2] == (0.44, "VOC07 difficult")
    assert pd.isna(published["voc07-difficult", "INR, quick"][1])
    assert published["voc07-difficult", "Extremal perturbations, quick"][0] == 0.46
    for nothing in (published["imagenet-s50-standin", "RISE"], published["packaged", "INR, quick"]):
        assert pd.isna(nothing[0])
        assert pd.isna(nothing[1])
        assert nothing[2] == ""
    second = tables.table_2(rows(*(run(iteration=number) for number in (1, 2, 3))))
    assert list(second.frame["published_precision"]) == [0.68, 0.42, 0.30, 0.73]


def test_a_note_on_the_rows_ends_the_caption_in_every_format():
    table = dataclasses.replace(tables.table_1(rows(*TWO)), note="Made at commit 1234567.")
    assert table_text.caption(table).endswith(" Made at commit 1234567.")
    assert "Made at commit 1234567." in table_text.markdown(table)
    assert "Made at commit 1234567." in table_text.latex(table)


def test_the_caption_names_every_reduction():
    found = rows(*TWO, run("c", "rise"), run(method="extremal_perturbation"))
    text = table_text.caption(tables.table_1(found))
    for part in (
        "stands in for the paper's",
        "3 pictures of 1 class (paper: imagenet-s50, 752 of 50)",
        "model efficientnet_lite0 (paper: torchvision's ResNet50)",
        "INR, quick: preset quick (paper: paper), 150 steps (published: 4000), 2 seeds (paper: 5), 2 of the 3 pictures",
        "preset extremal_perturbation_quick (paper: extremal_perturbation)",
        "500 masks (published: 8000)",
        "not every seed and iteration of every picture",
        "the mean of the method's precision less that of INR, quick (on imagenet-s50-standin) over the "
        "photographs that both have",
    ):
        assert part in text


def test_the_caption_says_which_areas_are_searched_and_which_numbers_are_so_by_construction():
    both = rows(*TWO, run(method="extremal_perturbation"))
    text = table_text.caption(tables.table_1(both))
    assert "a* is searched among 36 areas for fields and maps and among the paper's 4 for lattices" in text
    assert "the claims (`inrexp claims`) search 4 for all" in text
    assert "the area error of the cut mask is 0 and p of the cut mask is that of the soft mask" in text
    alone = table_text.caption(tables.table_2(rows(run(), run(iteration=2))))
    assert "searched among" not in alone  # nothing is compared


def test_the_papers_own_setting_has_no_reduction():
    paper = {"dataset": "imagenet-s50", "model": "resnet50", "preset": "paper"}
    full = [
        run(f"{number:04d}", seed=seed, settings=json.dumps({"fit": {"steps": 4000}}), **paper)
        for number in range(752)
        for seed in range(5)
    ]
    assert table_text.reductions(rows(*full)) == {}
    short = table_text.reductions(rows(*full[:-1]))
    assert short == {"INR, paper": ["not every seed and iteration of every picture"]}
    assert table_text.reductions(rows(*full[:-5])) == {
        "imagenet-s50, resnet50": ["751 pictures of 1 class (paper: imagenet-s50, 752 of 50)"]
    }


def reduced(method: str, settings: dict, **others) -> list[str]:
    found = rows(run(method=method, settings=json.dumps(settings), **others))
    return table_text.reductions(found).get(found["variant"].iloc[0], [])


def test_every_setting_that_is_not_the_published_one_is_a_reduction():
    rise = {"masks": 8000, "cells": 7, "keep": 0.5, "map_cut": 0.2}
    assert reduced("rise", rise) == []
    assert reduced("rise", rise | {"cells": 3}) == ["cells 3 (published: 7)"]
    assert reduced("rise", rise | {"map_cut": 0.5}) == ["maps cut at 0.5 (paper: 0.2)"]
    assert reduced("rise", rise | {"map_cut": 0.5}, dataset="voc07") == []
    assert reduced("grad_cam", {"layer": "blocks.1", "map_cut": 0.2}) == ["layer blocks.1 (published: None)"]
    paper = METHODS["inr"].settings({"preset": "paper"})
    assert reduced("inr", paper, preset="paper") == ["1 seed (paper: 5)"]
    fit = paper["fit"] | {"blur_sigma": 5.0}
    assert reduced("inr", {"fit": fit}, preset="paper") == ["blur_sigma 5.0 (published: 20.0)", "1 seed (paper: 5)"]
    crisp = METHODS["inr"].settings({"preset": "crisp"})  # another preset is one reduction and not one a setting
    assert reduced("inr", crisp, preset="crisp") == [
        "preset crisp (paper: paper)", "150 steps (published: 4000)", "1 seed (paper: 5)",
    ]  # fmt: skip


def test_two_methods_of_one_label_are_two_lines(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(METHODS, "rise_2", dataclasses.replace(METHODS["rise"], name="rise_2"))
    found = rows(run(), run(method="rise", precision=0.2), run(method="rise_2", precision=0.8))
    table = tables.table_1(found)
    assert line(table, method="RISE (rise)")["precision"] == 0.2
    assert line(table, method="RISE (rise_2)")["precision"] == 0.8
    assert list(tables.table_1(rows(run(), run(method="rise"))).frame["method"]) == ["INR, quick", "RISE"]


def test_no_companion_of_an_earlier_table_stays_beside_a_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    equal = {"precision_at_050": 0.75, "probability_at_050": 0.2, "unmasked": 0.9}
    both = [run("a", **equal), run("a", "rise", **equal)]
    seconds = pd.DataFrame({"key": [one["key"] for one in both], "seconds": 1.5})
    written = table_text.write(tables.table_1(rows(*both)), tmp_path, seconds)
    assert [path.name for path in written[-3:]] == [f"table1{kind}" for kind in table_text.COMPANIONS]
    (tmp_path / "table1_mine.csv").touch()
    again = table_text.write(tables.table_1(rows(*TWO)), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"table1_mine.csv", *(path.name for path in again)}


def test_a_data_set_of_more_classes_than_the_papers_stands_in_for_it_whatever_its_name():
    many = rows(*(run(str(number), label=str(number), dataset="imagenet-s50") for number in range(51)))
    assert "stands in for the paper's, 51 pictures of 51 classes" in table_text.caption(tables.table_1(many))


def cells(text: str) -> list[list[str]]:
    """The lines of the Markdown tables."""
    lines = [one for one in text.splitlines() if one.startswith("| ") and "---" not in one]
    return [[cell.strip().replace("\\", "") for cell in one.strip("|").split(" | ")] for one in lines]


def test_markdown_latex_and_csv_agree(tmp_path: Path):
    found = rows(*TWO, run("a", "grad_cam", precision=0.7), run(dataset="voc07", precision=0.25))
    table = tables.table_1(found)
    csv_path, markdown_path, latex_path, _ = table_text.write(table, tmp_path)
    with csv_path.open() as file:
        written = list(csv.DictReader(file))
    text = cells(markdown_path.read_text())
    tex = latex_path.read_text()
    for one in written:
        place, score = one["dataset"], f"{float(one['precision']):.2f} ({float(one['hit_rate']):.2f})"
        (basis,) = [cell for cell in text if cell[:2] == [place, one["method"]] and cell[2] == score]
        assert f"{one['pictures']} of {one['pictures_asked']}" in basis
        layout = next(cell for cell in text[1:] if cell[0] == one["method"])
        assert f"{score}, n = {one['pictures']}" in layout
        assert f"{table_text.escaped(place)} & {one['method']} & {score} & " in tex
    assert text[0] == ["Method", "imagenet-s50-standin", "voc07"]
    assert ["RISE", "0.30 (0.25), n = 2", "n/a"] in text


def test_latex_is_escaped_and_balanced():
    assert table_text.escaped("50% & a_b #1 {x} <2 \\ ~^ [0, 1]$") == (
        r"50\% \& a\_b \#1 \{x\} \textless{}2 \textbackslash{} \textasciitilde{}\textasciicircum{} {[}0, 1{]}\$"
    )
    tex = table_text.latex(tables.table_1(rows(*TWO, run(method="mine_50%&more"))))
    assert r"mine\_50\%\&more" in tex
    assert tex.count("\\begin{tabular}") == tex.count("\\toprule") == tex.count("\\bottomrule") == 3
    bare = re.sub(r"\\[{}]", "", tex)
    assert bare.count("{") == bare.count("}")
    columns = [len(spec) for spec in re.findall(r"\\begin\{tabular\}\{(l+)\}", tex)]
    for spec, block in zip(columns, tex.split("\\toprule")[1:], strict=True):
        body = [one for one in block.split("\\bottomrule")[0].splitlines() if one.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", one)) + 1 for one in body} == {spec}


def test_a_reduced_table_never_replaces_a_full_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    table = tables.table_1(rows(*TWO))
    assert table_text.write(table, tmp_path)[0].name == "table1.csv"
    with monkeypatch.context() as patch:
        for module in (table_text, captions):
            patch.setattr(module, "reductions", lambda rows: {})
        assert table_text.write(table, tmp_path)[0].name == "table1.csv"
    full = (tmp_path / "table1.md").read_bytes()
    assert [path.name for path in table_text.write(table, tmp_path)][:2] == ["table1.quick.csv", "table1.quick.md"]
    assert (tmp_path / "table1.md").read_bytes() == full
    for kind in ("md", "tex"):
        text = (tmp_path / f"table1.quick.{kind}").read_text().replace("\\", "")
        assert "(table1.quick_left_out.csv)" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.drop(columns=["precision", "area"]), "rows lack the columns precision, area"),
        (lambda frame: frame.iloc[:0], "rows are empty"),
        (lambda frame: pd.concat([frame, frame.iloc[:1]]), "1 rows repeat the key of another"),
        (lambda frame: pd.concat([frame, frame.iloc[:1].assign(key="z")]), "repeat the run of another.*sample a"),
        (lambda frame: frame.astype({"precision": str}).replace({"precision": {"0.8": "high"}}), "precision must hold"),
    ],
)
def test_bad_rows_are_refused_by_name(change, message: str):
    with pytest.raises(ValueError, match=message):
        study_rows.checked(change(pd.DataFrame(TWO)))


def test_a_method_without_rows_is_refused_by_name():
    with pytest.raises(LookupError, match="rows hold no run of 'grad_cam'; they hold inr, rise"):
        tables.table_1(rows(*TWO), methods=["inr", "grad_cam"])
    assert list(tables.table_1(rows(*TWO), methods=["rise"]).frame["method"]) == ["RISE"]


def test_rows_come_from_a_study_folder_or_from_its_csv(tmp_path: Path):
    runs = [dict(one, sample="NA" if one["sample"] == "b" else "007", contents="1e5") for one in TWO]
    runs = [one | {"key": key_of(one)} for one in runs]
    with Results(tmp_path / "study") as store:
        store.put([Result(one | {"seconds": 2.0}) for one in runs])
        store._database.execute("ALTER TABLE rows DROP COLUMN object_share")  # of an older version
    found = study_rows.read_rows(tmp_path / "study")  # killed before it exported
    timed = study_rows.read_seconds(tmp_path / "study")
    assert [path.name for path in (tmp_path / "study").iterdir()] == ["results.sqlite"]  # reading writes nothing
    with Results(tmp_path / "study") as store:
        store.export()
    assert set(found["sample"]) == {"NA", "007"}
    assert set(found["contents"]) == {"1e5"}
    assert set(found["key"]) == {one["key"] for one in runs}
    again = study_rows.read_rows(tmp_path / "study" / ROWS)
    pd.testing.assert_frame_equal(found, again)
    assert line(tables.table_1(found), method="INR, quick")["precision"] == pytest.approx(0.5)
    pd.testing.assert_frame_equal(timed, study_rows.read_seconds(tmp_path / "study" / ROWS))
    seconds = tables.seconds_table(found, timed)
    assert list(seconds["seconds"]) == [2.0, 2.0]
    with pytest.raises(FileNotFoundError, match="inrexp study"):
        study_rows.read_rows(tmp_path / "nothing")


def test_a_study_without_a_row_is_said_so(tmp_path: Path, capsys: pytest.CaptureFixture):
    Results(tmp_path).close()
    with pytest.raises(ValueError, match=r"results.sqlite has no row: the study has no run yet"):
        study_rows.read_rows(tmp_path)
    assert cli.main(["tables", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "the study has no run yet" in capsys.readouterr().err


def test_rows_that_were_changed_by_hand_are_refused(tmp_path: Path):
    pd.DataFrame(TWO).assign(dataset="another").to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(ValueError, match=r"is not that of its row \(8 such rows\).*--called NAME"):
        study_rows.read_rows(tmp_path / "rows.csv")


def test_rows_of_an_older_format_need_their_provenance(tmp_path: Path):
    older = pd.DataFrame(TWO).drop(columns=["format", "contents", "beside"]).assign(dataset="renamed")
    older.to_csv(tmp_path / "old.csv", index=False)
    with pytest.raises(ValueError, match=r"rows of format 1, this version writes 2.*provenance.toml"):
        study_rows.read_rows(tmp_path / "old.csv")
    (tmp_path / "provenance.toml").write_text('["other.csv"]\nformat = 1\n')
    with pytest.raises(ValueError, match="rows of format 1"):
        study_rows.read_rows(tmp_path / "old.csv")
    (tmp_path / "provenance.toml").write_text('["old.csv"]\nformat = 1\ncommit = "35a9f6c"\n')
    assert len(study_rows.read_rows(tmp_path / "old.csv")) == len(TWO)
    assert study_rows.provenance(tmp_path / "old.csv")["commit"] == "35a9f6c"


def test_another_table_than_a_studys_rows_lacks_columns_and_is_of_no_older_format():
    with pytest.raises(ValueError, match="rows lack the columns model, preset, .*wanted those that `inrexp study`"):
        study_rows.read_rows(Path(__file__).parents[2] / "data" / "results" / "study_seconds.csv")


def test_the_committed_rows_can_be_read():
    assert len(study_rows.read_rows(Path(__file__).parents[2] / "data" / "results" / "study_rows.csv")) == 765


@pytest.mark.parametrize("status", ["collapsed to a full mask", "diverged at step 7"])
def test_a_fit_that_collapsed_has_no_number_and_is_counted_by_name(status: str):
    """Old rows gave such a fit the measures of a full mask; they count for nothing."""
    dead = run("b", precision=0.0, area=0.025, status=status, area_cut_star=0.025)
    found = rows(run("a", precision=0.8), run("a", "rise"), run("b", "rise"), dead)
    inr = line(tables.table_1(found), method="INR, quick")
    assert (inr["precision"], inr["hit_rate"], inr["area"]) == (0.8, 1.0, 0.1)
    assert (inr["runs_collapsed"], inr["pictures_collapsed"]) == (1, 1)
    assert (inr["runs_without_star"], inr["runs_failed"], inr["precision_largest_pictures"]) == (0, 0, 1)
    assert tables.left_out(found)[["sample", "reason"]].to_numpy().tolist() == [["b", status]]
    (basis,) = [cell for cell in cells(table_text.markdown(tables.table_1(found))) if "1 run, 1 picture" in cell]
    assert basis[1] == "INR, quick"


def test_seconds_are_a_mean_over_seeds_then_pictures_and_of_this_study():
    found = rows(*TWO[:4])
    seconds = pd.DataFrame({"key": [one["key"] for one in TWO[:4]], "seconds": [1.0, 3.0, 4.0, 6.0]})
    (timed,) = tables.seconds_table(found, seconds).to_dict("records")
    assert (timed["seconds"], timed["pictures"], timed["runs"]) == (3.5, 2, 4)
    with pytest.raises(ValueError, match="share no key"):
        tables.seconds_table(found, seconds.assign(key=list("wxyz")))


@pytest.mark.slow
def test_the_command_writes_tables_and_figures(tmp_path: Path, capsys: pytest.CaptureFixture):
    for name, runs in (("one", TWO), ("three", [*TWO, run(iteration=2), run(iteration=3)])):
        pd.DataFrame(runs).to_csv(tmp_path / f"{name}_rows.csv", index=False)
        pd.DataFrame({"key": [one["key"] for one in runs], "seconds": 1.5}).to_csv(
            tmp_path / f"{name}_seconds.csv", index=False
        )
        out = tmp_path / name
        assert cli.main(["tables", str(tmp_path / f"{name}_rows.csv"), "--out", str(out)]) == 0
        assert sorted(capsys.readouterr().out.split()) == sorted(map(str, out.iterdir()))
    kinds = (".csv", ".md", ".tex", "_left_out.csv", "_precision.png", "_seconds.csv")
    first = [*(f"table1{kind}" for kind in kinds), "table1_areas.png"]
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == sorted(first)
    second = [f"table2{kind}" for kind in kinds]
    assert sorted(path.name for path in (tmp_path / "three").iterdir()) == sorted([*first, *second])
    assert cli.main(["tables", str(tmp_path / "none.csv"), "--out", str(tmp_path / "no")]) == 2
    assert "inrexp study" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


@pytest.fixture
def several() -> pd.DataFrame:
    return rows(
        *(
            run(sample, seed=seed, iteration=number, precision=p, **place)
            for place in ({}, {"dataset": "voc07"})  # one sample name in two data sets
            for sample, p in (("a", 0.8), ("b", 0.4), ("c", None))
            for seed in (0, 1)
            for number in (1, 2, 3)
        ),
        run("a", "rise", probability_cut=0.6),
    )


def test_figures_show_each_picture_once_and_count_them(several: pd.DataFrame):
    for draw, dots in ((study_figures.precision_by_method, [2, 1, 2]), (study_figures.precision_by_iteration, [2] * 8)):
        figure = draw(several)
        drawn = [len(one.get_offsets()) for axes in figure.axes for one in axes.collections]
        assert sorted(drawn) == sorted(dots)
        ticks = [tick.get_text() for axes in figure.axes for tick in axes.get_yticklabels()]
        assert sorted(int(text.split("n = ")[1]) for text in ticks) == sorted(dots)
        plt.close(figure)


def test_the_figure_of_areas_counts_runs_without_an_a_star_in_no_area(several: pd.DataFrame):
    """Two runs of three have an a*, of 0.1."""
    figure = study_figures.smallest_areas(several)
    axes = figure.axes[1]
    (line,) = (one for one in axes.lines if len(one.get_xdata()))
    steps = dict(zip(line.get_xdata(), line.get_ydata(), strict=True))
    assert steps[0.1] == pytest.approx(2 / 3)
    assert [y for x, y in steps.items() if 0.1 < x < axes.get_xlim()[1]] == []  # nothing is added up to the end
    plt.close(figure)


def test_the_line_under_a_figure_counts_the_reductions_that_the_table_lists():
    found = rows(*TWO)
    said = study_figures.said_of_rows(found, "table1", "The rows are old.")
    count = sum(len(listed) for listed in table_text.reductions(found).values())
    assert count > 1
    assert (said["reduced"], said["quick"]) == (f"{count} reductions, which table1.md lists", True)
    assert said["made_by"].endswith("The rows are old.")


def test_the_figure_of_soft_against_cut_leaves_maps_out(several: pd.DataFrame):
    figure = study_figures.soft_against_cut(several)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["INR, quick (n = 2, 2)"]
    assert sum(len(one.get_offsets()) for axes in figure.axes for one in axes.collections) == 8
    plt.close(figure)


def test_a_study_in_which_nothing_has_an_a_star_still_has_tables_and_figures():
    none = rows(*(run(sample, iteration=number, precision=None) for sample in "ab" for number in (1, 2)))
    assert "n/a, n = 0" in table_text.markdown(tables.table_1(none))
    assert "n/a, n = 0" in table_text.latex(tables.table_2(none))
    for draw in (
        study_figures.precision_by_method,
        study_figures.precision_by_iteration,
        study_figures.soft_against_cut,
    ):
        figure = draw(none)
        assert [text.get_text() for text in figure.axes[0].texts] == ["no run has this measure"]
        plt.close(figure)
    plt.close(study_figures.smallest_areas(none))


def test_a_table_compares_methods_at_equal_area_where_rows_have_it(tmp_path: Path):
    equal = {"precision_at_050": 0.75, "probability_at_050": 0.2, "object_share": 0.3, "unmasked": 0.9, "size": 0.2}
    found = rows(run("a", **equal), run("b", **equal | {"precision_at_050": 0.25}), run("a", "rise", **equal))
    table = tables.table_1(found)
    inr = line(table, method="INR, quick")
    assert (inr["precision_at_050"], inr["precision_at_050_pictures"]) == (0.5, 2)
    assert inr["object_share"] == pytest.approx(0.3)
    made = table_text.parts(table)
    assert list(made)[:3] == [table_text.PAPER_TITLE, table_text.EQUAL_TITLE, table_text.PRECISION_TITLE]
    part = made[table_text.PRECISION_TITLE].set_index("Method")
    assert part.loc["INR, quick", "Precision, 5 %"] == "0.50 [0.00, 1.00]"
    assert "Precision, 10 %" not in part  # no row has it
    kept = made[table_text.EQUAL_TITLE].set_index("Method")
    assert kept.loc["RISE", "p, 5 %"] == "0.20 [n/a, n/a]"
    half = made[table_text.HALF_TITLE].set_index("Method")
    assert half.loc["RISE", ["n", "Fitted under", "Collapsed"]].tolist() == ["1", "the mean colour", "0"]
    layout = made[table_text.PAPER_TITLE].set_index("Method")
    assert layout.iloc[0, 0] == "0.50 (0.00), n = 2, size 0.20"  # the paper's columns say how large their masks are
    assert "on all pictures that the method has; compare lines only with equal n, or by" in table_text.caption(table)
    names = [path.name for path in table_text.write(table, tmp_path)]
    assert names[-2:] == ["table1_equal.csv", "table1_differences.csv"]
    older = tables.table_1(rows(*TWO))
    assert list(table_text.parts(older))[0] == table_text.PAPER_TITLE
    assert "equal real area" not in table_text.caption(older)
