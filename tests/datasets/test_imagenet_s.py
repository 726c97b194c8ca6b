"""ImageNet-S in the official layout: class ids, names, merged classes, ignored pixels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from copies import IMAGENET, ROBIN, SIDE, VOC, imagenet_s, write_ids, write_picture

from inrexp.datasets.named import load_dataset
from inrexp.metrics import precision


def test_an_imagenet_s_mask_gives_the_object_and_leaves_ignored_pixels_out(tmp_path: Path):
    (sample,) = load_dataset("imagenet-s50", imagenet_s(tmp_path))
    truth = sample.truth(IMAGENET)
    rows = torch.arange(SIDE)[:, None].expand(SIDE, SIDE)
    assert torch.equal(truth.object, (rows >= 8) & (rows < 16))
    assert torch.equal(truth.counted, (rows < 16) | (rows >= 24))
    mask = torch.ones(1, 1, SIDE, SIDE)
    assert float(precision(mask, truth.object, counted=truth.counted)) == pytest.approx(8 / 24)
    assert float(precision(mask, truth.object)) == pytest.approx(8 / 32)


def test_a_wnid_is_its_imagenet_class(tmp_path: Path):
    (sample,) = load_dataset("imagenet-s50", imagenet_s(tmp_path))
    assert (sample.name, sample.label) == (f"{ROBIN}/one", "robin")
    assert sample.target(IMAGENET).indices == (15,)
    with pytest.raises(LookupError, match="20 classes of its own"):
        sample.target(VOC)


def test_class_ids_above_255_are_in_the_green_channel(tmp_path: Path):
    from timm.data import ImageNetInfo

    wnids = ImageNetInfo("imagenet-1k").label_names()[:301]  # sorted
    last = wnids[-1]
    imagenet_s(tmp_path, np.full((SIDE, SIDE), 16), wnids)
    write_picture(tmp_path / "validation" / last / "late.JPEG")
    write_ids(tmp_path / "validation-segmentation" / last / "late.png", np.full((SIDE, SIDE), 301))
    by_name = {sample.name: sample for sample in load_dataset("imagenet-s919", tmp_path)}
    assert by_name[f"{last}/late"].truth(IMAGENET).object.all()


def test_classes_that_s919_merged_are_explained_as_either(tmp_path: Path):
    imagenet_s(tmp_path, wnids=(ROBIN, "n04355933"))
    write_picture(tmp_path / "validation" / "n04355933" / "two.JPEG")
    sample = load_dataset("imagenet-s919", tmp_path).samples[-1]
    assert sample.target(IMAGENET).indices == (836, 837)
    assert load_dataset("imagenet-s50", tmp_path).samples[-1].target(IMAGENET).indices == (836,)


def test_a_part_of_the_class_folders_without_the_list_is_refused(tmp_path: Path):
    (imagenet_s(tmp_path) / "categories.txt").unlink()
    with pytest.raises(ValueError, match="2 class folders, imagenet-s50 has 50.*categories.txt"):
        load_dataset("imagenet-s50", tmp_path)


def test_a_copy_that_is_not_the_published_set_says_so(tmp_path: Path):
    assert (
        "not the published imagenet-s50, which has 752 of 50"
        in load_dataset("imagenet-s50", imagenet_s(tmp_path)).facts[0]
    )
