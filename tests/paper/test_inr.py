"""Mask sources: the INR against eq. 4 written out, the coarse grid against every pixel, stacked against single."""

import math

import pytest
import torch

from inrexp.paper.inr import FEATURES, FourierFeatures, MaskField, read_initial
from inrexp.paper.lattice import MaskLattice
from inrexp.paper.masks import MaskSource, sharpen
from inrexp.paper.smoothing import smooth_max_lattice, to_pixels

SMALL = {"hidden": 16, "layers": 3, "feature_count": 12, "scale": 1.0}
AREAS = torch.tensor([[0.025, 0.1, 0.2]])


def equation_four(field: MaskField, x: float, y: float, area: float, problem: int = 0) -> float:
    """FE([x, y, a]), then rho(W f + b), then sigma(W f + b), one number after another."""
    low, high = field.area_range
    z = [x, y, (area - low) / (high - low)]
    phase = [sum(z[i] * float(field.encode.B[problem, i, j]) for i in range(3)) for j in range(field.encode.B.shape[2])]
    values = [math.sin(p) for p in phase] + [math.cos(p) for p in phase]
    for layer, (weight, bias) in enumerate(zip(field.weights, field.biases, strict=True)):
        sums = [
            sum(v * float(weight[problem, i, j]) for i, v in enumerate(values)) + float(bias[problem, 0, j])
            for j in range(weight.shape[2])
        ]
        last = layer == len(field.weights) - 1
        values = [1 / (1 + math.exp(-s)) if last else max(s, 0.0) for s in sums]
    return values[0]


def test_the_field_is_equation_four():
    field = MaskField((21, 14), [3, 4], grid="pixel", **SMALL).double().requires_grad_(False)
    values = field.values(torch.tensor([[0.025, 0.15], [0.1, 0.2]], dtype=torch.float64)).view(2, 2, 21, 14)
    for problem, k, area, row, column in ((0, 0, 0.025, 0, 0), (0, 1, 0.15, 20, 13), (1, 0, 0.1, 7, 2)):
        wanted = equation_four(field, (column + 0.5) / 14, (row + 0.5) / 21, area, problem)
        assert float(values[problem, k, row, column]) == pytest.approx(wanted, abs=1e-9)


def test_the_papers_field_has_five_hidden_layers_of_256_and_128_features():
    field = MaskField((224, 224), [0])
    assert field.encode.width == 128
    shapes = [tuple(weight.shape) for weight in field.weights]
    assert shapes == [(1, 128, 256), (1, 256, 256), (1, 256, 256), (1, 256, 256), (1, 256, 256), (1, 256, 1)]
    assert [tuple(bias.shape)[2] for bias in field.biases] == [256] * 5 + [1]


def test_octaves_by_hand():
    encode = FourierFeatures([torch.Generator()], kind="octaves", octaves=2)
    z = torch.tensor([[0.25, 0.5]])
    found = encode(z, torch.tensor([[1.0]]))[0, 0]
    phases = [c * math.pi * 2**j for j in range(2) for c in (0.25, 0.5, 1.0)]
    assert found.tolist() == pytest.approx([math.sin(p) for p in phases] + [math.cos(p) for p in phases], abs=1e-6)


def test_no_features_are_the_coordinates():
    encode = FourierFeatures([torch.Generator()], kind="none")
    assert encode(torch.tensor([[0.2, 0.7]]), torch.tensor([[0.4]])).flatten().tolist() == pytest.approx(
        [0.2, 0.7, 0.4]
    )


def test_gaussian_features_have_the_scale_asked_for():
    encode = FourierFeatures([torch.Generator().manual_seed(0)], scale=6.0, count=4000, area_scale=0.1)
    assert encode.B.shape == (1, 3, 2000)
    assert float(encode.B[:, :2].std()) == pytest.approx(2 * math.pi * 6, rel=0.05)
    assert float(encode.B[:, 2].std()) == pytest.approx(2 * math.pi * 0.6, rel=0.05)


