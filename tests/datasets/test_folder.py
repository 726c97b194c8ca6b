"""A folder of one's own: pictures, masks, labels.csv, and errors that name the file."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from copies import IMAGENET, SIDE, own, write_picture
from PIL import Image

from inrexp.datasets.check import check_data
from inrexp.datasets.named import load_dataset


def test_a_folder_of_one_s_own_gives_targets_and_truths(tmp_path: Path):
    (sample,) = load_dataset("folder", own(tmp_path, "name,target\na,espresso\n"))
    assert sample.target(IMAGENET).indices == (967,)
    assert int(sample.truth(IMAGENET).object.sum()) == 8 * SIDE
    (plain,) = load_dataset("folder", own(tmp_path / "other"))
    assert len(plain.target(IMAGENET).indices) == 1  # the top-1


@pytest.mark.parametrize(
    ("break_it", "error", "words"),
    [
        (lambda folder: (folder / "masks/a.png").unlink(), FileNotFoundError, "no mask at .*a.png for .*a.jpg"),
        (lambda folder: write_picture(folder / "pictures/a.webp"), ValueError, "a.webp and .*a.jpg would share"),
        (lambda folder: (folder / "labels.csv").write_text("name,target\nb,1\n"), ValueError, "no row for a.jpg"),
        (lambda folder: (folder / "labels.csv").write_text("name,target\na,1\nb,1\n"), FileNotFoundError, "names b"),
        (lambda folder: (folder / "labels.csv").write_text("picture\na\n"), ValueError, "columns name,target"),
        (lambda folder: (folder / "labels.csv").write_text("name,target\na,1\na,2\n"), ValueError, "two rows for a"),
        (lambda folder: (folder / "labels.csv").write_text("target,name\n1,a\n2\n"), ValueError, "no name in line 3"),
        (lambda folder: (folder / "labels.csv").write_text("name,target\na,\n"), ValueError, "no target in line 2"),
        (lambda folder: (folder / "labels.csv").write_text("name,target\n"), ValueError, "no row below its first line"),
        (
            lambda folder: (folder / "labels.csv").write_bytes(b"name,target\na,\xe9\n"),
            ValueError,
            "labels.csv .*UTF-8",
        ),
        (lambda folder: (folder / "pictures/a.jpg").unlink(), FileNotFoundError, "no pictures in"),
        (lambda folder: (folder / "pictures/notes.txt").write_text("x"), ValueError, "notes.txt is no picture"),
        (lambda folder: shutil.rmtree(folder), FileNotFoundError, "no folder at"),
    ],
)
def test_a_folder_s_errors_name_the_file(tmp_path: Path, break_it, error, words):
    break_it(own(tmp_path))
    with pytest.raises(error, match=words):
        load_dataset("folder", tmp_path)


def test_all_faults_of_the_names_and_labels_are_told_at_once(tmp_path: Path):
    for name in ("a", "b", "c"):
        own(tmp_path, name=name)
    (tmp_path / "masks/a.png").unlink()
    (tmp_path / "masks/b.png").unlink()
    (tmp_path / "pictures/notes.txt").write_text("x")
    (tmp_path / "labels.csv").write_text("name,target\na,1\nc,1\nc,2\nd,\n")
    faults = (
        "two rows for c",
        "no target in line 5",
        "no mask at .*a.png",
        "no mask at .*b.png",
        "no row for b.jpg",
        "notes.txt is no picture",
        "labels.csv names d",
    )
    with pytest.raises(ValueError, match="(?s)" + ".*".join(faults)):
        load_dataset("folder", tmp_path)
    Image.fromarray(np.eye(SIDE, dtype=np.uint8)).save(tmp_path / "masks/c.png")
    report = check_data("folder", tmp_path)
    assert len(report.problems) == len(faults) + 1
    assert "c.png marks nothing" in report.problems[-1]


def test_the_check_names_a_class_that_may_be_misspelled(tmp_path: Path):
    report = check_data("folder", own(tmp_path, "name,target\na,espreso\n"))
    assert report.problems == ()
    assert "a: 'espreso' is a class of neither ImageNet nor VOC (did you mean 'espresso'" in str(report)
    for known in ("Espresso", "967", "dog"):
        assert "neither" not in str(check_data("folder", own(tmp_path, f"name,target\na,{known}\n")))


def test_a_mask_of_zeros_and_ones_is_refused(tmp_path: Path):
    own(tmp_path, mask=np.eye(SIDE, dtype=np.uint8))
    with pytest.raises(ValueError, match="a.png marks nothing.*largest value is 1"):
        load_dataset("folder", tmp_path).samples[0].truth(IMAGENET)


def test_what_is_transparent_in_a_mask_is_not_the_object(tmp_path: Path):
    own(tmp_path)
    drawn = np.full((SIDE, SIDE, 4), 255, np.uint8)
    drawn[4:, :, 3] = 0
    Image.fromarray(drawn).save(tmp_path / "masks" / "a.png")
    (sample,) = load_dataset("folder", tmp_path)
    assert int(sample.truth(IMAGENET).object.sum()) == 4 * SIDE


def test_a_mask_that_marks_the_whole_picture_is_refused(tmp_path: Path):
    own(tmp_path, mask=np.full((SIDE, SIDE), 255, np.uint8))
    with pytest.raises(ValueError, match="a.png marks the whole picture"):
        load_dataset("folder", tmp_path).samples[0].truth(IMAGENET)
    assert "a.png marks the whole picture" in str(check_data("folder", tmp_path))


def test_pictures_without_masks_are_explained_and_their_precision_is_not_measured(tmp_path: Path):
    shutil.rmtree(own(tmp_path) / "masks")
    dataset = load_dataset("folder", tmp_path)
    assert "no masks, so precision is not measured" in dataset.facts[0]
    (sample,) = dataset.known_to(IMAGENET)
    assert not sample.truth(IMAGENET).counted.any()
    assert str(check_data("folder", tmp_path)).endswith("folder: ok")
