"""Programs of benchmarks/: what they refuse before hours of work, and that they write what they measured."""

import argparse
import dataclasses
import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pandas as pd
import pytest
from planted import QUICK_FIT, plant

from inrexp.datasets.lists import LISTS, read_names
from inrexp.datasets.samples import Dataset, Sample, Truth
from inrexp.models.classifier import Classifier, Target
from inrexp.study.peers import quantus_table, read_scores
from inrexp.study.plan import StudyPlan
from inrexp.study.rows import read_rows, setting_of
from inrexp.study.run import run_study

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
PLANTED = plant()


class Stripes(Sample):
    def target(self, classifier: Classifier) -> Target:
        return Target((1,), self.label)

    def truths(self, classifier: Classifier) -> dict[str, Truth]:
        return {"mask": Truth(PLANTED.truth, PLANTED.truth | True)}


DATASET = Dataset("planted", (Stripes("stripes", PLANTED.image, "stripes"),))


def program(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A program of benchmarks/ as a module, which finds those beside it."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def mixed_precision(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program on the planted picture, in short fits."""
    module = program("mixed_precision", monkeypatch)
    monkeypatch.setattr(module, "load_classifier", lambda *_, **__: PLANTED.classifier)
    monkeypatch.setattr(module, "load_dataset", lambda *_: DATASET)
    monkeypatch.setitem(module.PRESETS, "crisp", dataclasses.replace(QUICK_FIT, steps=20, area_range=(0.025, 0.4)))
    return module


def call(module: ModuleType, monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, words)])
    module.main()


def test_mixed_precision_writes_its_table_into_a_new_folder(mixed_precision, tmp_path: Path, monkeypatch):
    path = tmp_path / "nowhere" / "x.csv"
    call(mixed_precision, monkeypatch, "--seeds", 2, "--out", path)
    header, line = path.read_text().splitlines()
    assert header.count(",") == line.count(",") == 10
    assert line.startswith("stripes,")


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--seeds", 1], "--seeds must be 2 or more, got 1"), (["--out", BENCHMARKS], "--out must name a file")],
)
def test_mixed_precision_refuses_before_it_fits(mixed_precision, monkeypatch, capsys, words: list, message: str):
    monkeypatch.setattr(mixed_precision, "fit", lambda *_, **__: pytest.fail("fitted"))
    with pytest.raises(SystemExit):
        call(mixed_precision, monkeypatch, *words)
    assert message in capsys.readouterr().err


