"""GradCAM, RISE, saliency maps as masks, and the registry that treats all methods alike."""

import numpy as np
import pytest
import torch
from planted import QUICK_FIT, plant, precision
from torch import nn

from inrexp import methods, metrics
from inrexp.baselines import grad_cam, rise
from inrexp.comparison import METHODS
from inrexp.explanation import Explanation
from inrexp.models.classifier import Classifier, Target
from inrexp.saliency import SaliencyMap
from inrexp.seeds import generator


def ramp(side: int = 10) -> SaliencyMap:
    """A map whose scores are 0 to n - 1, row by row, on a grey picture."""
    planted = plant()
    return SaliencyMap(
        torch.arange(side * side, dtype=torch.float32).view(1, 1, side, side),
        image=torch.full((1, 3, side, side), 0.5),
        target=Target((1,), "stripes"),
        classifier=planted.classifier,
        method="by hand",
    )


def test_an_area_keeps_exactly_its_share_of_top_ranked_pixels():
    masks = ramp().mask([0.01, 0.25, 1.0])
    assert masks.sum((1, 2, 3)).tolist() == [1, 25, 100]
    assert masks[0, 0, 9, 9] == 1  # the highest score
    assert bool((masks[1, 0].flatten()[75:] == 1).all())


def test_a_threshold_cuts_the_map_scaled_to_its_range():
    found = ramp()
    assert (found.scaled.min(), found.scaled.max()) == (0, 1)
    assert found.mask(threshold=0.5).sum() == 50  # scores 50 to 99 of 99
    assert found.mask(threshold=0.2).sum() == 80


def test_a_constant_map_scales_to_nothing():
    flat = ramp()
    flat.saliency = torch.full_like(flat.saliency, 3.0)
    assert flat.mask(threshold=0.2).sum() == 0


def test_a_constant_map_explains_nothing_and_has_no_smallest_area():
    assert ramp().explains
    assert ramp().smallest_area(0.0) == ramp().searched_areas[0]
    flat = ramp()
    flat.saliency = torch.zeros_like(flat.saliency)
    assert not flat.explains
    assert flat.smallest_area(0.0) is None


def test_a_saliency_map_answers_what_an_explanation_answers():
    planted = plant()
    found = SaliencyMap(
        planted.truth[None, None].float(),
        image=planted.image,
        target=planted.classifier.target(1, planted.image),
        classifier=planted.classifier,
        method="truth",
    )
    share = float(planted.truth.float().mean())
    assert torch.equal(found.mask(share), found.mask(share, cut=0.5))
    assert torch.equal(found.mask(share)[0, 0].bool(), planted.truth)
    assert float(found.probability(share)) > 0.9 > 0.1 > float(found.probability(0.01))
    assert 0.05 < found.smallest_area() < share + 0.01
    wanted = planted.classifier.probabilities(found.blended(found.mask(0.05)))[:, 1]
    assert torch.allclose(found.probability(0.05), wanted)


@pytest.mark.parametrize(
    ("ask", "word"),
    [
        (lambda found: found.mask(), "one of them"),
        (lambda found: found.mask(0.1, threshold=0.1), "one of them"),
        (lambda found: found.mask(1.5), "area must lie"),
        (lambda found: found.mask(threshold=1.0), "threshold must lie"),
    ],
)
def test_what_a_map_cannot_answer_is_named(ask, word):
    with pytest.raises(ValueError, match=word):
        ask(ramp())


def test_scores_that_are_no_numbers_or_of_another_size_are_refused():
    found = ramp()
    for bad, word in ((torch.full((1, 1, 10, 10), torch.nan), "NaN"), (torch.ones(1, 1, 7, 7), "interpolate")):
        with pytest.raises(ValueError, match=word):
            SaliencyMap(bad, image=found.image, target=found.target, classifier=found.classifier, method="x")
    for bad in (found, found.saliency.numpy()):
        with pytest.raises(TypeError, match=rf"saliency must be a torch tensor.*{type(bad).__name__}.*its \.saliency"):
            SaliencyMap(bad, image=found.image, target=found.target, classifier=found.classifier, method="x")


# --- GradCAM ------------------------------------------------------------------------------------------------------


