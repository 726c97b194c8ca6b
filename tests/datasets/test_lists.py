"""Lists of sample names: how they are read, and that the committed ones tell tuned and reported pictures apart."""

from pathlib import Path

import pandas as pd
import pytest
from copies import voc07

from inrexp.datasets import lists
from inrexp.datasets.lists import LISTS, REPORTED, TUNED, chose, listed, read_names
from inrexp.datasets.named import load_dataset


def test_a_list_has_one_name_a_line(tmp_path: Path):
    path = tmp_path / "names.txt"
    path.write_text("# two of them\nb/two words\n\n  a/1  \n")
    assert read_names(path) == ("b/two words", "a/1")
    path.write_text("a\nb\na\n")
    with pytest.raises(ValueError, match="names a more than once"):
        read_names(path)
    path.write_text("# nothing\n")
    with pytest.raises(ValueError, match="names no sample: wanted one name a line"):
        read_names(path)
    path.write_bytes("café\n".encode("latin-1"))
    with pytest.raises(ValueError, match="names.txt must be text in UTF-8"):
        read_names(path)
    with pytest.raises(FileNotFoundError, match="no list of samples at .*nowhere.txt"):
        read_names(tmp_path / "nowhere.txt")


def test_the_committed_lists_share_no_picture_and_the_reported_ones_are_those_of_the_study():
    tuned, reported, voc = (read_names(LISTS / f"{name}.txt") for name in (*TUNED, *REPORTED))
    assert (len(tuned), len(reported), len(voc)) == (40, 61, 39)
    assert not set(tuned) & {*reported, *voc}
    rows = pd.read_csv(LISTS / "study_rows.csv")
    assert set(rows["sample"][rows["dataset"] == "imagenet-s50-standin"]) == set(reported)
    assert set(rows["sample"][rows["dataset"] == "voc07-difficult-sample"]) == set(voc)


def test_what_was_tried_out_was_tried_on_no_reported_picture():
    """The last five variants were fitted to reported pictures once, when nothing was left to choose."""
    rows = pd.read_csv(LISTS / "variants.csv")
    told = {"crisp", "extremal perturbations, quick", "paper, 4000 passes"}
    told |= {"paper, 300 passes", "paper, 300 passes, area scale 1"}
    tried = set(rows["picture"][~rows["variant"].isin(told)])
    assert listed(TUNED) < tried
    assert not listed(REPORTED) & tried
    assert len(listed(REPORTED) & set(rows["picture"])) == 20


def test_pictures_on_no_list_are_not_spoken_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    assert chose(["coffee", "chelsea"]) == ""
    one = read_names(LISTS / "reported.txt")[0]
    assert chose([one, "coffee", one]) == "1 picture that chose nothing"
    monkeypatch.setattr(lists, "LISTS", tmp_path)  # a wheel
    assert chose([one]) == ""


def test_a_data_set_can_be_cut_to_names_in_its_own_order(tmp_path: Path):
    boxes = {f"00000{n}": [("cat", 1, 1, 9, 9, 0)] for n in (1, 2, 3)}
    dataset = load_dataset("voc07", voc07(tmp_path, boxes))
    some = dataset.only(["000003/cat", "000001/cat"])
    assert [sample.name for sample in some] == ["000001/cat", "000003/cat"]
    assert some.facts == (*dataset.facts, "2 of 3 samples, chosen by name")
    assert dataset.only([sample.name for sample in dataset]) is dataset
    with pytest.raises(LookupError, match=r"voc07 has no sample named 1, 2 \(2 of the 3 names.* such as 000001/cat"):
        dataset.only(["1", "2", "000001/cat"])