@pytest.mark.parametrize("grid", ["pixel", "lattice", 6])
@pytest.mark.parametrize("size", [(56, 56), (50, 33)])
def test_masks_have_the_pictures_size_and_lie_in_range(grid: str | int, size: tuple[int, int]):
    field = MaskField(size, [0, 1], grid=grid, **SMALL).requires_grad_(False)
    areas = AREAS.expand(2, -1)
    mask, ranked = field.render(areas)
    assert mask.shape == (2, 3, 1, *size)
    assert ranked.shape[:2] == (2, 3)
    assert float(mask.min()) >= 0
    assert float(mask.max()) <= 1
    assert torch.equal(field(areas), mask)


def test_what_the_penalty_ranks_covers_the_picture_and_nothing_else():
    for size in ((224, 224), (50, 33)):
        field = MaskField(size, [0], **SMALL)
        mask, ranked = field.render(AREAS)
        assert abs(ranked.shape[2] / (size[0] * size[1]) * 3.5**2 - 1) < 0.12
        assert torch.allclose(mask.flatten(2).mean(2), ranked.mean(2), atol=0.005)
        pixels = MaskField(size, [0], grid="pixel", **SMALL).render(AREAS)
        assert torch.equal(pixels[0].flatten(2), pixels[1])


@pytest.mark.parametrize(("scale", "most", "average"), [(1.0, 0.05, 0.003), (2.0, 0.1, 0.005), (6.0, 0.25, 0.025)])
def test_a_smooth_field_on_the_lattice_is_near_the_same_field_at_every_pixel(scale: float, most: float, average: float):
    """Measured at 224 px, last layer x 20, largest and mean: scale 1 0.034, 0.0015; 2 0.068, 0.0032; 6 0.191, 0.0185.

    At scale 6 the field has periods of a few taps, so the taps' phase matters: near is a claim for smooth fields only.
    """
    settings = {"scale": scale, "hidden": 64, "layers": 3}
    areas = torch.tensor([[0.025, 0.2]])
    for seed in (0, 1):
        coarse, whole = (MaskField((224, 224), [seed], grid=grid, **settings) for grid in ("lattice", "pixel"))
        with torch.no_grad():
            coarse.weights[-1] *= 20
            whole.load_state_dict(coarse.state_dict())
            difference = (coarse(areas) - whole(areas)).abs()
        assert float(difference.max()) < most
        assert float(difference.mean()) < average


def test_a_grid_as_fine_as_the_lattice_is_the_lattice():
    lattice = MaskField((56, 70), [0], grid="lattice", **SMALL)
    square = MaskField((56, 56), [0], grid="lattice", **SMALL)
    eight = MaskField((56, 56), [0], grid=8, **SMALL)
    assert lattice.values(AREAS).shape == (3, 1, 8, 10)
    assert torch.allclose(square(AREAS), eight(AREAS), atol=1e-6)


def test_grid_points_are_the_centres_of_the_filters_cells():
    field = MaskField((50, 56), [0], grid="lattice", **SMALL)
    rows, columns = field._points()
    assert (rows * 50).tolist() == pytest.approx([7 * (i + 0.5) for i in range(8)], abs=1e-4)
    assert (columns * 56).tolist() == pytest.approx([7 * (i + 0.5) for i in range(8)], abs=1e-4)


def test_stacked_fields_are_the_single_ones():
    stacked = MaskField((56, 56), [5, 6, 7], **SMALL)
    areas = torch.tensor([[0.03, 0.1], [0.2, 0.05], [0.1, 0.1]])
    masks = stacked(areas)
    for i, seed in enumerate((5, 6, 7)):
        assert torch.allclose(masks[i], MaskField((56, 56), [seed], **SMALL)(areas[i : i + 1])[0], atol=1e-5)
        assert torch.allclose(masks[i], stacked.problem(i)(areas[i : i + 1])[0], atol=1e-5)


