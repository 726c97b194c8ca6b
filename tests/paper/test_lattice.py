"""Extremal perturbations against numbers by hand and an independent float64 implementation in plain loops."""

import dataclasses
import functools
import math

import numpy as np
import pytest
import torch
from planted import plant, precision

from inrexp.explanation import Explanation
from inrexp.methods import explain, extremal_perturbation, lattice_config
from inrexp.paper.fit import Problem, fit
from inrexp.paper.lattice import MaskLattice
from inrexp.paper.perturb import LEVELS, blend_levels, blur_levels
from inrexp.paper.presets import PRESETS, with_steps
from inrexp.paper.settings import Descent, FitConfig, Growth, LatticeSettings
from inrexp.paper.smallest_area import PAPER_AREAS
from inrexp.paper.smoothing import smooth_max_lattice, to_pixels

PUBLISHED = PRESETS["extremal_perturbation"]


def fast(areas: tuple[float, ...] = PAPER_AREAS, *, oversample: int = 2, **changes: object) -> FitConfig:
    """The published method behind the fast filter."""
    return dataclasses.replace(PUBLISHED, source=LatticeSettings(areas=areas, oversample=oversample), **changes)


def test_the_levels_are_the_published_ones():
    assert pytest.approx([20 * i / 7 for i in range(7, -1, -1)]) == list(LEVELS)


@pytest.mark.parametrize("size", [(224, 224), (50, 71)])
def test_the_lattice_starts_as_ones_one_cell_for_seven_pixels_and_keeps_the_whole_picture(size):
    source = MaskLattice(size, 1)
    assert tuple(source.values.shape) == (1, 4, math.ceil(size[0] / 7), math.ceil(size[1] / 7))
    assert bool((source.values == 1).all())
    mask, ranked = source.soft(torch.tensor([PAPER_AREAS]))
    assert mask.shape == (1, 4, 1, *size)
    inner = mask[..., 14:-14, 14:-14]
    # 81 taps of weight <= 1 under a softmax of sharpness 20: a mean of weights, pulled to those of 1
    assert bool((inner > 0.9).all())
    assert bool((mask[..., 28:-28, 28:-28] > 0.97).all())
    below, right = (7 * (math.ceil(side / 7) - 1) + 1 + 21 - side for side in size)
    assert ranked.shape == (1, 4, (21 + size[0] + below) * (21 + size[1] + right))


def test_the_area_penalty_counts_21_px_above_and_left_15_below_and_right_and_none_where_it_is_turned_off():
    inside, ranked = MaskLattice((70, 70), 1).soft(torch.tensor([PAPER_AREAS]))
    whole = ranked[0, 0].view(21 + 70 + 15, 21 + 70 + 15)
    assert torch.equal(whole[21:91, 21:91], inside[0, 0, 0])
    assert 0 < whole[10, 56] < whole[18, 56] < whole[40, 56]  # the filter reaches out of the picture and fades there
    mask, tight = MaskLattice((70, 70), 1, LatticeSettings(margin=0)).soft(torch.tensor([PAPER_AREAS]))
    assert torch.equal(mask.flatten(2), tight)


def test_each_area_moves_its_own_lattice_only():
    source = MaskLattice((28, 28), 1)
    source(torch.tensor([PAPER_AREAS]))[0, 2].sum().backward()
    gradient = source.values.grad[0]
    assert bool(gradient[2].ne(0).any())
    assert bool(gradient[[0, 1, 3]].eq(0).all())


def test_eight_blur_levels_run_from_20_px_to_the_picture_itself():
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    levels = blur_levels(image, LEVELS)
    assert torch.equal(levels[:, -1], image)
    masks = torch.tensor([0.0, 1.0, 3 / 7, 3.25 / 7]).view(1, 4, 1, 1, 1).expand(1, 4, 1, 64, 64)
    seen = blend_levels(levels, masks)[0]
    between = 0.75 * levels[0, 3] + 0.25 * levels[0, 4]
    for got, wanted in zip(seen, [levels[0, 0], image[0], levels[0, 3], between], strict=True):
        assert torch.allclose(got, wanted, atol=1e-6)


# --- the reference: DESIGN's facts as loops in numpy; the gradient by central differences --------------------------

SIZE, MARGIN, AFTER, STEP, RADIUS = 28, 21, 15, 7, 4


@functools.cache
def tap_weights(down: int, right: int) -> np.ndarray:
    """K from a pixel, `down` and `right` px into its cell, to the nodes (at cell centres) of the 9 x 9 cells around."""
    weights = np.zeros((9, 9))
    for j in range(-RADIUS, RADIUS + 1):
        for i in range(-RADIUS, RADIUS + 1):
            distance = math.hypot(down - (7 * j + 3), right - (7 * i + 3))
            weights[j + RADIUS, i + RADIUS] = math.exp(-2 * max(distance / 21 - 0.5, 0) ** 2)
    return weights


