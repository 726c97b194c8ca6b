"""Blur, fade and the blend of eq. 1."""

import math

import pytest
import torch

from inrexp.paper.perturb import PERTURBATIONS, Perturbation, blend, blend_levels, blur, blur_levels, fade


def noise(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


IMAGE = noise(1, 3, 24, 20)
OTHER = noise(1, 3, 24, 20, seed=1)


def test_a_full_mask_keeps_the_image_and_an_empty_one_replaces_it():
    one = torch.ones(1, 1, 24, 20, dtype=torch.float64)
    assert torch.equal(blend(IMAGE, OTHER, one), IMAGE)
    assert torch.equal(blend(IMAGE, OTHER, 0 * one), OTHER)


def test_the_blend_by_hand():
    blended = blend(torch.tensor(0.8), torch.tensor(0.4), torch.tensor([0.0, 0.25, 0.5, 1.0]))
    assert blended.tolist() == pytest.approx([0.4, 0.5, 0.6, 0.8])


def test_the_blend_is_equation_one():
    mask = noise(4, 1, 24, 20, seed=2)
    assert torch.allclose(blend(IMAGE, OTHER, mask), mask * IMAGE + (1 - mask) * OTHER)


def test_fade_is_black():
    assert torch.equal(fade(IMAGE), torch.zeros_like(IMAGE))


def test_a_blur_of_zero_pixels_changes_nothing():
    assert torch.equal(blur(IMAGE, 0), IMAGE)


def test_a_blur_keeps_a_flat_picture_and_its_shape_and_kind():
    flat = torch.full((2, 3, 30, 40), 0.3)
    assert torch.allclose(blur(flat), flat, atol=1e-6)
    assert blur(IMAGE).shape == IMAGE.shape
    assert blur(IMAGE).dtype == torch.float64


def test_a_point_becomes_a_gaussian():
    sigma, side = 3.0, 41
    point = torch.zeros(1, 3, side, side, dtype=torch.float64)
    point[..., side // 2, side // 2] = 1
    d = torch.arange(side, dtype=torch.float64) - side // 2
    line = torch.exp(-(d**2) / (2 * sigma**2)) * (d.abs() <= 3 * sigma)
    line /= line.sum()
    assert torch.allclose(blur(point, sigma)[0, 0], line[:, None] * line, atol=1e-12)
    assert float(line[side // 2]) == pytest.approx(1 / (sigma * math.sqrt(2 * math.pi)), rel=0.01)


def test_each_channel_and_each_picture_is_blurred_by_itself():
    both = torch.cat([IMAGE, OTHER])
    assert torch.allclose(blur(both, 2.0)[1:], blur(OTHER, 2.0))
    assert torch.allclose(blur(both[:, :1].expand(-1, 3, -1, -1), 2.0)[:, 2], blur(both, 2.0)[:, 0])


def test_a_blur_wider_than_the_picture_still_works():
    assert float(blur(IMAGE, 20.0).std()) < 0.1 * float(IMAGE.std())


def test_a_negative_blur_is_refused():
    with pytest.raises(ValueError, match="sigma must be 0 px or more, got -1"):
        blur(IMAGE, -1)


def test_levels_by_hand():
    levels = torch.tensor([0.0, 0.3, 1.0]).view(1, 3, 1, 1, 1).expand(1, 3, 3, 1, 5)
    mask = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]).view(1, 1, 1, 1, 5)
    assert blend_levels(levels, mask)[0, 0, 0, 0].tolist() == pytest.approx([0.0, 0.15, 0.3, 0.65, 1.0])


def test_two_levels_are_the_blend_of_two_images():
    levels = torch.stack([OTHER, IMAGE], dim=1)
    mask = noise(1, 4, 1, 24, 20, seed=3)
    assert torch.allclose(blend_levels(levels, mask)[0], blend(IMAGE, OTHER, mask[0]))


def test_the_last_level_is_the_image():
    levels = blur_levels(IMAGE, (8.0, 4.0, 0.0))
    assert levels.shape == (1, 3, 3, 24, 20)
    whole = blend_levels(levels, torch.ones(1, 1, 1, 24, 20, dtype=torch.float64))[0]
    assert torch.allclose(whole, IMAGE, atol=1e-12)


def test_a_level_is_the_published_blur_with_the_outside_s_colour_around_the_picture():
    """A Gaussian by hand: taps to four standard deviations, their weights summing to 1 whatever lies outside."""
    outside = torch.tensor([0.2, 0.5, 0.7], dtype=torch.float64).view(1, 3, 1, 1)
    (level,) = blur_levels(IMAGE, (1.5,), outside=outside)[0]
    weights = [math.exp(-0.5 * (tap / 1.5) ** 2) for tap in range(-6, 7)]
    for colour, y, x in ((0, 0, 0), (1, 12, 19), (2, 23, 7)):
        wanted = 0.0
        for down, weight in zip(range(-6, 7), weights, strict=True):
            for across, other in zip(range(-6, 7), weights, strict=True):
                inside = 0 <= y + down < 24 and 0 <= x + across < 20
                value = IMAGE[0, colour, y + down, x + across] if inside else outside[0, colour, 0, 0]
                wanted += weight * other * float(value) / sum(weights) ** 2
        assert float(level[colour, y, x]) == pytest.approx(wanted, abs=1e-12)


def test_a_perturbation_blends_as_its_parts_do():
    mask = noise(1, 2, 1, 24, 20, seed=5)
    blurred = Perturbation(IMAGE, "blur", 3.0)
    assert torch.equal(blurred(mask)[0], blend(IMAGE, blur(IMAGE, 3.0), mask[0]))
    assert torch.equal(Perturbation(IMAGE, "fade")(mask)[0], blend(IMAGE, fade(IMAGE), mask[0]))
    assert torch.equal(Perturbation(IMAGE, "levels")(mask), blend_levels(blur_levels(IMAGE), mask))
    with pytest.raises(ValueError, match="perturbation must be one of .* got 'noise'"):
        Perturbation(IMAGE, "noise")


def test_a_normalisation_before_the_blend_is_one_after_it():
    mask = noise(1, 2, 1, 24, 20, seed=6)
    for kind in PERTURBATIONS:
        plain = Perturbation(IMAGE, kind)
        before = plain.mapped(lambda pictures: 2 * pictures - 1)(mask)
        assert torch.allclose(before, 2 * plain(mask) - 1, atol=1e-12)


def test_gradients_pass_through_both_blends():
    mask = noise(1, 1, 1, 6, 5, seed=4).requires_grad_()
    small = blur_levels(IMAGE[..., :6, :5], (3.0, 1.0, 0.0))
    assert torch.autograd.gradcheck(lambda m: blend_levels(small, m), mask)
    assert torch.autograd.gradcheck(lambda m: blend(IMAGE[..., :6, :5], OTHER[..., :6, :5], m), mask)
