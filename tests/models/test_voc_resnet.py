"""TorchRay's VOC ResNet50: its published names and layout, and what a file that is not it says."""

import hashlib
import re
from pathlib import Path

import pytest
import torch
from torchvision.models import resnet50

from inrexp.datasets.pictures import load_picture
from inrexp.models.registry import load_classifier
from inrexp.models.voc_resnet import BGR, load_voc_resnet, voc_resnet

MODEL = voc_resnet()


def published(model=MODEL) -> dict[str, torch.Tensor]:
    """A state dict as the checkpoint names it: Caffe's batch norm in two layers, statistics (0) and scale (1), BGR."""
    stored = {}
    for name, value in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        part = 0 if "running" in name else 1
        name = re.sub(r"\b(bn\d)\.", rf"\1.{part}.", name)
        name = re.sub(r"\b(downsample\.1)\.", rf"\1.{part}.", name)
        stored[name] = value.clone()
    stored["conv1.weight"] = stored["conv1.weight"][:, BGR]
    return stored


def saved(folder: Path, stored: dict) -> Path:
    """The file under a name with the first digits of its checksum."""
    torch.save({"state_dict": stored}, folder / "file")
    digest = hashlib.sha256((folder / "file").read_bytes()).hexdigest()
    return (folder / "file").rename(folder / f"resnet50_voc-{digest[:8]}.pth.tar")


def test_published_names_give_the_same_network_on_rgb(tmp_path: Path):
    model = load_voc_resnet(saved(tmp_path, published()))
    images = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(model(images), MODEL(images))
    assert torch.equal(model.conv1.weight, MODEL.conv1.weight)


@pytest.mark.parametrize(("size", "grid"), [((224, 224), (7, 7)), ((225, 300), (7, 10))])
def test_the_head_gives_twenty_scores_at_any_size(size: tuple[int, int], grid: tuple[int, int]):
    """225 px are 113 after the stem, 56 after the pooling (torchvision's own pooling gives 57, and 8 cells)."""
    seen = []
    handle = MODEL.layer4.register_forward_hook(lambda module, inputs, output: seen.append(output.shape[-2:]))
    with torch.no_grad():
        assert MODEL(torch.zeros(1, 3, *size)).shape == (1, 20)
    handle.remove()
    assert tuple(seen[0]) == grid


def test_strides_biases_and_pooling_are_caffe_s():
    assert MODEL.conv1.bias is not None
    assert (MODEL.maxpool.padding, MODEL.maxpool.ceil_mode) == (0, True)
    assert MODEL.layer2[0].conv1.stride == (2, 2)
    assert MODEL.layer2[0].conv2.stride == (1, 1)
    assert MODEL.layer1[0].conv1.stride == (1, 1)


def test_the_classifier_feeds_bgr_less_caffe_s_means_on_0_to_255(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = saved(tmp_path, published())
    monkeypatch.setattr("inrexp.models.registry.external", lambda name: path)
    classifier = load_classifier("resnet50_voc", device="cpu")
    image = classifier.prepare(load_picture("coffee"))
    fed = classifier.normalise(image)[0, :, 100, 100]
    expected = image[0, :, 100, 100] * 255 - torch.tensor([123.68, 116.779, 103.939])
    assert torch.allclose(fed, expected, atol=1e-3)
    probabilities = classifier.probabilities(image)
    assert probabilities.shape == (1, 20)
    assert not torch.isclose(probabilities.sum(), torch.tensor(1.0))  # a sigmoid each, no softmax
    assert classifier.target("cat", image).indices == (7,)


def test_a_wrong_checksum_is_refused(tmp_path: Path):
    path = saved(tmp_path, {}).rename(tmp_path / "resnet50_voc-9ca920d6.pth.tar")
    with pytest.raises(ValueError, match="its name says 9ca920d6"):
        load_voc_resnet(path)


def test_another_network_s_tensors_are_named(tmp_path: Path):
    with pytest.raises(ValueError, match=r"1 are missing \(conv1.bias\)"):
        load_voc_resnet(saved(tmp_path, resnet50(num_classes=20).state_dict()))


def test_another_head_s_shape_is_named(tmp_path: Path):
    stored = {**published(), "fc.weight": torch.zeros(1000, 2048)}
    with pytest.raises(ValueError, match=r"fc.weight has shape \(1000, 2048\), the VOC ResNet50's is \(20, 2048\)"):
        load_voc_resnet(saved(tmp_path, stored))


def test_two_tensors_of_one_name_are_refused(tmp_path: Path):
    stored = {**published(), "bn1.0.weight": torch.ones(64)}
    with pytest.raises(ValueError, match="bn1.0.weight and another tensor are both bn1.weight"):
        load_voc_resnet(saved(tmp_path, stored))


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path):
    (tmp_path / "weights.pth").write_text("<html>not found</html>")
    with pytest.raises(ValueError, match="weights.pth is no checkpoint"):
        load_voc_resnet(tmp_path / "weights.pth")


def test_missing_weights_say_what_to_get_and_where_to_put_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("INREXP_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="TorchRay.*CC BY-NC") as caught:
        load_classifier("resnet50_voc")
    assert str(tmp_path / "resnet50_voc-9ca920d6.pth.tar") in str(caught.value)
