"""Packaged pictures: regions drawn by hand pass through the picture's resize and crop, and the network knows them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from copies import IMAGENET
from PIL import Image
from torch import nn

from inrexp.datasets.named import load_dataset
from inrexp.datasets.packaged import draw_regions, packaged_truth, region_names
from inrexp.datasets.pictures import PACKAGED, load_picture
from inrexp.models.classifier import Classifier, to_image
from inrexp.models.registry import load_classifier


@pytest.fixture
def classifier() -> Classifier:
    return Classifier(nn.Sequential(nn.Flatten(), nn.Linear(3 * 48 * 64, 2)), size=(48, 64), resize=72)


def one_picture(folder: Path, size: tuple[int, int], layers: list) -> Path:
    path = folder / "regions.json"
    drawing = {"size": list(size), "layers": [{"region": name, "polygons": polygons} for name, polygons in layers]}
    path.write_text(json.dumps({"toy": drawing}))
    return path


def test_later_layers_cover_earlier_ones(tmp_path: Path):
    around, box = [[0, 0], [9, 0], [9, 9], [0, 9]], [[2, 3], [4, 3], [4, 6], [2, 6]]
    regions = draw_regions("toy", drawings=one_picture(tmp_path, (10, 10), [("sky", [around]), ("house", [box])]))
    expected = np.zeros((10, 10), dtype=bool)
    expected[3:7, 2:5] = True  # PIL paints a polygon's edge too
    assert (regions["house"] == expected).all()
    assert (regions["sky"] == ~expected).all()


@pytest.mark.parametrize("picture", PACKAGED)
def test_every_packaged_picture_has_regions_that_cover_each_pixel_once(picture: str):
    regions = draw_regions(picture)
    width, height = load_picture(picture).size
    assert np.stack(list(regions.values())).shape == (len(regions), height, width)
    assert (np.stack(list(regions.values())).sum(0) == 1).all()
    assert all(mask.any() for mask in regions.values()), "a region that is covered by the later ones"


def test_a_region_passes_through_the_same_resize_and_crop_as_the_picture(tmp_path: Path, classifier: Classifier):
    left, top, right, bottom = 60, 40, 119, 99
    box = [[left, top], [right, top], [right, bottom], [left, bottom]]
    layers = [("sky", [[[0, 0], [200, 0], [200, 144], [0, 144]]]), ("box", [box])]
    drawings = one_picture(tmp_path, (200, 144), layers)
    picture = np.zeros((144, 200, 3), dtype=np.uint8)
    picture[top : bottom + 1, left : right + 1] = 255
    image = to_image(Image.fromarray(picture), size=(48, 64), resize=72, interpolation="bilinear")
    truth = packaged_truth("toy", "box", classifier, drawings=drawings)
    assert truth.shape == (48, 64)
    assert truth.dtype == torch.bool
    assert torch.equal(truth, image[0, 0] > 0.5)
    assert packaged_truth("toy", ["box", "sky"], classifier, drawings=drawings).all()


@pytest.mark.parametrize(
    ("picture", "region", "channel"),
    [
        ("rocket", "rocket", 0),
        ("flower", ("petals", "centre"), 0),
        ("china", "sky", 2),
        ("macaws", ("right head", "right body"), 0),
        ("tulips", "tulips", 0),
    ],
)
def test_regions_lie_where_the_picture_says(picture: str, region: str, channel: int):
    """The rocket, the dahlia, the right macaw and the tulips are redder than their surroundings, the sky is bluer."""
    classifier = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(3 * 224 * 224, 2)), size=224, resize=256)
    image = classifier.prepare(load_picture(picture))[0]
    colour = image[channel] - image.mean(0)  # how much redder or bluer than grey
    truth = packaged_truth(picture, region, classifier)
    assert colour[truth].mean() > colour[~truth].mean() + 0.03


def test_unknown_names_are_refused(tmp_path: Path, classifier: Classifier):
    with pytest.raises(LookupError, match="no regions were drawn for 'moon'"):
        region_names("moon")
    with pytest.raises(LookupError, match="rocket has no region 'boat'; it has sky, towers"):
        packaged_truth("rocket", "boat", classifier)
    with pytest.raises(FileNotFoundError, match="regions.json: this copy of inrexp is incomplete"):
        region_names("rocket", drawings=tmp_path / "regions.json")


def test_the_packaged_data_set_has_ten_pictures_or_more_with_their_objects():
    dataset = load_dataset("packaged")
    assert len(dataset) >= 10
    shares = {sample.name: float(sample.truth(IMAGENET).object.float().mean()) for sample in dataset}
    assert 0.1 < shares["coffee"] < 0.5
    assert shares["rocket"] < 0.1 < shares["china"]
    labels = {sample.name: sample.label for sample in dataset}
    assert (labels["penguins"], labels["monarch"], labels["sail"]) == ("king penguin", "monarch", "boat")
    assert not {"astronaut", "clock", "tulips"} & set(labels)  # the network names nothing that is there


def test_lite0_knows_every_picture_of_the_packaged_data_set():
    classifier = load_classifier("efficientnet_lite0", device="cpu")
    for sample in load_dataset("packaged"):
        target = sample.target(classifier)
        p = classifier.probabilities(classifier.prepare(load_picture(sample.picture)))[0]
        if len(target.indices) == 1:
            assert int(p.argmax()) == target.indices[0], sample.name
        else:
            assert float(p[list(target.indices)].sum()) > 0.3, sample.name
