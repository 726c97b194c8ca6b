"""Regions drawn by hand: polygons, masks and the picture's own resize and crop agree."""

import json
import shutil

import numpy as np
import pytest
import torch
from copies import IMAGENET
from PIL import Image
from torch import nn

from inrexp.datasets.named import load_dataset
from inrexp.datasets.packaged import (
    MASKS,
    PACKAGED_OBJECTS,
    draw_regions,
    mask_file,
    packaged_truth,
    region_names,
    write_region_masks,
)
from inrexp.datasets.pictures import PACKAGED, load_picture
from inrexp.models.classifier import Classifier, to_image


@pytest.fixture
def classifier() -> Classifier:
    return Classifier(nn.Sequential(nn.Flatten(), nn.Linear(3 * 48 * 64, 2)), size=(48, 64), resize=72)


def one_picture(folder, size, layers):
    drawing = {"size": list(size), "layers": [{"region": name, "polygons": polygons} for name, polygons in layers]}
    (folder / "polygons.json").write_text(json.dumps({"toy": drawing}))


def test_later_layers_cover_earlier_ones(tmp_path):
    around, box = [[0, 0], [9, 0], [9, 9], [0, 9]], [[2, 3], [4, 3], [4, 6], [2, 6]]
    one_picture(tmp_path, (10, 10), [("sky", [around]), ("house", [box])])
    regions = draw_regions("toy", folder=tmp_path)
    expected = np.zeros((10, 10), dtype=bool)
    expected[3:7, 2:5] = True  # PIL paints a polygon's edge too
    assert (regions["house"] == expected).all()
    assert (regions["sky"] == ~expected).all()


@pytest.mark.parametrize("picture", PACKAGED)
def test_the_committed_masks_are_the_polygons_at_the_picture_s_size(picture):
    regions = draw_regions(picture)
    size = load_picture(picture).size
    for region, mask in regions.items():
        with Image.open(MASKS / mask_file(picture, region)) as stored:
            assert stored.size == size
            assert (np.asarray(stored.convert("L")) > 127).tolist() == mask.tolist()
    assert (np.stack(list(regions.values())).sum(0) == 1).all()  # every pixel belongs to one region


def test_every_mask_file_has_its_polygons():
    named = {mask_file(picture, region) for picture in PACKAGED for region in region_names(picture)}
    assert {path.name for path in MASKS.glob("*.png")} == named


def test_a_mask_passes_through_the_same_resize_and_crop_as_the_picture(tmp_path, classifier):
    left, top, right, bottom = 60, 40, 119, 99
    box = [[left, top], [right, top], [right, bottom], [left, bottom]]
    one_picture(tmp_path, (200, 144), [("sky", [[[0, 0], [200, 0], [200, 144], [0, 144]]]), ("box", [box])])
    write_region_masks(tmp_path)
    picture = np.zeros((144, 200, 3), dtype=np.uint8)
    picture[top : bottom + 1, left : right + 1] = 255
    image = to_image(Image.fromarray(picture), size=(48, 64), resize=72, interpolation="bilinear")
    truth = packaged_truth("toy", "box", classifier, folder=tmp_path)
    assert truth.shape == (48, 64)
    assert truth.dtype == torch.bool
    assert torch.equal(truth, image[0, 0] > 0.5)
    both = packaged_truth("toy", ["box", "sky"], classifier, folder=tmp_path)
    assert both.all()


@pytest.mark.parametrize(
    ("picture", "region", "channel"),
    [("rocket", "rocket", 0), ("flower", ("petals", "centre"), 0), ("china", "sky", 2)],
)
def test_regions_lie_where_the_picture_says(picture, region, channel):
    """The rocket and the dahlia are redder than the rest of their pictures, the sky is bluer."""
    classifier = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(3 * 224 * 224, 2)), size=224, resize=256)
    image = classifier.prepare(load_picture(picture))[0, channel]
    truth = packaged_truth(picture, region, classifier)
    assert image[truth].mean() > image[~truth].mean() + 0.2


def test_unknown_names_are_refused(tmp_path, classifier):
    with pytest.raises(LookupError, match="no regions were drawn for 'moon'"):
        region_names("moon")
    with pytest.raises(LookupError, match="rocket has no region 'boat'; it has sky, towers"):
        packaged_truth("rocket", "boat", classifier)
    with pytest.raises(FileNotFoundError, match="clone it whole"):
        region_names("rocket", folder=tmp_path)
    shutil.copy(MASKS / "polygons.json", tmp_path)
    with pytest.raises(FileNotFoundError, match="no mask at"):
        packaged_truth("rocket", "sky", classifier, folder=tmp_path)


def test_the_packaged_pictures_have_their_objects():
    dataset = load_dataset("packaged")
    assert [sample.name for sample in dataset] == list(PACKAGED_OBJECTS)
    shares = {sample.name: float(sample.truth(IMAGENET).object.float().mean()) for sample in dataset}
    assert 0.1 < shares["coffee"] < 0.5
    assert shares["rocket"] < 0.1 < shares["china"]
    assert {sample.label for sample in dataset} == {"tiger cat", "palace", "espresso", "daisy", "missile"}
