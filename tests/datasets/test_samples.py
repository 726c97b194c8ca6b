"""Samples: masks that turn and shrink with their picture, digests, and which samples a classifier can explain."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from copies import IMAGENET, ROBIN, SIDE, VOC, classifier_of, imagenet_s, own, voc07, write_ids, write_picture
from PIL import Image

from inrexp.datasets.named import load_dataset
from inrexp.datasets.samples import Dataset
from inrexp.models.registry import IMAGENET_LABELS


def test_a_mask_turns_with_its_photograph(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a camera on its side: the stored left is the upright top
    ids = np.zeros((SIDE, 2 * SIDE), dtype=int)
    ids[:, :8] = 2
    imagenet_s(tmp_path, ids)
    write_picture(tmp_path / "validation" / ROBIN / "one.JPEG", (2 * SIDE, SIDE), exif=exif)
    tall = classifier_of(IMAGENET_LABELS, (SIDE, SIDE))
    tall.size, tall.resize = (2 * SIDE, SIDE), SIDE
    truth = load_dataset("imagenet-s50", tmp_path).samples[0].truth(tall).object
    assert truth[:8].all()
    assert not truth[8:].any()


def test_a_mask_of_another_size_names_both_files(tmp_path: Path):
    imagenet_s(tmp_path, np.full((10, 12), 2))
    with pytest.raises(ValueError, match=r"one.png is 12 x 10 px, its picture .*one.JPEG is 32 x 32"):
        load_dataset("imagenet-s50", tmp_path).samples[0].truth(IMAGENET)


def test_samples_travel_to_other_processes(tmp_path: Path):
    for dataset in (load_dataset("packaged"), load_dataset("imagenet-s50", imagenet_s(tmp_path))):
        assert pickle.loads(pickle.dumps(dataset)) == dataset


def test_a_digest_changes_with_picture_truth_and_target_and_with_nothing_else(tmp_path: Path):
    def digest(folder: Path) -> str:
        (sample,) = load_dataset("folder", folder)
        return sample.digest(IMAGENET)

    first = digest(own(tmp_path / "first", "name,target\na,espresso\n"))
    assert len(first) == 12
    assert digest(own(tmp_path / "copy", "name,target\nb,967\n", name="b")) == first  # another name, the same contents
    assert digest(own(tmp_path / "target", "name,target\na,daisy\n")) != first
    other = np.zeros((SIDE, SIDE), np.uint8)
    other[:9] = 255
    assert digest(own(tmp_path / "truth", "name,target\na,espresso\n", mask=other)) != first
    own(tmp_path / "picture", "name,target\na,espresso\n")
    Image.new("RGB", (SIDE, SIDE), "white").save(tmp_path / "picture" / "pictures" / "a.jpg")
    assert digest(tmp_path / "picture") != first


def test_a_broken_sample_has_a_digest_that_changes_when_it_is_mended(tmp_path: Path):
    own(tmp_path, "name,target\na,espresso\n", mask=np.zeros((SIDE, SIDE), np.uint8))  # marks nothing
    (sample,) = load_dataset("folder", tmp_path)
    broken = sample.digest(IMAGENET)
    own(tmp_path)
    assert sample.digest(IMAGENET) != broken


def test_an_empty_data_set_is_refused():
    with pytest.raises(ValueError, match="toy has no samples"):
        Dataset("toy", ())


def test_classes_that_the_classifier_lacks_are_left_out_and_counted(tmp_path: Path):
    voc07(tmp_path, {"000001": [("cat", 1, 1, 9, 9, 0), ("person", 1, 1, 9, 9, 0)]})
    dataset = load_dataset("voc07", tmp_path)
    known = dataset.known_to(IMAGENET)
    assert known.samples == dataset.samples[:1]
    assert known.facts == (*dataset.facts, "1 of 2 left out: custom has no person")
    assert dataset.known_to(VOC) is dataset
    with pytest.raises(LookupError, match="nothing of voc07 is left: 1 of 1 left out: custom has no person"):
        Dataset("voc07", dataset.samples[1:]).known_to(IMAGENET)


def test_an_object_outside_the_crop_is_left_out_and_counted(tmp_path: Path):
    """A wide picture loses its sides to the centre crop: columns 17 to 48 of 64 are shown."""
    boxes = [("cat", 1, 1, 16, 32, 0), ("dog", 1, 1, 17, 32, 0), ("person", 60, 1, 64, 9, 0)]
    dataset = load_dataset("voc07", voc07(tmp_path, {"000001": boxes}, (2 * SIDE, SIDE)))
    seen = dataset.known_to(VOC)
    assert [sample.name for sample in seen] == ["000001/dog"]
    left_out = "2 of 3 left out: their object lies outside the crop that custom is shown (000001/cat, 000001/person)"
    assert seen.facts == (*dataset.facts, left_out)
    assert "1 of 3 left out: custom has no person" in dataset.known_to(IMAGENET).facts  # counted once, for its class


def test_an_object_of_ignored_pixels_alone_is_left_out(tmp_path: Path):
    ids = np.full((SIDE, SIDE), 2)
    (sample,) = load_dataset("imagenet-s50", imagenet_s(tmp_path, ids))
    assert sample.truth(IMAGENET).object.all()
    write_ids(Path(sample.mask), np.full((SIDE, SIDE), 1000))
    with pytest.raises(LookupError, match="1 of 1 left out: their object lies outside the crop"):
        Dataset("toy", (sample,)).known_to(IMAGENET)


def test_a_sample_whose_mask_is_missing_stays_for_the_study_to_report(tmp_path: Path):
    dataset = load_dataset("imagenet-s50", imagenet_s(tmp_path))
    (tmp_path / "validation-segmentation" / ROBIN / "one.png").unlink()
    assert dataset.known_to(IMAGENET) is dataset