class TinyCNN(nn.Module):
    """Two convolutions, ReLU in place as in ResNets, pooling, three classes; dropout, so that modes matter."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU(inplace=True))
        self.stage = nn.Sequential(nn.Conv2d(4, 5, 3, stride=2, padding=1), nn.ReLU(inplace=True))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(5, 3)

    def forward(self, images):
        return self.head(self.drop(self.pool(self.stage(self.stem(images))).flatten(1)))


class TinyViT(nn.Module):
    """A class token and 4 x 4 patches, two blocks; only the class token reaches the head."""

    class Block(nn.Module):
        def __init__(self, width: int):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
            self.mlp = nn.Sequential(nn.Linear(width, width), nn.GELU())

        def forward(self, tokens):
            inside = self.norm1(tokens)
            tokens = tokens + self.attention(inside, inside, inside, need_weights=False)[0]
            return tokens + self.mlp(self.norm2(tokens))

    def __init__(self, width: int = 8):
        super().__init__()
        self.embed = nn.Conv2d(3, width, 8, stride=8)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.blocks = nn.Sequential(self.Block(width), self.Block(width))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 3)

    def forward(self, images):
        patches = self.embed(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(images), -1, -1), patches], dim=1)
        return self.head(self.norm(self.blocks(tokens))[:, 0])


def small(model: nn.Module) -> tuple[Classifier, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    classifier = Classifier(model, mean=[0.5] * 3, std=[0.5] * 3, size=32)
    return classifier, torch.rand(1, 3, 32, 32, generator=generator)


@pytest.mark.parametrize(("model", "layer"), [(TinyCNN(), "stage"), (TinyViT(), "blocks.1.norm1")])
def test_the_layer_is_found_by_itself(model, layer):
    classifier, image = small(model)
    assert grad_cam.find_layer(classifier, image, Target((1,), "one")) == layer


@pytest.mark.parametrize(
    ("name", "layer"), [("efficientnet_lite0", "bn2"), ("resnet18", "layer4"), ("swin_t", "permute")]
)
def test_the_layer_of_known_networks_is_the_last_convolutional_stage(name, layer):
    from inrexp.models.registry import load_classifier

    classifier = load_classifier(name, weights=None, device="cpu")
    image = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    assert grad_cam.find_layer(classifier, image, Target((1,), "one")) == layer


def test_grad_cam_of_a_cnn_equals_its_formula():
    classifier, image = small(TinyCNN())
    classifier.model.eval()
    activation = classifier.model.stage(classifier.model.stem(classifier.normalise(image))).detach().requires_grad_()
    score = classifier.model.head(classifier.model.pool(activation).flatten(1))[0, 2]
    (gradient,) = torch.autograd.grad(score, activation)
    coarse = (gradient.mean((2, 3), keepdim=True) * activation).sum(1, keepdim=True).relu()
    wanted = nn.functional.interpolate(coarse, size=(32, 32), mode="bilinear", align_corners=False)
    assert wanted.max() > 0
    got = grad_cam.grad_cam_map(classifier, image, Target((2,), "two"))
    assert torch.allclose(got, wanted, atol=1e-6)


def test_grad_cam_of_a_vit_weights_patches_by_their_mean_gradient():
    classifier, image = small(TinyViT())
    model = classifier.model.eval()
    kept = []
    hook = model.blocks[1].norm1.register_forward_hook(lambda _m, _i, output: kept.append(output))
    score = model(classifier.normalise(image).requires_grad_())[0, 2]
    hook.remove()
    (gradient,) = torch.autograd.grad(score, kept[0])
    weight = gradient[:, 1:].mean(1, keepdim=True)  # without the class token
    coarse = (weight * kept[0][:, 1:]).sum(2).relu().view(1, 1, 4, 4)
    wanted = nn.functional.interpolate(coarse, size=(32, 32), mode="bilinear", align_corners=False)
    got = grad_cam.grad_cam_map(classifier, image, Target((2,), "two"))
    assert wanted.max() > 0
    assert torch.allclose(got, wanted.detach(), atol=1e-6)


def test_a_layer_can_be_given_by_name_or_as_a_module():
    classifier, image = small(TinyCNN())
    by_name = methods.grad_cam(classifier, image, 1, layer="stem")
    by_module = methods.grad_cam(classifier, image, 1, layer=classifier.model.stem)
    assert torch.equal(by_name.saliency, by_module.saliency)
    assert not torch.equal(by_name.saliency, methods.grad_cam(classifier, image, 1).saliency)


def state_of(model: nn.Module) -> list:
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in model.modules()]
    flags = [(p.requires_grad, p.grad is None) for p in model.parameters()]
    return [hooks, flags, [m.training for m in model.modules()]]


@pytest.mark.parametrize("method", ["grad_cam", "rise"])
def test_the_model_comes_back_as_it_was(method):
    classifier, image = small(TinyCNN())
    classifier.model.train()
    classifier.model.stem.eval()
    before = state_of(classifier.model)
    options = {"masks": 4} if method == "rise" else {}
    METHODS[method](classifier, image, 1, progress=False, **options)
    assert state_of(classifier.model) == before


class Failing(TinyCNN):
    fail = False

    def forward(self, images):
        features = self.stage(self.stem(images))
        if self.fail:
            raise RuntimeError("out of memory")
        return self.head(self.pool(features).flatten(1))


@pytest.mark.parametrize("layer", [None, "stage"])
def test_the_model_comes_back_as_it_was_after_an_error_too(layer):
    classifier, image = small(Failing())
    classifier.model.train()
    before = state_of(classifier.model)
    classifier.model.fail = True
    with pytest.raises(RuntimeError, match="out of memory"):
        grad_cam.grad_cam_map(classifier, image, Target((1,), "one"), layer=layer)
    assert state_of(classifier.model) == before


@pytest.mark.parametrize(
    ("layer", "error", "word"),
    [("nowhere", LookupError, "no layer"), (nn.Linear(2, 2), LookupError, "not a part"), ("head", ValueError, "grid")],
)
def test_a_layer_that_cannot_be_used_is_named(layer, error, word):
    classifier, image = small(TinyCNN())
    with pytest.raises(error, match=word):
        methods.grad_cam(classifier, image, 1, layer=layer)


def test_a_network_without_a_grid_says_so():
    classifier, image = small(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 3)))
    with pytest.raises(ValueError, match="give layer="):
        methods.grad_cam(classifier, image, 1)


# --- RISE ---------------------------------------------------------------------------------------------------------


def linear_at(values: np.ndarray, position: float) -> np.ndarray:
    """Rows of `values` interpolated at a position in units of rows; the edge rows continue outwards."""
    position = min(max(position, 0.0), len(values) - 1.0)
    low = min(int(position), len(values) - 2)
    return values[low] + (position - low) * (values[low + 1] - values[low])


def test_rise_equals_brute_force_in_float64():
    side, cells, keep, count = 8, 3, 0.4, 6
    model = TinyCNN().double().eval()
    classifier, _ = small(model)
    image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    got = rise.rise_map(
        classifier, image, Target((1,), "one"), masks=count, cells=cells, keep=keep, seed=5, progress=False
    )
    drawn = generator(5, "masks")
    grids = (torch.rand(count, cells, cells, generator=drawn) < keep).double().numpy()
    shifts = torch.rand(count, 2, generator=drawn).numpy()
    cell = 3  # px: 8 / 3 rounded up; the grid is drawn over 4 cells, 12 px
    total = np.zeros((side, side))
    for grid, shift in zip(grids, shifts, strict=True):
        top, left = int(shift[0] * cell), int(shift[1] * cell)
        mask = np.zeros((side, side))
        for y in range(side):
            row = linear_at(grid, (y + top + 0.5) * cells / 12 - 0.5)
            for x in range(side):
                mask[y, x] = linear_at(row, (x + left + 0.5) * cells / 12 - 0.5)
        with torch.no_grad():
            scores = model((image - 0.5) / 0.5 * torch.from_numpy(mask))
        total += float(scores.softmax(1)[0, 1]) * mask
    np.testing.assert_allclose(got[0, 0].numpy(), total / (keep * count), atol=1e-12)


def test_rise_does_not_depend_on_the_pictures_in_a_pass_nor_touch_the_global_generator(monkeypatch):
    classifier, image = small(TinyCNN())
    before, maps = torch.get_rng_state(), []
    for at_once in (3, 10):
        monkeypatch.setattr(Classifier, "at_once", at_once)
        maps.append(methods.rise(classifier, image, 1, masks=10, seed=3, progress=False).saliency)
    assert torch.allclose(maps[0], maps[1], atol=1e-6)
    assert torch.equal(torch.get_rng_state(), before)
    other = methods.rise(classifier, image, 1, masks=10, seed=4, progress=False).saliency
    assert not torch.allclose(maps[0], other)


def test_what_judges_masks_shows_the_classifier_no_more_pictures_at_once_than_it_takes():
    classifier, image = small(TinyCNN())
    seen = []
    classifier.model.register_forward_pre_hook(lambda _m, inputs: seen.append(len(inputs[0])))
    found = methods.rise(classifier, image, 1, masks=10, progress=False)
    found.probability(found.searched_areas)
    metrics.insertion(found, steps=10)
    assert max(seen) == classifier.at_once < 10


def test_rise_masks_are_on_average_as_large_as_the_keep_probability():
    generator = torch.Generator().manual_seed(0)
    cells = (torch.rand(400, 7, 7, generator=generator) < 0.5).float()
    masks = rise.rise_masks(cells, torch.rand(400, 2, generator=generator), (60, 45))
    assert masks.shape == (400, 1, 60, 45)
    assert float(masks.min()) >= 0
    assert float(masks.max()) <= 1
    assert float(masks.mean()) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("options", "word"),
    [({"masks": 0}, "masks"), ({"keep": 1.0}, "keep")],
)
def test_bad_options_of_rise_are_named(options, word):
    classifier, image = small(TinyCNN())
    with pytest.raises(ValueError, match=word):
        methods.rise(classifier, image, 1, progress=False, **options)


# --- all methods, one call ----------------------------------------------------------------------------------------

SHORT = {
    "inr": {"preset": QUICK_FIT},
    "extremal_perturbation": {"preset": "extremal_perturbation_quick", "areas": (0.1, 0.2)},
    "grad_cam": {"layer": "norm"},
    "rise": {"masks": 600},
}


@pytest.mark.parametrize("name", SHORT)
def test_every_method_points_at_the_planted_patch(name):
    planted = plant()
    found = METHODS[name](planted.classifier, planted.image, 1, seed=0, progress=False, **SHORT[name])
    assert isinstance(found, SaliencyMap if name in ("grad_cam", "rise") else Explanation)
    mask = found.mask(0.1)
    assert mask.shape == (1, 1, *planted.image.shape[-2:])
    assert precision(mask, planted.truth) > 0.6
    assert found.saliency.shape == (1, 1, *planted.image.shape[-2:])
    assert found.seconds > 0
    assert 0 <= float(found.probability(0.1, cut=0.5)) <= 1
