"""The RBF smooth-max filter against direct loops over its taps, in float64."""

import math

import pytest
import torch
import torch.nn.functional as F

from inrexp.paper.smoothing import (
    BETA,
    RADIUS,
    SIGMA,
    STEP,
    kernel,
    lattice_size,
    resize,
    smooth_max_lattice,
    smooth_max_pixels,
    to_pixels,
)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def smooth_max(values: list[float]) -> float:
    """sum_k v_k softmax_k(BETA v_k), as written."""
    weights = [math.exp(BETA * v) for v in values]
    return sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)


def rbf(distance: float) -> float:
    return math.exp(-2 * max(distance / SIGMA - 0.5, 0) ** 2)


def filter_at(lattice: torch.Tensor, y: float, x: float) -> float:
    """The filter at (y, x) px: the 81 taps around the cell that (y, x) lies in, cell centres at 7 (i + 1/2) px."""
    row, column = int(y // STEP), int(x // STEP)
    values = []
    for i in range(row - RADIUS, row + RADIUS + 1):
        for j in range(column - RADIUS, column + RADIUS + 1):
            inside = 0 <= i < lattice.shape[0] and 0 <= j < lattice.shape[1]
            distance = math.hypot(y - STEP * (i + 0.5), x - STEP * (j + 0.5))
            values.append(rbf(distance) * float(lattice[i, j]) if inside else 0.0)
    return smooth_max(values)


def test_the_kernel_by_hand():
    distances = torch.tensor([0.0, SIGMA / 2, SIGMA, 1.5 * SIGMA])
    assert kernel(distances).tolist() == pytest.approx([1.0, 1.0, math.exp(-0.5), math.exp(-2.0)])
    assert kernel(torch.tensor([0.0, 14.0, 28.0]), 14.0).tolist() == pytest.approx([1.0, 1 / 2, 1 / 16])


def test_a_gaussian_kernel_lets_a_disc_grow_where_the_published_one_adds_it_whole():
    lattice = torch.zeros(1, 1, 12, 12)
    lattice[..., 6, 6] = 1
    inside = {}
    for half_width in (None, 14.0):
        mask = to_pixels(smooth_max_lattice(lattice, STEP, half_width), (84, 84), STEP)
        inside[half_width] = [int((mask > share * mask.max()).sum()) for share in (0.99, 0.9, 0.5)]
    assert inside[None][0] > 300  # px: the flat top
    assert inside[14.0][0] < 30 < inside[14.0][1] < 0.6 * inside[14.0][2]


def test_an_empty_lattice_gives_an_empty_mask_and_a_full_one_a_full_mask():
    zeros, ones = torch.zeros(1, 1, 12, 12), torch.ones(1, 1, 12, 12)
    assert torch.equal(smooth_max_lattice(zeros), torch.zeros(1, 1, 24, 24))
    assert float(smooth_max_lattice(ones)[..., 8:-8, 8:-8].min()) > 0.97
    assert torch.equal(smooth_max_pixels(torch.zeros(1, 1, 20, 20)), torch.zeros(1, 1, 20, 20))


def test_a_single_tap_by_hand():
    lattice = torch.zeros(1, 1, 9, 9, dtype=torch.float64)
    lattice[..., 4, 4] = 1
    found = smooth_max_lattice(lattice, STEP)[0, 0]
    at_centre = math.exp(BETA) / (math.exp(BETA) + 80)  # 1 against 80 taps of 0
    assert float(found[4 * STEP + 3, 4 * STEP + 3]) == pytest.approx(at_centre, rel=1e-12)
    v = rbf(3 * STEP)
    three_cells_off = v * math.exp(BETA * v) / (math.exp(BETA * v) + 80)
    assert float(found[4 * STEP + 3, 7 * STEP + 3]) == pytest.approx(three_cells_off, rel=1e-12)


def test_the_exact_lattice_filter_is_the_direct_loop_at_every_pixel():
    lattice = noise(3, 4)
    found = smooth_max_lattice(lattice[None, None], STEP)[0, 0]  # (21, 28)
    wanted = [[filter_at(lattice, y + 0.5, x + 0.5) for x in range(28)] for y in range(21)]
    assert torch.allclose(found, torch.tensor(wanted, dtype=torch.float64), atol=1e-12)


def test_the_fast_lattice_filter_is_the_direct_loop_at_its_points():
    lattice = noise(5, 4, seed=1)
    found = smooth_max_lattice(lattice[None, None], 2)[0, 0]  # (10, 8), points 3.5 px apart
    wanted = [[filter_at(lattice, 3.5 * (i + 0.5), 3.5 * (j + 0.5)) for j in range(8)] for i in range(10)]
    assert torch.allclose(found, torch.tensor(wanted, dtype=torch.float64), atol=1e-12)


def test_the_pixel_filter_is_the_direct_loop_at_a_few_pixels():
    values = noise(40, 33)
    found = smooth_max_pixels(values[None, None])[0, 0]
    for y, x in ((0, 0), (20, 16), (39, 32), (5, 30), (13, 0)):
        taps = []
        for i in range(-RADIUS, RADIUS + 1):
            for j in range(-RADIUS, RADIUS + 1):
                v, u = y + STEP * i, x + STEP * j
                inside = 0 <= v < 40 and 0 <= u < 33
                taps.append(rbf(STEP * math.hypot(i, j)) * float(values[v, u]) if inside else 0.0)
        assert float(found[y, x]) == pytest.approx(smooth_max(taps), abs=1e-7)


def test_the_fast_filter_is_near_the_exact_one():
    """Measured, largest and mean difference: a square 0.021, 0.0016; noise 0.057, 0.0033; lone cells 0.073, 0.0053.

    The largest stand where the exact filter itself jumps: a tap out of reach still weighs K(31.5 px) = 0.13.
    """
    square = torch.zeros(1, 1, 32, 32, dtype=torch.float64)
    square[0, 0, 10:20, 8:24] = 1
    lone = (noise(4, 1, 32, 32, seed=1) > 0.97).double()
    for lattice, most, average in ((square, 0.03, 0.002), (noise(4, 1, 32, 32), 0.07, 0.004), (lone, 0.08, 0.006)):
        exact = to_pixels(smooth_max_lattice(lattice, STEP), (224, 224), STEP)
        difference = (exact - to_pixels(smooth_max_lattice(lattice, 2), (224, 224), 2)).abs()
        assert float(difference.max()) < most
        assert float(difference.mean((1, 2, 3)).max()) < average


def test_the_filter_grows_with_its_input_and_stays_in_range():
    low = noise(2, 1, 8, 9)
    assert float(smooth_max_lattice(low).min()) >= 0
    assert float(smooth_max_lattice(low).max()) <= 1
    assert bool((smooth_max_lattice(0.5 + low / 2).mean((1, 2, 3)) > smooth_max_lattice(low / 2).mean((1, 2, 3))).all())


def test_the_filter_knows_no_direction_and_no_neighbour_in_the_batch():
    lattice = noise(3, 1, 8, 8)
    whole = smooth_max_lattice(lattice, 4)
    assert torch.allclose(smooth_max_lattice(lattice.mT, 4).mT, whole, atol=1e-12)
    assert torch.allclose(smooth_max_lattice(lattice.flip(-1), 4).flip(-1), whole, atol=1e-12)
    assert torch.allclose(smooth_max_lattice(lattice[1:2], 4), whole[1:2], atol=1e-12)


def test_single_precision_without_a_maximum_taken_off_is_near_double():
    for lattice in (torch.zeros(1, 1, 16, 16), torch.ones(1, 1, 16, 16), noise(4, 1, 16, 16).float()):
        for filtered in (lambda m: smooth_max_lattice(m, 2), smooth_max_pixels):
            assert torch.allclose(filtered(lattice).double(), filtered(lattice.double()), atol=5e-6)


def test_what_inference_mode_left_in_the_cache_serves_gradients():
    with torch.inference_mode():
        to_pixels(smooth_max_lattice(torch.rand(1, 1, 13, 17)), (91, 119))
    lattice = torch.rand(1, 1, 13, 17, requires_grad=True)
    to_pixels(smooth_max_lattice(lattice), (91, 119)).sum().backward()
    assert float(lattice.grad.abs().min()) > 0


def test_resize_is_cubic_interpolation():
    coarse = noise(2, 1, 9, 7)
    wanted = F.interpolate(coarse, size=(31, 22), mode="bicubic", align_corners=False).clamp(0, 1)
    assert torch.allclose(resize(coarse, (31, 22)), wanted, atol=1e-12)
    assert torch.allclose(resize(coarse, (9, 7)), coarse, atol=1e-12)


def test_gradients_of_both_filters():
    lattice = noise(1, 1, 3, 4, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(lambda m: smooth_max_lattice(m, 2), lattice)
    pixels = noise(1, 1, 9, 8, seed=3).requires_grad_()
    assert torch.autograd.gradcheck(smooth_max_pixels, pixels)
    assert torch.autograd.gradcheck(lambda m: resize(0.1 + 0.8 * m, (7, 9)), lattice)


def test_half_points_and_doubles_keep_their_kind():
    assert smooth_max_lattice(torch.rand(1, 1, 4, 4)).dtype == torch.float32
    assert smooth_max_lattice(noise(1, 1, 4, 4)).dtype == torch.float64


@pytest.mark.parametrize(("size", "cells"), [((224, 224), (32, 32)), ((225, 7), (33, 1)), ((6, 8), (1, 2))])
def test_cells_cover_the_picture(size: tuple[int, int], cells: tuple[int, int]):
    assert lattice_size(size) == cells
    assert lattice_size(size, margin=3) == (cells[0] + 6, cells[1] + 6)
    for oversample in (2, STEP):
        coarse = smooth_max_lattice(torch.rand(1, 1, *cells), oversample)
        assert to_pixels(coarse, size, oversample).shape == (1, 1, *size)


def test_what_is_at_a_cell_stays_where_it_is():
    """A blob around the centre of cell (i, j) has its centre of mass at 7 (i + 1/2) px."""
    lattice = torch.zeros(1, 1, 20, 20)
    lattice[..., 9, 12] = 1
    for oversample in (2, STEP):
        mask = to_pixels(smooth_max_lattice(lattice, oversample), (140, 140), oversample)[0, 0]
        along = torch.arange(140) + 0.5
        y, x = (mask.sum(1) * along).sum() / mask.sum(), (mask.sum(0) * along).sum() / mask.sum()
        assert (float(y), float(x)) == pytest.approx((9.5 * STEP, 12.5 * STEP), abs=0.05)