def test_seeds_decide_and_the_global_generator_does_not():
    before = torch.random.get_rng_state()
    one, same, other = (MaskField((56, 56), [seed], **SMALL)(AREAS) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.allclose(one, other, atol=1e-3)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_problem_taken_out_is_a_copy_with_its_own_precision():
    for source in (MaskField((28, 28), [0, 1], **SMALL), MaskLattice((28, 28), [0, 1])):
        source.double()
        with torch.no_grad():
            for parameter in source.parameters():
                parameter += 1 / 3
        single = source.problem(1)
        for mine, theirs in zip(source.parameters(), single.parameters(), strict=True):
            assert theirs.dtype == torch.float64
            assert torch.equal(mine[1:], theirs)
        with torch.no_grad():
            next(source.parameters()).zero_()
        assert float(next(single.parameters()).detach().abs().sum()) > 0


def test_several_outputs_stand_side_by_side():
    field = MaskField((56, 56), [0, 1], outputs=3, **SMALL)
    areas = torch.tensor([[0.03, 0.1], [0.2, 0.05]])
    masks = field(areas)
    assert masks.shape == (2, 6, 1, 56, 56)
    for index in range(3):
        assert torch.allclose(field.output(index)(areas), masks[:, index::3], atol=1e-6)


def test_a_starting_bias_moves_the_mask():
    low, middle, high = (
        MaskField((56, 56), [0], bias=b, **SMALL).values(AREAS).mean().item() for b in (-2.0, 0.0, 2.0)
    )
    assert low < 0.25 < middle < 0.75 < high


def test_gradients_of_the_field():
    field = MaskField((14, 21), [0], features="octaves", octaves=2, hidden=4, layers=2).double()
    areas = torch.tensor([[0.05, 0.2]], dtype=torch.float64)
    parameters = dict(field.named_parameters())

    def masks(*values: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(field, dict(zip(parameters, values, strict=True)), (areas,))

    assert torch.autograd.gradcheck(masks, tuple(p.detach().requires_grad_() for p in parameters.values()))


@pytest.mark.parametrize("features", FEATURES)
def test_every_kind_of_features_gives_masks(features: str):
    field = MaskField((28, 28), [0], features=features, hidden=8, layers=1)
    assert field(AREAS).shape == (1, 3, 1, 28, 28)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"features": "wavelets"}, "features must be one of .* got 'wavelets'"),
        ({"grid": "fine"}, "grid must be 'pixel', 'lattice' or 2 points or more a side, got 'fine'"),
        ({"grid": 1}, "grid must be .* got 1"),
        ({"outputs": 0}, "outputs must be 1 or more, got 0"),
    ],
)
def test_a_wrong_setting_is_refused(settings: dict, message: str):
    with pytest.raises(ValueError, match=message):
        MaskField((28, 28), [0], **settings)


def test_a_fresh_lattice_keeps_the_picture():
    lattice = MaskLattice((112, 112), [0])
    assert float(lattice(torch.tensor([[0.1]])).detach()[..., 28:-28, 28:-28].min()) > 0.97


def test_each_area_has_its_own_lattice():
    lattice = MaskLattice((56, 56), [0, 1], areas=(0.05, 0.2))
    with torch.no_grad():
        lattice.values.copy_(torch.rand(lattice.values.shape, generator=torch.Generator().manual_seed(0)))
    masks = lattice(torch.tensor([[0.05, 0.2], [0.2, 0.05]]))
    for problem, k, index in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0)):
        cells = torch.nn.functional.pad(lattice.values[problem, index][None, None], [3] * 4)
        whole = to_pixels(smooth_max_lattice(cells, 7), (98, 98), 7)
        assert torch.allclose(masks[problem, k], whole[0, :, 21:-21, 21:-21], atol=1e-6)


def test_the_lattices_penalty_counts_the_margin():
    lattice = MaskLattice((56, 56), [0], areas=(0.1,))
    assert lattice.render(torch.tensor([[0.1]]))[1].shape == (1, 1, 98 * 98)
    without = MaskLattice((56, 56), [0], areas=(0.1,), margin=0)
    mask, ranked = without.render(torch.tensor([[0.1]]))
    assert torch.equal(mask.flatten(2), ranked)


def test_a_lattice_is_brought_back_into_range():
    lattice = MaskLattice((28, 28), [0])
    with torch.no_grad():
        lattice.values[:, 0] = 1.5
        lattice.values[:, 1] = -0.5
    lattice.project()
    assert lattice.values[:, 0].unique().tolist() == [1.0]
    assert lattice.values[:, 1].unique().tolist() == [0.0]


@pytest.mark.parametrize("source", [MaskField((28, 28), [0], **SMALL), MaskLattice((28, 28), [0])])
def test_settings_rebuild_a_source(source: MaskSource):
    again = type(source)(source.size, [9], **source.settings)
    again.load_state_dict(source.state_dict())
    areas = torch.tensor([[0.05, 0.1]])
    assert torch.equal(again(areas), source(areas))