def filtered(lattice: np.ndarray) -> np.ndarray:
    """The filter, pixel by pixel, of the picture and its margin.  lattice: (4, 4)."""
    side = MARGIN + SIZE + AFTER
    around = np.pad(lattice, MARGIN // STEP + RADIUS)  # nothing outside
    out = np.zeros((side, side))
    for y in range(side):
        for x in range(side):
            j, i = y // STEP, x // STEP  # the cell in the padded lattice, less RADIUS
            v = around[j : j + 9, i : i + 9] * tap_weights(y % STEP, x % STEP)
            e = np.exp(20 * v)
            out[y, x] = min(max((v * e).sum() / e.sum(), 0.0), 1.0)
    return out


def reference_loss(lattice, levels, scorer, area: float, weight: float, step: int) -> float:
    whole = filtered(lattice)
    mask = whole[MARGIN : MARGIN + SIZE, MARGIN : MARGIN + SIZE]
    ranked = np.sort(whole.ravel())
    wanted = np.zeros(ranked.size)
    wanted[ranked.size - round(area * ranked.size) :] = 1
    seen = np.zeros((3, SIZE, SIZE))
    for y in range(SIZE):
        for x in range(SIZE):
            position = mask[y, x] * 7
            lower = min(int(position), 6)
            share = position - lower
            seen[:, y, x] = (1 - share) * levels[lower, :, y, x] + share * levels[lower + 1, :, y, x]
    if step % 2 == 0:
        seen = seen[:, :, ::-1]
    return weight * float(((ranked - wanted) ** 2).mean()) - scorer(seen)


class Linear(torch.nn.Module):
    """Two classes; the second's score is a fixed weighted sum of the pixels, not symmetric left to right."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.weight = torch.nn.Parameter(
            0.3 * torch.randn(3, SIZE, SIZE, generator=generator, dtype=torch.float64)
            + torch.linspace(-0.3, 0.3, SIZE, dtype=torch.float64)
        )

    def forward(self, images):
        score = (images * self.weight).sum((1, 2, 3))
        return torch.stack([torch.zeros_like(score), score], dim=1)


@pytest.mark.slow
def test_three_steps_equal_an_independent_reference_in_float64():
    """Filter, margin, level blend, flip, growing weight, SGD with dampened momentum and clamp, all in one."""
    from inrexp.models.classifier import Classifier

    model = Linear()
    classifier = Classifier(model, mean=[0.0] * 3, std=[1.0] * 3, size=SIZE)
    image = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    areas, steps = (0.1, 0.3), 3
    config = dataclasses.replace(
        PUBLISHED,
        source=LatticeSettings(areas=areas),
        steps=steps,
        descent=Descent("sgd", lr=0.05),
        area_weight=Growth(3.0, 3.0 * 1.5**2),
    )
    fitted = fit(classifier, [Problem(image, classifier.target(1, image))], config, progress=False)[0]

    levels = blur_levels(image)[0].numpy()
    weights = model.weight.detach().numpy()
    for index, area in enumerate(areas):
        lattice, velocity = np.ones((4, 4)), None
        for step in range(steps):
            gradient = np.zeros_like(lattice)
            for cell in np.ndindex(*lattice.shape):
                values = []
                for nudge in (1e-5, -1e-5):
                    moved = lattice.copy()
                    moved[cell] += nudge
                    values.append(
                        reference_loss(moved, levels, lambda s: float((s * weights).sum()), area, 3 * 1.5**step, step)
                    )
                gradient[cell] = (values[0] - values[1]) / 2e-5
            velocity = gradient if velocity is None else 0.9 * velocity + 0.1 * gradient  # no dampening at first
            lattice = np.clip(lattice - 0.05 * velocity, 0, 1)
        got = fitted.source.values[0, index].detach().numpy()
        assert np.ptp(got) > 1e-3  # something has moved, and some cells were held at 1
        np.testing.assert_allclose(got, lattice, atol=1e-4)  # central differences at the sort's kinks


def test_the_filter_equals_the_loop_over_its_taps():
    generator = torch.Generator().manual_seed(2)
    source = MaskLattice((SIZE, SIZE), 1, LatticeSettings(areas=(0.1,))).double()
    with torch.no_grad():
        source.values.copy_(torch.rand(1, 1, 4, 4, generator=generator, dtype=torch.float64))
    _, ranked = source.soft(torch.tensor([[0.1]], dtype=torch.float64))
    whole = ranked.detach().view(MARGIN + SIZE + AFTER, -1).numpy()
    np.testing.assert_allclose(whole, filtered(source.values[0, 0].detach().numpy()), atol=1e-9)


def test_flip_shows_the_mirrored_picture_on_even_steps_only():
    planted = plant()
    seen = []
    hook = planted.classifier.model.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0].detach()))
    config = fast((0.1,), steps=2, descent=Descent("sgd", lr=1e-12))
    problem = Problem(planted.image, planted.classifier.target(1, planted.image))
    fit(planted.classifier, [problem], config, progress=False)
    hook.remove()
    even, odd = [one for one in seen if len(one) == 1][-2:]
    assert torch.allclose(even.flip(-1), odd, atol=1e-5)
    assert not torch.allclose(even, odd, atol=1e-2)


@pytest.mark.slow
def test_the_planted_patch_is_found_within_150_steps():
    planted = plant()
    found = extremal_perturbation(
        planted.classifier, planted.image, 1, preset=fast((0.1, 0.2)), steps=150, progress=False
    )
    masks = found.mask((0.1, 0.2))
    assert precision(masks[:1], planted.truth) > 0.75
    assert float(found.probability(0.2)) > 0.9
    assert found.preset == "extremal_perturbation, changed"


def test_a_shorter_run_has_a_larger_rate_and_ends_at_the_published_weight():
    short = with_steps(PUBLISHED, 200)
    assert short.descent.lr == pytest.approx(0.04)
    assert short.area_weight.at(199, 200) == pytest.approx(PUBLISHED.area_weight.at(799, 800))
    assert with_steps(PUBLISHED, None) is PUBLISHED
    assert lattice_config(steps=200) == short
    assert with_steps(PRESETS["crisp"], 30).descent == PRESETS["crisp"].descent


def test_every_way_to_a_short_run_scales_the_rate(planted):
    short = with_steps(PUBLISHED, 2)
    whole = {"preset": "extremal_perturbation", "steps": 2, "progress": False}
    for call in (explain, extremal_perturbation):
        assert call(planted.classifier, planted.image, 1, **whole).config == short


@pytest.mark.slow
def test_the_fast_filter_ends_at_nearly_the_same_mask():
    planted = plant()
    exact, fast_one = (
        extremal_perturbation(
            planted.classifier, planted.image, 1, preset=fast((0.15,), oversample=each), steps=60, progress=False
        ).mask(0.15)
        for each in (7, 2)
    )
    assert float((exact - fast_one).abs().mean()) < 0.05


def test_several_pictures_at_once_give_what_each_gives_alone():
    planted = plant()
    other = planted.image.flip(-1)
    config = fast((0.1, 0.2), steps=5)
    target = planted.classifier.target(1, planted.image)
    both = fit(planted.classifier, [Problem(planted.image, target), Problem(other, target)], config, progress=False)
    alone = fit(planted.classifier, [Problem(other, target)], config, progress=False)
    assert torch.allclose(both[1].source.values, alone[0].source.values, atol=1e-5)


def test_the_seed_changes_nothing():
    planted = plant()
    first, second = (
        extremal_perturbation(planted.classifier, planted.image, 1, preset=fast(), steps=3, seed=seed, progress=False)
        for seed in (0, 7)
    )
    assert torch.equal(first.mask(PAPER_AREAS), second.mask(PAPER_AREAS))


def test_masks_exist_at_the_fitted_areas_only_and_come_back_from_a_file(tmp_path):
    planted = plant()
    found = extremal_perturbation(
        planted.classifier, planted.image, 1, preset=fast(), areas=(0.1, 0.3), steps=3, progress=False
    )
    assert found.held_areas == (0.1, 0.3)
    assert found.area_range == (0.1, 0.3)
    with pytest.raises(ValueError, match="area must be one that the lattice holds"):
        found.mask(0.2)
    assert found.searched_areas == (0.1, 0.3)
    assert found.smallest_area(0.0) == 0.1
    again = Explanation.load(found.save(tmp_path / "ep.safetensors"), classifier=planted.classifier)
    assert torch.equal(again.mask((0.1, 0.3)), found.mask((0.1, 0.3)))
    assert torch.allclose(again.probability(0.3), found.probability(0.3))


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"areas": ()}, "areas"),
        ({"areas": (0.1, 1.5)}, "areas"),
        ({"steps": 0}, "steps"),
        ({"preset": "crisp"}, "preset 'crisp' fits a field"),
    ],
)
def test_bad_options_are_named(options, word):
    planted = plant()
    with pytest.raises(ValueError, match=word):
        extremal_perturbation(planted.classifier, planted.image, 1, progress=False, **options)


def test_each_area_has_its_own_lattice():
    lattice = MaskLattice((56, 56), 2, LatticeSettings(areas=(0.05, 0.2)))
    with torch.no_grad():
        lattice.values.copy_(torch.rand(lattice.values.shape, generator=torch.Generator().manual_seed(0)))
    masks = lattice(torch.tensor([[0.05, 0.2], [0.2, 0.05]]))
    for problem, k, index in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0)):
        cells = torch.nn.functional.pad(lattice.values[problem, index][None, None], [3] * 4)
        whole = to_pixels(smooth_max_lattice(cells, 7), (98, 98), 7)
        assert torch.allclose(masks[problem, k], whole[0, :, 21:-21, 21:-21], atol=1e-6)


def test_a_lattice_is_brought_back_into_range():
    lattice = MaskLattice((28, 28), 1)
    with torch.no_grad():
        lattice.values[:, 0] = 1.5
        lattice.values[:, 1] = -0.5
    lattice.project()
    assert lattice.values[:, 0].unique().tolist() == [1.0]
    assert lattice.values[:, 1].unique().tolist() == [0.0]