def options_of(pictures: ModuleType, *words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    pictures.add_pictures(parser)
    return parser.parse_args(words)


def test_without_arguments_benchmarks_take_the_pictures_that_are_reported(monkeypatch):
    pictures = program("pictures", monkeypatch)
    assert options_of(pictures).dataset == "imagenet-s50"
    assert pictures.named(options_of(pictures)) == read_names(LISTS / "reported.txt")
    voc = options_of(pictures, "--dataset", "voc07-difficult")
    assert pictures.named(voc) == read_names(LISTS / "reported_voc.txt")
    for words in (["--dataset", "packaged"], ["--samples", "all"]):
        assert pictures.named(options_of(pictures, *words)) is None


@pytest.mark.parametrize("name", ["controls", "nulls", "quality", "variants"])
def test_each_benchmark_chooses_pictures_and_its_file_by_the_same_options(name: str, monkeypatch, capsys):
    with pytest.raises(SystemExit) as caught:
        call(program(name, monkeypatch), monkeypatch, "--help")
    assert caught.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "default: imagenet-s50" in said
    assert "data/results/reported.txt" in said
    assert f"rows go to this file (default: data/results/{name}" in said


def study(folder: Path, **options) -> pd.DataFrame:
    """A study of GradCAM and RISE on the planted picture.  Returns its rows."""
    plan = StudyPlan(methods=("grad_cam", "rise"), seeds=1, options={"rise": {"masks": 8} | options})
    run_study(plan, folder, dataset=DATASET, classifier=PLANTED.classifier, progress=False)
    return read_rows(folder)


@pytest.fixture
def quantus_scores(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program with a stand-in for Quantus, which needs an environment of its own: every score is a half."""

    def metric(**_: object):
        return lambda **_: [0.5]

    names = ("TopKIntersection", "RelevanceRankAccuracy", "PixelFlipping")
    monkeypatch.setitem(sys.modules, "quantus", SimpleNamespace(**dict.fromkeys(names, metric)))
    module = program("quantus_scores", monkeypatch)
    monkeypatch.setattr(module, "chosen", lambda options: (PLANTED.classifier, DATASET, DATASET.samples))
    return module


def test_scores_carry_the_studys_names_and_are_not_made_twice(quantus_scores, tmp_path: Path, monkeypatch):
    out, two = tmp_path / "quantus.csv", study(tmp_path / "one")
    call(quantus_scores, monkeypatch, tmp_path / "one", "--out", out)
    rows = pd.read_csv(out)
    assert dict(zip(rows["key"], rows["method"], strict=True)) == dict(zip(two["key"], two["variant"], strict=True))
    assert set(rows["method"]) == {"GradCAM", "RISE"}
    three = study(tmp_path / "one", masks=16)  # RISE has two settings now, and each has a name of its own
    call(quantus_scores, monkeypatch, tmp_path / "one", "--out", out)
    assert set(pd.read_csv(out)["method"]) == set(three["variant"]) == {"GradCAM", "RISE, masks 8", "RISE, masks 16"}
    monkeypatch.setattr(quantus_scores, "scores", lambda *_: pytest.fail("scored again"))
    call(quantus_scores, monkeypatch, tmp_path / "one", "--out", out)
    with pytest.raises(ValueError, match="repeat the key of another"):
        quantus_scores.runs_of([tmp_path / "one", tmp_path / "one"], ["stripes"])


def test_a_score_gives_way_to_one_of_the_same_setting_only(quantus_scores, tmp_path: Path, monkeypatch):
    out = tmp_path / "quantus.csv"
    study(tmp_path / "one")
    call(quantus_scores, monkeypatch, tmp_path / "one", "--out", out)
    before = pd.read_csv(out)
    before.assign(key=[f"older {key}" for key in before["key"]], top_tenth=0.1).to_csv(out, index=False)
    call(quantus_scores, monkeypatch, tmp_path / "one", "--out", out)
    after = pd.read_csv(out)
    assert after["key"].tolist() == before["key"].tolist()
    assert after["top_tenth"].tolist() == [0.5, 0.5]
    study(tmp_path / "other", masks=16)  # calls it RISE, too
    with pytest.raises(ValueError, match="has rows of 'RISE' by other settings than the study's: give another --out"):
        call(quantus_scores, monkeypatch, tmp_path / "other", "--out", out)
    pd.testing.assert_frame_equal(pd.read_csv(out), after)
    before.assign(key=[f"older {key}" for key in before["key"]]).to_csv(out, index=False)
    three = study(tmp_path / "one", masks=16)  # the older row of RISE gives way, though it has another name now
    call(quantus_scores, monkeypatch, tmp_path / "one", "--out", out)
    assert sorted(pd.read_csv(out)["key"]) == sorted(three["key"])


def test_scores_refuse_what_is_there_twice_and_another_device(quantus_scores, tmp_path: Path, monkeypatch, capsys):
    rows = pd.DataFrame({"key": ["a", "b"], "dataset": "d", "picture": "p", "method": "m"})
    rows.to_csv(tmp_path / "twice.csv", index=False)
    runs = pd.DataFrame(columns=["key", "dataset", "sample", "variant", "setting"])
    with pytest.raises(ValueError, match=r"twice.csv: 1 rows repeat dataset, picture, method .* the first: d, p, m"):
        read_scores(tmp_path / "twice.csv", runs)
    with pytest.raises(ValueError, match="Quantus's scores: 1 rows repeat picture, method"):
        quantus_table(rows, pd.DataFrame({"key": ["a"], "precision_at_100": [0.5]}))
    with pytest.raises(SystemExit):
        call(quantus_scores, monkeypatch, tmp_path, "--device", "cuda")
    assert "--device must be cpu" in capsys.readouterr().err


def test_the_committed_scores_are_read_under_their_names_and_under_the_studys():
    runs = read_rows(LISTS / "study_rows.csv")
    table = quantus_table(pd.read_csv(LISTS / "quantus.csv"), runs)
    assert pd.isna(table.loc["inr, crisp", "flipping, less field"])
    assert table.drop("inr, crisp")["flipping, less field"].notna().all()
    runs = runs.assign(setting=[setting_of(run) for run in runs.to_dict("records")])
    renamed = quantus_table(read_scores(LISTS / "quantus.csv", runs), runs)
    assert {"INR, crisp", "RISE, masks 4000"} <= set(renamed.index)
    pd.testing.assert_frame_equal(table.reset_index(drop=True), renamed.reset_index(drop=True))


def test_a_studys_rows_are_added_to_those_of_other_runs(tmp_path: Path, monkeypatch):
    quality = program("quality", monkeypatch)
    first = study(tmp_path / "one")
    out, beside = tmp_path / "results" / "quality_rows.csv", tmp_path / "results" / "quality_seconds.csv"
    for _ in range(2):  # the second time nothing changes
        quality.add_study(tmp_path / "one", out)
        assert out.read_text() == (tmp_path / "one" / "rows.csv").read_text()
        assert beside.read_text() == (tmp_path / "one" / "seconds.csv").read_text()
    second = study(tmp_path / "two", masks=16)
    quality.add_study(tmp_path / "two", out)
    assert set(read_rows(out)["key"]) == set(first["key"]) | set(second["key"])
    altered = pd.read_csv(out, dtype=str, keep_default_na=False)
    altered.assign(key=altered["key"].str[::-1]).to_csv(out, index=False)
    quality.add_study(tmp_path / "two", out)  # the study has computed its runs anew: other keys
    rows = pd.read_csv(out)
    assert set(second["key"]) <= set(rows["key"])
    assert not rows.duplicated(list(quality.IDENTITY)).any()
    assert set(pd.read_csv(beside)["key"]) == set(second["key"])


def test_two_studies_that_add_to_one_file_at_the_same_time_keep_the_seconds_of_both(tmp_path: Path, monkeypatch):
    quality = program("quality", monkeypatch)
    keys = [set(study(tmp_path / name, **options)["key"]) for name, options in (("one", {}), ("two", {"masks": 16}))]
    out, add_rows, calls = tmp_path / "quality_rows.csv", quality.add_rows, []

    def interrupted(*arguments, **options):
        calls.append(1)
        if len(calls) == 2:  # the first study has added its rows, and not yet its seconds
            quality.add_study(tmp_path / "two", out)
        return add_rows(*arguments, **options)

    monkeypatch.setattr(quality, "add_rows", interrupted)
    quality.add_study(tmp_path / "one", out)
    assert set(pd.read_csv(tmp_path / "quality_seconds.csv")["key"]) == keys[0] | keys[1]
