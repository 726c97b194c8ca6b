"""VOC07 in the official layout: boxes, masks, classes, and the rule of VOC07-difficult clause by clause."""

from pathlib import Path

import numpy as np
import pytest
import torch
from copies import IMAGENET, SIDE, VOC, voc07
from PIL import Image

from inrexp.datasets.named import load_dataset
from inrexp.datasets.voc import Annotation, Box, difficult_classes, imagenet_instances
from inrexp.models.registry import IMAGENET_LABELS
from inrexp.models.voc_resnet import VOC_CLASSES


def test_a_box_counts_from_one_and_its_last_pixel_is_inside(tmp_path: Path):
    voc07(tmp_path, {"000001": [("dog", 1, 1, 4, 2, 0), ("dog", 5, 1, 8, 2, 1), ("person", 9, 9, 30, 30, 0)]})
    dataset = load_dataset("voc07", tmp_path)
    assert [sample.name for sample in dataset] == ["000001/dog", "000001/person"]
    truth = dataset.samples[0].truth(VOC)
    expected = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    expected[:2, :8] = True
    assert torch.equal(truth.object, expected)
    assert truth.counted.all()


def test_a_segmentation_mask_is_a_second_truth_without_its_borders(tmp_path: Path):
    voc07(tmp_path, {"000001": [("dog", 1, 1, 9, 9, 0)]})
    ids = np.zeros((SIDE, SIDE), np.uint8)
    ids[:4], ids[4:6] = VOC_CLASSES.index("dog") + 1, 255
    palette = Image.fromarray(ids, mode="P")
    palette.putpalette([value for index in range(256) for value in (index, 0, 255 - index)])
    palette.save(tmp_path / "VOCdevkit/VOC2007/SegmentationClass/000001.png")
    truths = load_dataset("voc07", tmp_path).samples[0].truths(VOC)
    assert list(truths) == ["box", "mask"]
    assert int(truths["mask"].object.sum()) == 4 * SIDE
    assert int((~truths["mask"].counted).sum()) == 2 * SIDE


def test_a_voc_class_is_its_own_or_the_sum_of_imagenet_s_instances(tmp_path: Path):
    voc07(tmp_path, {"000001": [("cat", 1, 1, 9, 9, 0), ("person", 1, 1, 9, 9, 0)]})
    dataset = load_dataset("voc07", tmp_path)
    cat, person = dataset
    assert cat.target(VOC).indices == (7,)
    assert cat.target(IMAGENET).indices == (281, 282, 283, 284, 285)
    with pytest.raises(LookupError, match="no class for person"):
        person.target(IMAGENET)


def test_the_look_up_has_every_voc_class_and_no_name_is_both():
    assert tuple(imagenet_instances()) == VOC_CLASSES
    assert not set(VOC_CLASSES) & set(IMAGENET_LABELS)


# A picture of 20 x 20 px, whose quarter is 100 px.  A dog of 5 x 5 px and a cow beside it are both difficult; each case
# changes one clause of the rule.  A flagged object has True at its end.
DOG, COW = Box("dog", 1, 1, 5, 5, False), Box("cow", 11, 11, 15, 15, False)
FLAGGED_DOG, FLAGGED_COW = Box("dog", 1, 1, 5, 5, True), Box("cow", 11, 11, 15, 15, True)
CAT = Box("cat", 1, 1, 20, 20, False)  # large: another class that is never difficult itself


@pytest.mark.parametrize(
    ("boxes", "expected", "clause"),
    [
        ((DOG, COW), ["cow", "dog"], "in VOC's order"),
        ((DOG,), [], "another class must be there"),
        ((DOG, DOG), [], "another object of the same class is not another class"),
        ((FLAGGED_DOG, COW, CAT), ["cow"], "a class whose objects are all flagged is not taken"),
        ((FLAGGED_DOG, DOG, CAT), ["dog"], "a class with one object that is not flagged is taken"),
        ((DOG, FLAGGED_COW), [], "a class whose objects are all flagged does not count as the other class"),
        ((DOG, FLAGGED_COW, COW), ["cow", "dog"], "a class with one object that is not flagged does count"),
        ((DOG, Box("dog", 1, 10, 20, 20, True), CAT), [], "flagged boxes count in the area"),
        ((*[Box("dog", 1, 1, 10, 6, False)] * 2, CAT), ["dog"], "the area is the union, 60 px, not the sum, 120 px"),
        ((Box("dog", 1, 1, 10, 6, False), Box("dog", 11, 1, 20, 6, False), CAT), [], "all of the class's boxes count"),
        ((Box("dog", 1, 1, 11, 10, False), CAT), [], "the last pixel counts: 11 x 10 px, without it 10 x 9"),
        ((Box("dog", 1, 1, 10, 10, False), CAT), [], "exactly a quarter is not less than a quarter"),
        ((Box("dog", 1, 1, 11, 9, False), CAT), ["dog"], "99 px are less than a quarter"),
    ],
)
def test_the_difficult_rule_clause_by_clause(boxes: tuple[Box, ...], expected: list[str], clause: str):
    assert difficult_classes(Annotation("000001", "000001.jpg", (20, 20), boxes)) == expected, clause


def test_voc07_difficult_takes_only_the_pairs_of_the_rule(tmp_path: Path):
    voc07(tmp_path, {"000001": [("dog", 1, 1, 5, 5, 0), ("cat", 1, 1, 32, 30, 0)], "000002": [("cow", 1, 1, 5, 5, 0)]})
    dataset = load_dataset("voc07-difficult", tmp_path)
    assert [sample.name for sample in dataset] == ["000001/dog"]
    assert "not the published voc07-difficult, which has 1467 pictures and 2230 pairs" in dataset.facts[0]


def test_a_damaged_annotation_is_named(tmp_path: Path):
    voc07(tmp_path, {"000001": [("unicorn", 1, 1, 9, 9, 0)]})
    with pytest.raises(ValueError, match="000001.xml has an object 'unicorn'"):
        load_dataset("voc07", tmp_path)
    (tmp_path / "VOCdevkit/VOC2007/Annotations/000001.xml").write_text("<annotation>")
    with pytest.raises(ValueError, match="000001.xml is no VOC annotation"):
        load_dataset("voc07", tmp_path)
