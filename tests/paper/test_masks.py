"""What masks have in common: sharpening towards 0 and 1, and the largest values in their very area."""

import dataclasses
import math

import pytest
import torch

from inrexp.paper.inr import MaskField
from inrexp.paper.masks import RANKED, area_level, keep_largest, sharpen
from inrexp.paper.settings import FieldSettings

SMALL = FieldSettings(grid="lattice", hidden=16, layers=3, feature_count=12, scale=1.0)
AREAS = torch.tensor([[0.025, 0.1, 0.2]])


def test_sharpening_keeps_0_the_half_and_1_and_moves_the_rest_apart():
    values = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])
    by_hand = 0.5 + 0.5 * math.tanh(8 * 0.25) / math.tanh(4)
    assert sharpen(values, 8.0).tolist() == pytest.approx([0, 1 - by_hand, 0.5, by_hand, 1], abs=1e-6)
    assert sharpen(values, 1e-3).tolist() == pytest.approx(values.tolist(), abs=1e-6)


def test_a_very_sharp_mask_is_its_own_cut():
    soft = torch.rand(2, 1, 30, 20, generator=torch.Generator().manual_seed(0))
    sharp = sharpen(soft, 1e4)
    assert torch.equal(sharp > 0.5, soft > 0.5)
    assert float(((sharp > 0.01) & (sharp < 0.99)).float().mean()) < 0.01


def test_what_the_area_penalty_ranks_keeps_a_gradient_however_sharp_the_mask():
    far = torch.tensor([0.05], requires_grad=True)
    for sharpness, wanted in ((64.0, False), (RANKED, True)):
        (slope,) = torch.autograd.grad(sharpen(far, sharpness).sum(), far)
        assert (float(slope.abs().max()) > 1e-3) == wanted


def test_the_largest_values_are_kept_in_exact_counts():
    mask = torch.tensor([0.1, 0.9, 0.5, 0.3]).view(1, 1, 2, 2)
    kept = keep_largest(mask, torch.tensor([0.0, 0.25, 0.5, 1.0]))
    assert kept.flatten(1).tolist() == [[0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0], [1, 1, 1, 1]]


def test_each_mask_has_its_own_area():
    masks = torch.rand(2, 1, 10, 10, generator=torch.Generator().manual_seed(1))
    kept = keep_largest(masks, torch.tensor([0.1, 0.3]))
    assert kept.sum((1, 2, 3)).tolist() == [10, 30]
    for one, other in zip(kept, masks, strict=True):
        assert bool(other[one > 0].min() >= other[one == 0].max())


def test_of_equal_values_the_upper_left_come_first():
    kept = keep_largest(torch.zeros(1, 1, 10, 10), torch.tensor([0.3, 0.31]))
    assert kept.sum((1, 2, 3)).tolist() == [30, 31]
    assert bool((kept[:, 0, :3] == 1).all())


@pytest.mark.parametrize("areas", [[-0.1], [1.1], [float("nan")], []])
def test_an_area_that_is_no_share_is_refused(areas: list[float]):
    with pytest.raises(ValueError, match=r"area must lie in \[0, 1\]"):
        keep_largest(torch.zeros(1, 1, 4, 4), torch.tensor(areas))


@pytest.mark.parametrize("grid", ["pixel", "lattice", 8])
def test_hard_masks_are_the_largest_values_and_have_the_area_asked_for(grid: str | int):
    field = MaskField((56, 42), [0], dataclasses.replace(SMALL, grid=grid, outputs=2))
    soft = field(AREAS)
    field.hard = True
    hard = field(AREAS)
    assert set(hard.unique().tolist()) == {0.0, 1.0}
    asked = AREAS.repeat_interleave(2, 1).flatten()
    assert hard.sum((0, 2, 3, 4)).tolist() == (asked * 56 * 42).round().tolist()
    for one, other in zip(hard[0], soft[0], strict=True):
        assert bool(other[one > 0].min() >= other[one == 0].max())


def test_a_problem_taken_out_is_as_hard_as_the_others():
    field = MaskField((56, 42), [0, 1], SMALL)
    field.hard = True
    single = field.problem(1)
    assert single.hard
    assert torch.equal(single(AREAS)[0], field(AREAS.expand(2, -1))[1])


def test_about_its_own_level_a_sharpened_mask_has_the_area():
    values = torch.rand(3, 4000, generator=torch.Generator().manual_seed(0), dtype=torch.float64) ** 2
    areas = torch.tensor([0.05, 0.1, 0.3], dtype=torch.float64)
    for sharpness in (2.0, 64.0):
        level = area_level(values, areas, sharpness)
        assert sharpen(values, sharpness, level).mean(1).tolist() == pytest.approx(areas.tolist(), abs=1e-4)


def test_the_level_has_the_implicit_gradient():
    values = torch.rand(1, 30, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()
    areas = torch.tensor([0.2], dtype=torch.float64)
    (gradient,) = torch.autograd.grad(area_level(values, areas, 4.0).sum(), values)
    assert float(gradient.sum()) == pytest.approx(1.0)  # lifting all values alike lifts the level alike
    nudge = torch.zeros_like(values)
    nudge[0, 7] = 1e-3
    ends = [area_level((values + sign * nudge).detach(), areas, 4.0).item() for sign in (1, -1)]
    assert (ends[0] - ends[1]) / 2e-3 == pytest.approx(float(gradient[0, 7]), abs=2e-3)


def test_lifting_all_values_alike_changes_nothing_about_the_own_level():
    values = torch.rand(1, 50, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    areas = torch.tensor([0.1], dtype=torch.float64)
    first, lifted = (sharpen(one, 16.0, area_level(one, areas, 16.0)) for one in (values, values + 0.3))
    assert torch.allclose(first, lifted, atol=1e-4)