def test_sharpening_keeps_0_the_half_and_1_and_moves_the_rest_apart():
    values = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])
    assert sharpen(values, 0.0) is values
    by_hand = 0.5 + 0.5 * math.tanh(8 * 0.25) / math.tanh(4)
    assert sharpen(values, 8.0).tolist() == pytest.approx([0, 1 - by_hand, 0.5, by_hand, 1], abs=1e-6)
    assert sharpen(values, 1e-3).tolist() == pytest.approx(values.tolist(), abs=1e-6)  # continuous at 0


@pytest.mark.parametrize("grid", ["pixel", "lattice", 8])
def test_a_sharp_field_is_its_own_cut(grid: str | int):
    field = MaskField((56, 42), [0], grid=grid, **SMALL)
    soft = field(AREAS)
    field.set_sharpness(1e4)
    sharp = field(AREAS)
    assert torch.equal((sharp > 0.5), (soft > 0.5))
    assert float(((sharp > 0.01) & (sharp < 0.99)).float().mean()) < 0.01


def test_what_the_area_penalty_ranks_keeps_a_gradient_however_sharp_the_mask():
    field = MaskField((56, 42), [0], bias=-3.0, **SMALL)
    field.set_sharpness(64.0)
    mask, ranked = field.render(AREAS)
    for values, wanted in ((mask, False), (ranked, True)):
        (slope,) = torch.autograd.grad(values.sum(), field.biases[-1], retain_graph=True)
        assert (float(slope.abs().max()) > 1e-3) == wanted


@pytest.mark.parametrize("grid", ["pixel", "lattice", 8])
def test_hard_masks_are_the_largest_values_and_have_the_area_asked_for(grid: str | int):
    field = MaskField((56, 42), [0], grid=grid, outputs=2, **SMALL)
    soft = field(AREAS)
    field.set_sharpness(0.0, harden=True)
    hard = field(AREAS)
    assert set(hard.unique().tolist()) == {0.0, 1.0}
    asked = AREAS.repeat_interleave(2, 1).flatten()
    assert hard.sum((0, 2, 3, 4)).tolist() == (asked * 56 * 42).round().tolist()
    for one, other in zip(hard[0], soft[0], strict=True):
        assert bool(other[one > 0].min() >= other[one == 0].max())


def test_sharpness_is_kept_with_a_single_problem():
    field = MaskField((56, 42), [0, 1], **SMALL)
    field.set_sharpness(16.0, harden=True)
    single = field.problem(1)
    assert (single.sharpness, single.harden) == (16.0, True)
    assert torch.allclose(single(AREAS)[0], field(AREAS.expand(2, -1))[1], atol=1e-6)


def test_a_sine_field_starts_with_the_spread_that_its_authors_give_it():
    settings = {**SMALL, "features": "none", "activation": "sine", "hidden": 256}
    field = MaskField((56, 42), [0], **settings).requires_grad_(False)
    bound = math.sqrt(6 / 256) / 30
    assert float(field.weights[1].abs().max()) == pytest.approx(bound, rel=0.01)
    assert field(AREAS).std() > 0
    with pytest.raises(ValueError, match="activation must be one of .*'relu', 'sine'"):
        MaskField((56, 42), [0], activation="tanh")


def test_every_problem_starts_from_the_one_field_it_is_given():
    given = MaskField((56, 42), [7], **SMALL)
    field = MaskField((56, 42), [0, 1], **SMALL)
    field.start_from(given.state_dict())
    both = field(AREAS.expand(2, -1))
    assert torch.allclose(both[0], given(AREAS)[0], atol=1e-6)
    assert torch.equal(both[0], both[1])


def test_a_start_of_another_shape_is_refused():
    field = MaskField((56, 42), [0], **SMALL)
    with pytest.raises(ValueError, match=r"initial holds a field of other features.*inrexp learn"):
        field.start_from(MaskField((56, 42), [0], **{**SMALL, "hidden": 8}).state_dict())


def test_a_start_that_is_missing_or_no_weights_is_said_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"initial: no weights at .*inrexp learn"):
        read_initial(tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("not weights")
    with pytest.raises(ValueError, match=r"initial: .*text.safetensors is no file of"):
        read_initial(tmp_path / "text.safetensors")
