"""Data sets by name, and what is said where their files are missing."""

import pytest

from inrexp.datasets.named import load_dataset
from inrexp.files import data_folder, registry


@pytest.mark.parametrize("name", ["imagenet-s50", "imagenet-s919", "voc07", "voc07-difficult"])
def test_missing_data_say_what_to_get_from_whom_on_which_terms_and_where_to_put_it(name, tmp_path, monkeypatch):
    monkeypatch.setenv("INREXP_DATA", str(tmp_path / "data"))
    entry = registry()[name]
    with pytest.raises(FileNotFoundError) as caught:
        load_dataset(name)
    wanted = [entry["source"], entry["terms"], str(data_folder() / entry["place"])]
    assert [words for words in wanted if words not in str(caught.value)] == []


def test_unknown_names_and_a_missing_folder_are_refused():
    with pytest.raises(LookupError, match="no data set named 'coco'; there are packaged, imagenet-s50"):
        load_dataset("coco")
    with pytest.raises(ValueError, match="folder must be given"):
        load_dataset("folder")
    with pytest.raises(ValueError, match="folder mine was given, .*--dataset folder"):
        load_dataset("packaged", "mine")
