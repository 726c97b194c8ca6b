"""Blur, fade and the blend of eq. 1."""

import math

import pytest
import torch

from inrexp.paper.perturb import blend, blend_levels, blur, blur_levels, fade


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
    assert torch.equal(blend_levels(levels, torch.ones(1, 1, 1, 24, 20, dtype=torch.float64))[0], IMAGE)
    assert torch.equal(levels[:, 0], blur(IMAGE, 8.0))


def test_gradients_pass_through_both_blends():
    mask = noise(1, 1, 1, 6, 5, seed=4).requires_grad_()
    small = blur_levels(IMAGE[..., :6, :5], (3.0, 1.0, 0.0))
    assert torch.autograd.gradcheck(lambda m: blend_levels(small, m), mask)
    assert torch.autograd.gradcheck(lambda m: blend(IMAGE[..., :6, :5], OTHER[..., :6, :5], m), mask)
